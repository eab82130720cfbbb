"""tar-split: a layer's tar kept as what is not in its files; pure.

One JSON object per line: type 2 has raw bytes of the tar (headers, padding), type 1 stands for the content of a file of
the layer, with its CRC-64 (github.com/vbatts/tar-split, tar/storage/entry.go). Byte strings are base64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from fastcopy.transports.storage import BadStorage

FILE: Final = 1
SEGMENT: Final = 2
#: The writer cuts padding at 1 MiB; pax headers may add one more. Base64 makes a third more of it.
MAX_LINE: Final = 16 << 20


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
