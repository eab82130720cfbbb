"""Uploads that go on where a registry says they stand, and the digest that goes with them.

Owns the choice of where a blob begins again. A note carries the digest's state at some offset; what the registry holds
beyond it is read and hashed once more, but not sent. Refuses to believe a note: the registry is asked, and the digest
of the whole is compared before the last bytes leave (docs/resume.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import trio

from fastcopy.descriptor import Descriptor
from fastcopy.errors import Again, FastcopyError
from fastcopy.transfer.notes import OpenUpload
from fastcopy.transfer.run import Run, blamed
from fastcopy.transfer.together import gather

if TYPE_CHECKING:
    from fastcopy._native import Hasher
    from fastcopy.transports.base import Destination, Upload

#: Seconds for telling registries of uploads that nobody goes on with: Ctrl-C has to leave within one.
LAST_WORDS = 0.4
#: States of the digest that a note holds, a stretch apart: buffers between us and a registry hold less than the others.
STATES = 4
#: An attempt that brought an upload so many bytes further does not count; less is no reason to go on for ever.
GAIN = 16 << 20


async def begin(run: Run, target: Destination, what: Descriptor) -> Upload:
    """An upload of *what* that goes on where an earlier one broke off, or a new one."""
    note = run.notes.open_upload(target.host, target.place, what.digest)
    if note is not None:
        upload = await blamed("destination", target.resume(what, note.location))
        if upload is not None:
            return upload
        forget(run, [target], what)
    return await blamed("destination", target.begin(what))


async def as_one(uploads: dict[Destination, Upload], what: Descriptor) -> None:
    """Of uploads that share a download all come in parts, or none does: a body in one piece cannot wait for others."""
    if all(upload.part_limit is not None for upload in uploads.values()):
        return
    for target, upload in list(uploads.items()):
        if upload.offset:
            upload.close()
            uploads[target] = await blamed("destination", target.begin(what))
        uploads[target].whole()


def hasher_for(run: Run, uploads: Mapping[Destination, Upload], what: Descriptor) -> Hasher:
    """The digest's state at the last noted offset that every one of *uploads* has reached."""
    from fastcopy._native import Hasher

    least = min((upload.offset for upload in uploads.values()), default=0)
    best = Hasher(what.digest.algorithm)
    for target in uploads:
        note = run.notes.open_upload(target.host, target.place, what.digest)
        for found in _restored(note) if note is not None else ():
            if found.algorithm == best.algorithm and best.length < found.length <= least:
                best = found
    return best


def _restored(note: OpenUpload) -> list[Hasher]:
    """The states of a note; those that are damaged, or of a newer version, are left out: the bytes are hashed again."""
    from fastcopy._native import Hasher

    found = []
    for state in unpacked(note.state):
        with contextlib.suppress(ValueError):
            found.append(Hasher.restore(state))
    return found


def packed(states: Iterable[bytes]) -> bytes:
    """Several states as one, each behind its length (16 bits)."""
    return b"".join(len(state).to_bytes(2, "big") + state for state in states)


def unpacked(states: bytes) -> list[bytes]:
    """The states that `packed` made one of; what is damaged gives other states, which their checksums refuse."""
    found = []
    while len(states) > 2:
        end = 2 + int.from_bytes(states[:2], "big")
        found.append(states[2:end])
        states = states[end:]
    return found


def checkpoint(run: Run, target: Destination, what: Descriptor, upload: Upload, hasher: Hasher) -> None:
    """Note where *upload* stands, if it can be gone on with, and where its digest does.

    The digest runs ahead of what was confirmed, by a part at most. The last states are kept: which of them helps
    depends on how much the place has when it is asked.
    """
    if not upload.location:
        return
    note = run.notes.open_upload(target.host, target.place, what.digest)
    states = [each for each in (unpacked(note.state) if note is not None else ()) if each != hasher.export()]
    states = [*states, hasher.export()][-STATES:]
    run.notes.checkpoint(
        OpenUpload(target.host, target.place, what.digest, upload.location, upload.offset, packed(states))
    )


def forget(run: Run, targets: Iterable[Destination], what: Descriptor) -> None:
    """There is no upload of *what* any more that anybody should go on with."""
    for target in targets:
        run.notes.closed(target.host, target.place, what.digest)


def gained(run: Run, target: Destination, what: Descriptor, upload: Upload) -> bool:
    """Whether *upload* has come further than any before it in this run, and can be gone on with."""
    key = (target.host, target.place, what.digest)
    if upload.offset < run.reached.get(key, 0) + GAIN:
        return False
    run.reached[key] = upload.offset
    return run.notes.open_upload(*key) is not None


def failed(run: Run, targets: Iterable[Destination], what: Descriptor, error: FastcopyError) -> None:
    """An attempt failed: one that has to start afresh takes nothing over from this one."""
    if error.again is Again.FRESH:
        forget(run, targets, what)


def cancelled(run: Run, targets: Iterable[Destination], what: Descriptor) -> None:
    """The run ends: what only it remembers is of no use to anybody."""
    if not run.notes.lasting:
        forget(run, targets, what)


async def abandon(run: Run, uploads: Collection[tuple[Destination, Upload]], what: Descriptor) -> None:
    """Give up those of *uploads* that nobody has noted, also when cancelled; the time for it is short."""
    lost = [
        upload for target, upload in uploads if run.notes.open_upload(target.host, target.place, what.digest) is None
    ]
    if lost:
        with trio.move_on_after(LAST_WORDS, shield=True):
            await gather(*(partial(upload.abandon) for upload in lost))
