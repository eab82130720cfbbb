"""The native corner: digests and the pump, or their plain twins of the same interface.

FASTCOPY_PURE=1 demands the twins, FASTCOPY_REQUIRE_NATIVE=1 the extensions; `BACKEND` says what runs.
It imports nothing else of fastcopy.
"""

from __future__ import annotations

import os
import sys

from fastcopy._native._types import Counters, PumpError, Report, Why


def _native_wanted() -> bool:
    """CPython with its lock; elsewhere the twins serve until the extensions are proven there."""
    if os.environ.get("FASTCOPY_PURE") == "1" or sys.implementation.name != "cpython":
        return False
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _load() -> bool:
    if not _native_wanted():
        return False
    try:
        import fastcopy._native.checksum
        import fastcopy._native.digest
        import fastcopy._native.pump  # noqa: F401
    except ImportError:
        if os.environ.get("FASTCOPY_REQUIRE_NATIVE") == "1":
            raise
        return False
    return True


NATIVE: bool = _load()

if NATIVE:
    from fastcopy._native.checksum import crc64
    from fastcopy._native.digest import SHA256, Hasher
    from fastcopy._native.pump import TLS, Inlet, Outlet, Pump, Rate
else:
    from fastcopy._native._plain import Pump, Rate  # type: ignore[assignment]
    from fastcopy._native._plain_checksum import crc64
    from fastcopy._native._plain_digest import SHA256, Hasher  # type: ignore[assignment]
    from fastcopy._native._plain_ends import TLS, Inlet, Outlet  # type: ignore[assignment]

BACKEND: str = f"pump={'native' if NATIVE else 'plain'}, tls={TLS}, sha256={SHA256}"

__all__ = [
    "BACKEND",
    "NATIVE",
    "Counters",
    "Hasher",
    "Inlet",
    "Outlet",
    "Pump",
    "PumpError",
    "Rate",
    "Report",
    "Why",
    "crc64",
]
