"""fastcopy: copies container images between registries and local places, verified while streaming."""

from __future__ import annotations

__version__ = "0.1.0"
