"""A layer's tar into a directory, and its tar-split beside it. Blocking, as root.

What lies where in the end is what containers/storage makes of the same tar: for overlay whiteouts become devices 0/0
and opaque directories an attribute, for vfs they delete from the copy of the parent. Every path is walked inside the
directory (`Tree`), so no link of a layer leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from fastcopy import codecs, gojson
from fastcopy._native import crc64
from fastcopy.transports._local import explained, read_at
from fastcopy.transports.storage.tarstream import BadLayer, Member, Reader, Stream, inside
from fastcopy.transports.storage.tree import Tree

_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_META: Final = b".wh..wh."
#: Bytes that are read, checked and written at a time.
_STEP: Final = 256 << 10
_PAD: Final = 1 << 20
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OVERLAY_OPAQUE: Final = "trusted.overlay.opaque"
#: The label of the machine that made the layer says nothing here.
_NO_XATTRS: Final = frozenset({"security.selinux"})


#: A whiteout whose directory is a whiteout itself, or whose file this layer makes anew.
_NEEDLESS: Final = (errno.ENOTDIR, errno.EINVAL, errno.EEXIST)


class Stopped(Exception):
    """Whoever wanted this layer has gone."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What containers/storage notes of a layer: digest and size of its tar, its compression, its owners."""

    diff_id: str
    size: int
    compression: str
    uids: list[int]
    gids: list[int]


@dataclass
class Unpacking:
    """One layer on its way into the directory *root*; *overlay*: whiteouts are kept, else obeyed."""

    root: str
    overlay: bool
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, pieces: Iterator[bytes], split: IO[bytes]) -> Unpacked:
        """Unpack the tar, compressed or not, that *pieces* make; tar-split goes to *split*.

        Raises BadLayer, IntegrityError, LocalError, NoSpace, Stopped.
        """
        from fastcopy._native import Hasher

        hasher, kinds = Hasher(), list[str]()
        tree, links = Tree(self.root), Tree(self.root)
        try:
            with gzip.GzipFile(fileobj=split, mode="wb", compresslevel=1, mtime=0) as packed:
                filler = _Filler(tree, links, self.overlay, Packer(packed))
                stream = Stream(self._plain(pieces, hasher, kinds))
                with explained("unpack into", self.root):
                    filler.fill(Reader(stream), stream)
        finally:
            tree.close()
            links.close()
        compression = kinds[0] if kinds else "none"
        digest = f"sha256:{hasher.hexdigest()}"
        return Unpacked(digest, hasher.length, compression, sorted(filler.uids), sorted(filler.gids))

    def _plain(self, pieces: Iterator[bytes], hasher: object, kinds: list[str]) -> Iterator[bytes]:
        """The uncompressed bytes, hashed as they pass."""
        decoder: codecs.Decoder | None = None
        for piece in pieces:
            if self.stop.is_set():
                raise Stopped
            if decoder is None:
                kinds.append(codecs.sniff(piece))
                decoder = codecs.decoder(kinds[0])
            for plain in decoder.feed(piece):
                hasher.update(plain)  # type: ignore[attr-defined]
                yield plain
        if decoder is not None:
            decoder.finish()


class Packer:
    """Writes tar-split, with the words of Go's encoder."""

    def __init__(self, out: gzip.GzipFile) -> None:
        self._out, self._position = out, 0

    def segment(self, raw: bytes | bytearray) -> None:
        """Bytes of the tar that are in no file."""
        from base64 import b64encode

        if raw:
            self._line(b'{"type":2,"payload":"%s"' % b64encode(raw))

    def file(self, member: Member, crc: bytes) -> None:
        """A member, with the CRC of its content if it has any."""
        from base64 import b64encode

        try:
            name = b'"name":' + gojson.dumps(member.name.decode()).encode()
        except UnicodeDecodeError:
            name = b'"name_raw":"%s"' % b64encode(member.name)
        size = b',"size":%d' % member.size if member.size else b""
        payload = b'"%s"' % b64encode(crc) if member.size else b"null"
        self._line(b'{"type":1,%s%s,"payload":%s' % (name, size, payload))

    def _line(self, head: bytes) -> None:
        self._out.write(b'%s,"position":%d}\n' % (head, self._position))
        self._position += 1


class _Filler:
    """Makes the members in the tree."""

    def __init__(self, tree: Tree, links: Tree, overlay: bool, packer: Packer) -> None:
        self._tree, self._links, self._overlay, self._packer = tree, links, overlay, packer
        self._directories: list[Member] = []
        self._made: set[bytes] = set()
        self.uids: set[int] = set()
        self.gids: set[int] = set()

    def fill(self, reader: Reader, stream: Stream) -> None:
        """Every member of *reader*, then what follows the archive."""
        seen: set[bytes] = set()
        while (member := reader.next()) is not None:
            path = member.path
            if path in seen:
                raise BadLayer(f"layer: it has {member.name[:200]!r} twice")
            seen.add(path)
            self._packer.segment(reader.raw)
            reader.raw.clear()
            self._packer.file(member, self._member(member, path, stream))
            reader.padded(member.size)
        self._packer.segment(reader.raw)
        while rest := reader.rest(_PAD):
            self._packer.segment(rest)
        for member in reversed(self._directories):
            self._times(member, *self._place(member.path))

    def _member(self, member: Member, path: bytes, stream: Stream) -> bytes:
        """Make one member; the CRC of its content."""
        parent, _, base = path.rpartition(b"/")
        if base.startswith(_WHITEOUT):
            if base == _OPAQUE or not base.startswith(_META):
                self._whiteout(member, parent, base)
            return _read(stream, member.size, None)
        self.uids.add(member.uid)
        self.gids.add(member.gid)
        if path.startswith(_META):
            raise BadLayer(f"layer: {member.name[:200]!r} is metadata of aufs, which is not supported")
        if not path:
            return self._root(member)
        where = self._place(path)
        self._make_room(member, where)
        crc = self._make(member, where, stream)
        self._made.add(path)
        return crc

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """The directory of a path, made if it is missing, and the name in it."""
        parent, _, base = path.rpartition(b"/")
        return self._tree.directory(parent, create=True), base

    def _root(self, member: Member) -> bytes:
        """The layer's own directory: overlay's has its parent's attributes, vfs' those of the layer."""
        if not self._overlay and member.kind == "5":
            os.fchown(self._tree.fd, member.uid, member.gid)
            os.fchmod(self._tree.fd, member.mode)
            os.utime(self._tree.fd, ns=(member.atime, member.mtime))
        return b""

    def _make_room(self, member: Member, where: tuple[int, bytes]) -> None:
        """Remove what has the name already, unless two directories become one."""
        fd, base = where
        try:
            found = os.lstat(base, dir_fd=fd)
        except FileNotFoundError:
            return
        if not (stat.S_ISDIR(found.st_mode) and member.kind == "5"):
            self._remove(fd, base)

    def _remove(self, fd: int, base: bytes) -> None:
        self._links.forget()
        try:
            os.unlink(base, dir_fd=fd)
        except (IsADirectoryError, PermissionError):
            shutil.rmtree(os.fsdecode(base), dir_fd=fd)

    def _make(self, member: Member, where: tuple[int, bytes], stream: Stream) -> bytes:
        fd, base = where
        crc = b""
        if member.kind == "0":
            crc = self._file(member, fd, base, stream)
        elif member.kind == "1":
            target = inside(member.link)
            parent, _, last = target.rpartition(b"/")
            os.link(last, base, src_dir_fd=self._links.directory(parent), dst_dir_fd=fd, follow_symlinks=False)
        elif member.kind == "2":
            os.symlink(member.link, base, dir_fd=fd)
        elif member.kind == "5":
            with contextlib.suppress(FileExistsError):
                os.mkdir(base, 0o700, dir_fd=fd)
            self._directories.append(member)
        else:
            kind = {"3": stat.S_IFCHR, "4": stat.S_IFBLK, "6": stat.S_IFIFO}[member.kind]
            os.mknod(base, kind | 0o600, os.makedev(*member.device), dir_fd=fd)
        self._attributes(member, fd, base)
        return crc

    def _file(self, member: Member, fd: int, base: bytes, stream: Stream) -> bytes:
        file = os.open(base, _NEW, 0o600, dir_fd=fd)
        try:
            return _read(stream, member.size, file)
        finally:
            os.close(file)

    def _attributes(self, member: Member, fd: int, base: bytes) -> None:
        """Owner before mode, as a change of owner takes set-uid bits away; file capabilities after both."""
        os.chown(base, member.uid, member.gid, dir_fd=fd, follow_symlinks=False)
        if member.kind != "2" and not (member.kind == "1" and self._is_link(fd, base)):
            os.chmod(base, member.mode, dir_fd=fd)
        self._times(member, fd, base)
        for key, value in member.xattrs.items():
            if key not in _NO_XATTRS:
                _set_xattr(fd, base, key, value)

    def _is_link(self, fd: int, base: bytes) -> bool:
        return stat.S_ISLNK(os.lstat(base, dir_fd=fd).st_mode)

    def _times(self, member: Member, fd: int, base: bytes) -> None:
        if base:
            os.utime(base, ns=(member.atime, member.mtime), dir_fd=fd, follow_symlinks=False)

    def _whiteout(self, member: Member, parent: bytes, base: bytes) -> None:
        if self._overlay:
            self._keep_whiteout(member, parent, base)
            return
        try:
            fd = self._tree.directory(parent)
        except OSError:
            return  # nothing there to delete
        gone = os.listdir(fd) if base == _OPAQUE else [os.fsdecode(base[len(_WHITEOUT) :])]
        for name in map(os.fsencode, gone):
            path = parent + b"/" + name if parent else name
            if base == _OPAQUE and self._made_below(path):
                continue
            with contextlib.suppress(FileNotFoundError):
                self._remove(self._tree.directory(parent), name)

    def _made_below(self, path: bytes) -> bool:
        """Whether this layer made *path* or something in it: an opaque mark deletes only what was there before."""
        return path in self._made or any(each.startswith(path + b"/") for each in self._made)

    def _keep_whiteout(self, member: Member, parent: bytes, base: bytes) -> None:
        try:
            fd = self._tree.directory(parent, create=True)
            if base == _OPAQUE:
                os.setxattr(fd, _OVERLAY_OPAQUE, b"y")
                return
            name = base[len(_WHITEOUT) :]
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
            os.chown(name, member.uid, member.gid, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NEEDLESS:
                raise


def _set_xattr(fd: int, base: bytes, key: str, value: bytes) -> None:
    try:
        os.setxattr(b"/proc/self/fd/%d/%s" % (fd, base), key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def _read(stream: Stream, size: int, file: int | None) -> bytes:
    """*size* bytes of content into *file*, if there is one; their CRC. Raises BadLayer."""
    crc = 0
    left = size
    while left:
        data = stream.some(min(left, _STEP))
        if not data:
            raise BadLayer("layer: unexpected EOF")
        crc = crc64(data, crc)
        left -= len(data)
        while file is not None and data:
            data = data[os.write(file, data) :]
    return crc.to_bytes(8, "big")


def file_pieces(fd: int) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    at = 0
    while data := read_at(fd, codecs.PIECE, at):
        yield data
        at += len(data)
