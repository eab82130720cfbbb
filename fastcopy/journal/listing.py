"""What journals say of runs, for whoever looks: read only, also while the run writes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastcopy.journal import places


@dataclass(frozen=True, slots=True)
class Kept:
    """An upload that a registry keeps: *offset* bytes of it are confirmed."""

    host: str
    place: str
    digest: str
    offset: int


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image whose last attempt failed, and why."""

    source: str
    destination: str
    error: str


@dataclass(frozen=True, slots=True)
class RunState:
    """One run as its journal tells it; times in seconds since 1970, `bytes` are those of its finished blobs.

    `state`: running, interrupted (also killed), incomplete, done or unreadable.
    """

    key: str
    state: str
    command: str = ""
    began: float = 0.0
    ended: float | None = None
    pid: int = 0
    images: dict[str, int] = field(default_factory=dict)
    blobs: int = 0
    bytes: int = 0
    uploads: tuple[Kept, ...] = ()
    failed: tuple[FailedImage, ...] = ()

    @property
    def finished(self) -> int:
        """Images that are at their destination."""
        return self.images.get("copied", 0) + self.images.get("present", 0)

    @property
    def left(self) -> int:
        """Images that are still to come."""
        return self.images.get("planned", 0)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def runs(directory: Path) -> list[RunState]:
    """Every run of *directory*, the newest first."""
    return [state_of(path) for path in places.runs(directory)]


def state_of(path: Path) -> RunState:
    """What the journal *path* says; a file that cannot be read is a run in the state "unreadable"."""
    key = path.stem.removeprefix("run-")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as file:
            return _read(file, key, running=places.is_locked(path))
    except (sqlite3.Error, TypeError, ValueError):
        return RunState(key, "unreadable")


def _read(file: sqlite3.Connection, key: str, *, running: bool) -> RunState:
    began, ended, pid, command, state = file.execute("SELECT began, ended, pid, command, state FROM run").fetchone()
    if state == "running" and not running:
        state = "interrupted"  # its process is gone without a word
    blobs, size = file.execute("SELECT count(*), coalesce(sum(max(size, 0)), 0) FROM blob").fetchone()
    failed = file.execute("SELECT source, destination, error FROM image WHERE state='failed' ORDER BY source")
    uploads = file.execute("SELECT host, place, digest, offset FROM upload ORDER BY host, place, digest")
    images = Counter(dict(file.execute("SELECT state, count(*) FROM image GROUP BY state")))
    return RunState(
        key, state, command, began, ended, pid, dict(images), blobs, size,
        tuple(Kept(*row) for row in uploads), tuple(FailedImage(*row) for row in failed),
    )  # fmt: skip
