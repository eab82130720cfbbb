from __future__ import annotations

from fastcopy.cli import entry

entry()
