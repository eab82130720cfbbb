"""Files below one directory and nowhere else, whatever links and ``..`` their paths have on the way.

A path is walked one component at a time from an open directory; links lead where they would after chroot(2), so that
an absolute one stays inside. The last component is never followed. Blocking.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from typing import Final

from fastcopy.transports._local import explained
from fastcopy.transports.storage import BadStorage

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAX_LINKS: Final = 40  # the kernel's own limit
#: A link, or something else that is no directory.
_NO_DIRECTORY: Final = (errno.ELOOP, errno.ENOTDIR)


class Tree:
    """The directory *root*, held open. The directory that was used last stays open too: tars go by directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        with explained("open", root):
            self.fd = os.open(root, _DIRECTORY)
        self._last: tuple[bytes, int] = (b"", -1)

    def open_file(self, name: bytes) -> tuple[int, int]:
        """Descriptor and size of the regular file *name*; raises BadStorage, LocalError."""
        parent, _, last = name.rstrip(b"/").rpartition(b"/")
        with explained("open", self.shown(name)):
            fd = os.open(_proper(last, self.shown(name)), _FILE, dir_fd=self.directory(parent))
            found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise BadStorage(f"{self.shown(name)} is not a regular file")
        return fd, found.st_size

    def directory(self, name: bytes, *, create: bool = False) -> int:
        """A descriptor of the directory *name*, which stays this object's; *create*: with its missing parents."""
        if self._last[0] != name or self._last[1] < 0:
            fd = self._walk(name, create)
            self.forget()
            self._last = (name, fd)
        return self._last[1]

    def _walk(self, name: bytes, create: bool) -> int:
        """Open *name*; every step is from a descriptor, so nothing that is renamed meanwhile leads outside."""
        way = [os.dup(self.fd)]
        pending, links = deque(name.split(b"/")), 0
        try:
            while pending:
                part = pending.popleft()
                if part == b".." and len(way) > 1:
                    os.close(way.pop())
                if part in (b"", b".", b".."):
                    continue
                try:
                    way.append(_step(way[-1], part, create))
                except OSError as error:
                    if error.errno not in _NO_DIRECTORY or links >= _MAX_LINKS:
                        raise
                    target = os.readlink(part, dir_fd=way[-1])
                    links += 1
                    pending.extendleft(reversed(target.split(b"/")))
                    if target.startswith(b"/"):
                        while len(way) > 1:
                            os.close(way.pop())
            return way.pop()
        finally:
            for fd in way:
                os.close(fd)

    def forget(self) -> None:
        """Keep no directory but the root open: one may have been removed."""
        if self._last[1] >= 0:
            os.close(self._last[1])
        self._last = (b"", -1)

    def shown(self, name: bytes) -> str:
        """The path of *name* for messages."""
        return os.path.join(self.root, os.fsdecode(name)[:300].lstrip("/"))

    def close(self) -> None:
        """Give the descriptors back; idempotent."""
        self.forget()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _step(parent: int, part: bytes, create: bool) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
        os.mkdir(part, 0o755, dir_fd=parent)
        made = os.open(part, _DIRECTORY, dir_fd=parent)
        os.fchmod(made, 0o755)  # whatever the umask says
        return made


def _proper(last: bytes, shown: str) -> bytes:
    """The last component of a path that names something; raises BadStorage."""
    if last in (b"", b".", b"..") or b"\0" in last:
        raise BadStorage(f"{shown} leads out of its layer")
    return last
