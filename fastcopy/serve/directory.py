"""Content in the blobs/ directory of an OCI image layout: temporary name, fsync, rename.

Uploads live in a directory of this process, locked while it lives; what a killed process left behind is removed by the
next one that starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import trio

from fastcopy.descriptor import Digest
from fastcopy.serve.content import Blob, Spool

_PREFIX = ".uploads-"


class _File:
    def __init__(self, path: Path, size: int) -> None:
        self._path, self.size = path, size

    @contextlib.contextmanager
    def open(self) -> Iterator[int | bytes]:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)


class _NamedSpool(Spool):
    """A spool with a name to rename."""

    def __init__(self, path: Path, algorithm: str) -> None:
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), algorithm)
        self.path = path

    def close(self) -> None:
        if self.fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        super().close()


class DirectoryContent:
    """Blobs as files."""

    def __init__(self, root: Path, *, durable: bool = True, read_only: bool = False) -> None:
        self._root = root
        self._durable = durable
        self._unsettled: set[Path] = set()
        self._uploads: Path | None = None
        if not read_only:
            self._prepare(root)

    def _prepare(self, root: Path) -> None:
        (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        _sweep(root)
        self._uploads = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock = os.open(self._uploads, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def spool(self, algorithm: str = "sha256") -> Spool:
        """A new empty upload; raises OSError."""
        assert self._uploads is not None, "a read-only registry refuses uploads before they reach the store"
        return _NamedSpool(self._uploads / secrets.token_hex(16), algorithm)

    async def keep(self, spool: Spool, digest: Digest) -> None:
        """Make a spool the blob `digest`; the spool is used up. Raises OSError."""
        assert isinstance(spool, _NamedSpool)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._keep, spool, digest)

    def _keep(self, spool: _NamedSpool, digest: Digest) -> None:
        target = self._path(digest)
        if self._durable:
            os.fsync(spool.fd)
        target.parent.mkdir(exist_ok=True)
        spool.path.replace(target)  # the same bytes may be there already: replacing them changes nothing
        self._unsettled.add(target.parent)
        fd, spool.fd = spool.fd, -1
        os.close(fd)

    async def put(self, digest: Digest, raw: bytes) -> None:
        """Write small content. Raises OSError."""
        spool = self.spool(digest.algorithm)
        try:
            spool.write(raw)
            await self.keep(spool, digest)
        finally:
            spool.close()

    def get(self, digest: Digest) -> Blob | None:
        """The blob, or None."""
        path = self._path(digest)
        try:
            return _File(path, path.stat().st_size)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, digest: Digest, limit: int = 16 << 20) -> bytes | None:
        """The whole of a manifest; None when absent or absurdly large."""
        path = self._path(digest)
        try:
            return path.read_bytes() if path.stat().st_size <= limit else None
        except OSError:
            return None

    def drop(self, digest: Digest) -> None:
        """Remove a blob; running downloads end undisturbed."""
        with contextlib.suppress(FileNotFoundError):
            self._path(digest).unlink()

    def settle(self) -> None:
        """Make renames durable before something names them."""
        paths, self._unsettled = self._unsettled, set()
        for path in paths if self._durable else ():
            sync_directory(path)

    def close(self) -> None:
        """Remove this process's uploads."""
        if self._uploads is not None:
            shutil.rmtree(self._uploads, ignore_errors=True)
            os.close(self._lock)
            self._uploads = None

    def _path(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.hex


def sync_directory(path: Path) -> None:
    """fsync a directory, so that a rename in it lasts."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sweep(root: Path) -> None:
    """Remove the upload directories of processes that are gone (their lock can be taken)."""
    for left in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            fd = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(fd)
