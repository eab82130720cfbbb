"""Signals, in a process of its own: Ctrl-C, twice, SIGTERM with and without something to drain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_SCRIPT = """
import sys, time, trio
from fastcopy import api, events
from fastcopy.cli import main
from fastcopy.cli.call import Call

async def copy_async(source, destination, options, *, on_event, trace):
    print("running", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        if "slow" in sys.argv:
            time.sleep(60)          # clean-up that hangs, in the loop's own thread
        if "drain" not in sys.argv:
            print("cleaned", flush=True)

async def drained(call):
    done = trio.Event()
    call.on_drain = done.set
    print("running", flush=True)
    await done.wait()
    print("drained", flush=True)
    return 0

api.copy_async = copy_async
if "drain" in sys.argv:
    from fastcopy.cli import copying
    copying.run = drained
sys.exit(main(["fastcopy", "copy", "-q", "docker://a.example/b", "docker://c.example/d"]))
"""


@contextmanager
def _running(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_ctrl_c_cancels_cleans_up_and_exits_with_130() -> None:
    """One line, no traceback."""
    with _running() as process:
        process.send_signal(signal.SIGINT)
        code, out, err = _end(process)
    assert (code, out) == (130, "cleaned\n")
    assert "level=fatal msg=interrupted" in err
    assert "Traceback" not in err


def test_clean_up_that_takes_too_long_does_not_keep_the_user_waiting() -> None:
    """The promise of a second holds even when the loop is stuck."""
    with _running("slow") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_a_second_ctrl_c_ends_the_process_at_once() -> None:
    """Also while the first one's clean-up still runs."""
    with _running("slow") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130


def test_sigterm_lets_a_command_finish_what_is_in_flight() -> None:
    """When the command can be asked to drain, its own exit code counts."""
    with _running("drain") as process:
        process.send_signal(signal.SIGTERM)
        code, out, _ = _end(process)
    assert (code, out) == (0, "drained\n")


def test_sigterm_cancels_a_command_that_cannot_be_drained() -> None:
    """With the exit code a shell reports for it."""
    with _running() as process:
        process.send_signal(signal.SIGTERM)
        code, out, err = _end(process)
    assert (code, out) == (128 + signal.SIGTERM, "cleaned\n")
    assert "level=fatal msg=terminated" in err


def test_a_reader_of_stdout_that_left_leaves_no_complaint() -> None:
    """No BrokenPipeError at interpreter exit."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "fastcopy", "--help"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""
