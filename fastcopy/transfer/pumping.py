"""The hand-over: a pump runs in a worker thread, and cancellation reaches it within milliseconds.

Law 1: one hand-over per body (or per part of it), never one per chunk.
Law 2: the threads are counted by the gate, so the limiter here never makes anybody wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from fastcopy.errors import (
    DigestMismatch,
    FastcopyError,
    LinkLost,
    NoSpace,
    Stalled,
)

if TYPE_CHECKING:
    from fastcopy._native import Outlet, Pump, Report
    from fastcopy.descriptor import Descriptor

T = TypeVar("T")
_limiter: trio.CapacityLimiter | None = None
#: The gate decides how many bodies flow; this only must never be the smaller number.
THREADS = 4096


def threads() -> trio.CapacityLimiter:
    """The pumps' own limiter: trio's default of 40 threads would be a hidden second gate."""
    global _limiter  # noqa: PLW0603 - one per process, made when first needed inside trio
    if _limiter is None:
        _limiter = trio.CapacityLimiter(THREADS)
    return _limiter


async def in_thread(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run *work* in a thread; when cancelled call *stop* and wait for the thread to come back."""
    async with trio.open_nursery() as nursery:
        finished = False

        async def stop_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                if not finished:
                    stop()

        nursery.start_soon(stop_when_cancelled)
        result = await trio.to_thread.run_sync(work, limiter=threads())
        finished = True
        nursery.cancel_scope.cancel()
    return result


def failure_of(report: Report, what: Descriptor, pump: Pump, stall: float) -> FastcopyError | None:
    """The source's fault that a report stands for; None when the bytes are through or the destinations decide."""
    from fastcopy._native import Why

    blob = f"blob {what.digest}"
    at = f"after {pump.position} of {what.size} bytes"
    if report.why is Why.MISMATCH:
        return DigestMismatch(f"{blob}: Digest did not match the bytes that were read", side="source")
    if report.why in (Why.SOURCE_LOST, Why.FRAME):
        return LinkLost(f"reading {blob}: connection lost {at}{_detail(report)}", side="source")
    if report.why is Why.SOURCE_STALLED:
        return Stalled(f"reading {blob}: no byte for {stall:g} s {at}", side="source")
    return None


def failure_of_outlet(report: Report, outlet: Outlet, what: Descriptor, stall: float) -> FastcopyError | None:
    """What went wrong at one destination; None when it took everything (or answered, which decides)."""
    from fastcopy._native import Why

    blob, at = f"blob {what.digest}", f"after {outlet.sent} of {what.size} bytes"
    if outlet.failed is None or outlet.failed is Why.DONE:
        return None
    if outlet.failed is Why.SINK_STALLED:
        return Stalled(f"writing {blob}: no byte accepted for {stall:g} s {at}")
    if outlet.failed is Why.SINK_FULL:
        return NoSpace(f"writing {blob}: no space left {at}")
    return LinkLost(f"writing {blob}: connection lost {at}{_detail(report)}")


def _detail(report: Report) -> str:
    return f": {report.detail}" if report.detail else ""
