"""One blob from a source into open uploads: the plain road, one body in, one or several bodies out.

A source that breaks in mid-body is opened again at the pump's position and becomes another inlet of the *same* pump,
hasher and uploads. A destination that breaks leaves; when none is left the attempt ends, and the step above decides
about another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from fastcopy.descriptor import Descriptor
from fastcopy.errors import Again, FastcopyError
from fastcopy.events import Retrying
from fastcopy.threads import in_thread
from fastcopy.transfer.arrival import Arrival, Outcomes
from fastcopy.transfer.pumping import failure_of, failure_of_outlet
from fastcopy.transfer.run import Flow, Run, blamed
from fastcopy.transfer.together import gather
from fastcopy.transports.base import BlobReader, Destination, Source, Upload

if TYPE_CHECKING:
    from fastcopy._native import Hasher, Outlet, Pump, Report

#: Bytes read before they are hashed and written. Measured at 1 GiB between two plain sockets, CPU against one thread of
#: C: 256 KiB 0.99, 512 KiB 0.86, 1 MiB 0.82; under TLS all sizes are within the noise (benchmarks/micro/native.py).
SLAB = 1 << 20
#: A source may break any number of times as long as each piece brought this many bytes (c/image's rule) ...
PROGRESS = 1 << 20
#: ... and this many times in a row without.
BARREN_BREAKS = 5


async def carry(run: Run, source: Source, targets: Sequence[Destination], what: Descriptor) -> Outcomes:
    """Bring *what* to every one of *targets* with one download; raises what is the source's fault."""
    from fastcopy._native import Hasher

    opened: list[BlobReader | Upload] = []
    outcomes: Outcomes = {}

    kind = carrier_for(source, what)

    async def read() -> None:
        opened.append(await blamed("source", source.open_blob(what, 0, kind.first_piece(what))))

    async def write(target: Destination) -> None:
        try:
            upload = await blamed("destination", target.begin(what))
        except FastcopyError as error:
            outcomes[target] = error
            return
        opened.append(upload)
        uploads[target] = upload

    uploads: dict[Destination, Upload] = {}
    try:
        await gather(read, *(partial(write, target) for target in targets))
        reader = next(end for end in opened if isinstance(end, BlobReader))
        if what.size < 0:  # schema 1 does not say; the source does
            what = replace(what, size=reader.length)
        if uploads:
            carrier = kind(run, source, what, reader, uploads, Hasher(what.digest.algorithm), outcomes)
            opened.append(carrier)  # type: ignore[arg-type]  # its reader may be another one by then
            await carrier.go()
    finally:
        for end in opened:
            end.close()
    return outcomes


def carrier_for(source: Source, what: Descriptor) -> type[Carrier]:
    """What carries *what*: the plain road, or the one that may open several ranges of a large blob at once."""
    from fastcopy.transfer.ranges import RANGED_MIN, RangedCarrier

    return RangedCarrier if source.ranges and what.size >= RANGED_MIN else Carrier


@dataclass
class Carrier:
    """The state of one blob on its way; dies with the attempt."""

    run: Run
    source: Source
    what: Descriptor
    reader: BlobReader
    uploads: dict[Destination, Upload]  #: those still on board
    hasher: Hasher
    outcomes: Outcomes
    done: int = 0  #: bytes through, in whole parts
    breaks: int = 0

    @staticmethod
    def first_piece(what: Descriptor) -> int | None:
        """Last byte of what is asked for first; None: the whole blob in one request."""
        return None

    async def go(self) -> None:
        """Move every part, then commit at every destination that is still on board."""
        limit = min((each.part_limit for each in self.uploads.values() if each.part_limit), default=None)
        report: Report | None = None
        for size, last in parts(self.what.size, limit):
            report = await self._part(size, last)
            if not self.uploads:
                return
        assert report is not None
        await self.reader.settle(report)
        await gather(*(partial(self._finish, target, report) for target in list(self.uploads)))

    async def _finish(self, target: Destination, report: Report) -> None:
        finishing = self.uploads[target].finish(report, self.what.digest, self.what.size)
        try:
            await blamed("destination", finishing)
            self.outcomes[target] = Arrival("copied")
        except FastcopyError as error:
            self._drop(target, error)

    def _drop(self, target: Destination, error: FastcopyError) -> None:
        self.outcomes[target] = error
        self.uploads.pop(target).close()

    async def _part(self, size: int, last: bool) -> Report:
        from fastcopy._native import Pump

        outlets: dict[Destination, Outlet] = {}
        await gather(*(partial(self._open, target, size, outlets) for target in list(self.uploads)))
        aboard = [target for target in self.uploads if target in outlets]
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
        report = await self._through(make, size)
        await self._settle(report, [(target, outlets[target]) for target in aboard], last)
        self.done += size
        return report

    async def _open(self, target: Destination, size: int, outlets: dict[Destination, Outlet]) -> None:
        try:
            outlets[target] = await blamed("destination", self.uploads[target].open(size))
        except FastcopyError as error:
            self._drop(target, error)

    async def _through(self, make: Callable[..., Pump], size: int) -> Report:
        """Move a part of *size* bytes with pumps that *make* gives."""
        with self._metered(make(size), self.done) as pump:
            return await self._pump(pump)

    @contextmanager
    def _metered(self, pump: Pump, before: int) -> Iterator[Pump]:
        """Show *pump* to the meters while it runs, and add up what it moved."""
        meters = self.run.meters
        meters.flows[id(pump)] = Flow(self.what, pump.counters, before)
        try:
            yield pump
        finally:
            counts = pump.counters()
            meters.took(counts.read, counts.written)
            del meters.flows[id(pump)]

    async def _settle(self, report: Report, ends: Sequence[tuple[Destination, Outlet]], last: bool) -> None:
        """After a part: who failed leaves with a reason, the others go on to the next part."""
        for target, outlet in ends:
            failure = failure_of_outlet(report, outlet, self.what, self.run.options.stall)
            if failure is not None:
                failure.blame("destination")
                self._drop_after(target, await self._explained(target, report, failure))
            elif not last:
                await blamed("destination", self.uploads[target].next(report))

    def _drop_after(self, target: Destination, error: FastcopyError) -> None:
        if target in self.uploads:
            self._drop(target, error)

    async def _explained(self, target: Destination, report: Report, failure: FastcopyError) -> FastcopyError:
        """A registry that broke off mid-body may have said why: its answer is the better error."""
        if failure.again is not Again.SAME:
            return failure
        explained = await self.uploads[target].explain(report)
        return explained.blame("destination") if explained else failure

    async def _pump(self, pump: Pump) -> Report:
        """Run the pump to its end, over as many sources as it takes; raises the source's faults."""
        while True:
            before = pump.position
            report = await self._feed(pump)
            failure = failure_of(report, self.what, pump, self.run.options.stall)
            if failure is None:
                return report
            if failure.again is not Again.SAME:
                raise failure
            await self._reconnect(pump, failure, pump.position - before)

    async def _feed(self, pump: Pump) -> Report:
        inlet = self.reader.inlet
        if inlet is not None:
            return await in_thread(partial(pump.run, inlet), pump.stop)
        from fastcopy._native import Why

        while True:
            data = await self.reader.read_some()
            if not data:
                return await in_thread(pump.finish, pump.stop)
            report: Report = await in_thread(partial(pump.feed, data), pump.stop)
            if report.why is not Why.DONE:
                return report

    async def _reconnect(self, pump: Pump, failure: FastcopyError, gained: int) -> None:
        self.breaks = 1 if gained >= PROGRESS else self.breaks + 1
        if self.breaks > BARREN_BREAKS:
            raise failure
        self.reader.close()
        delay = 0.0 if gained >= PROGRESS else min(0.1 * 2.0**self.breaks, 5.0)
        self.run.emit(Retrying(f"reading blob {self.what.digest}", str(failure), delay, "source"))
        await trio.sleep(delay)
        self.reader = await blamed("source", self.source.open_blob(self.what, self.done + pump.position))

    def close(self) -> None:
        """Close the reader of the moment; `carry` closes the rest."""
        self.reader.close()


def parts(size: int, limit: int | None) -> Iterator[tuple[int, bool]]:
    """Sizes of the parts a body of *size* bytes is sent in, and whether each is the last."""
    if limit is None or size <= limit:
        yield size, True
        return
    whole, rest = divmod(size, limit)
    sizes = [limit] * whole + ([rest] if rest else [])
    for index, part in enumerate(sizes):
        yield part, index == len(sizes) - 1
