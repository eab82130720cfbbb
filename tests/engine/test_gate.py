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


async def test_turns_follow_each_other_at_the_pace(autojump_clock: trio.testing.MockClock) -> None:
    """Ten requests per second: the eleventh leaves a second after the first, in the order of asking."""
    gate, order = Gate(Schedule()), []
    gate.schedule.pace("a").rate = 10.0

    async def ask(number: int) -> None:
        turn = await gate.turn("a")
        order.append(number)
        turn.over()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(11):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()

    assert order == list(range(11))
    assert trio.current_time() - start == pytest.approx(1.0, abs=0.05)
    assert gate.schedule.pace("a").waiting == 0
    assert gate.schedule.pace("a").in_flight == 0


async def test_who_waits_for_room_is_woken_after_a_pause(autojump_clock: trio.testing.MockClock) -> None:
    """A ticket behind a full window whose host is then told to wait: it starts when the time has come."""
    gate = Gate(Schedule(ONE))

    async def second() -> None:
        async with gate.slot(Lane.SMALL, ("a",)):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.keep_time)
        async with gate.slot(Lane.SMALL, ("a",)) as slot:
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            slot.judge(TooManyRequests("slow down", retry_after=30.0), "a")
        with trio.fail_after(60):
            async with gate.slot(Lane.SMALL, ("a",)):
                pass
        nursery.cancel_scope.cancel()


async def test_a_registry_that_names_a_time_is_told_of_once(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever renders the run hears how long a registry wants to be left alone."""
    gate, told = Gate(Schedule()), []
    gate.held = lambda registry, seconds: told.append((registry, round(seconds)))
    (await gate.turn("a")).hear(True, 20.0, None)
    for _ in range(2):
        await gate.turn("a")

    assert told == [("a", 20)]
