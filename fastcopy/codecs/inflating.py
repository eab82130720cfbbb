"""Inflating: which compression a blob's first bytes show, and its members or frames one after the other.

ISA-L inflates gzip (625 MB/s a core, three times zlib); without it zlib does. Several members, zstd frames and
skippable frames follow each other, as every reader of layers accepts; bytes that begin no further member are refused,
as Go's readers refuse them.
"""

from __future__ import annotations

import bz2
import importlib.util
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from fastcopy.codecs.base import PIECE, Decoder
from fastcopy.codecs.plain import PlainDecoder
from fastcopy.errors import IntegrityError

#: Beginnings of the compressions that containers/image sniffs, and of zstd's skippable frames (RFC 8878, 3.1.2).
_MAGIC: Final = (
    ("gzip", b"\x1f\x8b\x08"),
    ("bzip2", b"\x42\x5a\x68"),
    ("xz", b"\xfd\x37\x7a\x58\x5a\x00"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    *(("zstd", bytes([0x50 + nibble, 0x2A, 0x4D, 0x18])) for nibble in range(16)),
)
#: Bytes that `sniff` wants to see.
HEAD: Final = 6
#: A layer that inflates to more than this is refused: the largest known are some hundred GiB.
MOST: Final = 1 << 40
#: Beyond SPARE bytes, more than this many bytes for each compressed one are a bomb. Deflate cannot exceed 1032; zstd
#: can (a run of zeros), but no file system is that empty.
RATIO: Final = 2000
SPARE: Final = 1 << 30
#: Largest window of zstd: what the reference decoder takes without being told (128 MiB).
_WINDOW_LOG: Final = 27


class _Member(Protocol):
    """What bz2, lzma, pyzstd and isal agree on: one member, inflated in bounded steps."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _ZlibMember:
    """zlib's decompressobj in that shape, for machines without ISA-L."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    _full = False

    def decompress(self, data: bytes, max_length: int = PIECE, /) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length
        return piece


def sniff(head: bytes) -> str:
    """``gzip``, ``bzip2``, ``xz``, ``zstd``, or ``none`` for a blob that begins with *head* (HEAD bytes or all)."""
    return next((name for name, magic in _MAGIC if head.startswith(magic)), "none")


def decoder(compression: str, *, most: int = MOST, ratio: int = RATIO, portable: bool = False) -> Decoder:
    """What inflates *compression* (a word of `sniff`); *portable* does without ISA-L."""
    if compression == "none":
        return PlainDecoder()
    make, errors = _library(compression, portable)
    return MembersDecoder(compression, make, errors, most, ratio)


def _library(compression: str, portable: bool) -> tuple[Callable[[], _Member], tuple[type[Exception], ...]]:
    if compression == "bzip2":
        return bz2.BZ2Decompressor, (OSError, ValueError)
    if compression == "xz":
        return lzma.LZMADecompressor, (lzma.LZMAError,)
    if compression == "zstd":
        return _zstd()
    if portable or importlib.util.find_spec("isal") is None:
        return _ZlibMember, (zlib.error,)
    from isal import igzip_lib

    def member() -> Any:
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)

    error: type[Exception] = igzip_lib.error  # type: ignore[assignment]  # the stub gives an instance
    return member, (error, ValueError)


def _zstd() -> tuple[Callable[[], _Member], tuple[type[Exception], ...]]:
    import pyzstd

    def member() -> Any:
        return pyzstd.ZstdDecompressor(None, {pyzstd.DParameter.windowLogMax: _WINDOW_LOG})

    return member, (pyzstd.ZstdError,)


class MembersDecoder(Decoder):
    """Members of one compression, one after the other, within bounds."""

    def __init__(
        self,
        name: str,
        make: Callable[[], _Member],
        errors: tuple[type[Exception], ...],
        most: int = MOST,
        ratio: int = RATIO,
    ) -> None:
        self._name, self._make, self._errors = name, make, errors
        self._most, self._ratio = most, ratio
        self._member: _Member | None = None
        self._ended = False  #: at least one member was complete
        self._taken = self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._taken += len(data)
        while True:
            if self._member is None:
                if not data:
                    return
                self._member = self._make()
            piece = self._step(self._member, data)
            data = b""
            if piece:
                yield piece
            if self._member.eof:
                data, self._member, self._ended = self._member.unused_data, None, True
            elif self._member.needs_input:
                return

    def _step(self, member: _Member, data: bytes) -> bytes:
        try:
            piece = member.decompress(data, PIECE)
        except self._errors as error:
            raise IntegrityError(f"the {self._name} data is damaged: {error}") from None
        self._given += len(piece)
        if self._given > self._most:
            raise IntegrityError(f"the {self._name} data inflates to more than {self._most} bytes")
        if self._given > SPARE and self._given > self._taken * self._ratio:
            raise IntegrityError(f"the {self._name} data inflates to more than {self._ratio} times its size")
        return piece

    def finish(self) -> None:
        if self._member is not None or not self._ended:
            raise IntegrityError(f"the {self._name} data ends too early (unexpected EOF)")
