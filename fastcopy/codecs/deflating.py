"""Gzip in blocks, several at once, joined into one member.

Each block of 1 MiB is deflated with the last 32 KiB before it as its dictionary and ends at a byte (a sync flush), as
pigz and pgzip do it: the result is one ordinary gzip member, and it does not depend on how many threads there were.
Levels 1 to 3 and the default are ISA-L's (a seventh of the work of zlib's level 6, a tenth larger), 4 to 9 zlib's.
"""

from __future__ import annotations

import importlib.util
import struct
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from fastcopy.codecs.base import PIECE, Encoder
from fastcopy.errors import UsageError

#: RFC 1952: deflate, no flags, no time, no operating system (what Go's writers put there).
_HEADER: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
#: The end of a deflate stream: one last block without bytes (RFC 1951, 3.2.6).
_LAST: Final = b"\x03\x00"
_DICTIONARY: Final = 32 << 10
#: ISA-L knows 0 to 3; its 3 is the best ratio that is still far faster than the network.
_ISAL_LEVELS: Final = {None: 3, -1: 3, 1: 1, 2: 2, 3: 3}


class GzipEncoder(Encoder):
    """One gzip member, deflated on *workers* threads (1: on the caller's)."""

    def __init__(self, level: int | None = None, workers: int = 1, *, portable: bool = False) -> None:
        if level is not None and not -1 <= level <= 9:
            raise UsageError(f"gzip: invalid compression level: {level}")
        self._deflate = _deflater(level, portable)
        self._threads = ThreadPoolExecutor(workers, "gzip") if workers > 1 else None
        self._ahead = workers + 1
        self._waiting: deque[Future[bytes]] = deque()
        self._pending = bytearray()
        self._before = b""
        self._crc = self._length = 0
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        self._crc, self._length = zlib.crc32(data, self._crc), self._length + len(data)
        self._pending += data
        ready: list[bytes] = []
        while len(self._pending) >= PIECE:
            ready += self._block(bytes(self._pending[:PIECE]))
            del self._pending[:PIECE]
        return ready

    def _block(self, block: bytes) -> list[bytes]:
        before, self._before = self._before, block[-_DICTIONARY:]
        ready = [] if self._begun else [_HEADER]
        self._begun = True
        if self._threads is None:
            return [*ready, self._deflate(block, before)]
        self._waiting.append(self._threads.submit(self._deflate, block, before))
        while len(self._waiting) > self._ahead or (self._waiting and self._waiting[0].done()):
            ready.append(self._waiting.popleft().result())
        return ready

    def finish(self) -> list[bytes]:
        ready = self._block(bytes(self._pending))
        self._pending.clear()
        ready += [each.result() for each in self._waiting]
        self._waiting.clear()
        self.close()
        return [*ready, _LAST + struct.pack("<II", self._crc, self._length & 0xFFFFFFFF)]

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)


def _deflater(level: int | None, portable: bool) -> Callable[[bytes, bytes], bytes]:
    """What makes one block of raw deflate, ended by a sync flush, from (block, the bytes before it)."""
    library: Any = zlib
    chosen = -1 if level is None else level
    if level in _ISAL_LEVELS and not portable and importlib.util.find_spec("isal") is not None:
        from isal import isal_zlib

        library, chosen = isal_zlib, _ISAL_LEVELS[level]

    def deflate(block: bytes, before: bytes) -> bytes:
        more = {"zdict": before} if before else {}
        stream = library.compressobj(chosen, library.DEFLATED, -15, **more)
        compressed: bytes = stream.compress(block) + stream.flush(library.Z_SYNC_FLUSH)
        return compressed

    return deflate
