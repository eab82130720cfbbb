"""The two tables that a zstd:chunked layer carries at its end: where each file is, and how the tar is made of them.

The first is JSON (containers/storage, docs/containers-storage-zstd-chunked.md), the second tar-split's lines
(vbatts/tar-split, tar/storage/entry.go). Both are compressed as they grow: only that is kept.
"""

from __future__ import annotations

import base64
import tarfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
import pyzstd

FILE, SEGMENT = 1, 2
_TYPES: Final = {
    tarfile.REGTYPE: "reg",
    tarfile.AREGTYPE: "reg",
    tarfile.CONTTYPE: "reg",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
}
_XATTR: Final = "SCHILY.xattr."
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Table:
    """Text that is compressed piece by piece."""

    def __init__(self, options: dict[int, int]) -> None:
        self._inner = pyzstd.ZstdCompressor(options)
        self._made: list[bytes] = []
        self.length = 0  #: bytes before compression

    def add(self, text: bytes) -> None:
        """Some more."""
        self.length += len(text)
        self._made.append(self._inner.compress(text))

    def finish(self) -> bytes:
        """All of it, compressed."""
        return b"".join([*self._made, self._inner.flush()])


def split_segment(data: bytes, position: int) -> bytes:
    """Line number *position* (from 0) of tar-split, for bytes of the tar that are no file's."""
    return _line({"type": SEGMENT, "payload": base64.b64encode(data).decode()}, position)


def split_file(name: str, size: int, checksum: int, position: int) -> bytes:
    """The line for a file of *size* bytes with that CRC-64; an empty one has none."""
    entry: dict[str, Any] = {"type": FILE, "name": name}
    if size:
        entry |= {"size": size, "payload": base64.b64encode(checksum.to_bytes(8, "big")).decode()}
    else:
        entry["payload"] = None
    return _line(entry, position)


def _line(entry: dict[str, Any], position: int) -> bytes:
    return msgspec.json.encode({**entry, "position": position}) + b"\n"


def entry_of(info: tarfile.TarInfo, name: str, size: int, place: tuple[str, int, int]) -> bytes:
    """A member's entry of the table of contents; *place*: digest of its content, first and end offset in the blob.

    Raises UnicodeEncodeError for a name that JSON cannot hold.
    """
    digest, first, end = place
    device = info.ischr() or info.isblk()
    entry = {
        "linkName": info.linkname if info.islnk() or info.issym() else "",
        "mode": info.mode,
        "size": size,
        "uid": info.uid,
        "gid": info.gid,
        "accesstime": _time(info.pax_headers.get("atime", "")),
        "changetime": _time(info.pax_headers.get("ctime", "")),
        "devMajor": info.devmajor if device else 0,
        "devMinor": info.devminor if device else 0,
        "xattrs": _xattrs(info),
        "digest": digest,
        "offset": first,
        "endOffset": end,
    }
    known = {key: value for key, value in entry.items() if value}
    moment = _time(info.pax_headers.get("mtime", "") or str(int(info.mtime)))
    return msgspec.json.encode({"type": _TYPES[info.type], "name": name, "modtime": moment} | known)


def _xattrs(info: tarfile.TarInfo) -> dict[str, str]:
    return {
        key.removeprefix(_XATTR): base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
        for key, value in info.pax_headers.items()
        if key.startswith(_XATTR)
    }


def _time(text: str) -> str:
    """Seconds since 1970 with any fraction, as RFC 3339 with as many digits as it takes; "" for none."""
    try:
        seconds = Decimal(text)
        whole = int(seconds.to_integral_value(rounding="ROUND_FLOOR"))
        shown = (_EPOCH + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except (InvalidOperation, OverflowError, ValueError):
        return ""
    digits = f"{int((seconds - whole) * 10**9):09d}".rstrip("0")
    return f"{shown}.{digits}Z" if digits else f"{shown}Z"
