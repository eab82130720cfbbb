"""Times a callable: the best of several rounds, because noise only ever adds."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 7
ROUND_SECONDS = 0.1


def best_seconds(act: Callable[[int], None]) -> float:
    """Return the seconds one repetition takes; *act* is told how many to do."""
    count = 1
    while (spent := _time(act, count)) < ROUND_SECONDS / 10:
        count *= 10
    count = max(1, int(count * ROUND_SECONDS / spent))
    return min(_time(act, count) for _ in range(ROUNDS)) / count


def _time(act: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    act(count)
    return time.perf_counter() - start
