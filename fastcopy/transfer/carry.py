"""One blob from a source into open uploads: the plain road, one body in, one or several bodies out.

A source that breaks in mid-body is opened again at the pump's position and becomes another inlet of the *same* pump,
hasher and uploads. A destination that breaks leaves; when none is left the attempt ends, and the step above decides
about another one, which goes on where the destination stands if that can be (`transfer.resume`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from fastcopy.descriptor import Descriptor
from fastcopy.errors import Again, DigestMismatch, FastcopyError, LinkError
from fastcopy.events import Retrying
from fastcopy.threads import in_thread
from fastcopy.transfer import resume
from fastcopy.transfer.arrival import Arrival, Outcomes
from fastcopy.transfer.meters import Flow
from fastcopy.transfer.pumping import failure_of, failure_of_outlet
from fastcopy.transfer.run import Run, blamed
from fastcopy.transfer.together import gather
from fastcopy.transports.base import BlobReader, Destination, Source, Upload

if TYPE_CHECKING:
    from fastcopy._native import Hasher, Outlet, Pump, Report

#: Bytes read before they are hashed and written. Measured at 1 GiB between two plain sockets, CPU against one thread of
#: C: 256 KiB 0.99, 512 KiB 0.86, 1 MiB 0.82; under TLS all sizes are within the noise (benchmarks/micro/native.py).
SLAB = 1 << 20
#: A source may break any number of times as long as each piece brought this many bytes (c/image's rule) ...
PROGRESS = 1 << 20
#: Bytes after which the digest's state of a noted upload is noted anew: what a kill makes to be read again. A pump more
#: costs 0.2 ms.
STRETCH = 16 << 20
#: ... and this many times in a row without.
BARREN_BREAKS = 5


async def carry(run: Run, source: Source, targets: Sequence[Destination], what: Descriptor) -> Outcomes:
    """Bring *what* to every one of *targets* with one download; raises what is the source's fault."""
    ends = Ends(run, source, what)
    try:
        await ends.open(targets)
        if ends.uploads:
            await ends.carrier().go()
    except FastcopyError as error:
        resume.failed(run, targets, what, error)
        raise
    except trio.Cancelled:
        resume.cancelled(run, targets, what)
        raise
    finally:
        ends.close()
        await resume.abandon(run, ends.unfinished(), what)
    return ends.outcomes


class Ends:
    """Both ends of one blob's way: opened at once, or, where uploads go on, the source where they need it."""

    def __init__(self, run: Run, source: Source, what: Descriptor) -> None:
        self.run, self.source, self.what = run, source, what
        self.uploads: dict[Destination, Upload] = {}
        self.outcomes: Outcomes = {}
        self._begun: list[tuple[Destination, Upload]] = []
        self._reader: BlobReader | None = None
        self._carrier: Carrier | None = None
        self._hasher: Hasher | None = None

    async def open(self, targets: Sequence[Destination]) -> None:
        """Open the uploads and the source; the source's faults are raised, the others are outcomes."""
        begin = [partial(self._begin, target) for target in targets]
        noted = any(self.run.notes.open_upload(each.host, each.place, self.what.digest) for each in targets)
        await gather(*begin if noted else (self._read, *begin))
        if self.uploads:
            await resume.as_one(self.uploads, self.what)
            self._begun = list(self.uploads.items())
        if noted and self.uploads:
            await self._read()
        if self.what.size < 0 and self._reader is not None:  # schema 1 does not say; the source does
            self.what = replace(self.what, size=self._reader.length)

    async def _begin(self, target: Destination) -> None:
        try:
            self.uploads[target] = upload = await resume.begin(self.run, target, self.what)
        except FastcopyError as error:
            self.outcomes[target] = error
            return
        self._begun.append((target, upload))

    async def _read(self) -> None:
        first = self._hash().length
        if first and first == self.what.size:
            return
        last = carrier_for(self.source, self.what, first).first_piece(first)
        self._reader = await blamed("source", self.source.open_blob(self.what, first, last))

    def _hash(self) -> Hasher:
        if self._hasher is None:
            self._hasher = resume.hasher_for(self.run, self.uploads, self.what)
        return self._hasher

    def carrier(self) -> Carrier:
        """What moves the bytes between the open ends; it owns the reader from now on."""
        hasher, reader = self._hash(), self._reader
        kind = carrier_for(self.source, self.what, hasher.length)
        self._carrier = kind(
            self.run, self.source, self.what, reader, self.uploads, hasher, self.outcomes, hasher.length
        )
        return self._carrier

    def unfinished(self) -> list[tuple[Destination, Upload]]:
        """Uploads that were begun and did not become a blob."""
        return [(at, upload) for at, upload in self._begun if not isinstance(self.outcomes.get(at), Arrival)]

    def close(self) -> None:
        """Close what is open; idempotent."""
        for end in (self._reader, self._carrier, *(upload for _, upload in self._begun)):
            if end is not None:
                end.close()


def carrier_for(source: Source, what: Descriptor, first: int = 0) -> type[Carrier]:
    """What carries *what* from byte *first* on: the plain road, or the one that may open several ranges at once."""
    from fastcopy.transfer.ranges import RANGED_MIN, RangedCarrier

    return RangedCarrier if source.ranges and what.size - first >= RANGED_MIN else Carrier


@dataclass
class Carrier:
    """The state of one blob on its way; dies with the attempt."""

    run: Run
    source: Source
    what: Descriptor
    reader: BlobReader | None  #: none where nothing is left to read
    uploads: dict[Destination, Upload]  #: those still on board
    hasher: Hasher
    outcomes: Outcomes
    done: int = 0  #: bytes through, in whole parts
    moved: int = 0  #: bytes through of the part that is under way, in whole pumps
    breaks: int = 0
    rest: bytes = b""  #: of a body that cannot be lent, what belongs to the next part

    @staticmethod
    def first_piece(first: int) -> int | None:
        """Last byte of what is asked for first, from byte *first* on; None: the whole blob in one request."""
        return None

    async def go(self) -> None:
        """Move every part, then commit at every destination that is still on board."""
        report = self._nothing_left() if self.reader is None else None
        for target, upload in self.uploads.items():
            resume.checkpoint(self.run, target, self.what, upload, self.hasher)
        while report is None or self.done < self.what.size:
            end = self._next_stop()
            report = await self._part(end - self.done, end == self.what.size)
            if not self.uploads:
                return
        if self.reader is not None:
            await self.reader.settle(report)
        await gather(*(partial(self._finish, target, report) for target in list(self.uploads)))

    def _nothing_left(self) -> Report:
        """Everything was confirmed and hashed before: only the closing is missing."""
        if self.hasher.digest() != self.what.digest.raw:
            raise DigestMismatch(f"blob {self.what.digest}: Digest did not match the bytes that were read")
        return _nothing()

    def _next_stop(self) -> int:
        """Where the part that begins now ends: a full part, the end, or where an upload that stands further joins."""
        stops = [self.what.size]
        for upload in self.uploads.values():
            if upload.offset > self.done:
                stops.append(upload.offset)
            elif upload.part_limit:
                stops.append(self.done + upload.part_limit)
        return min(stops)

    async def _finish(self, target: Destination, report: Report) -> None:
        finishing = self.uploads[target].finish(report, self.what.digest, self.what.size)
        try:
            await blamed("destination", finishing)
        except FastcopyError as error:
            self._drop(target, error)
            return
        self.outcomes[target] = Arrival("copied")
        resume.forget(self.run, [target], self.what)

    def _drop(self, target: Destination, error: FastcopyError) -> None:
        upload = self.uploads.pop(target)
        resume.failed(self.run, [target], self.what, error)
        error.gained = resume.gained(self.run, target, self.what, upload)
        self.outcomes[target] = error
        upload.close()

    async def _part(self, size: int, last: bool) -> Report:
        from fastcopy._native import Pump

        outlets: dict[Destination, Outlet] = {}
        await gather(*(partial(self._open, target, size, outlets) for target in list(self.uploads)))
        aboard = [target for target in self.uploads if target in outlets]
        if not aboard:
            return _nothing()
        expected = self.what.digest.raw if last else None
        make = partial(
            Pump,
            [outlets[target] for target in aboard],
            hasher=self.hasher,
            expected=expected,
            slab=SLAB,
            stall=self.run.options.stall,
            rate=self.run.rate,
        )
        try:
            report = await self._through(make, size)
        finally:
            self._book(outlets)
        self.done, self.moved = self.done + size, 0
        await self._settle(report, [(target, outlets[target]) for target in aboard], last)
        return report

    def _book(self, outlets: dict[Destination, Outlet]) -> None:
        for target, outlet in outlets.items():
            if target not in self.uploads or self.uploads[target].offset <= self.done:  # else it was only hashed again
                self.run.ledger.sent(self.what.digest, target, outlet.sent)

    async def _open(self, target: Destination, size: int, outlets: dict[Destination, Outlet]) -> None:
        from fastcopy._native import Outlet

        if self.uploads[target].offset > self.done:  # it has these bytes: they are only hashed again
            outlets[target] = Outlet.null()
            return
        try:
            outlets[target] = await blamed("destination", self.uploads[target].open(size))
        except FastcopyError as error:
            self._drop(target, error)

    async def _through(self, make: Callable[..., Pump], size: int) -> Report:
        """Move what is left of a part of *size* bytes with pumps that *make* gives."""
        while True:
            stretch = self._stretch(size - self.moved)
            if self.moved + stretch == size:
                with self._metered(make(stretch), self._at) as pump:
                    return await self._pump(pump, stretch)
            with self._metered(make(stretch, expected=None), self._at) as pump:
                report = await self._pump(pump, stretch)
            if not self._passed(report, stretch):
                return report

    @property
    def _at(self) -> int:
        """Where the pump of the moment begins."""
        return self.done + self.moved

    def _stretch(self, left: int) -> int:
        """Bytes for one pump: all that is *left* of the part, or less where a note on the way is of use."""
        pausable = len(self.uploads) == 1 and all(each.pausable and each.location for each in self.uploads.values())
        return min(left, STRETCH) if pausable else left

    def _passed(self, report: Report, stretch: int) -> bool:
        """Whether a *stretch* of the part is through; if so, note where the digest is."""
        from fastcopy._native import Why

        if report.why is not Why.DONE:
            return False
        self.moved += stretch
        for target, upload in self.uploads.items():
            resume.checkpoint(self.run, target, self.what, upload, self.hasher)
        return True

    @contextmanager
    def _metered(self, pump: Pump, before: int) -> Iterator[Pump]:
        """Show *pump* to the meters while it runs, and add up what it moved."""
        meters = self.run.meters
        hosts = ("<" + self.source.host, *(">" + target.host for target in self.uploads))
        meters.flows[id(pump)] = Flow(self.what, pump.counters, before, hosts)
        try:
            yield pump
        finally:
            self.run.ledger.read(self.what.digest, meters.land(id(pump)))

    async def _settle(self, report: Report, ends: Sequence[tuple[Destination, Outlet]], last: bool) -> None:
        """After a part: who failed leaves with a reason, the others go on to the next part."""
        for target, outlet in ends:
            failure = failure_of_outlet(report, outlet, self.what, self.run.options.stall)
            if failure is not None:
                failure.blame("destination")
                self._drop_after(target, await self._explained(target, report, failure))
            elif self.uploads[target].offset < self.done and (self.uploads[target].part_limit or not last):
                await self._confirmed(target, report)

    async def _confirmed(self, target: Destination, report: Report) -> None:
        """Wait for the place to confirm a part, and note that it did."""
        upload = self.uploads[target]
        try:
            await blamed("destination", upload.next(report))
        except FastcopyError as error:
            self._drop(target, error)
            return
        resume.checkpoint(self.run, target, self.what, upload, self.hasher)

    def _drop_after(self, target: Destination, error: FastcopyError) -> None:
        if target in self.uploads:
            self._drop(target, error)

    async def _explained(self, target: Destination, report: Report, failure: FastcopyError) -> FastcopyError:
        """A registry that broke off mid-body may have said why: its answer is the better error."""
        if failure.again is not Again.SAME:
            return failure
        explained = await self.uploads[target].explain(report)
        return explained.blame("destination") if explained else failure

    async def _pump(self, pump: Pump, size: int) -> Report:
        """Run the pump to its end, *size* bytes, over as many sources as it takes; raises the source's faults."""
        while True:
            before = pump.position
            failure: FastcopyError | None
            try:
                report = await self._feed(pump, size)
                failure = failure_of(report, self.what, pump, self.run.options.stall)
                if failure is None:
                    return report
            except LinkError as error:  # of a body that is read in the loop
                failure = error.blame("source")
            if failure.again is not Again.SAME:
                raise failure
            await self._reconnect(pump, failure, pump.position - before)

    async def _feed(self, pump: Pump, size: int) -> Report:
        assert self.reader is not None
        inlet = self.reader.inlet
        if inlet is not None:
            return await in_thread(partial(pump.run, inlet), pump.stop)
        from fastcopy._native import Why

        while True:
            data = self.rest or await self.reader.read_some()
            room = size - pump.position if size >= 0 else len(data)
            data, self.rest = data[:room], data[room:]
            if not data:
                return await in_thread(pump.finish, pump.stop)
            report: Report = await in_thread(partial(pump.feed, data), pump.stop)
            if report.why is not Why.DONE:
                return report

    async def _reconnect(self, pump: Pump, failure: FastcopyError, gained: int) -> None:
        self.breaks = 1 if gained >= PROGRESS else self.breaks + 1
        if self.breaks > BARREN_BREAKS:
            raise failure
        self.close()
        delay = 0.0 if gained >= PROGRESS else min(0.1 * 2.0**self.breaks, 5.0)
        self.run.emit(Retrying(f"reading blob {self.what.digest}", str(failure), delay, "source"))
        await trio.sleep(delay)
        self.reader = await blamed("source", self.source.open_blob(self.what, self._at + pump.position))

    def close(self) -> None:
        """Close the reader of the moment; `carry` closes the rest."""
        self.rest = b""
        if self.reader is not None:
            self.reader.close()


def _nothing() -> Report:
    """The report of a part that needed no pump."""
    from fastcopy._native import Report, Why

    return Report(Why.DONE, 0, "", 0, None, 0, 0, 0)
