"""Rounds: when they begin and end, what they read again, what their health says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
import trio
import trio.testing

from fastcopy.migrate.health import Health
from fastcopy.migrate.watching import rounds
from fastcopy.transfer.drain import Drain
from tests.cli.support import run
from tests.copy.world import flags, image, named
from tests.live.program import PATIENCE, ended, in_mid_copy, program
from tests.live.relay import held_relay
from tests.sync.world import Place


async def test_rounds_are_counted_from_start_to_start(autojump_clock: trio.testing.MockClock) -> None:
    """A short one is waited out; a long one is followed at once, and never overlapped."""
    drain, starts = Drain(), []
    async for number in rounds(60.0, drain):
        starts.append(trio.current_time())
        await trio.sleep({1: 10, 2: 150, 3: 0}.get(number, 1))
        if number == 4:
            drain.ask()
    assert [start - starts[0] for start in starts] == [0, 60, 210, 270]


async def test_the_wait_for_the_next_round_ends_with_the_drain(autojump_clock: trio.testing.MockClock) -> None:
    """SIGTERM between rounds does not wait for the interval."""
    drain, began = Drain(), trio.current_time()
    async with trio.open_nursery() as nursery:

        async def soon() -> None:
            await trio.sleep(5)
            drain.ask()

        nursery.start_soon(soon)
        seen = [number async for number in rounds(3600.0, drain)]
    assert seen == [1]
    assert trio.current_time() - began == pytest.approx(5)


async def test_without_an_interval_there_is_one_round(autojump_clock: trio.testing.MockClock) -> None:
    """--health alone repeats nothing."""
    assert [number async for number in rounds(0.0, Drain())] == [1]


def test_health_is_that_of_the_last_round() -> None:
    """Well while the first one runs, 503 and why after a failure, well again after the next good one."""
    health = Health()
    health.began(10.0)
    assert health.live(12.0) == (200, {"status": "ok", "rounds": 0, "running_seconds": 2.0})
    assert health.ready(12.0)[0] == 503
    health.ended(13.0, "2 images failed", 3)
    status, told = health.live(15.0)
    assert (status, told["error"], told["exit_code"], told["ended_seconds_ago"]) == (503, "2 images failed", 3, 2.0)
    assert health.ready(15.0)[0] == 503
    health.began(20.0)
    assert health.live(21.0)[0] == 503, "a round under way proves nothing yet"
    health.ended(22.0)
    assert health.live(22.0)[0] == health.ready(22.0)[0] == 200


def test_ready_stays_until_the_end_is_asked_for() -> None:
    """A later failure does not unmake the copy that is there."""
    health = Health()
    health.ended(1.0)
    health.ended(2.0, "no route", 7)
    assert (health.live(3.0)[0], health.ready(3.0)[0]) == (503, 200)
    health.draining = True
    assert health.ready(3.0) == (503, {**health.ready(3.0)[1], "status": "ending"})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--metrics"], "--metrics needs --health"),
        (["--watch=5m", "--dry-run"], "--dry-run and --watch exclude each other"),
        (["--watch=0"], "--watch needs an interval"),
        (["--health=everywhere"], "an address is [HOST]:PORT"),
    ],
)
def test_what_does_not_fit_together_is_refused(place: Place, words: list[str], complaint: str) -> None:
    """In one line, before anything is contacted."""
    ran = place.listed(["a:1"], *words, base="x", to="y")
    assert ran.code == 64
    assert complaint in ran.fatal


def test_standard_input_cannot_be_watched() -> None:
    """It cannot be read again."""
    assert "standard input cannot be read again" in run("sync", "--list=-", "--to=a.example/b", "--watch=5m").fatal


# -- real rounds ------------------------------------------------------------------------------------------------------


def _asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    while "Serving" not in (line := process.stderr.readline()):
        assert line, "it ended"
    return "http://" + line.rpartition("http://")[2].strip().rstrip('"')


def _until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    return seen


def _watch(place: Place, name: str, path: str) -> list[str]:
    return [
        "sync", *flags(place.source, place.destination), "--no-journal", "--watch=1", "--health=:0", "--metrics",
        "--retry-delay=10ms", "--list", path,
        "--from", f"{place.source.host}/{name}", "--to", f"{place.destination.host}/to-{name}",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_watch_notices_what_is_new_and_survives_what_fails(place: Place) -> None:
    """New lines are read, bad ones are refused in one line, a failed image makes it unhealthy, SIGTERM ends with 0."""
    made = image(place.source, "watch/a")
    path = place.file("a:1\n")
    with program(*_watch(place, "watch", path)) as process:
        url = _url(process)
        _until(process, "Round 1: 1 images: 1 copied")
        late = image(place.source, "watch/b")
        place.file("a:1\nb:1\n")
        _until(process, "2 images: 1 copied, 1 already there")
        place.file("not a list at all: [\n")
        assert _until(process, "The configuration of the last round is kept").count("images.txt:1") == 1
        _until(process, "2 images: 2 already there")
        assert _health(url, "ok")["rounds"] >= 3
        assert _asked(f"{url}/readyz")[0] == 200
        place.file("a:1\nb:1\nmissing:1\n")
        _until(process, "1 failed")
        assert _health(url, "failing")["exit_code"] == 3
        assert 'fastcopy_rounds_total{result="failed"}' in _asked(f"{url}/metrics")[1]
        place.file("a:1\nb:1\n")
        _until(process, "2 images: 2 already there")
        _health(url, "ok")
        process.send_signal(signal.SIGTERM)
        code, _, err = ended(process)
    assert code == 0, err
    assert named(place.destination, "to-watch/a") == made.digest
    assert named(place.destination, "to-watch/b") == late.digest


def _health(url: str, status: str) -> dict[str, Any]:
    """What /healthz says, once it says *status*: it changes a moment after the round's line."""
    deadline = time.monotonic() + PATIENCE
    while True:
        code, body = _asked(f"{url}/healthz")
        told: dict[str, Any] = json.loads(body)
        if told["status"] == status:
            assert code == (200 if status == "ok" else 503)
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


@pytest.mark.slow
def test_the_exit_code_is_that_of_the_last_round(place: Place) -> None:
    """A watch that ends while something is missing says so."""
    image(place.source, "code/a")
    with program(*_watch(place, "code", place.file("a:1\nmissing:1\n"))) as process:
        _until(process, "Round 2:")
        process.send_signal(signal.SIGTERM)
        code, _, err = ended(process)
    assert code == 3, err
    assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_ends_a_watch_with_130(place: Place) -> None:
    """Also between rounds."""
    image(place.source, "ctrl/a")
    with program(*_watch(place, "ctrl", place.file("a:1\n"))) as process:
        _until(process, "Round 1:")
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130


@pytest.mark.slow
def test_a_signal_in_mid_round_lets_the_round_land(place: Place) -> None:
    """What is in flight arrives, the rest is left (143), and no further round begins."""
    size = 32 << 20
    big = image(place.source, "mid/big", layers=[os.urandom(size)])
    image(place.source, "mid/other", layers=[os.urandom(size - 1)])
    with held_relay(place.destination.host, size // 2) as relay:
        words = _watch(place, "mid", place.file("big:1\nother:1\n"))
        words[-1] = f"{relay.host}/to-mid"
        with program(*words, "--memory=1MiB") as process:
            in_mid_copy(relay, process)
            process.send_signal(signal.SIGTERM)
            _until(process, "Finishing what is in flight")
            relay.release()
            code, _, err = ended(process)
    assert code == 143, err
    assert "1 of 2 images are left" in err
    assert "Round 2" not in err
    assert named(place.destination, "to-mid/big") == big.digest


@pytest.mark.slow
def test_rounds_leave_no_descriptor_behind(place: Place) -> None:
    """A process that runs for weeks holds after many rounds what it held after the second."""
    image(place.source, "fds/a")
    words = _watch(place, "fds", place.file("a:1\n"))
    with program(*[word.replace("--watch=1", "--watch=50ms") for word in words]) as process:
        _until(process, "Round 2:")
        early = len(os.listdir(f"/proc/{process.pid}/fd"))
        _until(process, "Round 12:")
        assert len(os.listdir(f"/proc/{process.pid}/fd")) <= early + 8, "a round's own connections, no more"
