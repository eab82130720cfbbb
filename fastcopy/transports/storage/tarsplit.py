"""tar-split: a layer's tar kept as what is not in its files, and the CRC-64 by which it knows them; pure.

One JSON object per line: type 2 has raw bytes of the tar (headers, padding), type 1 stands for the content of a file of
the layer, with its CRC-64 (github.com/vbatts/tar-split, tar/storage/entry.go). Byte strings are base64.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from fastcopy.transports.storage import BadStorage

FILE: Final = 1
SEGMENT: Final = 2
#: The writer cuts padding at 1 MiB; pax headers may add one more. Base64 makes a third more of it.
MAX_LINE: Final = 16 << 20
_ONES: Final = (1 << 64) - 1


class Entry(msgspec.Struct, omit_defaults=False):
    """One line. *name* is the member's, *name_raw* the same when it is not UTF-8."""

    type: int
    name: str = ""
    name_raw: bytes = b""
    size: int = 0
    payload: bytes | None = None
    position: int = 0

    @property
    def path(self) -> bytes:
        """The member's name as bytes."""
        return self.name_raw or self.name.encode()


_DECODER = msgspec.json.Decoder(Entry)


def entries(lines: Iterable[bytes], shown: str) -> Iterator[Entry]:
    """The entries of a file's lines; raises BadStorage, with *shown* for the file."""
    for number, line in enumerate(lines):
        try:
            entry = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadStorage(f"{shown}: line {number + 1} is damaged") from None
        if entry.type not in (FILE, SEGMENT) or entry.size < 0:
            raise BadStorage(f"{shown}: line {number + 1} is damaged")
        yield entry


class Crc64:
    """CRC-64 of ECMA-182's sister for ISO 3309 (x^64 + x^4 + x^3 + x + 1), reflected, as Go's crc64.ISO.

    The polynomial has so few terms that a message shrinks by shifts of long integers: x^(64m) is
    x^(4m) + x^(3m) + x^m + 1 for every power m of two, because squaring is linear over GF(2). That makes it
    350 MB/s without a table.
    """

    def __init__(self) -> None:
        self._state = _ONES

    def update(self, data: bytes | memoryview) -> None:
        """Take *data* in; at most some hundred KiB at once, as it is one operation of the interpreter."""
        bits = len(data) * 8
        if bits:
            self._state = _remainder(int.from_bytes(data, "little") ^ self._state, bits + 64)

    def digest(self) -> bytes:
        """Eight bytes, the highest first, as Go's Sum gives them."""
        return (self._state ^ _ONES).to_bytes(8, "big")


def _remainder(value: int, bits: int) -> int:
    """What is left of a reflected message of *bits* bits: its lowest bit has the highest power."""
    step = 1
    while 128 * step < bits:
        step *= 2
    while bits > 64:
        low = 64 * step
        if bits > low:
            high_bits = bits - low
            high, value = value & _ones(high_bits), value >> high_bits
            width = max(low, high_bits + 4 * step)
            high ^= high << step  # the four terms are (x^3m + 1)(x^m + 1)
            high ^= high << (3 * step)
            value = (value << (width - low)) ^ (high << (width - high_bits - 4 * step))
            bits = width
        if bits <= low:
            step = max(step // 2, 1)
    return value


@functools.lru_cache(64)
def _ones(bits: int) -> int:
    return (1 << bits) - 1
