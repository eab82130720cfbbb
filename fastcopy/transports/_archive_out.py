"""A tar archive being written: members one after the other, each header patched in when its size is known.

The bodies go straight to their place, so layers are never copied twice; into a pipe, which cannot be patched, the
archive goes from a temporary file. Owns the one-at-a-time rule and atomicity; refuses to know what the members mean.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import SizeMismatch
from fastcopy.layoutfile import TEMPORARY
from fastcopy.transports._local import explained, in_thread
from fastcopy.transports._spool import DEFAULT_TMPDIR
from fastcopy.transports._tar import BLOCK
from fastcopy.transports.base import Destination, Upload

if TYPE_CHECKING:
    from fastcopy._native import Outlet, Report

_COPIED = 1 << 20


def is_stream(path: str) -> bool:
    """Whether *path* is written into as it is: a pipe, a device, or an open file (``/dev/stdout``, ``/dev/fd/3``).

    Anything else is replaced by a rename; doing that to ``/dev/stdout`` would replace the system's own link.
    """
    if os.path.normpath(os.path.abspath(path)).startswith(("/dev/", "/proc/")):
        return True
    return os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)


class ArchiveWriter:
    """The file; `free` is held by whoever writes a member."""

    def __init__(self, path: str, tmpdir: Path | None, *, spool: bool = False) -> None:
        self._pipe = spool or is_stream(path)
        self._spool = spool  #: whoever made it takes the archive from `fd`
        self._path = path if self._pipe else os.path.realpath(path)
        self._end = 0
        self.free = trio.Semaphore(1)
        directory = str(tmpdir or DEFAULT_TMPDIR) if self._pipe else os.path.dirname(self._path)
        with explained("open", path):
            self.fd, self._temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=directory)
            os.fchmod(self.fd, 0o644)

    @property
    def spooled(self) -> str:
        """Where the archive of a pipe waits until it is complete; "" for a file, which is written in its place."""
        return os.path.dirname(self._temporary) if self._pipe and not self._spool else ""

    @property
    def body(self) -> int:
        """Where the next member's bytes go."""
        return self._end + BLOCK

    @property
    def size(self) -> int:
        """Bytes of the archive once it is finished."""
        return self._end + 2 * BLOCK

    def seal(self, name: str, size: int) -> None:
        """The next member is *name*, its *size* bytes are written."""
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o444
        with explained("write", self._path):
            os.pwrite(self.fd, header.tobuf(tarfile.GNU_FORMAT), self._end)
        self._end = self.body + -(-size // BLOCK) * BLOCK

    def add(self, name: str, data: bytes) -> None:
        """A member whole."""
        with explained("write", self._path):
            view, at = memoryview(data), self.body
            while view:
                count = os.pwrite(self.fd, view, at)
                view, at = view[count:], at + count
        self.seal(name, len(data))

    def forget(self) -> None:
        """Throw away what was written of an unfinished member."""
        with explained("write", self._path):
            os.ftruncate(self.fd, self._end)

    def finish(self) -> None:
        """End the archive and give it its name, or send it down the pipe."""
        with explained("write", self._path):
            os.ftruncate(self.fd, self._end)
            os.ftruncate(self.fd, self._end + 2 * BLOCK)
            if self._spool:
                return
            if self._pipe:
                self._send()
            else:
                os.fsync(self.fd)
                os.rename(self._temporary, self._path)
                self._temporary = ""

    def _send(self) -> None:
        with open(self._path, "wb", buffering=0) as out:
            at = 0
            while data := os.pread(self.fd, _COPIED, at):
                at += out.write(data)

    def close(self) -> None:
        """Leave nothing unfinished behind; idempotent."""
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = ""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class MemberUpload(Upload):
    """A blob on its way into the archive; holds the writer until it is complete or given up."""

    def __init__(self, destination: ArchiveDestination, what: Descriptor) -> None:
        self._destination, self._what = destination, what
        self._writing = True

    async def open(self, length: int) -> Outlet:
        from fastcopy._native import Outlet

        writer = self._destination.writer
        return Outlet.file(writer.fd, writer.body)

    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        writer = self._destination.writer
        written = max(os.fstat(writer.fd).st_size - writer.body, 0)
        if size not in (-1, written):
            raise SizeMismatch(f"{self._destination.name}: {written} bytes of blob {digest} arrived, not {size}")
        if digest in self._destination.written:  # two layers that became the same one
            writer.forget()
        else:
            writer.seal(self._destination.member(self._what, digest), written)
            self._destination.written.add(digest)
        self._release()

    def _release(self) -> None:
        self._writing = False
        self._destination.writer.free.release()

    def close(self) -> None:
        if self._writing:
            self._destination.writer.forget()
            self._release()


class ArchiveDestination(Destination):
    """What the two archive formats have in common: one blob after the other, each once, all visible at the end."""

    def __init__(self, name: str, path: str, tmpdir: Path | None, writer: ArchiveWriter | None = None) -> None:
        self.name, self.host, self.place = name, "", os.path.realpath(path)
        self.writer = writer or ArchiveWriter(path, tmpdir)
        self.written: set[Digest] = set()

    @abstractmethod
    def member(self, what: Descriptor, digest: Digest) -> str:
        """The member's name of a blob like *what* with *digest*."""

    async def current(self) -> Digest | None:
        return None

    async def has_blob(self, what: Descriptor) -> bool:
        return what.digest in self.written

    async def begin(self, what: Descriptor) -> Upload:
        await self.writer.free.acquire()
        return MemberUpload(self, what)

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        if what.digest in self.written:
            return
        async with self.writer.free:
            await in_thread(lambda: self.writer.add(self.member(what, what.digest), data))
            self.written.add(what.digest)

    async def close(self) -> None:
        self.writer.close()
