"""Falling throughput as congestion: a window that grew and moves clearly less than before goes back.

More bodies at once can be slower than fewer: disks that seek, caches that thrash, peers that count. Every second of
a full window is measured; the best one of late and its width are remembered. Two seconds in a row with less than
two thirds of it, in a window that has grown since, are the news; then the window goes back to that width.
A fall in a window that has not grown says nothing about the window: somebody else's load, or the end of the work.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastcopy.schedule.window import Window

#: Seconds of one measurement: bodies of several megabytes come in lumps below that.
MEASURE = 1.0
FALLEN = 2 / 3
#: Seconds after which the best measurement is too old to compare with, and for which a window does not grow again.
MEMORY = 10.0


@dataclass
class Throughput:
    """The bytes that one host moved in the bulk lane, second by second."""

    best: float = 0.0  #: bytes per second
    width: float = 0.0  #: of the window when it was measured
    _best_at: float = 0.0
    _since: float | None = None
    _moved: int = 0
    _full: bool = True
    _low: int = 0

    def observe(self, window: Window, moved: int, now: float) -> None:
        """*moved* bytes in all by now; shrinks *window* when it has grown too far. Call several times a second."""
        self._full = self._full and window.is_full()
        if self._since is None:
            self._begin(moved, now)
        elif now - self._since >= MEASURE:
            if self._full:
                self._judge(window, (moved - self._moved) / (now - self._since), now)
            else:
                self._low = 0
            self._begin(moved, now)

    def _begin(self, moved: int, now: float) -> None:
        self._since, self._moved, self._full = now, moved, True

    def _judge(self, window: Window, rate: float, now: float) -> None:
        if rate >= self.best or now - self._best_at > MEMORY:
            self.best, self.width, self._best_at, self._low = rate, window.limit, now, 0
        elif rate < self.best * FALLEN and int(window.limit) > int(self.width):
            self._low += 1
            if self._low >= 2:
                window.retreat(self.width, now + MEMORY)
                self._low = 0
        else:
            self._low = 0
