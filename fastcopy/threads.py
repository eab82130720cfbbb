"""The hand-over: blocking work runs in a worker thread, and cancellation reaches it within milliseconds.

Law 1: one hand-over per body (or per part of it), never one per chunk.
Law 2: the threads are counted by the gate, so the limiter here never makes anybody wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

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
