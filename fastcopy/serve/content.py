"""Content by digest: open uploads (spools) and finished blobs, in memory.

Owns file descriptors. A spool is always a file (anonymous memory here), so that the native road can write to it
from a worker thread. Refuses to know repositories.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Protocol

from fastcopy._native import Hasher
from fastcopy.descriptor import Digest

#: Below this a blob in memory is a bytes object; above, a memory file that sendfile(2) and the pump can use.
#: A descriptor per blob is dear (1024 by default), a copy of 64 KiB takes 10 microseconds.
SMALL = 64 * 1024
_BLOCK = 1 << 20


class Spool:
    """An upload in progress: `length` bytes are written and digested, in order."""

    def __init__(self, fd: int, algorithm: str = "sha256") -> None:
        self.fd = fd
        self.length = 0
        self.hasher = Hasher(algorithm)

    def write(self, data: bytes | memoryview) -> None:
        """Append, in the calling thread; raises OSError (ENOSPC)."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, self.length)
            self.hasher.update(view[:done])
            self.length += done
            view = view[done:]

    def use(self, algorithm: str) -> None:
        """Digest with this algorithm, while nothing is written yet."""
        if self.hasher.algorithm != algorithm and self.length == 0:
            self.hasher = Hasher(algorithm)

    def digest(self, algorithm: str) -> Digest:
        """The digest of everything so far; another algorithm than the running one reads the bytes again."""
        if algorithm == self.hasher.algorithm:
            return Digest(f"{algorithm}:{self.hasher.hexdigest()}")
        again, at = Hasher(algorithm), 0
        while block := os.pread(self.fd, _BLOCK, at):
            again.update(block)
            at += len(block)
        return Digest(f"{algorithm}:{again.hexdigest()}")

    def close(self) -> None:
        """Forget the bytes; idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Blob(Protocol):
    """Finished content."""

    size: int

    def open(self) -> contextlib.AbstractContextManager[int | bytes]:
        """The bytes themselves, or a file descriptor valid inside the block (read it with pread only)."""


class Content(Protocol):
    """Where bytes live, by digest."""

    def spool(self, algorithm: str = "sha256") -> Spool: ...
    async def keep(self, spool: Spool, digest: Digest) -> None: ...
    async def put(self, digest: Digest, raw: bytes) -> None: ...
    def get(self, digest: Digest) -> Blob | None: ...
    def drop(self, digest: Digest) -> None: ...
    def close(self) -> None: ...


class _Bytes:
    def __init__(self, raw: bytes) -> None:
        self.raw, self.size = raw, len(raw)

    @contextlib.contextmanager
    def open(self) -> Iterator[int | bytes]:
        yield self.raw


class _MemoryFile:
    """Owns a descriptor; readers hold the object, so that a delete never pulls a file from under them."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd, self.size = fd, size

    @contextlib.contextmanager
    def open(self) -> Iterator[int | bytes]:
        yield self.fd

    def __del__(self) -> None:
        os.close(self.fd)


class MemoryContent:
    """Everything in memory; gone when the process ends."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, Blob] = {}

    def spool(self, algorithm: str = "sha256") -> Spool:
        """A new empty upload."""
        return Spool(anonymous_file(), algorithm)

    async def keep(self, spool: Spool, digest: Digest) -> None:
        """Make a spool the blob `digest`; the spool is used up."""
        if digest in self._blobs:
            spool.close()
        elif spool.length < SMALL:
            self._blobs[digest] = _Bytes(os.pread(spool.fd, spool.length, 0))
            spool.close()
        else:
            self._blobs[digest] = _MemoryFile(spool.fd, spool.length)
            spool.fd = -1

    async def put(self, digest: Digest, raw: bytes) -> None:
        """Keep small content that is already in memory."""
        self._blobs[digest] = _Bytes(raw)

    def get(self, digest: Digest) -> Blob | None:
        """The blob, or None."""
        return self._blobs.get(digest)

    def drop(self, digest: Digest) -> None:
        """Forget a blob; running downloads end undisturbed."""
        self._blobs.pop(digest, None)

    def close(self) -> None:
        """Forget everything."""
        self._blobs.clear()


def anonymous_file() -> int:
    """A descriptor of a file without a name: memory on Linux, an unlinked temporary file elsewhere."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fastcopy-blob")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
