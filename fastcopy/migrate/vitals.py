"""The counters of a run, over all of its rounds, for whoever scrapes them (docs/watch.md lists them).

A listener of events, like a renderer; what bodies moved is read from the meters of the round that is under way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

from fastcopy.events import BlobDone, CopyStarted, Event, HostMeter, Retrying, SyncedImage, Waiting
from fastcopy.exposition import Family, Sample
from fastcopy.transfer.meters import RunMeters

Key = tuple[str, ...]


class Vitals:
    """What was counted so far; counters never go back, also when a round ends."""

    def __init__(self) -> None:
        self.images: Counter[Key] = Counter()
        self.blobs: Counter[Key] = Counter()
        self.blob_bytes: Counter[Key] = Counter()
        self.retries: Counter[Key] = Counter()
        self.waits: Counter[Key] = Counter()
        self.wait_seconds: Counter[Key] = Counter()
        self.rounds: Counter[Key] = Counter()
        self.round_seconds = 0.0
        self.last_seconds = self.last_success = 0.0
        self._meters: RunMeters | None = None
        self._bytes: Counter[Key] = Counter()
        self._answers: Counter[Key] = Counter()
        self._shrunk: Counter[Key] = Counter()

    def event(self, event: Event) -> None:
        """Count one event."""
        match event:
            case CopyStarted():
                self._fold()
                self._meters = event.meters if isinstance(event.meters, RunMeters) else None
            case SyncedImage():
                self.images[event.status,] += 1
            case BlobDone():
                self.blobs[event.how,] += 1
                self.blob_bytes[event.how,] += max(event.size, 0)
            case Retrying():
                self.retries[event.side or "us",] += 1
            case Waiting():
                self.waits[event.host.lstrip("<>"),] += 1
                self.wait_seconds[event.host.lstrip("<>"),] += event.seconds  # type: ignore[assignment]

    def tick(self, now: float) -> None:
        """Nothing to draw."""

    def close(self) -> None:
        """Nothing to clean up."""

    def ended(self, seconds: float, *, well: bool, now: float | None = None) -> None:
        """A round ended after *seconds*; *now* is the wall clock."""
        self.rounds["ok" if well else "failed",] += 1
        self.round_seconds += seconds
        self.last_seconds = seconds
        if well:
            self.last_success = time.time() if now is None else now

    def _fold(self) -> None:
        """The counters of the round that was, added up."""
        if self._meters is not None:
            self._bytes, self._answers, self._shrunk = self._moved(), self._answered(), self._shrinks()
            self._meters = None

    def _hosts(self) -> tuple[HostMeter, ...]:
        return self._meters.hosts() if self._meters else ()

    def _moved(self) -> Counter[Key]:
        return self._bytes + Counter({(each.side, each.host): each.bytes for each in self._hosts()})

    def _shrinks(self) -> Counter[Key]:
        return self._shrunk + Counter({(each.side, each.host): each.shrunk for each in self._hosts()})

    def _answered(self) -> Counter[Key]:
        return self._answers + Counter(self._meters.answers if self._meters else {})

    def families(self) -> Iterator[Family]:
        """Everything, in a fixed order."""
        yield _counter("images_total", "Images settled, by what became of them.", ("status",), self.images)
        yield _counter("blobs_total", "Blobs at a destination, by how they came there.", ("how",), self.blobs)
        yield _counter("blob_bytes_total", "Sizes of these blobs in bytes.", ("how",), self.blob_bytes)
        at = ("side", "host")
        yield _counter("bytes_total", "Bytes of blobs that crossed the wire.", at, self._moved())
        yield _counter("requests_total", "Answers to requests.", (*at, "class"), self._answered())
        yield _counter("retries_total", "Steps that were tried again, by the side at fault.", ("side",), self.retries)
        yield _counter("waits_total", "Times that a registry asked to be left alone.", ("host",), self.waits)
        yield _counter("wait_seconds_total", "Seconds it asked for, together.", ("host",), self.wait_seconds)
        yield _counter("window_shrinks_total", "Times that trouble made a window smaller.", at, self._shrinks())
        yield from self._gauges()
        yield _counter("rounds_total", "Rounds that ended, by how.", ("result",), self.rounds)
        count = sum(self.rounds.values())
        sums = (Sample(self.round_seconds, suffix="_sum"), Sample(count, suffix="_count"))
        yield Family("fastcopy_round_seconds", "summary", "How long rounds took.", sums)

    def _gauges(self) -> Iterator[Family]:
        hosts = self._hosts()
        for name, text in (
            ("window", "Bodies that may be in flight at once."),
            ("bodies", "Bodies in flight."),
            ("waiting", "Steps that wait for their turn."),
        ):
            found: dict[Key, float] = {(each.side, each.host): getattr(each, name) for each in hosts}
            yield _gauge(f"host_{name}", text, ("side", "host"), found)
        last: dict[Key, float] = {(): self.last_seconds} if self.rounds else {}
        yield _gauge("last_round_seconds", "How long the last round took.", (), last)
        done: dict[Key, float] = {(): self.last_success} if self.last_success else {}
        yield _gauge("last_success_timestamp_seconds", "When a round last ended well, in Unix time.", (), done)


def _samples(labels: Key, values: Mapping[Key, float]) -> tuple[Sample, ...]:
    return tuple(Sample(value, dict(zip(labels, key, strict=True))) for key, value in sorted(values.items()))


def _counter(name: str, text: str, labels: Key, values: Mapping[Key, float]) -> Family:
    return Family(f"fastcopy_{name}", "counter", text, _samples(labels, values))


def _gauge(name: str, text: str, labels: Key, values: Mapping[Key, float]) -> Family:
    return Family(f"fastcopy_{name}", "gauge", text, _samples(labels, values))
