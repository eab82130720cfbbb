"""Random fleets, faults and signals: whatever happens, a run ends, and the same command brings everything in the end.

FASTCOPY_CHAOS: seconds to go on for (20). FASTCOPY_CHAOS_SEED: the first seed (1). A failure names its seed.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.world import Fleet, fleet, spoil
from tests.cli.support import run
from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - a fixture for every test here
from tests.copy.world import assert_complete
from tests.registries import PASSWORD, USER

SECONDS = float(os.environ.get("FASTCOPY_CHAOS", "20"))
FIRST = int(os.environ.get("FASTCOPY_CHAOS_SEED", "1"))
#: One run moves 200 MB at most and meets a dozen faults of seconds each: what takes longer than this has stopped.
DEADLINE = 120.0
SECRETS = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "Bearer ey", "Authorization")
#: Exit codes of a run that came to its end: all of it, some of it, or the first failure with --fail-fast.
ENDED = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
#: ... and of one that a signal ended, beside these.
SIGNALLED = {signal.SIGINT: {130}, signal.SIGTERM: {143}, signal.SIGKILL: {-signal.SIGKILL}}


@pytest.mark.slow
def test_whatever_happens_a_run_ends_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    """No hang, no traceback, no secret, nothing left behind, no tag on something incomplete, all of it at the end."""
    begun, seed = time.monotonic(), FIRST
    while seed == FIRST or time.monotonic() - begun < SECONDS:
        files = tmp_path / str(seed)
        files.mkdir()
        with fleet(tmp_path, files, seed) as it:
            _suffer(it)
        print(f"seed {seed}: {len(it.wanted)} copies, {sum(each.witness.seen for each in it.stations)} tags written")
        seed += 1


def _suffer(it: Fleet) -> None:
    for _ in range(it.dice.randint(1, 3)):
        it.reset()
        if it.dice.random() < 0.5:
            it.slow_down()
        names = [spoil(station, it.dice, it.dice.randint(0, 4)) for station in it.stations]
        sent = it.dice.choice((None, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        story = f"{it.told}\nfaults {names}, signal {sent}"
        code, out, err = _run(it, sent, story)
        _look(it, code, out, err, sent, story)
    it.reset()
    story = f"{it.told}\nwithout faults"
    code, out, err = _run(it, None, story)
    _look(it, code, out, err, None, story)
    assert code == 0, f"{story}\n{err}"
    for made, at, repo in it.wanted:
        assert_complete(it.stations[at].registry, repo, made, made.tag)


def _run(it: Fleet, sent: signal.Signals | None, story: str) -> tuple[int, str, str]:
    """The command in a process of its own, which *sent* meets at a random moment after its first request."""
    scratch = it.files / "tmp"
    scratch.mkdir(exist_ok=True)
    for path in scratch.iterdir():  # of a process that was killed
        path.unlink()
    environment = os.environ | {"TMPDIR": str(scratch)}
    command = [sys.executable, "-X", "dev", "-m", "tests.chaos.observed", *it.words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    if sent is not None:
        _disturb(it, process, sent)
    try:
        out, err = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
        time.sleep(3)
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"it hangs: {story}\n{out[-3000:]}\n{err}")
    return process.returncode, out, err


def _disturb(it: Fleet, process: subprocess.Popen[str], sent: signal.Signals) -> None:
    """Send the signal, and now and then another one a moment later."""
    delay, twice = it.dice.uniform(0, 2), it.dice.random() < 0.2
    while not any(station.met.is_set() for station in it.stations) and process.poll() is None:
        time.sleep(0.01)
    for pause in (delay, it.dice.uniform(0, 0.5))[: 1 + twice]:
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.send_signal(sent)


def _look(it: Fleet, code: int, out: str, err: str, sent: signal.Signals | None, story: str) -> None:
    """What holds after every run, however it ended."""
    allowed = ENDED | (SIGNALLED[sent] if sent else set())
    if sent and "requests in" in err:  # the run was over, and its handlers were gone
        allowed |= {-sent}
    assert code in allowed, f"{story}\nexit code {code}\n{err}"
    for bad in ("Traceback", "LEFT ", "Warning:", "please report", *SECRETS):
        assert bad not in out + err, f"{bad!r} in the output of {story}\n{out}\n{err}"
    for station in it.stations:
        assert not station.witness.incomplete, f"{station.witness.incomplete}: {story}"
    ran = run("status", "--json", "--journal", str(it.files / "journal"))
    assert ran.code == 0, f"{story}\n{ran.err}"
    (known,) = json.loads(ran.out)
    assert known["state"] != "running", story
    assert known["state"] == "done" or code != 0, f"{story}\n{known}"
