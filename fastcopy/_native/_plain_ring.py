"""Sorted, disjoint spans [first, last) of blob positions. Pure."""

from __future__ import annotations

from bisect import bisect_left


class Spans:
    """What is filled, or being filled."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def insert(self, first: int, last: int) -> None:
        """Add a span that joins nobody."""
        self._spans.insert(bisect_left(self._spans, (first, last)), (first, last))

    def add(self, first: int, last: int) -> None:
        """Add a span and join it with neighbours that touch; spans never overlap, claims see to it."""
        at = bisect_left(self._spans, (first, last))
        if at < len(self._spans) and self._spans[at][0] == last:
            last = self._spans.pop(at)[1]
        if at and self._spans[at - 1][1] == first:
            at -= 1
            first = self._spans.pop(at)[0]
        self._spans.insert(at, (first, last))

    def touch(self, first: int, last: int) -> bool:
        """Whether any span shares a byte with [first, last)."""
        return any(one < last and first < end for one, end in self._spans)

    def trim(self, below: int) -> None:
        """Forget everything before *below*."""
        while self._spans and self._spans[0][1] <= below:
            del self._spans[0]
        if self._spans and self._spans[0][0] < below:
            self._spans[0] = (below, self._spans[0][1])

    def remove(self, first: int) -> None:
        """Forget the span that begins at *first*."""
        self._spans = [span for span in self._spans if span[0] != first]

    def first(self) -> int:
        """Where the first span begins; there is one."""
        return self._spans[0][0]

    def covered(self, at: int) -> int:
        """End of the contiguous bytes from *at* on; *at* when there are none."""
        self.trim(at)
        return self._spans[0][1] if self._spans and self._spans[0][0] == at else at
