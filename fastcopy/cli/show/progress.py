"""What is known of a run's progress: counted from events, measured from samples.

Pure: the clock's readings come in as arguments. Owns rates and estimates; knows no terminal.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from fastcopy.cli.show.units import seconds
from fastcopy.events import (
    BlobDone,
    BlobMeter,
    BlobStarted,
    CopyStarted,
    Event,
    How,
    Meters,
    Snapshot,
    SyncedImage,
    SyncPlanned,
)

#: A rate is measured over this many seconds: long enough not to flicker, short enough to notice a stall.
WINDOW = 3.0


class Speed:
    """Bytes per second over the last WINDOW seconds of samples."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now: float, count: int) -> None:
        """At *now* the counter stood at *count*."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()

    @property
    def value(self) -> float:
        """0.0 while nothing can be said."""
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return max(0.0, (after - before) / (last - first)) if last > first else 0.0


@dataclass
class Progress:
    """The state that every renderer draws."""

    started: dict[str, BlobStarted] = field(default_factory=dict)  #: not yet done, in order
    done: dict[How, int] = field(default_factory=dict)  #: blobs
    last: Snapshot = field(default_factory=Snapshot)
    total: Speed = field(default_factory=Speed)
    meters: Meters | None = None
    images: int = 0  #: of a run of many; 0: a single one
    images_done: int = 0
    listing: int = 0  #: places whose images are not known yet
    _speeds: dict[str, Speed] = field(default_factory=dict)

    def event(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, CopyStarted):
            self.meters = event.meters
        elif isinstance(event, SyncPlanned):
            self.images, self.listing = event.images, event.listing
        elif isinstance(event, SyncedImage):
            self.images_done += 1
        elif isinstance(event, BlobStarted):
            self.started[event.digest] = event
        elif isinstance(event, BlobDone):
            self.started.pop(event.digest, None)
            self._speeds.pop(event.digest, None)
            self.done[event.how] = self.done.get(event.how, 0) + 1

    def sample(self, now: float) -> Snapshot:
        """Read the meters; the reading is also kept in `last`."""
        if self.meters is not None:
            self.last = self.meters.snapshot()
        self.total.sample(now, self.last.bytes_in)
        for meter in self.last.active:
            self._speeds.setdefault(meter.digest, Speed()).sample(now, meter.done)
        return self.last

    def speed(self, digest: str) -> float:
        """Bytes per second of one blob."""
        speed = self._speeds.get(digest)
        return speed.value if speed else 0.0

    @property
    def moved(self) -> int:
        """Bytes that need no more work: settled blobs and what is done of those in flight."""
        return self.last.settled + sum(meter.done for meter in self.last.active)

    @property
    def eta(self) -> float | None:
        """Seconds until everything planned so far is there; None when that cannot be said."""
        return _eta(self.last.planned - self.moved, self.total.value)

    @property
    def left(self) -> list[str]:
        """The estimate in words; of many images the blobs of those not begun are not known yet."""
        if self.eta is None:
            return []
        more = self.listing or self.images_done < self.images
        return [f"{'at least ' if more else ''}{seconds(self.eta)} left"]

    @property
    def of_many(self) -> list[str]:
        """How many images of many are done, in words."""
        if self.listing:
            return [f"{self.images_done} of {self.images} images so far"]
        return [f"{self.images_done} of {self.images} images"] if self.images else []

    def blob_eta(self, meter: BlobMeter) -> float | None:
        """Seconds until one blob is complete."""
        return _eta(meter.size - meter.done, self.speed(meter.digest))


def _eta(left: int, speed: float) -> float | None:
    return left / speed if left > 0 and speed > 0 else None
