"""One layer into another compression on its way: read, verify, inflate, verify, deflate, upload; nothing on disk.

Everything but the network's waits happens on one worker thread per layer, and on the codec's own threads. A layer that
was recompressed once in a run is not recompressed again: its new blob is found, or mounted, by its new digest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from fastcopy import codecs
from fastcopy.codecs.base import CHUNKED
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import FastcopyError, IntegrityError, LinkLost, Stalled
from fastcopy.events import BlobDone, BlobStarted, Retrying
from fastcopy.schedule import Lane
from fastcopy.threads import in_thread
from fastcopy.transfer.arrival import Arrival
from fastcopy.transfer.carry import BARREN_BREAKS, PROGRESS
from fastcopy.transfer.ensure import look, mount_origin
from fastcopy.transfer.inflow import Inflow, Send
from fastcopy.transfer.meters import Flow
from fastcopy.transfer.notes import Recoded
from fastcopy.transfer.pumping import failure_of_outlet
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transports.base import BlobReader, Destination, Source, Upload

if TYPE_CHECKING:
    from fastcopy._native import Outlet

T = TypeVar("T")
_Key = tuple[Digest, str, int | None]  #: digest, compression, level


@dataclass(frozen=True, slots=True)
class Layer:
    """What is to be recompressed, into what; *diff_id* is what the config promises, None when it promises nothing."""

    what: Descriptor
    compression: str
    diff_id: Digest | None

    def renamed(self, digest: Digest, size: int, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """The descriptor of the new blob; the media type still says the old format, `convert` writes the final one.

        What annotations said of the old compression goes, and what the new one needs comes.
        """
        kept = {key: value for key, value in (self.what.annotations or {}).items() if not key.startswith(CHUNKED)}
        media_type = retyped(self.what.media_type, self.compression)
        said = kept | dict(annotations or {})
        return replace(self.what, digest=digest, size=size, media_type=media_type, annotations=said or None)


def retyped(media_type: str, compression: str) -> str:
    """The layer type *media_type* with another compression, as far as a format can say it; "" stands for schema 1."""
    from fastcopy import media

    compression = compression.partition(":")[0]  # zstd:chunked is zstd to whoever does not know better
    if not media_type or media_type.startswith((media.DOCKER_LAYER, media.DOCKER_FOREIGN)):
        stem = media.DOCKER_FOREIGN if media.is_foreign(media_type) else media.DOCKER_LAYER
        return stem if compression == "none" else f"{stem}.{compression}"
    stem = media.OCI_NONDISTRIBUTABLE if media.is_foreign(media_type) else media.OCI_LAYER
    return stem if compression == "none" else f"{stem}+{compression}"


async def recode(
    run: Run, source: Source, targets: Sequence[Destination], layer: Layer
) -> tuple[Descriptor | None, dict[Destination, FastcopyError]]:
    """Bring *layer* in its new compression to *targets*: its new descriptor, and the destinations that failed."""
    what = layer.what
    run.emit(BlobStarted(what.digest, what.size, "blob"))
    run.meters.planned += max(what.size, 0)
    key = (what.digest, layer.compression, run.copy.compression_level)
    async with run.leader(f"recoding to {layer.compression}", what.digest):
        failures = await _bring_all(run, source, targets, layer, key)
    run.meters.settled += max(what.size, 0)
    done = run.notes.recoded(*key)
    return (layer.renamed(done.digest, done.size, done.annotations) if done else None), failures


async def _bring_all(
    run: Run, source: Source, targets: Sequence[Destination], layer: Layer, key: _Key
) -> dict[Destination, FastcopyError]:
    """The same blob for all *targets*. A variant of another run that one of them has and the next has not is made anew
    there, and may have become another: then the first gets that one too.
    """
    failures: dict[Destination, FastcopyError] = {}
    got: dict[Destination, Digest] = {}
    for target in (*targets, *targets):
        done = run.notes.recoded(*key)
        if target in failures or (done is not None and got.get(target) == done.digest):
            continue
        try:
            got[target] = await _bring(run, source, target, layer, key)
        except FastcopyError as error:
            if error.side == "source":
                raise
            failures[target] = error
    return failures


async def _bring(run: Run, source: Source, target: Destination, layer: Layer, key: _Key) -> Digest:
    done = run.notes.recoded(*key)
    arrival = None
    if done is not None:
        _same_diff_id(layer, done.diff_id)
        arrival = await _found(run, target, layer.renamed(done.digest, done.size, done.annotations))
    if arrival is None:
        assert run.codecs is not None
        async with run.codecs:
            work = Recoding(run, source, target, layer).go
            step = Step(
                f"recompressing blob {layer.what.digest}", work, source.host, (target.host,), Lane.BULK, layer.what.size
            )
            done, arrival = await run.perform(step), Arrival("copied")
            run.notes.became(*key, done)
    assert done is not None
    run.known.note(target.host, target.place, done.digest)
    run.notes.arrived(target.host, target.place, done.digest, done.size)
    run.meters.tally(arrival.how).add(done.size)
    run.emit(BlobDone(layer.what.digest, done.size, arrival.how, "blob", arrival.origin))
    return done.digest


async def _found(run: Run, target: Destination, what: Descriptor) -> Arrival | None:
    """The recompressed blob where an earlier image, of this run or another, left it."""
    await run.notes.recall(target.host, what.digest)
    origin = mount_origin(run, target, what)
    ask = partial(look, run, target, what, origin)
    return await run.perform(Step(f"looking for blob {what.digest}", ask, destinations=(target.host,)))


def _same_diff_id(layer: Layer, found: Digest) -> None:
    if layer.diff_id is not None and layer.diff_id != found:
        raise IntegrityError(
            f"layer {layer.what.digest} is {found} when uncompressed, but the config says {layer.diff_id}",
            side="source",
        )


@dataclass
class Recoding:
    """One attempt: a layer from its source through the codecs into one upload."""

    run: Run
    source: Source
    target: Destination
    layer: Layer
    breaks: int = 0
    taken: int = 0  #: bytes of the source, once it has succeeded

    async def go(self) -> Recoded:
        """Recompress and commit; nothing is visible before every digest has agreed."""
        async with self.run.drain.flight():
            return await self._go(self.layer.what)

    @property
    def _hosts(self) -> tuple[str, str]:
        return "<" + self.source.host, ">" + self.target.host

    async def _go(self, what: Descriptor) -> Recoded:
        self.reader = await blamed("source", self.source.open_blob(what))
        upload: Upload | None = None
        flow: Inflow | None = None
        try:
            upload = await blamed("destination", self.target.begin(replace(what, size=-1)))
            flow = await self._open(upload)
            self.run.meters.flows[id(flow)] = Flow(what, flow.counts, hosts=self._hosts)
            await self._pour(flow)
            return await self._finish(flow, upload)
        finally:
            if flow is not None:
                self.run.meters.land(id(flow))
                flow.close()
            self.reader.close()
            if upload is not None:
                upload.close()

    async def _open(self, upload: Upload) -> Inflow:
        from fastcopy._native import Outlet

        outlet: Outlet
        if upload.streams:
            outlet = Outlet.null()
            await blamed("destination", upload.send(b""))
        else:
            outlet = await blamed("destination", upload.open(-1))
        encoder = codecs.encoder(self.layer.compression, self.run.copy.compression_level, os.cpu_count() or 1)
        options = self.run.options
        send = _sender(upload) if upload.streams else None
        return Inflow(self.layer.what, encoder, outlet, send, stall=options.stall, rate=self.run.rate)

    async def _pour(self, flow: Inflow) -> None:
        """Everything the source has; a source that breaks is opened again where it broke, as on the plain road."""
        while True:
            before = flow.position
            try:
                await self._pour_some(flow)
                return
            except (LinkLost, Stalled) as error:
                if error.side == "destination":
                    raise
                await self._reconnect(flow, error, flow.position - before)

    async def _pour_some(self, flow: Inflow) -> None:
        inlet = self.reader.inlet
        if inlet is not None:
            await _apart(partial(flow.pour, inlet), partial(_stop, flow, self.reader))
            return
        while data := await self.reader.read_some():
            await _apart(partial(flow.take, data), flow.stop)

    async def _reconnect(self, flow: Inflow, failure: FastcopyError, gained: int) -> None:
        self.breaks = 1 if gained >= PROGRESS else self.breaks + 1
        if self.breaks > BARREN_BREAKS:
            raise failure
        self.reader.close()
        delay = 0.0 if gained >= PROGRESS else min(0.1 * 2.0**self.breaks, 5.0)
        self.run.emit(Retrying(f"reading blob {self.layer.what.digest}", str(failure), delay, "source"))
        await trio.sleep(delay)
        self.reader = await blamed("source", self.source.open_blob(self.layer.what, flow.position))

    async def _finish(self, flow: Inflow, upload: Upload) -> Recoded:
        report = await _apart(flow.finish, flow.stop)
        _same_diff_id(self.layer, flow.diff_id)
        await self.reader.settle(report if self.reader.inlet is not None else None)
        failure = failure_of_outlet(report, flow.outlet, self.layer.what, self.run.options.stall)
        if failure is not None:
            raise failure.blame("destination")
        done, self.taken = Recoded(flow.digest, flow.size, flow.diff_id, flow.annotations), flow.position
        await blamed("destination", upload.finish(report, done.digest, done.size))
        return done


async def _apart(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """`in_thread` for work that raises domain errors: they do not cross its nursery."""

    def caught() -> T | FastcopyError:
        try:
            return work()
        except FastcopyError as error:
            return error

    result = await in_thread(caught, stop)
    if isinstance(result, FastcopyError):
        raise result
    return result


def _stop(flow: Inflow, reader: BlobReader) -> None:
    flow.stop()
    if reader.inlet is not None:
        reader.inlet.stop()


def _sender(upload: Upload) -> Send:
    """What the worker thread calls to have a piece sent from the loop; it waits until it is sent."""

    async def send(data: bytes) -> None:
        await blamed("destination", upload.send(data))

    def wait(data: bytes) -> None:
        trio.from_thread.run(send, data)

    return wait
