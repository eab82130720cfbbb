"""zstd:chunked: a frame for each file of the layer, so that a reader fetches only the files it lacks.

    [ header(s) ][ content of a file ][ header(s) ][ content ] ... [ table of contents ][ tar-split ][ footer ]

Every bracket is a zstd frame; the last three are skippable, so that the blob is plain zstd for everybody else
(containers/storage, docs/containers-storage-zstd-chunked.md). A tar whose members cannot be told apart gets no tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

import pyzstd

from fastcopy._native import Hasher, crc64
from fastcopy.codecs.base import CHUNKED, PIECE, Encoder
from fastcopy.codecs.tablefile import Table, entry_of, split_file, split_segment
from fastcopy.codecs.tarcut import Begin, Content, Piece, Raw, TarCutter
from fastcopy.codecs.zstandard import parameters

_SKIPPABLE: Final = b"\x50\x2a\x4d\x18"
_MAGIC: Final = b"GNUlInUx"
#: The manifest type of the table of contents (ManifestTypeCRFS).
_CRFS: Final = 1
#: Files of this many bytes and more are compressed by zstd's workers; it decides the bytes, so it is fixed.
_LARGE: Final = 8 << 20


class ChunkedEncoder(Encoder):
    """One layer; *level* as for plain zstd."""

    def __init__(self, level: int | None = None, workers: int = 1) -> None:
        self._cutter = TarCutter()
        single, several = parameters(level, None), parameters(level, workers)
        self._small, self._large = pyzstd.ZstdCompressor(single), pyzstd.ZstdCompressor(several)
        self._frame = self._small  #: what the frame in hand is compressed with
        self._contents, self._split = Table(single), Table(single)
        self._contents.add(b'{"version":1,"entries":[')
        self._written = 0
        self._begun = False  #: the frame in hand has bytes
        self._member: Begin | None = None
        self._entries = self._lines = 0  #: of the two tables
        self._hasher, self._crc, self._first = Hasher(), 0, 0
        self._pending = bytearray()  #: raw bytes of the tar-split line in hand
        self._annotations: dict[str, str] = {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self._annotations

    def feed(self, data: bytes) -> list[bytes]:
        return [made for piece in self._cutter.feed(data) for made in self._take(piece)]

    def _take(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Raw(data):
                self._pending += data
                yield from self._compress(data)
            case Begin():
                yield from self._begin(piece)
            case Content(data):
                self._hasher.update(data)
                self._crc = crc64(data, self._crc)
                yield from self._compress(data)
            case _:
                yield from self._end()

    def _begin(self, member: Begin) -> Iterator[bytes]:
        self._member, self._hasher, self._crc, self._first = member, Hasher(), 0, 0
        self._flush_segment()
        if member.size:
            yield from self._close_frame()
            self._frame = self._large if member.size >= _LARGE else self._small
            self._first = self._written

    def _end(self) -> Iterator[bytes]:
        member = self._member
        assert member is not None
        place = ("", 0, 0)
        if member.size:
            yield from self._close_frame()
            self._frame = self._small
            place = (f"sha256:{self._hasher.hexdigest()}", self._first, self._written)
        try:
            entry = entry_of(member.info, member.name, member.size, place)
            self._split.add(split_file(member.name, member.size, self._crc, self._lines))
        except UnicodeEncodeError:  # JSON cannot name this file: the layer stays plain zstd
            self._cutter.lost = True
            return
        self._lines += 1
        self._contents.add((b"," if self._entries else b"") + entry)
        self._entries += 1

    def _flush_segment(self) -> None:
        if self._pending:
            self._split.add(split_segment(bytes(self._pending), self._lines))
            self._lines += 1
            self._pending.clear()

    def _compress(self, data: bytes) -> Iterator[bytes]:
        self._begun = True
        yield from self._out(self._frame.compress(data))

    def _close_frame(self) -> Iterator[bytes]:
        if self._begun:
            yield from self._out(self._frame.flush())
            self._begun = False

    def _out(self, data: bytes) -> Iterator[bytes]:
        self._written += len(data)
        return (data[start : start + PIECE] for start in range(0, len(data), PIECE))

    def finish(self) -> list[bytes]:
        made = [each for piece in self._cutter.finish() for each in self._take(piece)]
        self._flush_segment()
        made += self._close_frame()
        return made if self._cutter.lost else [*made, *self._tables()]

    def _tables(self) -> Iterator[bytes]:
        split = self._split.finish()
        digest = Hasher()
        digest.update(split)
        self._contents.add(b'],"tarSplitDigest":"sha256:' + digest.hexdigest().encode() + b'"}')
        contents = self._contents.finish()
        at = self._written + 8
        split_at = at + len(contents) + 8
        checksum = Hasher()
        checksum.update(contents)
        self._annotations = {
            f"{CHUNKED}manifest-checksum": f"sha256:{checksum.hexdigest()}",
            f"{CHUNKED}manifest-position": f"{at}:{len(contents)}:{self._contents.length}:{_CRFS}",
            f"{CHUNKED}tarsplit-position": f"{split_at}:{len(split)}:{self._split.length}",
        }
        numbers = (at, len(contents), self._contents.length, _CRFS, split_at, len(split), self._split.length)
        for data in (contents, split, struct.pack("<7Q", *numbers) + _MAGIC):
            yield from self._out(_SKIPPABLE + struct.pack("<I", len(data)) + data)
