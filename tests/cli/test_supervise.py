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

async def copy_async(source, destination, options, **_):
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

async def alone(call):
    return await copy_async("", "", None)

async def deaf(call):
    call.on_drain = lambda: print("asked", flush=True)
    return await copy_async("", "", None)

async def unfinished(call):
    done = trio.Event()
    call.on_drain = done.set
    print("running", flush=True)
    await done.wait()
    async with trio.open_nursery():
        raise Drained("2 of 3 images are left")

from fastcopy.errors import Drained
from fastcopy.cli import copying
api.copy_async = copy_async
for each in (drained, alone, deaf, unfinished):
    if each.__name__ in sys.argv or (each is drained and "drain" in sys.argv):
        copying.run = each
more = [word for word in sys.argv if word.startswith("--")]
sys.exit(main(["fastcopy", "copy", "-q", *more, "docker://a.example/b", "docker://c.example/d"]))
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
    with _running("alone") as process:
        process.send_signal(signal.SIGTERM)
        code, out, err = _end(process)
    assert (code, out) == (128 + signal.SIGTERM, "cleaned\n")
    assert "level=fatal msg=terminated" in err


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait_for_the_drain(second: signal.Signals) -> None:
    """It cancels, cleans up, and its own exit code counts."""
    with _running("deaf") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(second)
        code, out, _ = _end(process)
    assert (code, out) == (128 + second, "cleaned\n")


@pytest.mark.parametrize(("number", "words"), [(signal.SIGTERM, ()), (signal.SIGINT, ("--drain",))])
def test_a_drain_that_leaves_something_has_the_exit_code_of_its_signal(
    number: signal.Signals, words: tuple[str, ...]
) -> None:
    """143 for SIGTERM, 130 for Ctrl-C with --drain, and one line about what is left."""
    with _running("unfinished", *words) as process:
        process.send_signal(number)
        code, _, err = _end(process)
    assert code == 128 + number
    assert "level=fatal" in err
    assert "2 of 3 images are left" in err
    assert "Traceback" not in err


def test_a_drain_takes_no_longer_than_its_limit() -> None:
    """--drain-timeout ends what does not end by itself, with its clean-up."""
    with _running("deaf", "--drain-timeout=100ms") as process:
        process.send_signal(signal.SIGTERM)
        code, out, err = _end(process)
    assert (code, out) == (128 + signal.SIGTERM, "asked\ncleaned\n")
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
