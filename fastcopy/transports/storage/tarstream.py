"""A layer's tar as it streams by: members with what a file system needs of them, and every other byte as it is.

Unlike `_tar`, which indexes archives of images, this reads archives of file systems: all types, owners, times and
extended attributes. ustar, GNU and pax (POSIX.1-2017 pax). Pure; the content of a member is read by the caller.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fastcopy.errors import IntegrityError, Unsupported

BLOCK: Final = 512
_ZERO: Final = bytes(BLOCK)
#: Long names and pax records: extended attributes are at most 64 KiB each.
_MAX_EXTENSION: Final = 4 << 20
_XATTR: Final = b"SCHILY.xattr."
#: Types without content, whatever size their header has.
_EMPTY: Final = b"123456"
_KNOWN: Final = b"0123456"


class BadLayer(IntegrityError):
    """A layer is no tar, or has members that no file system can take."""

    slug = "bad-layer"


@dataclass(frozen=True, slots=True)
class Member:
    """One member; times in nanoseconds. *name* is as in the archive, *path* normal and relative ("" is the root)."""

    name: bytes
    kind: str  #: the type flag: 0 file, 1 hard link, 2 symbolic link, 3 and 4 device, 5 directory, 6 FIFO
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    atime: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)

    @property
    def path(self) -> bytes:
        """The name without dots and slashes at its ends; raises BadLayer for one that leads out."""
        return inside(self.name)


def inside(name: bytes) -> bytes:
    """*name* as a path below the layer's root, "" for the root itself; raises BadLayer."""
    clean = posixpath.normpath(name).lstrip(b"/")
    if clean.split(b"/", 1)[0] == b".." or b"\0" in name:
        raise BadLayer(f"layer: the path {name[:200]!r} leads out of it")
    return b"" if clean == b"." else clean


class Stream:
    """Bytes of an iterator, read in any amounts."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._room = memoryview(b"")

    def some(self, limit: int) -> bytes | memoryview:
        """The next bytes, at most *limit*; empty at the end."""
        while not self._room:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._room = memoryview(piece)
        taken, self._room = self._room[:limit], self._room[limit:]
        return taken

    def exactly(self, count: int) -> bytes:
        """*count* bytes; fewer only at the end."""
        found = bytearray()
        while len(found) < count:
            piece = self.some(count - len(found))
            if not piece:
                break
            found += piece
        return bytes(found)


class Reader:
    """Members in order. What is not a member's content gathers in `raw`, which the caller takes and empties."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.raw = bytearray()

    def next(self) -> Member | None:
        """The next member, whose content the caller has to read; None at the archive's end. Raises BadLayer."""
        extra: dict[bytes, bytes] = {}
        while True:
            header = self._take(BLOCK)
            if not header or header == _ZERO:
                self._take(BLOCK if header else 0)  # archives end with two blocks of zeros
                return None
            if len(header) != BLOCK:
                raise BadLayer("layer: unexpected EOF")
            _check(header)
            kind = header[156:157]
            if kind not in (b"x", b"g", b"L", b"K"):
                return _member(header, extra)
            body = self._extension(_number(header[124:136]))
            if kind != b"g":
                extra |= _extension(kind, body)

    def padded(self, size: int) -> None:
        """The content of *size* bytes was read: take the padding behind it."""
        self._take(-size % BLOCK)

    def rest(self, limit: int) -> bytes:
        """What follows the end of the archive, a piece at a time."""
        return bytes(self._stream.some(limit))

    def _take(self, count: int) -> bytes:
        data = self._stream.exactly(count)
        self.raw += data
        return data

    def _extension(self, length: int) -> bytes:
        if length > _MAX_EXTENSION:
            raise BadLayer(f"layer: a header extension of {length} bytes, more than the limit of {_MAX_EXTENSION}")
        body = self._take(length)
        self.padded(length)
        if len(body) != length:
            raise BadLayer("layer: unexpected EOF")
        return body


def _check(header: bytes) -> None:
    """Unsigned sums, and the signed ones of old writers."""
    blanked = header[:148] + b" " * 8 + header[156:]
    stored, total = _number(header[148:156]), sum(blanked)
    if stored != total and stored != total - 256 * sum(byte > 127 for byte in blanked):
        raise BadLayer("layer: invalid tar header")


def _number(text: bytes) -> int:
    """Octal, or GNU's base 256, which may be negative."""
    if text[:1] and text[0] & 0x80:
        value = int.from_bytes(text, "big") & ((1 << (8 * len(text) - 1)) - 1)
        return value - (1 << (8 * len(text) - 1)) if text[0] & 0x40 else value
    digits = text.strip(b" \0")
    try:
        return int(digits or b"0", 8)
    except ValueError:
        raise BadLayer("layer: invalid tar header") from None


def _extension(kind: bytes, body: bytes) -> dict[bytes, bytes]:
    if kind != b"x":
        return {b"path" if kind == b"L" else b"linkpath": body.partition(b"\0")[0]}
    found: dict[bytes, bytes] = {}
    while body:
        digits, space, _ = body.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = body[len(digits) + 1 : length - 1]
        if not space or length <= len(digits) + 2 or body[length - 1 : length] != b"\n":
            raise BadLayer("layer: invalid pax record")
        key, _, value = record.partition(b"=")
        if key.startswith(b"GNU.sparse"):
            raise Unsupported("layer: sparse members are not supported here")
        found[key] = value
        body = body[length:]
    return found


def _member(header: bytes, extra: dict[bytes, bytes]) -> Member:
    kind = header[156:157] if header[156:157] not in (b"\0", b"7") else b"0"
    if kind == b"S":
        raise Unsupported("layer: sparse members are not supported here")
    name = extra.get(b"path") or _ustar_name(header)
    if kind == b"0" and name.endswith(b"/"):
        kind = b"5"
    if kind not in _KNOWN:
        raise BadLayer(f"layer: {name[:200]!r} is of the unknown type {kind!r}")
    size = _integer(extra[b"size"]) if b"size" in extra else _number(header[124:136])
    if size < 0:
        raise BadLayer("layer: invalid tar header")
    mtime = _time(extra[b"mtime"]) if b"mtime" in extra else _number(header[136:148]) * 10**9
    return Member(
        name,
        kind.decode(),
        0 if kind in _EMPTY else size,
        _number(header[100:108]) & 0o7777,
        _integer(extra[b"uid"]) if b"uid" in extra else _number(header[108:116]),
        _integer(extra[b"gid"]) if b"gid" in extra else _number(header[116:124]),
        mtime,
        max(mtime, _time(extra[b"atime"])) if b"atime" in extra else mtime,
        extra.get(b"linkpath") or header[157:257].partition(b"\0")[0],
        (_number(header[329:337]), _number(header[337:345])) if kind in b"34" else (0, 0),
        {_text(key[len(_XATTR) :]): value for key, value in extra.items() if key.startswith(_XATTR)},
    )


def _ustar_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _integer(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadLayer("layer: invalid pax record") from None


def _time(text: bytes) -> int:
    """Decimal seconds, exactly, in nanoseconds."""
    seconds, _, fraction = text.partition(b".")
    digits = (fraction + b"0" * 9)[:9]
    if not digits.isdigit():
        raise BadLayer("layer: invalid pax record")
    nanoseconds = _integer(digits)
    return _integer(seconds or b"0") * 10**9 + (-nanoseconds if text.startswith(b"-") else nanoseconds)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
