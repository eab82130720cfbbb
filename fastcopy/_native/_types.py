"""The values that both backends hand out: why a pump ended, its report, its counters, its one exception.

It refuses to know sockets, threads and which backend is asking.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Why(enum.IntEnum):
    """Why a run of the pump ended."""

    DONE = 0
    """Every byte crossed and the digest agreed."""
    STOPPED = 1
    """`stop()` was called."""
    SOURCE_LOST = 2
    """The source closed, was reset, or ended before its stated length."""
    SOURCE_STALLED = 3
    """The source sent nothing for `stall` seconds."""
    SINK_LOST = 4
    """The destination closed or was reset."""
    SINK_STALLED = 5
    """The destination took nothing for `stall` seconds, or lagged behind the others for `lag` seconds."""
    ANSWERED = 6
    """The destination answered before the body was complete; the answer's bytes are in `Outlet.answer`."""
    MISMATCH = 7
    """The digest is not the expected one; the last bytes were withheld from every outlet."""
    FRAME = 8
    """HTTP/2: a frame arrived that the owner of the connection must see (`Inlet.replay`)."""
    SINK_FULL = 9
    """The destination's file system is full (ENOSPC, EDQUOT)."""


@dataclass(frozen=True, slots=True)
class Report:
    """How one call of the pump ended. Times are nanoseconds; waiting for a rate limit is in none of them."""

    why: Why
    read: int
    """Bytes this call took from its inlet (drain: bytes digested)."""
    detail: str
    errno: int
    outlet: int | None
    """Index of the outlet at fault."""
    wait_in_ns: int
    work_ns: int
    wait_out_ns: int


@dataclass(frozen=True, slots=True)
class Counters:
    """A snapshot of a running pump. Bytes and nanoseconds; `work_ns` is added when a call ends."""

    read: int
    written: int
    """Bytes written, summed over all outlets."""
    wait_in_ns: int
    work_ns: int
    wait_out_ns: int


class PumpError(Exception):
    """What `Inlet.read_into` raises: a `Report` without a pump.

    Attributes: `why`, `errno` (0 when no system call is to blame), `detail`.
    """

    def __init__(self, why: Why, detail: str = "", errno: int = 0) -> None:
        super().__init__(why, detail, errno)
        self.why = why
        self.detail = detail
        self.errno = errno

    def __str__(self) -> str:
        return f"{self.why.name}: {self.detail}" if self.detail else self.why.name
