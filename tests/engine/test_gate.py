"""The gate admits, times and survives cancellation; several things at once raise one error at most."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from fastcopy.errors import LinkLost, TooManyRequests
from fastcopy.schedule import Lane, Limits, Schedule
from fastcopy.transfer.gate import Gate
from fastcopy.transfer.together import gather

ONE = Limits(start={Lane.SMALL: 1, Lane.BULK: 1}, ceiling={Lane.SMALL: 1, Lane.BULK: 1})


async def test_a_slot_is_exclusive_and_handed_on(autojump_clock: trio.testing.MockClock) -> None:
    """With a window of one, the second enters when the first leaves, not before."""
    gate, seen = Gate(Schedule(ONE)), []

    async def work(name: str) -> None:
        async with gate.slot(Lane.SMALL, ("a",)):
            seen.append(f"{name} in")
            await trio.sleep(1)
            seen.append(f"{name} out")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, "x")
        await trio.sleep(0.1)
        nursery.start_soon(work, "y")

    assert seen == ["x in", "x out", "y in", "y out"]


async def test_a_cancelled_waiter_leaves_no_trace(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelling somebody in the queue neither blocks nor leaks the slot."""
    gate = Gate(Schedule(ONE))
    async with gate.slot(Lane.SMALL, ("a",)):
        with trio.move_on_after(1):
            async with gate.slot(Lane.SMALL, ("a",)):
                pytest.fail("the window is full")
    with trio.fail_after(1):
        async with gate.slot(Lane.SMALL, ("a",)):
            pass

    assert gate.schedule.window("a", Lane.SMALL).running == 0


async def test_retry_after_is_kept_to_the_second(autojump_clock: trio.testing.MockClock) -> None:
    """After 429 with Retry-After 30 the next slot at that host opens 30 seconds later."""
    gate = Gate(Schedule())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.keep_time)
        async with gate.slot(Lane.SMALL, ("a",)) as slot:
            slot.judge(TooManyRequests("slow down", retry_after=30.0), "a")
        start = trio.current_time()
        async with gate.slot(Lane.SMALL, ("a",)):
            waited = trio.current_time() - start
        nursery.cancel_scope.cancel()

    assert waited == pytest.approx(30.0)


async def test_gather_raises_the_first_failure_alone(autojump_clock: trio.testing.MockClock) -> None:
    """The first error cancels the siblings and arrives bare, not in a group."""
    finished = []

    async def slow() -> None:
        await trio.sleep(5)
        finished.append(1)

    async def bad() -> None:
        await trio.sleep(1)
        raise LinkLost("gone")

    with pytest.raises(LinkLost):
        await gather(slow, bad, slow)

    assert finished == []
    assert trio.current_time() < 5
