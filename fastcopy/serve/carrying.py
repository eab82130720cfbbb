"""The native road: one body, one worker thread, no GIL; stopped within milliseconds when the loop gives up.

Owns the hand-over between trio and fastcopy._native. Refuses to know HTTP.
"""

from __future__ import annotations

import errno
import os

import trio

from fastcopy._native import Inlet, Outlet, Pump, Report, Why
from fastcopy.serve.content import Spool
from fastcopy.serve.link import Link
from fastcopy.serve.message import BodyLost

#: Below this a body stays in the loop: the hand-over costs 137 microseconds, in which a core hashes about 250 KiB.
LARGE = 256 * 1024
#: Bodies carried at once; each has a thread and a slab of 256 KiB. Further ones stay in the loop, slower but alive.
_THREADS = 64
_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("fastcopy serve: carriers")


def has_room() -> bool:
    """Whether a thread is free."""
    return _carriers().available_tokens >= 1


async def receive(link: Link, spool: Spool, length: int) -> None:
    """Move `length` bytes from a connection into a spool; raises BodyLost, OSError (the spool is spoilt then)."""
    outlet = Outlet.file(spool.fd, spool.length)
    pump = Pump([outlet], length, hasher=spool.hasher, stall=link.stall)
    try:
        report = await _run(pump, Inlet.socket(link.sock, length))
    finally:
        spool.length += outlet.sent
    if report.why is not Why.DONE:
        raise _trouble(report)


async def send(link: Link, fd: int, start: int, length: int) -> None:
    """Send a part of a file; raises BodyLost."""
    end = start + length
    while start < end:
        outlet = Outlet.socket(link.sock)
        pump = Pump([outlet], end - start, stall=link.stall)
        report = await _run(pump, Inlet.file(fd, end - start, start))
        start += outlet.sent
        link.bytes_out += outlet.sent
        if report.why is Why.ANSWERED:  # a pipelined request: it waits its turn
            link.unread(outlet.answer)
        elif report.why is not Why.DONE:
            raise BodyLost


def _trouble(report: Report) -> Exception:
    if report.why is Why.SINK_FULL:
        return OSError(report.errno or errno.ENOSPC, os.strerror(report.errno or errno.ENOSPC))
    if report.outlet is not None:
        return OSError(report.errno or errno.EIO, os.strerror(report.errno or errno.EIO))
    return BodyLost()


async def _run(pump: Pump, inlet: Inlet) -> Report:
    """Run in a thread; a cancellation stops the pump, and its report is waited for before it is let through."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_when_cancelled, pump)
        with trio.CancelScope(shield=True):
            report = await trio.to_thread.run_sync(pump.run, inlet, limiter=_carriers())
        nursery.cancel_scope.cancel()
    return report


async def _stop_when_cancelled(pump: Pump) -> None:
    try:
        await trio.sleep_forever()
    finally:
        pump.stop()


def _carriers() -> trio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_THREADS)
        _limiter.set(limiter)
        return limiter
