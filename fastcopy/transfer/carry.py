"""One blob from a source into an open upload: the plain road, one body in, one body out.

A source that breaks in mid-body is opened again at the pump's position and becomes another inlet of the *same* pump,
hasher and upload. A destination that breaks ends the attempt: the step above decides about another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from fastcopy.descriptor import Descriptor
from fastcopy.errors import Again, FastcopyError
from fastcopy.events import Retrying
from fastcopy.transfer.pumping import failure_of, in_thread
from fastcopy.transfer.run import Flow, Run, blamed
from fastcopy.transfer.shared import gather
from fastcopy.transports.base import BlobReader, Destination, Source, Upload

if TYPE_CHECKING:
    from fastcopy._native import Hasher, Pump, Report

#: A source may break any number of times as long as each piece brought this many bytes (c/image's rule) ...
PROGRESS = 1 << 20
#: ... and this many times in a row without.
BARREN_BREAKS = 5


@dataclass
class Carrier:
    """The state of one blob on its way; dies with the attempt."""

    run: Run
    source: Source
    what: Descriptor
    reader: BlobReader
    upload: Upload
    hasher: Hasher
    done: int = 0  #: bytes through, in whole parts
    breaks: int = 0

    async def go(self) -> None:
        """Move every part, then commit; nothing is left open whatever happens."""
        try:
            report: Report | None = None
            for size, last in parts(self.what.size, self.upload.part_limit):
                report = await self._part(size, last)
            assert report is not None
            await self.reader.settle(report)
            await blamed("destination", self.upload.finish(report, self.what.digest, self.what.size))
        finally:
            self.reader.close()
            self.upload.close()

    async def _part(self, size: int, last: bool) -> Report:
        from fastcopy._native import Pump

        outlet = await blamed("destination", self.upload.open(size))
        options = self.run.options
        expected = self.what.digest.raw if last else None
        pump = Pump([outlet], size, hasher=self.hasher, expected=expected, stall=options.stall, rate=self.run.rate)
        self.run.meters.flows[id(pump)] = Flow(self.what, pump.counters, self.done)
        try:
            report = await self._pump(pump)
        finally:
            self._count(pump)
        self.done += size
        if not last:
            await blamed("destination", self.upload.next(report))
        return report

    def _count(self, pump: Pump) -> None:
        counts = pump.counters()
        self.run.meters.took(counts.read, counts.written)
        self.run.meters.flows.pop(id(pump), None)

    async def _pump(self, pump: Pump) -> Report:
        while True:
            before = pump.position
            report = await self._feed(pump)
            failure = failure_of(report, self.what, pump, self.run.options.stall)
            if failure is None:
                return report
            if failure.side != "source" or failure.again is not Again.SAME:
                raise await self._explained(report, failure)
            await self._reconnect(pump, failure, pump.position - before)

    async def _explained(self, report: Report, failure: FastcopyError) -> FastcopyError:
        """A registry that broke off mid-body may have said why: its answer is the better error."""
        if failure.side != "destination" or failure.again is not Again.SAME:
            return failure
        return await self.upload.explain(report) or failure

    async def _feed(self, pump: Pump) -> Report:
        inlet = self.reader.inlet
        if inlet is not None:
            return await in_thread(partial(pump.run, inlet), pump.stop)
        from fastcopy._native import Why

        while True:
            data = await self.reader.read_some()
            if not data:
                return await in_thread(pump.finish, pump.stop)
            report = await in_thread(partial(pump.feed, data), pump.stop)
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


def parts(size: int, limit: int | None) -> Iterator[tuple[int, bool]]:
    """Sizes of the parts a body of *size* bytes is sent in, and whether each is the last."""
    if limit is None or size <= limit:
        yield size, True
        return
    whole, rest = divmod(size, limit)
    sizes = [limit] * whole + ([rest] if rest else [])
    for index, part in enumerate(sizes):
        yield part, index == len(sizes) - 1


async def carry(run: Run, source: Source, destination: Destination, what: Descriptor, mount_from: str) -> str:
    """Bring *what* to *destination*; answers ``copied`` or ``mounted``."""
    from fastcopy._native import Hasher

    upload: Upload | None
    if mount_from:
        upload = await blamed("destination", destination.begin(what, mount_from))
        if upload is None:
            return "mounted"
        reader = await _open_or_close(source, what, upload)
    else:
        reader, upload = await _open_both(source, destination, what)
    if what.size < 0:  # schema 1 does not say; the source does
        what = replace(what, size=reader.length)
    await Carrier(run, source, what, reader, upload, Hasher(what.digest.algorithm)).go()
    return "copied"


async def _open_or_close(source: Source, what: Descriptor, upload: Upload) -> BlobReader:
    try:
        return await blamed("source", source.open_blob(what))
    except BaseException:
        upload.close()
        raise


async def _open_both(source: Source, destination: Destination, what: Descriptor) -> tuple[BlobReader, Upload]:
    """Both ends at once: one round trip instead of two. Whatever was opened is closed if the other fails."""
    opened: list[BlobReader | Upload] = []

    async def read() -> BlobReader | Upload | None:
        opened.append(reader := await blamed("source", source.open_blob(what)))
        return reader

    async def write() -> BlobReader | Upload | None:
        if upload := await blamed("destination", destination.begin(what)):
            opened.append(upload)
        return upload

    try:
        reader, upload = await gather(read, write)
        assert isinstance(reader, BlobReader)
        assert isinstance(upload, Upload)
        return reader, upload
    except BaseException:
        for end in opened:
            end.close()
        raise
