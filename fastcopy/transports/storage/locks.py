"""The locks of containers/storage: whole-file POSIX locks, and 64 bytes that say who wrote last.

``layers.lock`` comes before ``images.lock``. POSIX locks belong to the process and end when any descriptor of the file
is closed, so within the process a mutex per path comes first.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from fastcopy.errors import Stalled
from fastcopy.transports._local import explained

#: Seconds to wait for another process: podman holds layers.lock while it unpacks a layer.
PATIENCE: Final = 600.0
_PAUSE: Final = 0.02
_mutexes: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_counter = itertools.count(1)


class Held:
    """A lock that is held for writing."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd, self._path = fd, path

    def record_write(self) -> None:
        """Before a file that the lock protects changes: others reload when these bytes do (lockfile/lastwrite.go)."""
        mark = struct.pack("<QQI", time.time_ns(), next(_counter), os.getpid()) + os.urandom(44)
        with explained("write", self._path):
            os.pwrite(self._fd, mark, 0)


@asynccontextmanager
async def locked(path: str) -> AsyncIterator[Held]:
    """Hold the lock file *path* for writing; raises Stalled when somebody else does so for ten minutes."""
    mutex = _mutexes[_real(path)]
    deadline = trio.current_time() + PATIENCE
    while not mutex.acquire(blocking=False):
        await _wait(path, deadline)
    try:
        with explained("open", path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not _acquired(fd):
                await _wait(path, deadline)
            yield Held(fd, path)
        finally:
            os.close(fd)
    finally:
        mutex.release()


def _real(path: str) -> str:
    return os.path.realpath(path)


def _acquired(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


async def _wait(path: str, deadline: float) -> None:
    if trio.current_time() > deadline:
        raise Stalled(f"{path} is locked by another process for {PATIENCE:g} seconds")
    await trio.sleep(_PAUSE)
