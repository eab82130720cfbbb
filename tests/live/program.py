"""fastcopy as a process of its own, to be sent signals."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.live.relay import HeldRelay

#: Generous: the tests share their machine.
PATIENCE = 120.0


@contextlib.contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[str]]:
    """``fastcopy words…``, killed when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fastcopy", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def in_mid_copy(relay: HeldRelay, process: subprocess.Popen[str]) -> None:
    """Return when *relay* holds the upload of *process* back."""
    deadline = time.monotonic() + PATIENCE
    while not relay.held.wait(0.1):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing is uploaded"
