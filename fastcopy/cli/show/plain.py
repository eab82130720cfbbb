"""Progress for logs: one line every few seconds on stderr, so that a quiet hour is not a silent one."""

from __future__ import annotations

from collections.abc import Callable

from fastcopy.cli.show.hosts import host_text
from fastcopy.cli.show.progress import Progress
from fastcopy.cli.show.units import rate, size
from fastcopy.events import Event

#: Seconds between samples, so that the first line knows rates already.
INTERVAL = 1.0
#: Seconds between lines: a day of copying makes a log that can still be read.
EVERY = 5.0


class Plain:
    """Writes one line every few ticks while bytes are on their way."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._progress = Progress()
        self._next: float | None = None

    def event(self, event: Event) -> None:
        """Count."""
        self._progress.event(event)

    def tick(self, now: float) -> None:
        """Sample, and write a line when its time has come."""
        snapshot = self._progress.sample(now)
        self._next = now + EVERY - INTERVAL if self._next is None else self._next
        if now < self._next:
            return
        self._next = now + EVERY
        if snapshot.active or snapshot.waiting:
            self._write(plain_text(self._progress))

    def close(self) -> None:
        """Nothing to clean up."""


def plain_text(progress: Progress) -> str:
    """``412.3MiB of 1.0GiB, 180.2 MiB/s, 3 blobs in flight, 4.1s left``."""
    snapshot = progress.last
    known = f" of {size(snapshot.planned)}" if snapshot.planned else ""
    parts = [f"{size(progress.moved)}{known}", rate(progress.total.value)]
    parts.append(f"{len(snapshot.active)} {'blob' if len(snapshot.active) == 1 else 'blobs'} in flight")
    parts += [*progress.of_many, *progress.left]
    parts += [f"limited by {progress.limited_by}"] if progress.limited_by else []
    if progress.images:
        parts += [host_text(host, progress, short=True) for host in snapshot.hosts if host.host]
    parts += [f"waiting for {what}" for what in snapshot.waiting]
    return ", ".join(parts)
