"""What is known of a run's progress: counted from events, measured from samples.

Pure: the clock's readings come in as arguments. Owns rates, estimates and the judgement who holds a run up; knows no
terminal. What it holds does not grow with the number of images.
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
    HostMeter,
    How,
    Meters,
    Snapshot,
    SyncedImage,
    SyncPlanned,
)

#: A rate is measured over this many seconds: long enough not to flicker, short enough to notice a stall.
WINDOW = 3.0
#: Blobs that are remembered as begun: more than are ever in flight. Those that failed say nothing when they end.
REMEMBERED = 4096
#: A share of the limit that counts as the limit: its bucket is filled in steps.
AT_THE_LIMIT = 0.9
#: Who holds a run up must account for at least this share of what bodies and processor spent, or nobody is named.
CLEAR = 0.5
#: Less than this share of a second's waiting and computing per second is a run of small requests: nobody is named.
IDLE = 0.2


class Speed:
    """Bytes (or seconds) per second over the last WINDOW seconds of samples."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def sample(self, now: float, count: float) -> None:
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
    spent: dict[str, Speed] = field(default_factory=dict)  #: seconds per second, by who is waited for
    _speeds: dict[str, Speed] = field(default_factory=dict)
    _hosts: dict[tuple[str, str], Speed] = field(default_factory=dict)

    def event(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, CopyStarted):
            self.meters = event.meters
            self.total, self.spent, self._hosts = Speed(), {}, {}  # another run's counters begin anew
            self.images = self.images_done = 0
        elif isinstance(event, SyncPlanned):
            self.images, self.listing = event.images, event.listing
        elif isinstance(event, SyncedImage):
            self.images_done += 1
        elif isinstance(event, BlobStarted):
            self.started[event.digest] = event
            if len(self.started) > REMEMBERED:
                del self.started[next(iter(self.started))]
        elif isinstance(event, BlobDone):
            self.started.pop(event.digest, None)
            self.done[event.how] = self.done.get(event.how, 0) + 1

    def sample(self, now: float) -> Snapshot:
        """Read the meters; the reading is also kept in `last`."""
        if self.meters is not None:
            self.last = self.meters.snapshot()
        self.total.sample(now, self.last.bytes_in)
        self._speeds = {meter.digest: self._speeds.get(meter.digest, Speed()) for meter in self.last.active}
        for meter in self.last.active:
            self._speeds[meter.digest].sample(now, meter.done)
        for host in self.last.hosts:
            self._hosts.setdefault((host.side, host.host), Speed()).sample(now, host.bytes)
        spent = (self.last.waited_in, self.last.waited_out, self.last.cpu)
        for who, seconds_spent in zip(("the source", "the destination", "this machine"), spent, strict=True):
            self.spent.setdefault(who, Speed()).sample(now, seconds_spent)
        return self.last

    def host_speed(self, host: HostMeter) -> float:
        """Bytes per second that cross one side of one registry."""
        speed = self._hosts.get((host.side, host.host))
        return speed.value if speed else 0.0

    @property
    def limited_by(self) -> str:
        """Who holds the bodies in flight up: a side, this machine, --bwlimit; "" where nobody stands out."""
        if not self.last.active:
            return ""
        if self.last.bandwidth and self.total.value >= self.last.bandwidth * AT_THE_LIMIT:
            return "--bwlimit"
        spent = {who: speed.value for who, speed in self.spent.items()}
        total, who = sum(spent.values()), max(spent, key=lambda each: spent[each], default="")
        return who if total >= IDLE and spent[who] >= CLEAR * total else ""

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
    def is_partial(self) -> bool:
        """Whether more may be to copy than is planned: of images that have not begun the blobs are not known yet."""
        return bool(self.listing or self.images_done < self.images)

    @property
    def left(self) -> list[str]:
        """The estimate in words."""
        if self.eta is None:
            return []
        return [f"{'at least ' if self.is_partial else ''}{seconds(self.eta)} left"]

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
