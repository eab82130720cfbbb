"""Windows that grew too far go back; nothing else moves them."""

from __future__ import annotations

from collections.abc import Callable

from fastcopy.schedule import Lane, Limits, Schedule, Ticket, Verdict


def _run(speed: Callable[[int], float], seconds: int) -> tuple[float, list[int]]:
    """Bodies of a tenth of a second through the bulk window of one host; its limit, and how many ran by second."""
    schedule = Schedule(Limits(total=1000))
    moved, widths = 0.0, []
    for tick in range(seconds * 10):
        now = tick / 10
        for _ in range(64):
            schedule.submit(Ticket(Lane.BULK, ("a",), 1))
        running = list(schedule.admit(now))
        moved += speed(len(running)) / 10
        schedule.moved("a", int(moved), now + 0.05)
        for ticket in running:
            schedule.finished(ticket, Verdict.FINE, now + 0.1)
        widths.append(len(running))
    return moved, widths


def test_a_host_that_gets_slower_with_more_bodies_is_given_fewer() -> None:
    """Beyond 16 bodies it thrashes: the window returns below that and stays there most of the time."""
    moved, widths = _run(lambda count: 1e7 * (count if count <= 16 else 4), 60)
    assert max(widths) > 16
    assert sum(width <= 16 for width in widths[100:]) > 0.6 * len(widths[100:])
    assert moved > 0.5 * 60 * 1e7 * 16


def test_a_host_that_saturates_keeps_its_window() -> None:
    """A full link is no reason to shrink: more bodies are not slower."""
    _, widths = _run(lambda count: 1e7 * min(count, 8), 30)
    assert max(widths[-50:]) == 32


def test_a_link_that_slows_down_by_itself_does_not_shrink_the_window() -> None:
    """The window was as wide before: it is not the cause."""
    ticks = iter(range(10**6))
    _, widths = _run(lambda count: 1e7 * min(count, 8) * (1.0 if next(ticks) < 250 else 0.3), 40)
    assert max(widths[-50:]) == 32
