"""Medians, spreads and ratios. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """The median of some samples and the whole range they covered."""

    median: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2) -> str:
        """Return "1.50 (1.42..1.61)"; a single sample has no spread to show."""
        if self.count == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}..{self.high:.{digits}f})"


def summarise(samples: Sequence[float]) -> Summary:
    """Summarise at least one sample; raises ValueError for none."""
    if not samples:
        raise ValueError("no samples")
    return Summary(statistics.median(samples), min(samples), max(samples), len(samples))


def ratio(value: float, base: float | None) -> float | None:
    """Return value / base, or None where there is nothing to compare with."""
    return value / base if base else None
