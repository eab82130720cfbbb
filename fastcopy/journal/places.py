"""Where journals live, and who may write one: directories, locks, file systems."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastcopy.errors import JournalError

#: File systems on which locks or shared memory cannot be relied upon.
_REMOTE: Final = ("nfs", "cifs", "smb", "9p", "fuse", "afs", "ceph", "lustre", "glusterfs")
#: Runs that are kept, the newest; beyond them, and older than so many seconds, they go.
KEPT, OLD = 100, 30 * 86400.0
#: Seconds between attempts to take a lock, before somebody is said to run with it.
GLANCES: Final = (0.01, 0.03, 0.06)


def default_directory() -> Path:
    """``$XDG_STATE_HOME/fastcopy``, or ``~/.local/state/fastcopy``; raises RuntimeError without a home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "fastcopy"


def make(directory: Path) -> None:
    """Make *directory* and what is above it, for its owner alone; raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def run_file(directory: Path, key: str) -> Path:
    """The journal of the run *key*."""
    return directory / f"run-{key}.sqlite"


def cache_file(directory: Path) -> Path:
    """The cache of all runs."""
    return directory / "cache.sqlite"


def is_remote(directory: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether *directory* is on a network file system, as far as the system says."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
        where = directory.resolve()
    except OSError:
        return False
    points = [(point.replace("\\040", " "), kind) for _, point, kind, *_ in (line.split(" ") for line in lines)]
    around = [(len(point), kind) for point, kind in points if where.is_relative_to(point)]
    return max(around, default=(0, ""))[1].startswith(_REMOTE)


class Lock:
    """A journal's lock, gone with its process however that ends. Its file holds the pid, for messages alone."""

    def __init__(self, path: Path) -> None:
        """Raises JournalError when another process holds it, OSError when the file cannot be made."""
        self._path = path.with_suffix(".lock")
        while True:
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if not self._seized():
                raise self._taken(path)
            if self._still_there():
                break
            os.close(self._file)  # `remove` of another process came between
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _seized(self) -> bool:
        """Whether it is ours now; who only looks (`is_locked`) holds it for a moment, and is waited for."""
        for pause in (*GLANCES, None):
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if pause:
                time.sleep(pause)
        return False

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _taken(self, path: Path) -> JournalError:
        pid = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
        os.close(self._file)
        return JournalError(
            f"the same images are being copied by another fastcopy{pid and f' (process {pid})'}, "
            f"which writes the journal {path}",
            hint="wait for it, or run beside it with --journal DIR (another directory) or --no-journal",
        )

    def close(self) -> None:
        """Let others in."""
        os.close(self._file)

    def remove(self) -> None:
        """Let others in, and leave no file."""
        self._path.unlink(missing_ok=True)
        self.close()


def is_locked(path: Path) -> bool:
    """Whether somebody runs with the journal *path* now."""
    try:
        probe = os.open(path.with_suffix(".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(probe)


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way, and forget the remains of its transactions; raises OSError."""
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    for each in _beside(path):
        each.unlink(missing_ok=True)
    return aside


def runs(directory: Path) -> list[Path]:
    """The journals of *directory*, the newest first."""
    found: list[tuple[float, Path]] = []
    for path in directory.glob("run-*.sqlite"):
        with contextlib.suppress(OSError):  # swept by another process meanwhile
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def sweep(directory: Path, now: float) -> None:
    """Remove journals that are old or too many, unless somebody runs with them."""
    for path in _expired(directory, now):
        with contextlib.suppress(JournalError, OSError):
            lock = Lock(path)
            for each in (path, *_beside(path)):
                each.unlink(missing_ok=True)
            lock.remove()


def _beside(path: Path) -> list[Path]:
    """What sqlite keeps beside a file."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def _expired(directory: Path, now: float) -> Iterator[Path]:
    for number, path in enumerate(runs(directory)):
        with contextlib.suppress(OSError):
            if number >= KEPT or now - path.stat().st_mtime > OLD:
                yield path
