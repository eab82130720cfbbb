"""When the next round of a run that repeats itself begins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from fastcopy.transfer.drain import Drain


async def rounds(interval: float, drain: Drain) -> AsyncIterator[int]:
    """The numbers of rounds, from 1, until *drain* is asked.

    Each is due *interval* seconds after the one before it began; one that takes longer is followed at once, never
    overlapped. *interval* 0: a single round.
    """
    number, more = 1, True
    while more:
        began = trio.current_time()
        yield number
        if not interval or drain.asked:
            return
        with drain.wait():
            await trio.sleep_until(began + interval)
        number, more = number + 1, not drain.asked
