"""Bytes that are needed in another order than they come in: unnamed temporary files, and what is learnt in one pass.

Refuses to know archives and images.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import trio

from fastcopy import codecs
from fastcopy.descriptor import Digest
from fastcopy.errors import Stalled
from fastcopy.transports._local import explained, in_thread, read_at

#: Where containers/image spools too: /tmp is often memory.
DEFAULT_TMPDIR = Path("/var/tmp")  # noqa: S108 - a directory, in which mkstemp makes a file of its own
#: Seconds without a byte from a pipe: `docker save` may prepare for minutes before it writes its first.
PIPE_STALL = 900.0


def unnamed(tmpdir: Path | None) -> int:
    """A new file that vanishes with its descriptor; raises LocalError, NoSpace."""
    directory = tmpdir or DEFAULT_TMPDIR
    with explained("open", str(directory)):
        fd, name = tempfile.mkstemp(prefix="fastcopy-", dir=directory)
        os.unlink(name)
        return fd


def append(fd: int, data: bytes, tmpdir: Path | None) -> None:
    """Write *data* behind what is there; raises NoSpace, LocalError."""
    with explained("write", str(tmpdir or DEFAULT_TMPDIR)):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


async def piece(fd: int, shown: str, *, regular: bool) -> bytes:
    """The next piece of a file or a pipe as it comes, empty at the end; raises Stalled, LocalError."""
    if not regular:
        with trio.move_on_after(PIPE_STALL) as waiting:
            await trio.lowlevel.wait_readable(fd)
        if waiting.cancelled_caught:
            raise Stalled(f"reading {shown}: no byte for {PIPE_STALL:g} s")
    with explained("read", shown):
        return await trio.to_thread.run_sync(os.read, fd, codecs.PIECE)


async def digests(fd: int, offset: int, size: int, compression: str) -> tuple[Digest, Digest]:
    """Of *size* bytes of a file from *offset* on: as they are, and inflated. Raises IntegrityError."""
    from fastcopy._native import Hasher

    packed, plain, decoder = Hasher(), Hasher(), codecs.decoder(compression)

    def step(at: int) -> None:
        data = read_at(fd, min(codecs.PIECE, size - at), offset + at)
        packed.update(data)
        for inflated in decoder.feed(data):
            plain.update(inflated)

    for at in range(0, size, codecs.PIECE):
        await in_thread(lambda at=at: step(at))  # type: ignore[misc]
    decoder.finish()
    return Digest("sha256:" + packed.hexdigest()), Digest("sha256:" + plain.hexdigest())
