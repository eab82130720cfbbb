"""HTTP between us and a registry: names to connections, credentials to headers, bodies on loan to the pump."""
