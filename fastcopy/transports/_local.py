"""Files on local disks as bodies: readers that lend a descriptor, uploads that become visible by a rename.

Law: nothing stands under its final name before it is complete, verified and on the disk; writing never follows a link.
Refuses to know what the files mean (`dir`, `oci` and the archives do).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import trio

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import FastcopyError, LocalError, NoSpace, SizeMismatch
from fastcopy.layoutfile import TEMPORARY
from fastcopy.transports.base import BlobReader, Upload

if TYPE_CHECKING:
    from fastcopy._native import Inlet, Outlet, Report

T = TypeVar("T")

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not make us wait before we can see what it is
_WRITE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORDS = {
    errno.ENOENT: "no such file or directory",
    errno.ENOTDIR: "not a directory",
    errno.EISDIR: "is a directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "read-only file system",
    errno.ELOOP: "too many levels of symbolic links",
}
#: Bytes hashed per hand-over to a thread: a few milliseconds, so that a cancelled look-up ends soon.
_HASHED = 8 << 20


async def in_thread(work: Callable[[], T]) -> T:
    """Run short file work off the loop; it is not abandoned half way when cancelled."""
    return await trio.to_thread.run_sync(work)


@contextlib.contextmanager
def explained(verb: str, path: str) -> Iterator[None]:
    """Turn an OSError about *path* into one line in Go's words."""
    try:
        yield
    except OSError as error:
        words = _WORDS.get(error.errno or 0, (error.strerror or str(error)).lower())
        kind = NoSpace if error.errno in _FULL else LocalError
        raise kind(f"{verb} {path}: {words}") from None


class FileReader(BlobReader):
    """Bytes of a file, lent as an inlet."""

    def __init__(self, fd: int, length: int, offset: int = 0) -> None:
        from fastcopy._native import Inlet

        self._fd = fd  # ours to close
        self.length = length
        self.inlet: Inlet | None = Inlet.file(fd, length, offset)

    async def settle(self, report: Report | None) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_regular(name: str, shown: str, dir_fd: int | None = None) -> tuple[int, int]:
    """Descriptor and size of the regular file *name*; raises LocalError with *shown* for its path."""
    with explained("open", shown):
        fd = os.open(name, _READ, dir_fd=dir_fd)
        found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise LocalError(f"open {shown}: not a regular file")
    return fd, found.st_size


class Room:
    """A directory that is written into, opened once: later renames of its path lead nowhere else."""

    def __init__(self, path: str, *, create: bool = True) -> None:
        self.path = path
        with explained("open", path):
            if create:
                os.makedirs(path, 0o755, exist_ok=True)
            self.fd = os.open(path, _DIRECTORY)

    def below(self, name: str) -> Room:
        """The directory *name* inside, made when it is missing; a link in its place is refused."""
        room = Room.__new__(Room)
        room.path = os.path.join(self.path, name)
        with explained("open", room.path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=self.fd)
            room.fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        return room

    def shown(self, name: str) -> str:
        """The path of *name* for messages."""
        return os.path.join(self.path, name)

    def temporary(self) -> tuple[str, int]:
        """A new file under a name that only unfinished writes have."""
        name = TEMPORARY + secrets.token_hex(8)
        with explained("open", self.shown(name)):
            return name, os.open(name, _WRITE, 0o644, dir_fd=self.fd)

    durable = True  #: whether files are on the disk before they get their names

    def publish(self, temporary: str, fd: int, name: str, into: Room | None = None) -> None:
        """Give a complete file its name, here or *into* another room, once its bytes are on the disk."""
        into = into or self
        with explained("write", into.shown(name)):
            if self.durable:
                os.fsync(fd)
            os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=into.fd)

    def write(self, name: str, data: bytes) -> None:
        """Replace the file *name* by *data*, at once or not at all."""
        temporary, fd = self.temporary()
        try:
            with explained("write", self.shown(name)):
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            self.publish(temporary, fd, name)
        except BaseException:
            self.remove(temporary)
            raise
        finally:
            os.close(fd)

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        with explained("remove", self.shown(name)), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def names(self) -> list[str]:
        """What is inside."""
        with explained("read", self.path):
            return os.listdir(self.fd)

    def read(self, name: str, limit: int) -> bytes | None:
        """A small file whole, None when there is none; raises LocalError."""
        try:
            os.stat(name, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        return read_whole(*open_regular(name, self.shown(name), self.fd), self.shown(name), limit)

    def sync(self) -> None:
        """Put the names themselves on the disk."""
        with explained("sync", self.path):
            os.fsync(self.fd)

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def read_whole(fd: int, size: int, shown: str, limit: int) -> bytes:
    """All *size* bytes of *fd*, which is closed; raises LocalError when they are more than *limit*."""
    try:
        if size > limit:
            raise LocalError(f"read {shown}: it has {size} bytes, more than the limit of {limit}")
        with explained("read", shown):
            return read_at(fd, size, 0)
    finally:
        os.close(fd)


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Up to *size* bytes from *offset* on; fewer only at the end of the file."""
    pieces = []
    while size > 0:
        piece = os.pread(fd, size, offset)
        if not piece:
            break
        pieces.append(piece)
        size, offset = size - len(piece), offset + len(piece)
    return b"".join(pieces)


async def holds(room: Room, name: str, what: Descriptor) -> bool:
    """Whether the file *name* is there with the size and the digest of *what*: every byte is read, none is trusted."""
    from fastcopy._native import Hasher

    try:
        fd, size = await in_thread(lambda: open_regular(name, room.shown(name), room.fd))
    except FastcopyError:
        return False
    try:
        if what.size not in (-1, size):
            return False
        hasher = Hasher(what.digest.algorithm)
        for offset in range(0, size, _HASHED):
            await trio.to_thread.run_sync(lambda at: hasher.update(read_at(fd, _HASHED, at)), offset)
        return hasher.digest() == what.digest.raw
    except OSError:
        return False
    finally:
        os.close(fd)


Place = Callable[[Digest], tuple[Room, str]]


class FileUpload(Upload):
    """A blob on its way into a directory; *place* says where it goes once its digest is known."""

    def __init__(self, room: Room, place: Place) -> None:
        self._room, self._place = room, place
        self._temporary, self._fd = "", -1

    async def open(self, length: int) -> Outlet:
        from fastcopy._native import Outlet

        self._temporary, self._fd = await in_thread(self._room.temporary)
        return Outlet.file(self._fd)

    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        with trio.CancelScope(shield=True):
            await in_thread(lambda: self._finish(digest, size))

    def _finish(self, digest: Digest, size: int) -> None:
        room, name = self._place(digest)
        written = os.fstat(self._fd).st_size
        if size not in (-1, written):
            raise SizeMismatch(f"write {room.shown(name)}: {written} bytes arrived, not {size}")
        self._room.publish(self._temporary, self._fd, name, room)
        self._temporary = ""

    def close(self) -> None:
        if self._temporary:
            with contextlib.suppress(FastcopyError):
                self._room.remove(self._temporary)
            self._temporary = ""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
