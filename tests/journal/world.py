"""Runs with a journal: in this process, and in one that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cli.support import Ran, run
from tests.copy.world import flags
from tests.sync.world import Place

#: Seconds that a test waits for something to happen; nothing is timed by it.
PATIENCE = 60.0


def words(place: Place, lines: str, base: str, to: str, *more: str) -> list[str]:
    """``sync …`` of a list, always the same for the same arguments: one run."""
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    known = [*flags(place.source, place.destination), "--retry-delay=10ms"]
    return ["sync", "--list", place.file(lines), *ends, *known, "--journal", str(place.files / "journal"), *more]


def sync(place: Place, lines: str, base: str, to: str, *more: str) -> Ran:
    """That command, in this process."""
    return run(*words(place, lines, base, to, *more))


@contextlib.contextmanager
def process(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """``fastcopy …`` as a process of its own, gone at the end."""
    command = [sys.executable, "-m", "fastcopy", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def until(holds: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    """Wait until something *holds*, while the process is *running*."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert running.poll() is None, running.stderr and running.stderr.read()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def status(place: Place, *more: str) -> Any:
    """What ``status --json`` says of the runs."""
    ran = run("status", "--json", "--journal", str(place.files / "journal"), *more)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def journal(place: Place, which: str = "run-*.sqlite") -> Path:
    """The file of the only run, or another."""
    (path,) = (place.files / "journal").glob(which)
    return path


def noted(place: Place) -> set[str]:
    """The blobs that the journal of the only run has."""
    with contextlib.closing(sqlite3.connect(f"{journal(place).as_uri()}?mode=ro", uri=True)) as file:
        return {digest for (digest,) in file.execute("SELECT digest FROM blob")}


def told(ran: Ran, path: Path | str) -> list[str]:
    """Warnings that name *path*."""
    return [line for line in ran.err.splitlines() if "level=warning" in line and str(path) in line]


def can_mount() -> bool:
    """Whether this process may mount file systems of its own."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


@contextlib.contextmanager
def file_system(where: Path, options: str) -> Iterator[bool]:
    """A tmpfs with *options* at *where*; yields whether it could be mounted."""
    where.mkdir(exist_ok=True)
    mounted = can_mount() and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(where)], capture_output=True, check=False
    ).returncode  # fmt: skip
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(where)], check=True)
