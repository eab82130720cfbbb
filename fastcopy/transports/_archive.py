"""A tar archive as a set of files, read in place: never extracted.

A plain seekable archive is read where it lies. One that is compressed, or comes through a pipe, is spooled
decompressed into an unnamed temporary file first, because its members are needed in another order than they come in.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import trio

from fastcopy import codecs
from fastcopy.errors import FastcopyError, LocalError
from fastcopy.transports import _spool, _tar
from fastcopy.transports._files import Files
from fastcopy.transports._local import explained, in_thread, read_at


class ArchiveFiles(Files):
    """The members of one archive; *path* may be a pipe (``/dev/stdin``)."""

    def __init__(self, path: str, tmpdir: Path | None = None) -> None:
        self.path = path
        self._tmpdir = tmpdir
        self._fd, self._regular = -1, False
        self._index: _tar.TarIndex | None = None
        self._preparing = trio.Lock()

    async def prepare(self) -> None:
        async with self._preparing:
            if self._index is None:
                await in_thread(self._open)
                await self._spool_if_needed()
                self._index = await in_thread(self._indexed)

    def _open(self) -> None:
        with explained("open", self.path):
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            if stat.S_ISDIR(os.fstat(self._fd).st_mode):
                raise LocalError(f"open {self.path}: is a directory")

    async def _spool_if_needed(self) -> None:
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        head = await self._next()
        compression = codecs.sniff(head)
        if self._regular and compression == "none":
            return
        spool = await in_thread(self._spool)
        try:
            await self._inflate(spool, compression, head)
        except BaseException:
            os.close(spool)
            raise
        os.close(self._fd)
        self._fd = spool

    def _spool(self) -> int:
        return _spool.unnamed(self._tmpdir)

    def _append(self, data: bytes, spool: int) -> None:
        _spool.append(spool, data, self._tmpdir)

    async def _next(self) -> bytes:
        return await _spool.piece(self._fd, self.path, regular=self._regular)

    async def _inflate(self, spool: int, compression: str, head: bytes) -> None:
        """Decompress the whole archive into *spool*, a piece at a time so that cancellation gets through."""
        decoder = codecs.decoder(compression)

        def piece(data: bytes) -> None:
            for plain in decoder.feed(data):
                self._append(plain, spool)

        try:
            data = head
            while data:
                await trio.to_thread.run_sync(piece, data)
                data = await self._next()
            await in_thread(decoder.finish)
        except FastcopyError as error:
            error.message = f"{self.path}: {error.message}"
            raise

    def _indexed(self) -> _tar.TarIndex:
        try:
            return _tar.index(lambda size, at: read_at(self._fd, size, at), os.fstat(self._fd).st_size)
        except FastcopyError as error:
            error.message = f"{self.path}: {error.message}"
            raise

    def __contains__(self, name: str) -> bool:
        return self._index is not None and name in self._index

    def member(self, name: str) -> _tar.Member:
        """The regular file that *name* leads to; raises LocalError when there is none."""
        found = self._index.find(name) if self._index else None
        if found is None:
            raise LocalError(f"{self.path}: file {name[:200]} not found in the archive")
        return found

    def locate(self, name: str) -> tuple[int, int, int]:
        found = self.member(name)
        return os.dup(self._fd), found.offset, found.size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
