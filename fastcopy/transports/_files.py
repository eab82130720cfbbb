"""Named files that images are read from, whether they lie in a directory or inside an archive."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from fastcopy.descriptor import Descriptor
from fastcopy.errors import LocalError, SizeMismatch
from fastcopy.transports._local import FileReader, in_thread, open_regular, read_at
from fastcopy.transports.base import BlobReader


class Files(ABC):
    """A set of regular files; *name* is a relative path with slashes."""

    path: str  #: as the user wrote it

    @abstractmethod
    def locate(self, name: str) -> tuple[int, int, int]:
        """A descriptor of the caller's own, the file's offset in it and its size; raises LocalError."""

    async def prepare(self) -> None:
        """What has to happen before the first `locate`."""
        return

    def shown(self, name: str) -> str:
        """The path of *name* for messages."""
        return os.path.join(self.path, name)

    async def read(self, name: str, limit: int = 4 << 20) -> bytes:
        """A small file whole; raises LocalError."""
        return await in_thread(lambda: self._read(name, limit))

    def _read(self, name: str, limit: int) -> bytes:
        fd, offset, size = self.locate(name)
        try:
            if size > limit:
                raise LocalError(f"{self.shown(name)} has {size} bytes, more than the limit of {limit}")
            data = read_at(fd, size, offset)
        except OSError as error:
            raise LocalError(f"read {self.shown(name)}: {error.strerror}") from None
        finally:
            os.close(fd)
        if len(data) != size:
            raise LocalError(f"read {self.shown(name)}: unexpected EOF")
        return data

    async def head(self, name: str, count: int) -> bytes:
        """The first *count* bytes of a file, fewer when it is shorter; raises LocalError."""
        return await in_thread(lambda: self._head(name, count))

    def _head(self, name: str, count: int) -> bytes:
        fd, offset, size = self.locate(name)
        try:
            return read_at(fd, min(count, size), offset)
        except OSError as error:
            raise LocalError(f"read {self.shown(name)}: {error.strerror}") from None
        finally:
            os.close(fd)

    async def reader(self, name: str, what: Descriptor, first: int, last: int | None) -> BlobReader:
        """The blob *what* that lies in the file *name*, or a piece of it; raises LocalError, SizeMismatch."""
        fd, offset, size = await in_thread(lambda: self.locate(name))
        if what.size not in (-1, size):
            os.close(fd)
            raise SizeMismatch(f"blob {what.digest} has {size} bytes, its descriptor says {what.size}")
        end = size if last is None else min(last + 1, size)
        return FileReader(fd, max(end - first, 0), offset + first)

    def close(self) -> None:
        """Release what is held."""
        return


class DirectoryFiles(Files):
    """Files below a directory. Links are followed: what they lead to is verified by its digest."""

    def __init__(self, path: str) -> None:
        self.path = path

    def locate(self, name: str) -> tuple[int, int, int]:
        fd, size = open_regular(self.shown(name), self.shown(name))
        return fd, 0, size
