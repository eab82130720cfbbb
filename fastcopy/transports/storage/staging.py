"""Where blobs and layers wait until they have a place in the storage: a directory of one copy's own.

It lies below the driver's directory, which may be a mount of its own (a rename does not leave a mount). Whoever uses
such a directory holds a flock on it, which ends with its process: what killed copies left is known by that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fastcopy.errors import FastcopyError, IntegrityError, LocalError
from fastcopy.threads import in_thread as stoppable
from fastcopy.transports._local import Room, explained
from fastcopy.transports.storage import editing
from fastcopy.transports.storage.unpack import Stopped, Unpacked, Unpacking

_PREFIX: Final = "fastcopy-"
#: Seconds without a change and without a lock; a directory that is only just made has no lock yet.
_ABANDONED: Final = 60.0
_ROOT_MODE: Final = 0o555  # of a base layer's own directory (drivers: defaultPerms)

Pieces = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Staged:
    """A layer that waits for its place."""

    directory: str
    split: str
    unpacked: Unpacked


class Staging:
    """The directory; *driver* is the path of the driver's."""

    def __init__(self, driver: str, *, overlay: bool) -> None:
        self._overlay = overlay
        with explained("mkdir", driver):
            for entry in os.scandir(driver):
                if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                    _remove_abandoned(entry.path)
            self.room = Room(tempfile.mkdtemp(prefix=_PREFIX, dir=driver))
            fcntl.flock(self.room.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.room.durable = False  # what a crash takes from here nobody misses

    async def unpack(self, pieces: Pieces, below: str = "") -> Staged:
        """Unpack the layer that *pieces* give; cancelled, it stops between two of them.

        *below* is the directory of the layer under it, which vfs copies; overlay needs it only when it is to `settle`.
        Raises BadLayer, IntegrityError, LocalError, NoSpace.
        """
        stop = threading.Event()

        def work() -> Staged | FastcopyError:
            try:
                return self._unpack(pieces, below, stop)
            except FastcopyError as error:
                if isinstance(error, IntegrityError):
                    error.blame("source")  # its bytes were verified: they are what they were meant to be
                return error  # domain errors do not cross a nursery
            except Stopped:
                return LocalError("stopped")  # nobody is left to read it

        result = await stoppable(work, stop.set)
        if isinstance(result, FastcopyError):
            raise result
        return result

    def _unpack(self, pieces: Pieces, below: str, stop: threading.Event) -> Staged:
        with explained("unpack into", self.room.path):
            base = tempfile.mkdtemp(prefix="layer-", dir=self.room.path)
            directory = os.path.join(base, "layer")
            root = os.path.join(directory, "diff") if self._overlay else directory
            os.mkdir(directory, 0o700)
            if self._overlay:
                os.mkdir(root, 0o700)
            else:
                _prepare_copy(root, below, stop)
            split = os.path.join(base, "tar-split.gz")
            with open(split, "wb") as out:
                os.fchmod(out.fileno(), 0o600)
                unpacked = Unpacking(root, self._overlay, stop).run(pieces(), out)
        return Staged(directory, split, unpacked)

    def settle(self, staged: Staged, below: str) -> None:
        """Make *staged* ready to take its place on top of the layer whose directory is *below* ("" for none)."""
        if self._overlay:
            with explained("write", staged.directory):
                _like(os.path.join(staged.directory, "diff"), os.path.join(below, "diff") if below else "")
                editing.overlay_files(staged.directory, below)

    def close(self) -> None:
        """Remove everything that did not find its place."""
        shutil.rmtree(self.room.path, ignore_errors=True)
        self.room.close()


def _remove_abandoned(path: str) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(fd).st_mtime > _ABANDONED:
                shutil.rmtree(path)
        finally:
            os.close(fd)


def _prepare_copy(directory: str, below: str, stop: threading.Event) -> None:
    """The copy of the layer below; cp keeps links, owners, times and attributes, and shares blocks where it can."""
    if below:
        words = ["cp", "--archive", "--reflink=auto", "--no-target-directory", "--", below, directory]
        plain = {**os.environ, "LC_ALL": "C"}
        with subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=plain) as process:
            while process.poll() is None:
                if stop.wait(0.02):
                    process.kill()
                    raise Stopped
            said = process.stderr.read() if process.stderr else b""
        if process.returncode:
            raise LocalError("copying the layer below: " + " ".join(said.decode(errors="replace").split())[:300])
    _like(directory, below)


def _like(directory: str, other: str) -> None:
    """Give a layer's own directory the owner and mode of the one below."""
    found = os.stat(other) if other else None
    os.chown(directory, found.st_uid if found else 0, found.st_gid if found else 0)
    os.chmod(directory, found.st_mode & 0o7777 if found else _ROOT_MODE)
