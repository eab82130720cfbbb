"""What a run counts while it works, and what a renderer sees of it.

Owns the counters. Refuses to know who draws them, and who decides by them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from fastcopy.errors import Side
from fastcopy.events import BlobMeter, HostMeter, Snapshot
from fastcopy.schedule import Lane, Schedule, registry_of

if TYPE_CHECKING:
    from fastcopy.descriptor import Descriptor


class Counts(Protocol):
    """What a pump shows while it runs."""

    @property
    def read(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def wait_in_ns(self) -> int: ...
    @property
    def wait_out_ns(self) -> int: ...


@dataclass(slots=True)
class Flow:
    """A body in flight, or a part of one: `before` are the bytes of the parts that went before.

    `hosts` are the budgets that its bytes speak for, as `Step.hosts` writes them.
    """

    what: Descriptor
    counts: Callable[[], Counts]
    before: int = 0
    hosts: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """Totals of blobs by how they came there."""

    blobs: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """One more, of *size* bytes."""
        self.blobs += 1
        self.bytes += max(size, 0)


@dataclass
class RunMeters:
    """Everything a renderer samples; implements events.Meters."""

    copied: Tally = field(default_factory=Tally)
    present: Tally = field(default_factory=Tally)
    mounted: Tally = field(default_factory=Tally)
    planned: int = 0
    settled: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rings: int = 0  #: bytes of the memory budget that rings of ranges hold now
    flows: dict[int, Flow] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    landed: dict[str, int] = field(default_factory=dict)  #: bytes of bodies that ended, by budget of a host
    small: dict[str, int] = field(default_factory=dict)  #: the same of blobs that stay in the loop
    waited: list[int] = field(default_factory=lambda: [0, 0])  #: nanoseconds for sources and destinations, by bodies
    answers: dict[tuple[str, ...], int] = field(default_factory=dict)  #: by (side, registry, class of status)
    schedule: Schedule | None = None
    bandwidth: int = 0  #: the run's limit in bytes per second, 0: none
    extras: dict[tuple[str, str], int] = field(default_factory=dict)  #: bytes moved in vain, by (cause, side)

    def extra(self, cause: str, side: Side, count: int) -> None:
        """*count* bytes crossed *side* that a run without *cause* would not have moved."""
        self.extras[cause, side] = self.extras.get((cause, side), 0) + max(count, 0)

    def snapshot(self) -> Snapshot:
        """The counters now, bodies in flight included."""
        counts = [(flow, flow.counts()) for flow in self.flows.values()]
        return Snapshot(
            bytes_in=self.bytes_in + sum(count.read for _, count in counts),
            bytes_out=self.bytes_out + sum(count.written for _, count in counts),
            active=tuple(
                BlobMeter(flow.what.digest, flow.what.size, flow.before + count.read) for flow, count in counts
            ),
            planned=self.planned,
            settled=self.settled,
            waiting=tuple(self._waiting(trio.current_time())),
            hosts=self.hosts(),
            waited_in=(self.waited[0] + sum(count.wait_in_ns for _, count in counts)) / 1e9,
            waited_out=(self.waited[1] + sum(count.wait_out_ns for _, count in counts)) / 1e9,
            cpu=time.process_time(),
            bandwidth=self.bandwidth,
        )

    def _waiting(self, now: float) -> Iterator[str]:
        for host, until in self.waits.items():
            if until > now:
                yield f"{registry_of(host)}: rate limit, {until - now:.0f}s more"

    def hosts(self) -> tuple[HostMeter, ...]:
        """Each side of each registry that work was done at."""
        return tuple(self._hosts(self.schedule, trio.current_time())) if self.schedule else ()

    def answered(self, side: str, host: str, status: int) -> None:
        """*host* answered a request with *status*."""
        key = (side, host, f"{status // 100}xx")
        self.answers[key] = self.answers.get(key, 0) + 1

    def _hosts(self, schedule: Schedule, now: float) -> Iterator[HostMeter]:
        moved = self.by_host()
        for key in schedule.hosts:
            bulk, small = schedule.window(key, Lane.BULK), schedule.window(key, Lane.SMALL)
            yield HostMeter(
                host=registry_of(key),
                side="source" if key.startswith("<") else "destination",
                bytes=moved.get(key, 0) + self.small.get(key, 0),
                bodies=bulk.running,
                requests=small.running,
                window=int(bulk.limit),
                shrunk=bulk.shrunk + small.shrunk,
                waiting=schedule.waiting_at(key),
                closed=max(0.0, schedule.opens_at(key, now) - now),
                pace=schedule.pace(registry_of(key)).rate,
            )

    def took_small(self, host: str, side: Side, count: int) -> None:
        """A blob of *count* bytes went through the loop, from or to *host*."""
        self.took(count if side == "source" else 0, count if side == "destination" else 0)
        key = ("<" if side == "source" else ">") + host
        self.small[key] = self.small.get(key, 0) + count

    def took(self, read: int, written: int) -> None:
        """A body ended; its counters become part of the totals."""
        self.bytes_in += read
        self.bytes_out += written

    def land(self, key: int) -> int:
        """The flow *key* is over: its counters become part of the totals. The bytes it read."""
        flow = self.flows.pop(key)
        counts = flow.counts()
        self.took(counts.read, counts.written)
        self.waited[0] += counts.wait_in_ns
        self.waited[1] += counts.wait_out_ns
        for host, count in _shares(flow, counts):
            self.landed[host] = self.landed.get(host, 0) + count
        return counts.read

    def by_host(self) -> dict[str, int]:
        """Bytes of bodies so far, by budget of a host."""
        moved = dict(self.landed)
        for flow in self.flows.values():
            for host, count in _shares(flow, flow.counts()):
                moved[host] = moved.get(host, 0) + count
        return moved

    def tally(self, how: str) -> Tally:
        """The totals for *how* a blob came to be there."""
        return {"present": self.present, "mounted": self.mounted}.get(how, self.copied)


def _shares(flow: Flow, counts: Counts) -> Iterator[tuple[str, int]]:
    """The bytes of a body by host; the destinations of one download share what was written equally."""
    targets = sum(host.startswith(">") for host in flow.hosts)
    for host in flow.hosts:
        yield host, counts.written // targets if host.startswith(">") else counts.read
