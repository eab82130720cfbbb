"""Where the user's own files are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def home_directory(environ: Mapping[str, str]) -> Path:
    """The user's home; "/" for a user whom the system does not know, as containers have them."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return Path("/")
