"""What programs call, and what the command line adds only words to.

Async functions run under trio; the functions without `_async` call trio.run. Events arrive on the engine's thread by a
plain function, which must not block.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from fastcopy import names
from fastcopy.errors import BadName, Denied, FastcopyError, NeedsLogin, NotThere, Unsupported
from fastcopy.events import CopyDone, CopyReport, CopyStarted, OnEvent, ignore
from fastcopy.options import Options
from fastcopy.transfer.drain import Drain
from fastcopy.transfer.run import blamed

if TYPE_CHECKING:
    from fastcopy.engine import Engine, Trace
    from fastcopy.jobs import Rule
    from fastcopy.manifest import Manifest
    from fastcopy.migrate.planning import Planned
    from fastcopy.migrate.report import SyncReport
    from fastcopy.migrate.runner import Syncing, SyncOptions
    from fastcopy.transfer.image import Copied

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inspected:
    """One image as it is at its place. `top` is what the name points to, `manifest` the instance chosen from a list."""

    name: str
    top: Manifest
    manifest: Manifest
    config: bytes | None
    tags: list[str] | None


@dataclass(frozen=True, slots=True)
class TagList:
    """The tags of a repository in the registry's order."""

    repository: str
    tags: list[str]


async def copy_async(
    source: str,
    destination: str,
    options: Options | None = None,
    *,
    on_event: OnEvent = ignore,
    trace: Trace = None,
    drain: Drain | None = None,
) -> CopyReport:
    """Copy one image; raises FastcopyError, whose side says whose fault it was.

    When it returns, *destination* names the complete image; when it raises, *destination* names what it named before.
    Once *drain* is asked, what is in flight is finished and nothing new begins: Drained unless that was all.
    """
    from fastcopy.engine import running

    options = options or Options()
    work = partial(_copy, source, destination, on_event)
    return await running(options, work, emit=on_event, trace=trace, drain=drain)


async def _copy(source: str, destination: str, emit: OnEvent, engine: Engine) -> CopyReport:
    from fastcopy.places import closing, open_destination, open_trusted
    from fastcopy.transfer.image import ImageCopy

    started = time.monotonic()
    origin_ref, target_ref = _parse(source, "Invalid source name"), _parse(destination, "Invalid destination name")
    emit(CopyStarted(source, destination, engine.run.meters))
    from fastcopy.migrate.journaling import keeping, key_of

    async with (
        keeping(engine.run, partial(key_of, engine.run.copy, (), (), source, destination), f"copy {source}") as ending,
        closing(await blamed("source", open_trusted(engine.source, origin_ref))) as origin,
        closing(await blamed("destination", open_destination(engine.destination, target_ref))) as target,
    ):
        (result,) = (await ImageCopy(engine.run, origin, [target]).go()).values()
        ending.complete = not isinstance(result, FastcopyError)
    if isinstance(result, FastcopyError):
        raise result
    report = _report(engine, result, time.monotonic() - started)
    emit(CopyDone(report))
    return report


def _parse(name: str, complaint: str) -> names.Ref:
    try:
        return names.parse(name)
    except BadName as error:
        raise BadName(f"{complaint} {name}: {error}") from None


async def sync_async(
    rules: Sequence[Rule],
    options: Options | None = None,
    sync: SyncOptions | None = None,
    *,
    on_event: OnEvent = ignore,
    trace: Trace = None,
    drain: Drain | None = None,
) -> SyncReport:
    """Copy everything *rules* select; failures of single images are in the report, not raised.

    Once *drain* is asked, images whose blobs are all in flight are finished; the others are `skipped` in the report.
    Raises BadConfig when two sources would be written to one destination.
    """
    from fastcopy.engine import running
    from fastcopy.migrate.journaling import keeping, key_of
    from fastcopy.migrate.runner import SyncOptions

    chosen = sync or SyncOptions()

    async def work(engine: Engine) -> SyncReport:
        on_event(CopyStarted("", "", engine.run.meters))
        async with keeping(engine.run, partial(key_of, engine.run.copy, rules, chosen.jobs), chosen.command) as ending:
            report = await _syncing(engine, chosen).go(rules)
            ending.complete = report.complete
        return report

    return await running(options or Options(), work, emit=on_event, trace=trace, drain=drain)


def _syncing(engine: Engine, chosen: SyncOptions) -> Syncing:
    from fastcopy.migrate.runner import Syncing

    if chosen.plan is None:
        return Syncing(engine, chosen)
    from fastcopy.migrate.executing import Executing

    return Executing(engine, chosen, saved=chosen.plan)


async def plan_async(
    rules: Sequence[Rule],
    options: Options | None = None,
    sync: SyncOptions | None = None,
    *,
    on_event: OnEvent = ignore,
    trace: Trace = None,
    drain: Drain | None = None,
) -> Planned:
    """What `sync_async` would do with the same arguments, and what that costs. Nothing is written anywhere.

    Raises BadConfig when two sources would be written to one destination, Drained when *drain* is asked.
    """
    from dataclasses import replace

    from fastcopy.engine import running
    from fastcopy.migrate.planning import Planning
    from fastcopy.migrate.runner import SyncOptions

    chosen = replace(sync or SyncOptions(), dry_run=True)

    async def work(engine: Engine) -> Planned:
        on_event(CopyStarted("", "", engine.run.meters))
        planning = Planning(engine, chosen)
        return planning.planned(await planning.go(rules))

    return await running(options or Options(), work, emit=on_event, trace=trace, drain=drain)


def _report(engine: Engine, copied: Copied, seconds: float) -> CopyReport:
    meters = engine.run.meters
    return CopyReport(
        digest=copied.digest,
        media_type=copied.media_type,
        bytes_copied=meters.copied.bytes,
        bytes_reused=meters.present.bytes,
        bytes_mounted=meters.mounted.bytes,
        blobs_copied=meters.copied.blobs,
        blobs_reused=meters.present.blobs,
        blobs_mounted=meters.mounted.blobs,
        seconds=seconds,
        requests=engine.requests,
        digest_map=copied.digest_map,
        companions=copied.companions,
    )


async def inspect_async(
    image: str, options: Options | None = None, *, tags: bool = True, raw: bool = False, trace: Trace = None
) -> Inspected:
    """Look at one image; *raw* stops at what the name points to, *tags* also lists the repository's tags."""
    work = partial(_inspect, image, tags and not raw, raw)
    return await _looking(options, work, trace)


async def _inspect(image: str, tags: bool, raw: bool, engine: Engine) -> Inspected:
    from fastcopy.places import closing, open_source
    from fastcopy.transfer.reading import Reader

    ref = _parse(image, "Error parsing image name")
    async with closing(await open_source(engine.source, ref)) as source:
        reader = Reader(engine.run, source)
        top = await reader.manifest(None)
        if raw:
            return Inspected(names.image_name(ref), top, top, None, None)
        manifest = await reader.instance(top)
        config = await reader.config(manifest)
    listed = await _tags_if_allowed(engine, ref) if tags and isinstance(ref, names.DockerRef) else None
    return Inspected(names.repository_of(ref), top, manifest, config, listed)


async def _tags_of(engine: Engine, ref: names.DockerRef) -> list[str]:
    from fastcopy.places import open_repository

    repository = await open_repository(engine.source, ref)
    return [tag async for page in repository.tags() for tag in page]


async def _archive_tags(engine: Engine, ref: names.ArchiveRef) -> list[str]:
    from fastcopy.places import closing, open_docker_archive

    async with closing(open_docker_archive(engine.source, ref)) as archive:
        return await archive.tags()


async def _tags_if_allowed(engine: Engine, ref: names.DockerRef) -> list[str] | None:
    """The tags, or None where the registry keeps them to itself: `inspect` goes on without them, as skopeo does."""
    try:
        return await _tags_of(engine, ref)
    except (Denied, NeedsLogin, NotThere):
        return None


async def list_tags_async(repository: str, options: Options | None = None, *, trace: Trace = None) -> TagList:
    """Every tag of a repository, in the registry's order."""
    ref = _parse(repository, "Invalid")

    async def work(engine: Engine) -> TagList:
        if isinstance(ref, names.ArchiveRef) and ref.kind == "docker-archive":
            return TagList("", await _archive_tags(engine, ref))
        if not isinstance(ref, names.DockerRef):
            supported = "docker, docker-archive"
            raise Unsupported(f"Unsupported transport '{ref.transport}' for tag listing. Only supported: {supported}")
        return TagList(ref.name, await _tags_of(engine, ref))

    return await _looking(options, work, trace)


async def delete_async(image: str, options: Options | None = None, *, trace: Trace = None) -> None:
    """Delete the manifest that *image* names (and with it every tag that points to it)."""
    ref = _parse(image, "Invalid source name")

    async def work(engine: Engine) -> None:
        from fastcopy.transports.docker import delete_image

        if isinstance(ref, names.OciRef):
            from fastcopy.transports import oci

            await oci.delete_image(ref, engine.source.options.shared_blob_dir)
            return
        if isinstance(ref, names.StorageRef):
            from fastcopy.transports.storage.removing import delete_image as delete_stored

            await delete_stored(ref)
            return
        if not isinstance(ref, names.DockerRef):
            raise Unsupported(f"Deleting images not implemented for {ref.transport}: images")
        registry = await engine.source.registry(ref.registry)
        await delete_image(registry, names.with_default_tag(ref))

    await _looking(options, work, trace)


async def ping_async(registry: str, options: Options | None = None, *, trace: Trace = None) -> None:
    """Whether *registry* takes the credentials: GET /v2/; raises NeedsLogin, Denied, LinkError."""

    async def work(engine: Engine) -> None:
        from fastcopy.transports.docker import ping

        await ping(await engine.source.registry(registry))

    await _looking(options, work, trace)


async def _looking(options: Options | None, work: Callable[[Engine], Awaitable[T]], trace: Trace) -> T:
    from fastcopy.engine import running

    return await running(options or Options(), work, emit=ignore, trace=trace)


def copy(source: str, destination: str, options: Options | None = None, *, on_event: OnEvent = ignore) -> CopyReport:
    """`copy_async` for plain scripts: runs trio in this thread until the copy is complete."""
    return trio.run(partial(copy_async, source, destination, options, on_event=on_event))


def sync(
    rules: Sequence[Rule],
    options: Options | None = None,
    sync: SyncOptions | None = None,
    *,
    on_event: OnEvent = ignore,
) -> SyncReport:
    """`sync_async` for plain scripts."""
    return trio.run(partial(sync_async, rules, options, sync, on_event=on_event))


def plan(rules: Sequence[Rule], options: Options | None = None, sync: SyncOptions | None = None) -> Planned:
    """`plan_async` for plain scripts."""
    return trio.run(partial(plan_async, rules, options, sync))


def inspect(image: str, options: Options | None = None, *, tags: bool = True) -> Inspected:
    """`inspect_async` for plain scripts."""
    return trio.run(partial(inspect_async, image, options, tags=tags))


def list_tags(repository: str, options: Options | None = None) -> TagList:
    """`list_tags_async` for plain scripts."""
    return trio.run(list_tags_async, repository, options)


def delete(image: str, options: Options | None = None) -> None:
    """`delete_async` for plain scripts."""
    trio.run(delete_async, image, options)
