"""Where the files of a tar archive lie: one pass over its headers, nothing is ever extracted by name.

Understands ustar, GNU long names and pax (POSIX.1-2017 pax, "ustar Interchange Format"). Owns the refusal of members
that no image archive has: absolute or climbing names, devices, sparse files, doubled names, headers without end.
Links are resolved inside this index alone. Refuses to know what the files mean.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fastcopy.errors import IntegrityError

BLOCK: Final = 512
#: An OCI archive of 10 000 images has about 40 000 members.
MAX_MEMBERS: Final = 1_000_000
#: Long names and pax records: PATH_MAX is 4096; vendors add a few attributes.
MAX_EXTENSION: Final = 1 << 20
MAX_LINKS: Final = 16
_ZERO = bytes(BLOCK)

ReadAt = Callable[[int, int], bytes]  #: (size, offset) -> bytes, fewer at the end of the file


class BadArchive(IntegrityError):
    """A tar archive is damaged, or has members that an image archive must not have."""

    slug = "bad-archive"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file (*link* empty) or a link; *offset* and *size* in bytes."""

    name: str
    offset: int = 0
    size: int = 0
    link: str = ""


class TarIndex:
    """The members of one archive by name."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def find(self, name: str) -> Member | None:
        """The regular file behind *name*; None when there is none. Raises BadArchive for links in a circle."""
        member = self._members.get(posixpath.normpath(name))
        for _ in range(MAX_LINKS):
            if member is None or not member.link:
                return member
            member = self._members.get(member.link)
        raise BadArchive(f"archive member {name[:200]!r}: too many links")


def index(read: ReadAt, size: int) -> TarIndex:
    """Index an archive of *size* bytes; raises BadArchive."""
    found: dict[str, Member] = {}
    for member in _members(read, size):
        if member.name in found:
            raise BadArchive(f"archive has the member {member.name[:200]!r} twice")
        if len(found) >= MAX_MEMBERS:
            raise BadArchive(f"archive has more than {MAX_MEMBERS} members")
        found[member.name] = member
    return TarIndex(found)


def _members(read: ReadAt, size: int) -> Iterator[Member]:
    """Files and links in order; directories are passed over."""
    at, extra = 0, dict[str, str]()
    while at < size:
        header = read(BLOCK, at)
        if header == _ZERO:
            return
        kind, length = _checked(header, at), _number(header[124:136], "size")
        body = at + BLOCK
        if kind in b"xgLK":
            at = _after(body, length, size)
            if kind != ord("g"):
                extra |= _extension(kind, _extension_body(read, body, length))
            continue
        member = _member(header, kind, body, length, extra)
        at = _after(body, member.size if member and not member.link else 0, size)
        extra = {}
        if member:
            yield member
    if size == 0:
        raise BadArchive("archive: unexpected EOF")


def _checked(header: bytes, at: int) -> int:
    """The type flag of a header whose check sum is right."""
    if len(header) != BLOCK:
        raise BadArchive("archive: unexpected EOF")
    blanked = header[:148] + b" " * 8 + header[156:]
    if sum(blanked) != _number(header[148:156], "check sum"):
        raise BadArchive(f"archive: invalid tar header at byte {at}")
    return header[156]


def _number(text: bytes, what: str) -> int:
    """Octal, or GNU's base 256 for what octal cannot hold."""
    if text[:1] == b"\x80":
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0")
    try:
        value = int(digits or b"0", 8)
    except ValueError:
        value = -1
    if value < 0 or text[:1] >= b"\x80":
        raise BadArchive(f"archive: invalid tar header, {what} is no number")
    return value


def _after(body: int, length: int, size: int) -> int:
    """The offset behind a body of *length* bytes; the last block's padding may be missing."""
    if body + length > size:
        raise BadArchive("archive: unexpected EOF")
    return body + -(-length // BLOCK) * BLOCK


def _extension_body(read: ReadAt, body: int, length: int) -> bytes:
    if length > MAX_EXTENSION:
        raise BadArchive(f"archive: a header extension of {length} bytes, more than the limit of {MAX_EXTENSION}")
    return read(length, body)


def _extension(kind: int, body: bytes) -> dict[str, str]:
    """What a header before the header says: GNU L (name) and K (link), or pax records."""
    if kind in b"LK":
        return {"path" if kind == ord("L") else "linkpath": _text(body.rstrip(b"\0"))}
    return dict(_records(body))


def _records(body: bytes) -> Iterator[tuple[str, str]]:
    while body:
        digits, space, _ = body.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = body[len(digits) + 1 : length - 1]
        if not space or length <= len(digits) + 2 or body[length - 1 : length] != b"\n":
            raise BadArchive("archive: invalid pax record")
        key, _, value = record.partition(b"=")
        name = key.decode("utf-8", "replace")
        if name.startswith("GNU.sparse"):
            raise BadArchive("archive has a sparse member")
        if name in ("path", "linkpath", "size"):
            yield name, _text(value)
        body = body[length:]


def _member(header: bytes, kind: int, body: int, length: int, extra: Mapping[str, str]) -> Member | None:
    """The member of a header; None for a directory."""
    name = _clean(extra.get("path") or _ustar_name(header))
    if "size" in extra:
        if not (extra["size"].isascii() and extra["size"].isdigit() and len(extra["size"]) < 19):
            raise BadArchive("archive: invalid pax record")
        length = int(extra["size"])
    if kind in b"0\0007":
        return Member(name, body, length)
    if kind == ord("5"):
        return None
    if kind in b"12":
        target = extra.get("linkpath") or _text(header[157:257].partition(b"\0")[0])
        base = posixpath.dirname(name) if kind == ord("2") else ""
        return Member(name, link=_clean(posixpath.join(base, target)))
    raise BadArchive(f"archive member {name[:200]!r} is no file, directory or link")


def _ustar_name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadArchive("archive: a member's name is not UTF-8") from None


def _clean(name: str) -> str:
    """A relative path without dots; raises BadArchive for one that leads elsewhere."""
    clean = posixpath.normpath(name)
    if not name or "\0" in name or clean.startswith("/") or clean.split("/", 1)[0] == "..":
        raise BadArchive(f"archive member {name[:200]!r}: its path leads out of the archive")
    return clean
