"""The embedded registry (`fastcopy serve`): OCI distribution 1.1 in memory or over an OCI image layout.

Floors, upwards: config, message, routes, ranges (pure) - content, catalogue, store, uploads - access, manifests,
pulling, pushing, registry (decide; no sockets) - link, moving - h1, h2 - server, threaded.
"""

from __future__ import annotations

from fastcopy.serve.config import HARBOR, Account, Behaviour, ServeConfig
from fastcopy.serve.message import Record
from fastcopy.serve.server import Running, running, serve
from fastcopy.serve.threaded import ThreadedServer, start_in_thread

__all__ = [
    "HARBOR",
    "Account",
    "Behaviour",
    "Record",
    "Running",
    "ServeConfig",
    "ThreadedServer",
    "running",
    "serve",
    "start_in_thread",
]
