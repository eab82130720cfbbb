"""The ladder for one blob at one place: known, there already, mounted, uploaded.

Each digest is brought to a place once per run (single flight), and to a registry once: whoever comes first for a
(registry, digest) leads, the other repositories of that registry wait for it and mount.
"""

from __future__ import annotations

from functools import partial

from fastcopy.descriptor import Descriptor
from fastcopy.events import BlobDone, BlobKind, BlobStarted
from fastcopy.schedule import Lane
from fastcopy.transfer.carry import carry
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transports.base import Destination, Source

#: Below this many bytes a blob stays in the loop: the hand-over to a thread costs 137 us, the time in which one core
#: hashes 250 kB (design, micro-costs).
SMALL_BLOB = 256 * 1024


async def ensure_blob(run: Run, source: Source, destination: Destination, what: Descriptor, kind: BlobKind) -> None:
    """Make sure *what* is complete at *destination*."""
    key = ("blob", destination.host, destination.place, what.digest)
    await run.shared.get(key, partial(_ensure, run, source, destination, what, kind))


async def _ensure(run: Run, source: Source, destination: Destination, what: Descriptor, kind: BlobKind) -> None:
    run.emit(BlobStarted(what.digest, what.size, kind))
    run.meters.planned += max(what.size, 0)
    async with run.leader(destination.host, what.digest):
        how, origin = await run.perform(_step(run, source, destination, what))
        run.known.note(destination.host, destination.place, what.digest)
    run.meters.settled += max(what.size, 0)
    run.meters.tally(how).add(what.size)
    run.emit(BlobDone(what.digest, what.size, how, kind, origin))  # type: ignore[arg-type]


def _step(run: Run, source: Source, destination: Destination, what: Descriptor) -> Step[tuple[str, str]]:
    small = 0 <= what.size < SMALL_BLOB
    return Step(
        f"copying blob {what.digest}",
        partial(_bring, run, source, destination, what),
        source.host,
        destination.host,
        Lane.SMALL if small else Lane.BULK,
        what.size,
    )


async def _bring(run: Run, source: Source, destination: Destination, what: Descriptor) -> tuple[str, str]:
    """How the blob came to be there, and the repository it was mounted from."""
    mount_from = _mount_origin(run, source, destination, what) if destination.accepts.mounts else ""
    if not mount_from and await blamed("destination", destination.has_blob(what)):
        return "present", ""
    if 0 <= what.size < SMALL_BLOB:
        how = await _bring_small(run, source, destination, what, mount_from)
    else:
        how = await carry(run, source, destination, what, mount_from)
    return how, mount_from if how == "mounted" else ""


def _mount_origin(run: Run, source: Source, destination: Destination, what: Descriptor) -> str:
    """A repository of the destination's registry that is known to have the blob."""
    known = run.known.elsewhere(destination.host, destination.place, what.digest)
    if known or source.host != destination.host or source.place == destination.place:
        return known
    return source.place


async def _bring_small(run: Run, source: Source, destination: Destination, what: Descriptor, mount_from: str) -> str:
    if mount_from:
        mounted = await blamed("destination", destination.mount(what, mount_from))
        if mounted:
            return "mounted"
    data = await blamed("source", source.read_blob(what))
    await blamed("destination", destination.write_blob(what, data))
    run.meters.took(len(data), len(data))
    return "copied"
