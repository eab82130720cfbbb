"""A tar as it passes by: which bytes are headers and padding, which are the content of which file.

Nothing is changed and nothing is lost: the bytes of all pieces, one after the other, are the tar. One with members that
cannot be told apart (sparse files, a damaged header) becomes raw bytes from there on; `lost` says so.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

BLOCK: Final = 512
#: A header may carry this much in front of it (pax records, GNU long names); Go's reader takes 1 MiB.
_MOST_BEFORE: Final = 1 << 20
_BEFORE: Final = frozenset(b"xgLKX")
#: Members whose header may say a size that no content follows (archive/tar's isHeaderOnly).
_BARE: Final = frozenset(b"123456")
_SPARSE: Final = ord("S")
_ZEROS: Final = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Raw:
    """Headers, padding, what follows the last member."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """A member begins; `size` bytes of content follow."""

    info: tarfile.TarInfo
    size: int
    name: str  #: as the tar has it: a directory's slash, which TarInfo drops, is kept


@dataclass(frozen=True, slots=True)
class Content:
    """Some of the content of the member that began last."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The member's content is complete; also sent for members without any."""


Piece = Raw | Begin | Content | End


@dataclass
class TarCutter:
    """Feed it the tar; what it yields has all its bytes, in order."""

    lost: bool = False  #: it is no longer known what is what; the rest is raw
    _group: bytearray = field(default_factory=bytearray)  #: a header that is not complete, with what stands before it
    _want: int = BLOCK  #: bytes that the group has to have to be looked at
    _at: int = 0  #: where its last header begins
    _left: int = 0  #: content still to come
    _padding: int = 0
    _open: bool = False
    _ended: bool = False
    _global: dict[str, str] = field(default_factory=dict)  #: pax records for all members to come

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What *data* brings; exhaust it before the next call."""
        view = memoryview(data)
        while view:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                yield Content(bytes(piece))
                if not self._left:
                    self._open = False
                    yield End()
            elif self._padding or self.lost or self._ended:
                size = self._padding or len(view)
                piece, view = view[:size], view[size:]
                self._padding -= min(self._padding, len(piece))
                yield Raw(bytes(piece))
            else:
                size = self._want - len(self._group)
                self._group += view[:size]
                view = view[size:]
                if len(self._group) == self._want:
                    yield from self._look()

    def finish(self) -> Iterator[Piece]:
        """Nothing more comes; what was kept back. In the middle of a member the tar is `lost`."""
        self.lost = self.lost or self._open or bool(self._padding or self._group)
        if self._group:
            yield Raw(bytes(self._group))
            self._group.clear()

    def _look(self) -> Iterator[Piece]:
        """The group has a whole header at its end: more is wanted behind it, or it is complete."""
        header = bytes(self._group[self._at : self._at + BLOCK])
        if header[156] in _BEFORE and header != _ZEROS:
            size = _size(header)
            if size is not None and len(self._group) + size <= _MOST_BEFORE:
                self._at = self._want + size + -size % BLOCK
                self._want = self._at + BLOCK
                return
            self.lost = True
        yield from self._complete(bytes(self._group), header)
        self._group.clear()
        self._want, self._at = BLOCK, 0

    def _complete(self, group: bytes, header: bytes) -> Iterator[Piece]:
        yield Raw(group)
        if header == _ZEROS:
            self._ended = True
            return
        info = None if self.lost else self._parsed(group, header)
        if info is None:
            self.lost = True
            return
        self._left = 0 if header[156] in _BARE else info.size
        self._padding, self._open = -self._left % BLOCK, bool(self._left)
        yield Begin(info, self._left, _name(info, group, header))
        if not self._left:
            yield End()

    def _parsed(self, group: bytes, header: bytes) -> tarfile.TarInfo | None:
        """What the header says, with what stands before it; None when that cannot be told."""
        try:
            if len(group) == BLOCK and not self._global:
                info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            else:
                info = self._with_records(group)
        except (tarfile.TarError, ValueError, OverflowError):
            return None
        known = info.type in tarfile.SUPPORTED_TYPES and header[156] != _SPARSE and not info.issparse()
        return info if known and info.size >= 0 else None

    def _with_records(self, group: bytes) -> tarfile.TarInfo:
        archive = tarfile.TarFile(fileobj=io.BytesIO(group), pax_headers=self._global, errors="surrogateescape")
        found = archive.next()
        self._global = dict(archive.pax_headers)
        if found is None:
            raise tarfile.ReadError("no member")
        return found


def _name(info: tarfile.TarInfo, group: bytes, header: bytes) -> str:
    if not info.isdir():
        return info.name
    if path := info.pax_headers.get("path"):
        stored = path.encode("utf-8", "surrogateescape")
    elif group[156] == ord("L"):
        stored = group[BLOCK : BLOCK + (_size(group[:BLOCK]) or 0)]
    else:
        stored = header[:100].partition(b"\0")[0]
    return info.name.rstrip("/") + "/" if stored.rstrip(b"\0").endswith(b"/") else info.name


def _size(header: bytes) -> int | None:
    """The size a header says; None for one that is damaged."""
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size
    except (tarfile.TarError, ValueError):
        return None
