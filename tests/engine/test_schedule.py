"""The schedule keeps its promises whatever is submitted, finished and refused."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fastcopy.schedule import IMAGES, OLDEST_EVERY, Allowance, Lane, Limits, Schedule, Ticket, Verdict

HOSTS = ("a", "b", "c")
hosts = st.sets(st.sampled_from(HOSTS), min_size=1, max_size=2).map(lambda names: tuple(sorted(names)))
tickets = st.builds(Ticket, st.sampled_from(Lane), hosts, st.integers(0, 1 << 32))
LIMITS = Limits(start={Lane.SMALL: 4, Lane.BULK: 2}, ceiling={Lane.SMALL: 8, Lane.BULK: 4}, total=3)


@given(st.lists(tickets, max_size=60), st.lists(st.sampled_from(Verdict), max_size=200), st.randoms())
def test_everything_runs_once_and_no_window_is_exceeded(
    work: list[Ticket], verdicts: list[Verdict], random: object
) -> None:
    """Every ticket is admitted exactly once, and never more of them run than a window allows."""
    schedule, now = Schedule(LIMITS), 0.0
    for ticket in work:
        schedule.submit(ticket)
    running: list[Ticket] = []
    admitted: Counter[int] = Counter()
    answers = iter(verdicts)
    while sum(admitted.values()) < len(work) or running:
        for ticket in schedule.admit(now):
            admitted[id(ticket)] += 1
            running.append(ticket)
        _assert_within(running)
        if running:
            done = running.pop(random.randrange(len(running)))  # type: ignore[attr-defined]
            schedule.finished(done, next(answers, Verdict.FINE), now, pause=random.random() * 5)  # type: ignore[attr-defined]
        else:
            wake = schedule.wake_at(now)
            assert wake is not None, "something waits, nothing runs, and time will not help"
            now = wake

    assert set(admitted.values()) <= {1}
    assert schedule.waiting() == 0


def _assert_within(running: list[Ticket]) -> None:
    used = Counter((host, ticket.lane) for ticket in running for host in ticket.hosts)
    assert all(count <= LIMITS.ceiling.get(lane, IMAGES) for (_, lane), count in used.items())
    assert sum(ticket.lane is Lane.BULK for ticket in running) <= LIMITS.total


def test_the_largest_goes_first_and_the_oldest_is_not_starved() -> None:
    """Every fourth bulk admission is the oldest ticket, however small."""
    schedule = Schedule(Limits(start={Lane.SMALL: 1, Lane.BULK: 1}, ceiling={Lane.SMALL: 1, Lane.BULK: 1}))
    small = Ticket(Lane.BULK, ("a",), 1)
    schedule.submit(small)
    for size in range(10, 20):
        schedule.submit(Ticket(Lane.BULK, ("a",), size))
    order = []
    while len(order) < OLDEST_EVERY:
        (ticket,) = schedule.admit(0.0)
        order.append(ticket.size)
        schedule.finished(ticket, Verdict.FINE, 0.0)

    assert order == [19, 18, 17, 1]


def test_small_requests_do_not_wait_behind_bodies() -> None:
    """A full bulk window leaves the small lane open."""
    schedule = Schedule(Limits(start={Lane.SMALL: 1, Lane.BULK: 1}, ceiling={Lane.SMALL: 1, Lane.BULK: 1}))
    for lane in (Lane.BULK, Lane.BULK, Lane.SMALL):
        schedule.submit(Ticket(lane, ("a",), 5))

    assert [ticket.lane for ticket in schedule.admit(0.0)] == [Lane.BULK, Lane.SMALL]


def test_a_window_halves_once_per_epoch_and_grows_back() -> None:
    """Ten refusals in one moment are one piece of news; successes open the window again."""
    schedule = Schedule(Limits(start={Lane.SMALL: 16, Lane.BULK: 1}, ceiling={Lane.SMALL: 16, Lane.BULK: 1}))
    batch = [Ticket(Lane.SMALL, ("a",)) for _ in range(10)]
    for ticket in batch:
        schedule.submit(ticket)
    for ticket in list(schedule.admit(1.0)):
        schedule.finished(ticket, Verdict.SLOW_DOWN, 1.0)
    assert schedule.window("a", Lane.SMALL).limit == 8

    now = 2.0
    for _ in range(400):
        for _ in range(16):
            schedule.submit(Ticket(Lane.SMALL, ("a",)))
        for ticket in list(schedule.admit(now)):
            schedule.finished(ticket, Verdict.FINE, now)

    assert schedule.window("a", Lane.SMALL).limit == 16


def test_retry_after_closes_the_host_for_everybody() -> None:
    """Nothing starts before the time that the host named, and `wake_at` says when."""
    schedule = Schedule()
    first, second = Ticket(Lane.SMALL, ("a",)), Ticket(Lane.SMALL, ("a",))
    schedule.submit(first)
    assert list(schedule.admit(0.0)) == [first]
    schedule.submit(second)
    schedule.hold("a", 7.5)
    schedule.finished(first, Verdict.FINE, 0.0)

    assert list(schedule.admit(7.4)) == []
    assert schedule.wake_at(7.4) == 7.5
    assert list(schedule.admit(7.5)) == [second]


def test_a_refusal_of_one_host_leaves_the_other_alone() -> None:
    """The verdict names the host at fault; the other end of the step keeps its window."""
    schedule = Schedule()
    ticket = Ticket(Lane.BULK, ("a", "b"), 1)
    schedule.submit(ticket)
    list(schedule.admit(0.0))
    before = schedule.window("b", Lane.BULK).limit
    schedule.finished(ticket, Verdict.SLOW_DOWN, 0.0, host="a")

    assert schedule.window("a", Lane.BULK).limit == before / 2
    assert schedule.window("b", Lane.BULK).limit == before


@given(
    st.lists(tickets, min_size=1, max_size=40),
    st.lists(st.tuples(st.sampled_from(HOSTS), st.floats(0, 20), st.integers(0, 3)), max_size=20),
    st.randoms(),
)
def test_it_always_ends_whatever_registries_announce(
    work: list[Ticket], news: list[tuple[str, float, int]], random: object
) -> None:
    """Closed times and allowances that are used up only delay; nobody who waits is forgotten."""
    schedule, now, done = Schedule(LIMITS), 0.0, 0
    for ticket in work:
        schedule.submit(ticket)
    running: list[Ticket] = []
    while done < len(work):
        running += schedule.admit(now)
        _assert_within(running)
        if news:
            host, seconds, left = news.pop()
            schedule.pace(host).close(now + seconds / 2)
            schedule.pace(host).announce(Allowance(left, seconds), now)
        if running:
            schedule.finished(running.pop(random.randrange(len(running))), Verdict.FINE, now)  # type: ignore[attr-defined]
            done += 1
        else:
            wake = schedule.wake_at(now)
            assert wake is not None, "something waits, nothing runs, and time will not help"
            now = wake


def test_a_paced_registry_begins_nothing_while_requests_wait() -> None:
    """What has begun is finished first, on either side of the registry; other registries go on."""
    schedule = Schedule()
    schedule.pace("a").waiting = 1
    for hosts in ((">a",), ("<a", ">b"), (">b",)):
        schedule.submit(Ticket(Lane.SMALL, hosts))
    assert [ticket.hosts for ticket in schedule.admit(0.0)] == [(">b",)]
    schedule.pace("a").waiting = 0
    assert len(list(schedule.admit(0.0))) == 2


def test_a_refusal_of_a_paced_registry_leaves_its_windows() -> None:
    """It counts requests: fewer at once would not be fewer per second."""
    schedule = Schedule()
    schedule.pace("a").rate = 10.0
    ticket = Ticket(Lane.SMALL, (">a",))
    schedule.submit(ticket)
    list(schedule.admit(0.0))
    before = schedule.window(">a", Lane.SMALL).limit
    schedule.finished(ticket, Verdict.SLOW_DOWN, 0.0, host=">a")
    assert schedule.window(">a", Lane.SMALL).limit == before
