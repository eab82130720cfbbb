"""What the steps of one run share: gate, leaders, knowledge of places, meters, and the one loop that repeats.

Law: `perform` is the only place of the engine that tries again. It gives its slot back while it waits.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from fastcopy.errors import Again, FastcopyError, IntegrityError, Side
from fastcopy.events import Event, Retrying, Waiting
from fastcopy.options import CopyOptions, RunOptions
from fastcopy.schedule import Lane
from fastcopy.transfer.beside import Beside
from fastcopy.transfer.drain import Drain
from fastcopy.transfer.gate import Gate
from fastcopy.transfer.ledger import Ledger
from fastcopy.transfer.meters import RunMeters
from fastcopy.transfer.notes import Notes
from fastcopy.transfer.wants import Wants

if TYPE_CHECKING:
    from fastcopy._native import Rate
    from fastcopy.descriptor import Digest

T = TypeVar("T")
R = TypeVar("R")

#: Seconds before the first further attempt; doubles, with full jitter (protocol reference 5.6).
BACKOFF, BACKOFF_CAP = 0.3, 30.0
#: Bytes that were wrong once may have been a transmission's fault; wrong twice they are wrong (protocol reference 5.2).
FRESH_STARTS = 2
#: A host that says "later" is waited for this long in all before its last answer becomes the error.
LATER_BUDGET = 15 * 60.0
#: Seconds between two looks at what bodies move; the schedule judges whole seconds.
MEASURE_EVERY = 0.25
#: Bytes that one layer in recompression takes of the memory budget: zstd holds two jobs of 4 MiB, in and out, for each
#: of its threads (docs/memory.md).
PER_CODEC = 40 << 20


def codec_slots(memory: int) -> int:
    """How many layers may be recompressed at once within *memory* bytes: more than there are cores gains nothing."""
    return max(1, min(os.cpu_count() or 1, memory // PER_CODEC))


class Known:
    """Which blobs are where, as far as this run has seen: host -> digest -> places."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], set[str]] = defaultdict(set)

    def note(self, host: str, place: str, digest: Digest) -> None:
        """*digest* is complete at *place* of *host*."""
        self._places[host, digest].add(place)

    def has(self, host: str, place: str, digest: Digest) -> bool:
        """Whether this run put it or saw it there."""
        return place in self._places.get((host, digest), ())

    def elsewhere(self, host: str, place: str, digest: Digest) -> str:
        """Another place of the same host that has it; "" if none is known."""
        return next((other for other in self._places.get((host, digest), ()) if other != place), "")

    def places(self, host: str, digest: Digest) -> tuple[str, ...]:
        """Every place of *host* that has it."""
        return tuple(sorted(self._places.get((host, digest), ())))

    def forget(self, host: str, place: str, digest: Digest) -> None:
        """It was not there after all."""
        self._places.get((host, digest), set()).discard(place)


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """Something to do at one host or two, in words (`what`) and in deed (`work`)."""

    what: str
    work: Callable[[], Awaitable[T]]
    source: str = ""  #: host key, "" when not involved
    destinations: tuple[str, ...] = ()
    lane: Lane = Lane.SMALL
    size: int = 0
    once: bool = False  #: its failure is an answer too: not worth another attempt
    due: bool = False  #: what is in flight waits for nothing else: done also when the run is asked to end

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts whose budgets it uses; source and destination of one host count apart."""
        source = ("<" + self.source,) if self.source else ()
        return source + tuple(">" + host for host in self.destinations if host)

    def reads_wrong_files(self, error: FastcopyError) -> bool:
        """Whether *error* is about wrong bytes of a local source: reading the same file again brings the same ones."""
        return not self.source and isinstance(error, IntegrityError) and error.side in ("source", "")

    def host_of(self, side: Side) -> str:
        """The budget that an error of *side* is about; "" when that cannot be told."""
        if side == "source":
            return self.source and "<" + self.source
        if side == "destination" and len(self.destinations) == 1:
            return self.destinations[0] and ">" + self.destinations[0]
        return ""


@dataclass
class Run:
    """One run of the engine: handed to every step."""

    gate: Gate
    copy: CopyOptions
    options: RunOptions
    emit: Callable[[Event], None]
    meters: RunMeters = field(default_factory=RunMeters)
    known: Known = field(default_factory=Known)
    expected: Known = field(default_factory=Known)  #: where a plan found blobs: asked before it is believed
    notes: Notes = field(default_factory=Notes)
    reached: dict[tuple[str, str, Digest], int] = field(default_factory=dict)  #: the furthest that an upload has come
    drain: Drain = field(default_factory=Drain)
    ledger: Ledger = field(default_factory=Ledger)
    rate: Rate | None = None
    leaders: dict[tuple[str, str], trio.Lock] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)
    wants: Wants = field(default_factory=Wants)
    codecs: trio.CapacityLimiter | None = None  #: layers in recompression: a matter of cores and memory, not of hosts

    def __post_init__(self) -> None:
        self.codecs = self.codecs or trio.CapacityLimiter(codec_slots(self.options.memory))
        self.gate.held = self._held
        self.meters.schedule, self.meters.bandwidth = self.gate.schedule, self.options.bandwidth

    def leader(self, host: str, digest: Digest) -> trio.Lock:
        """Held by whoever brings *digest* to *host* first; the others then mount."""
        return self.leaders.setdefault((host, digest), trio.Lock())

    async def measure(self) -> None:
        """Runs beside the work: lets the schedule see how much bodies move."""
        while True:
            await trio.sleep(MEASURE_EVERY)
            for host, count in self.meters.by_host().items() if self.meters.flows else ():
                self.gate.moved(host, count)

    async def perform(self, step: Step[T]) -> T:
        """Do *step* in a slot, again as often as its errors and the options allow; Drained when there is no time."""
        waited, attempt = 0.0, 0
        while True:
            failure = await self._try(step)
            if not isinstance(failure, FastcopyError):
                return failure
            attempt = 1 if failure.gained else attempt + (failure.again is not Again.LATER)
            final = step.once or step.reads_wrong_files(failure)
            delay = None if final else self._patience(failure, attempt, waited)
            if delay is None:
                raise failure
            failure.let_go()
            waited += delay
            self._tell(step, failure, delay, attempt)
            await self._sleep(step, delay)

    async def _sleep(self, step: Step[T], delay: float) -> None:
        if step.due:
            await trio.sleep(delay)
            return
        with self.drain.wait():
            await trio.sleep(delay)

    async def _try(self, step: Step[T]) -> T | FastcopyError:
        drain = None if step.due else self.drain
        if drain and drain.asked:
            await drain.left()
        async with self.gate.slot(step.lane, step.hosts, step.size, drain) as slot:
            try:
                return await step.work()
            except FastcopyError as error:
                slot.judge(error, step.host_of(error.side))
                return error

    def _patience(self, error: FastcopyError, attempt: int, waited: float) -> float | None:
        if error.again is Again.NEVER:
            return None
        if error.again is Again.LATER:
            # A host that names no time is asked again after as long as it was waited for already: 1, 1, 2, 4, ... s.
            delay = (error.retry_after or min(max(waited, 1.0), BACKOFF_CAP)) + random.uniform(0, 0.2)
            return delay if waited + delay <= LATER_BUDGET else None
        if attempt > (min(self.options.retries, FRESH_STARTS) if error.again is Again.FRESH else self.options.retries):
            return None
        if self.options.retry_delay:
            return self.options.retry_delay
        spread = random.uniform(0.2, 1) * min(BACKOFF_CAP, BACKOFF * 2.0**attempt)
        return spread + (error.retry_after or 0.0)

    def _held(self, registry: str, seconds: float) -> None:
        self.meters.waits[registry] = trio.current_time() + seconds
        self.emit(Waiting(registry, "the registry wants to be left alone", seconds))

    def _tell(self, step: Step[T], error: FastcopyError, delay: float, attempt: int) -> None:
        if error.again is Again.LATER:
            host = step.host_of(error.side)
            self.meters.waits[host] = trio.current_time() + delay
            self.emit(Waiting(host, str(error), delay, error.side))
        else:
            self.emit(Retrying(step.what, str(error), delay, error.side, attempt, self.options.retries))


async def blamed(side: Side, waiting: Awaitable[R]) -> R:
    """Await something that happens at *side*: an error that does not say whose fault it is gets that side."""
    try:
        return await waiting
    except FastcopyError as error:
        raise error.blame(side) from None
