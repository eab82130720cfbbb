"""Which tags of a repository are meant: versions, constraints, patterns, and the selection made of them. Pure."""
