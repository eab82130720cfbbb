"""One large blob over several connections: closed ranges fill a ring, one thread drains it in order into the uploads.

It begins as one connection that reads the first piece. Only if that piece shows that the source's connection is what
limits (slow, and the pump waited for it) does it ramp: four fillers, eight, ... as long as throughput grows; a refusal
(429) ends the ramp, and what brought nothing is taken back. Otherwise the rest comes over one connection, as on the
plain road.
An upload in parts has a ring for each part, and the next one begins with as many fillers as the last one ended with.
A range that fails is retried alone. One that falls far behind its brothers is hedged: what it lacks is asked for a
second time, and from the moment that the second answer is there the first one is cut. One without brothers is cut when
it holds up the ring.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import trio

from fastcopy.errors import FastcopyError, LimitError, LinkError, LinkLost
from fastcopy.schedule import Lane, Verdict
from fastcopy.threads import in_thread
from fastcopy.transfer.carry import Carrier
from fastcopy.transfer.pumping import failure_of
from fastcopy.transfer.run import blamed

if TYPE_CHECKING:
    from fastcopy._native import Pump, Report
    from fastcopy.transports.base import BlobReader

#: Smaller blobs are over before a ramp pays; the scheduler runs several at once anyway (protocol reference 5.3).
RANGED_MIN: Final = 64 << 20
#: Read first, over one connection: long enough to leave slow start, short beside what follows.
FIRST_PIECE: Final = 4 << 20
#: A piece costs one round trip: at 20 MB/s and 30 ms, 4 MiB take 200 ms. Larger ones only need a larger ring.
PIECE: Final = 4 << 20
#: A connection that yields this many bytes per second is not what limits: AWS counts one per 85 to 90 MB/s, a shared
#: core hashes, decrypts and writes a few hundred.
FAST_ENOUGH: Final = 48_000_000
#: ... nor is it when the pump spent less than this share of the time waiting for it.
STARVED: Final = 0.5
RAMP_EVERY: Final = 0.25
GROWTH: Final = 1.15
#: Twice the connections for less than this gain, twice in a row, and they are given back.
NOTHING: Final = 1.05
FEW: Final = 4
#: Fewer than two leave the line idle for a round trip between pieces.
LEAST: Final = 2
MOST: Final = 16
#: A part of an upload has to be worth a ring of its own.
WIDE_PART: Final = 32 << 20
SLAB: Final = 256 << 10
#: A piece is cut and asked for anew when it brought nothing for this long while it holds up the ring.
CUT_AFTER: Final = 3.0
#: A range is far behind after this many times what the middle one of the last pieces took, and this many seconds ...
BEHIND: Final = 3.0
BEHIND_SECONDS: Final = 0.5
#: ... when so many have ended that a middle means something.
BROTHERS: Final = 4
TRIES: Final = 5
TICK: Final = 0.01


@dataclass
class RangedCarrier(Carrier):
    """The plain road that may widen."""

    road: Literal["first", "plain", "wide"] = "first"
    fillers: int = FEW
    alone: float = 0.0  #: bytes per second of one connection

    @staticmethod
    def first_piece(first: int) -> int | None:
        return first + FIRST_PIECE - 1

    async def _through(self, make: Callable[..., Pump], size: int) -> Report:
        if self.road == "first":
            return await self._begin(make, size)
        ring = self._ring_bytes() if self.road == "wide" else 0
        if ring >= 2 * PIECE:
            return await self._widely(make, self.done, self.done + size, ring // SLAB)
        if self.road == "wide":
            await self._open_plainly(self.done)
        return await super()._through(make, size)

    async def _begin(self, make: Callable[..., Pump], size: int) -> Report:
        """The first part decides how the others come."""
        if size < WIDE_PART and self.done + size < self.what.size:
            return await self._short(make, size)
        if self.reader is None:
            await self._read_from(self.done, self.first_piece(self.done))
        assert self.reader is not None
        if self.reader.inlet is None:  # it shares its connection, or is not to be lent: more of them gain nothing
            await self._open_plainly(self.done)
            return await super()._through(make, size)
        with self._metered(make(size), self.done) as pump:
            report, starved = await self._first(pump, size)
            if report is not None:
                return report
            ring = self._ring_bytes() if starved else 0
        if ring < 2 * PIECE:  # fast enough, or other rings have the memory
            self.moved = pump.position
            await self._open_plainly(self._at)
            return await super()._through(make, size)
        self.road = "wide"
        return await self._widely(make, self.done + pump.position, self.done + size, ring // SLAB)

    async def _short(self, make: Callable[..., Pump], size: int) -> Report:
        """A part that is over before a ring is full; small parts come plainly, a piece to be hashed decides nothing."""
        if not all(upload.offset > self.done for upload in self.uploads.values()):
            await self._open_plainly(self.done)
            return await super()._through(make, size)
        await self._read_from(self.done, self.done + size - 1)
        report = await super()._through(make, size)
        if self.reader is not None:
            await self.reader.settle(report)
            self.close()
            self.reader = None
        return report

    async def _read_from(self, first: int, last: int | None) -> None:
        self.close()
        self.reader = await blamed("source", self.source.open_blob(self.what, first, last))

    async def _open_plainly(self, first: int) -> None:
        """Over one connection from byte *first* to the end."""
        self.road = "plain"
        await self._read_from(first, None)

    async def _first(self, pump: Pump, size: int) -> tuple[Report | None, bool]:
        """Read the first piece: a report if the part is through (or its destinations are lost), and who limited."""
        assert self.reader is not None
        started = trio.current_time()
        report = await self._feed(pump, size)
        seconds = max(trio.current_time() - started, 1e-6)
        inlet = self.reader.inlet
        if inlet is None or inlet.remaining or pump.position != FIRST_PIECE:
            return await self._not_as_asked(pump, size, report), False
        await self.reader.settle(report)
        waited = report.wait_in_ns / 1e9 / seconds
        self.alone = pump.position / seconds
        return None, pump.position / seconds < FAST_ENOUGH and waited > STARVED

    async def _not_as_asked(self, pump: Pump, size: int, report: Report) -> Report | None:
        """The whole blob came (no Range here), or the piece broke: the plain road knows what to do."""
        self.road = "plain"
        failure = failure_of(report, self.what, pump, self.run.options.stall)
        if failure is None:
            return report
        await self._reconnect(pump, failure, pump.position)
        return await self._pump(pump, size)

    async def _widely(self, make: Callable[..., Pump], start: int, end: int, slabs: int) -> Report:
        run = self.run
        run.meters.rings += slabs * SLAB
        try:
            ring = make(end - start, start=start, slab=SLAB, slabs=slabs)
            with self._metered(ring, start) as pump:
                widening = Widening(self, pump, start, end, slabs * SLAB, wanted=self.fillers, best=self.alone)
                report = await widening.go()
                self.fillers, self.alone = max(1, min(widening.wanted, widening.ceiling)), widening.best
        finally:
            run.meters.rings -= slabs * SLAB
        failure = failure_of(report, self.what, pump, run.options.stall)
        if failure is not None:
            raise failure
        return report

    def _ring_bytes(self) -> int:
        """What the other rings leave of two thirds of the memory budget, at most a piece per connection."""
        return min(self.run.options.memory * 2 // 3 - self.run.meters.rings, MOST * PIECE)


@dataclass(eq=False)
class Filler:
    """One range on its way into the ring."""

    first: int
    last: int
    reader: BlobReader
    began: float = field(default_factory=trio.current_time)
    moved_at: float = field(default_factory=trio.current_time)
    left: int = -1
    hedged: bool = False  #: it was asked for a second time
    heir: Heir | None = None

    @property
    def at(self) -> int:
        """The next byte it will bring."""
        assert self.reader.inlet is not None
        return self.last + 1 - self.reader.inlet.remaining

    def close(self) -> None:
        """Drop what was not settled."""
        self.reader.close()
        if self.heir is not None:
            self.heir.reader.close()


@dataclass(frozen=True, slots=True)
class Heir:
    """The second answer to a range that fell behind: from byte `first` to the range's end."""

    first: int
    reader: BlobReader


@dataclass
class Widening:
    """The fillers of one ring. State: what nobody has begun (`next`), holes that broken ranges left, who is filling."""

    carrier: RangedCarrier
    pump: Pump
    next: int
    end: int
    window: int
    holes: list[tuple[int, int]] = field(default_factory=list)
    fillers: set[Filler] = field(default_factory=set)
    wanted: int = FEW
    ceiling: int = MOST
    working: int = 0
    best: float = 0.0  #: bytes per second at the best width so far
    narrow: int = LEAST  #: ... which was this
    failures: int = 0
    took: deque[float] = field(default_factory=lambda: deque(maxlen=4 * MOST))  #: seconds of the last whole pieces
    error: FastcopyError | None = None

    async def go(self) -> Report:
        """Drain until the blob is through or cannot be; every filler has ended by then."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ramp, nursery)
            nursery.start_soon(self._watch, nursery)
            report = await in_thread(self.pump.drain, self.pump.stop)
            self.pump.stop()
            nursery.cancel_scope.cancel()
        if self.error is not None:
            raise self.error
        return report

    async def _ramp(self, nursery: trio.Nursery) -> None:
        """Twice as many every quarter second, as long as that pays."""
        self._staff(nursery)
        before, in_vain = self.pump.counters().read, 0
        while True:
            await trio.sleep(RAMP_EVERY)
            read = self.pump.counters().read
            rate, before = (read - before) / RAMP_EVERY, read
            in_vain = self._judge(rate, in_vain) if self.working >= self.wanted else 0
            self._staff(nursery)

    def _judge(self, rate: float, in_vain: int) -> int:
        """Widen, stay, or go back: after *in_vain* ticks that brought nothing. How many there are now."""
        if rate > self.best * GROWTH:
            self.best, self.narrow = rate, max(self.wanted, LEAST)
            self.wanted = min(self.wanted * 2, self.ceiling)
            self.carrier.run.gate.widen(Lane.BULK, "<" + self.carrier.source.host, self.wanted)
            return 0
        if rate >= self.best * NOTHING or self.wanted <= self.narrow:
            return 0
        if in_vain:
            self.wanted = self.ceiling = self.narrow
        return in_vain + 1

    def _staff(self, nursery: trio.Nursery) -> None:
        """One worker rides on the step's own slot; each further one needs a slot of its own."""
        source = self.carrier.source.host
        while self.working < min(self.wanted, self.ceiling):
            give_back: Callable[..., None] | None = _nothing
            if self.working and source:
                give_back = self.carrier.run.gate.try_slot(Lane.BULK, ("<" + source,))
            if give_back is None:
                return
            self.working += 1
            nursery.start_soon(self._work, give_back)

    async def _work(self, give_back: Callable[..., None]) -> None:
        verdict, pause = Verdict.NEUTRAL, 0.0
        try:
            while (piece := await self._piece()) is not None:
                await self._fill(*piece)
            verdict = Verdict.FINE
        except FastcopyError as error:
            verdict, pause = self._lost(error)
        finally:
            self.working -= 1
            give_back(verdict, pause)

    def _lost(self, error: FastcopyError) -> tuple[Verdict, float]:
        """A worker could not open its range: with company the others take over, alone it is the blob's error."""
        self.ceiling = max(1, self.working - 1)
        self.wanted = min(self.wanted, self.ceiling)
        if self.working == 1:
            self.error = error
            self.pump.stop()
        limited = isinstance(error, LimitError)
        return (Verdict.SLOW_DOWN if limited else Verdict.BROKEN), error.retry_after or 0.0

    async def _piece(self) -> tuple[int, int] | None:
        """The next range to ask for: holes first; none is begun that the ring could not take up."""
        size = self.end
        while True:
            if self.holes:
                return self.holes.pop(0)
            if self.working > self.ceiling:
                return None
            if self.next < size and self.next < self.pump.position + self.window - PIECE:
                first, self.next = self.next, min(self.next + PIECE, size)
                return first, self.next - 1
            if self.next >= size and not self.fillers:
                return None
            await trio.sleep(TICK)

    async def _fill(self, first: int, last: int) -> None:
        """Bring one range into the ring, over as many answers as it takes; what is missing in the end is a hole."""
        done = first
        filler: Filler | None = None
        try:
            filler = Filler(first, last, await self._open(first, last))
            while filler is not None:
                done = await self._pour(filler)
                filler = await self._inherited(filler, done)
        finally:
            if done <= last:
                self.holes.append((done, last))
                self.holes.sort()
            if filler is not None:
                filler.close()

    async def _open(self, first: int, last: int) -> BlobReader:
        reader = await blamed("source", self.carrier.source.open_blob(self.carrier.what, first, last))
        if reader.inlet is None or reader.inlet.remaining != last - first + 1:
            reader.close()
            raise LinkLost("the source answered a range with something else", side="source")
        return reader

    async def _pour(self, filler: Filler) -> int:
        """Fill the range; the first byte of it that is not in the ring. Many breaks in a row end the blob."""
        inlet = filler.reader.inlet
        assert inlet is not None
        self.fillers.add(filler)
        try:
            report = await in_thread(partial(self.pump.fill, inlet, filler.first), inlet.stop)
        finally:
            self.fillers.discard(filler)
        if filler.first + report.read > filler.last:
            self.failures = 0
            self.took.append(trio.current_time() - filler.began)
            await filler.reader.settle(report)
        elif filler.heir is None:
            self.failures += 1
            if self.failures > TRIES * MOST:
                raise LinkLost(f"ranges of blob {self.carrier.what.digest} break again and again", side="source")
        return filler.first + report.read

    async def _inherited(self, filler: Filler, done: int) -> Filler | None:
        """The second answer, where there is one, goes on where the first one stood; what both brought was in vain."""
        heir, filler.heir = filler.heir, None
        filler.close()
        if heir is None:
            return None
        following = Filler(done, filler.last, heir.reader, hedged=True)
        try:
            if done <= filler.last:
                await heir.reader.discard(done - heir.first)
                self.carrier.run.meters.extra("hedge", "source", done - heir.first)  # noqa: S610 - no query set
                return following
        except LinkError:
            pass  # then it is a hole
        except BaseException:
            following.close()
            raise
        following.close()
        return None

    async def _watch(self, nursery: trio.Nursery) -> None:
        """Hedge ranges that fall behind; cut the one that holds up the ring without moving."""
        while True:
            await trio.sleep(min(CUT_AFTER / 10, BEHIND_SECONDS / 2))
            now, position = trio.current_time(), self.pump.position
            for filler in list(self.fillers):
                inlet = filler.reader.inlet
                assert inlet is not None
                if inlet.remaining != filler.left:
                    filler.left, filler.moved_at = inlet.remaining, now
                elif filler.first <= position <= filler.last and now - filler.moved_at > CUT_AFTER:
                    inlet.stop()
                if self._is_behind(filler, now):
                    filler.hedged = True
                    nursery.start_soon(self._hedge, filler)

    def _is_behind(self, filler: Filler, now: float) -> bool:
        """Whether its brothers' pieces came and went, and it has still more to bring than they take."""
        age = now - filler.began
        if filler.hedged or age < BEHIND_SECONDS or len(self.took) < BROTHERS:
            return False
        middle = statistics.median(self.took)
        left = filler.last + 1 - filler.at
        brought = filler.at - filler.first
        return age > BEHIND * middle and left * age > middle * brought

    async def _hedge(self, filler: Filler) -> None:
        """Ask for the rest of *filler* a second time, if there is room for one more; the answer ends the first."""
        source = self.carrier.source.host
        give_back: Callable[..., None] | None = _nothing
        if source:
            give_back = self.carrier.run.gate.try_slot(Lane.BULK, ("<" + source,))
        if give_back is None:
            filler.hedged = False
            return
        verdict = Verdict.NEUTRAL
        try:
            first = filler.at
            reader = await self._open(first, filler.last) if first <= filler.last else None
            verdict = Verdict.FINE
        except FastcopyError as error:
            verdict = Verdict.SLOW_DOWN if isinstance(error, LimitError) else Verdict.BROKEN
            return
        finally:
            give_back(verdict, 0.0)
        if reader is not None:
            self._pass_on(filler, Heir(first, reader))

    def _pass_on(self, filler: Filler, heir: Heir) -> None:
        """The second answer is there: the first one ends, if it has not yet."""
        inlet = filler.reader.inlet
        if filler in self.fillers and inlet is not None and inlet.remaining:
            filler.heir = heir
            inlet.stop()
        else:
            heir.reader.close()


def _nothing(verdict: Verdict, pause: float = 0.0) -> None:
    """The slot of the first worker is the step's own."""
