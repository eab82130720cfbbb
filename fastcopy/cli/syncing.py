"""``sync``: registered with all its flags; copying many images in one run is not part of this version."""

from __future__ import annotations

from fastcopy.cli.build import refuse
from fastcopy.cli.call import Call
from fastcopy.errors import Unsupported, UsageError

_SOURCES, _DESTINATIONS = ("docker", "dir", "yaml"), ("docker", "dir")


def run(call: Call) -> int:
    """Check the command line as skopeo does, then say that this version cannot do it."""
    call.arguments(2, "Exactly two arguments expected")
    refuse(call.parsed)
    _check(call.parsed.get("src"), "source", _SOURCES)
    _check(call.parsed.get("dest"), "destination", _DESTINATIONS)
    raise Unsupported("sync is not supported by this version; use `copy` for one image at a time")


def _check(word: str | None, what: str, words: tuple[str, ...]) -> None:
    if not word:
        raise UsageError(f"A {what} transport must be specified")
    if word not in words:
        raise UsageError(f'"{word}" is not a valid {what} transport')
