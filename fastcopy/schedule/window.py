"""How many tickets one host may run in one lane: AIMD, at most one halving per epoch (Chiu and Jain 1989)."""

from __future__ import annotations

from dataclasses import dataclass

#: A burst of refusals within this many seconds is one piece of news, not many (ocync uses the same).
EPOCH = 0.1


@dataclass(slots=True)
class Window:
    """The window of one (host, lane). `held_until`: throughput fell when it had grown, so it does not grow before."""

    limit: float
    ceiling: int
    running: int = 0
    epoch_until: float = 0.0
    held_until: float = 0.0
    shrunk: int = 0  #: how often

    def has_room(self) -> bool:
        """Whether one more may start."""
        return self.running < int(self.limit)

    def is_full(self) -> bool:
        """Whether the window is what limits."""
        return self.running + 1 >= int(self.limit)

    def grow(self, now: float) -> None:
        """One success; counts only while the window is what limits."""
        if now >= self.held_until and self.is_full():
            self.limit = min(self.limit + 1 / self.limit, float(self.ceiling))

    def shrink(self, now: float) -> None:
        """Halve, once per epoch."""
        if now >= self.epoch_until:
            self.limit = max(1.0, self.limit / 2)
            self.shrunk += 1
            self.epoch_until = now + EPOCH

    def retreat(self, to: float, until: float) -> None:
        """Back to *to*, where throughput was better, and no growth before *until*."""
        self.limit = max(1.0, min(self.limit, to))
        self.held_until = until
        self.shrunk += 1
