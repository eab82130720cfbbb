"""A registry's pace is learnt: near what it permits, with few refusals; nothing is learnt that is not so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.schedule import Allowance, Pace
from tests.pacing.simulated import Simulation, bucket, counter, narrow


@pytest.mark.parametrize(
    ("rate", "burst", "trip", "count"),
    [(10, 10, 0.002, 800), (10, 50, 0.002, 800), (10, 10, 0.1, 800), (100, 100, 0.05, 5000), (3, 3, 0.01, 300)],
)
def test_a_token_bucket_is_emptied_but_not_overdrawn(rate: float, burst: float, trip: float, count: int) -> None:
    """Within an eighth of the shortest time there is; beyond the first burst, few refusals."""
    done = Simulation(bucket(rate, burst), count, trip=trip).run()
    assert done.seconds < (count - burst) / rate * 1.12
    assert done.refused <= 32 + max(20, count / 30)


def test_a_bucket_without_any_burst_is_served_too() -> None:
    """Evenly spaced requests pass; the rate is not found as closely, but nothing collapses."""
    done = Simulation(bucket(10, 1), 800).run()
    assert done.seconds < 80 * 1.6
    assert done.refused < 80 + 32


@pytest.mark.parametrize("pause", [None, 1.0])
def test_a_count_per_second_is_kept(pause: float | None) -> None:
    """A fixed window, with Retry-After and without: each refusal costs at most the pause that it asks for."""
    done = Simulation(counter(10, 1.0), 800, pause=pause).run()
    assert done.seconds < 80 * 1.25 + (pause or 0) * (done.refused - 32)
    assert done.refused < 32 + 40


def test_a_count_per_minute_is_waited_for_without_hammering() -> None:
    """While nothing passes the pauses double: three closed minutes cost some refusals, not thousands."""
    done = Simulation(counter(100, 60.0), 400).run()
    assert done.seconds < 240
    assert done.refused < 200


@pytest.mark.parametrize("limit", [1, 2, 4, 16])
def test_a_limit_on_concurrency_is_not_taken_for_a_rate(limit: int) -> None:
    """Refusals that the number in flight explains teach the pace nothing: that is for the windows."""
    done = Simulation(narrow(limit), 200, width=2 * limit, work=0.2).run()
    assert done.refused
    assert done.pace.rate is None


def test_nothing_is_slowed_down_without_a_refusal() -> None:
    """A registry that serves everything is asked as fast as the clients can."""
    done = Simulation(lambda _now, _busy: True, 3000).run()
    assert done.pace.rate is None
    assert done.seconds < 1


def test_a_limit_that_is_gone_is_forgotten() -> None:
    """After a while of plenty the registry is asked without limit again."""
    tight = bucket(10, 10)
    done = Simulation(lambda now, busy: now > 30 or tight(now, busy), 20_000).run()
    assert done.pace.rate is None


@given(
    st.floats(0.5, 200), st.floats(1, 100), st.floats(0.001, 0.3), st.integers(1, 64), st.sampled_from([None, 0.5, 2.0])
)
def test_it_always_ends_and_the_rate_is_kept_whatever_the_registry(
    rate: float, burst: float, trip: float, width: int, pause: float | None
) -> None:
    """Every request is served in the end, and not much later than the limit makes it."""
    done = Simulation(bucket(rate, burst), 150, width=width, trip=trip, pause=pause).run()
    assert done.served == 150
    assert done.seconds < 60 + 4 * 150 / rate + 150 * trip * (1 + 32 / width) + (pause or 0) * done.refused


@given(st.floats(0.2, 500), st.lists(st.floats(0, 3), min_size=2, max_size=200))
def test_the_pace_is_never_above_the_learnt_rate_plus_a_burst(rate: float, gaps: list[float]) -> None:
    """In any span, whatever comes when: rate times span, plus one, plus what a late turn may make up for."""
    pace, now, sent = Pace(), 0.0, []
    pace.rate = rate
    for gap in gaps:
        now = max(now + gap, pace.ready_at(now + gap))
        pace.send(now)
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first <= rate * (sent[last] - sent[first]) + 2 * max(0.1, 0.05 * rate) + 1e-6


@given(st.integers(0, 50), st.floats(0.1, 500), st.integers(0, 5))
def test_what_is_announced_is_obeyed_before_it_is_used_up(left: int, reset: float, flying: int) -> None:
    """As many as remain are sent, those in flight counted; the next one waits until the count starts anew."""
    pace = Pace()
    for _ in range(flying):
        pace.send(0.0)
    pace.announce(Allowance(left, reset), 0.0)
    sent = flying
    while pace.ready_at(0.1) <= 0.1 and sent < 100:
        pace.send(0.1)
        sent += 1
    if reset > 0.1:
        assert sent == max(left, flying)
        assert pace.ready_at(0.1) == reset
        assert pace.ready_at(reset) <= reset


def test_a_quota_of_hours_is_not_waited_for() -> None:
    """Docker Hub's window of six hours: the answer to come says so, a pause of hours would not."""
    pace = Pace()
    pace.announce(Allowance(0, None, 100, 21600.0), 0.0)
    assert pace.ready_at(0.0) <= 0.0
    assert pace.announced == Allowance(0, None, 100, 21600.0)


def test_refusals_of_one_round_trip_are_one_piece_of_news() -> None:
    """Ten requests that were in flight when the first refusal was heard do not lower the rate ten times."""
    pace = Pace()
    pace.rate = pace._known = 20.0
    batch = [pace.send(1.0) for _ in range(10)]
    for sent in batch:
        pace.refuse(sent, 2.0, None)
    lowered = pace.rate
    assert pace.refused == 10
    later = pace.send(3.0)
    pace.refuse(later, 3.1, None)
    assert pace.rate == lowered, "nothing was accepted since: no new measurement"
