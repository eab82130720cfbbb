"""Ctrl-C and cancellation: fast, and nothing is left behind: no name, file, child, thread or socket."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from fastcopy import api
from tests.copy.world import Made, Pair, flags, fresh, image, named, options
from tests.faults import stall_download, stall_upload
from tests.registries import Registry

_DELAYS = [round(random.Random(7).uniform(0.15, 1.0), 3) for _ in range(6)]


@pytest.fixture(scope="module")
def hundreds(docker_plain: Registry) -> Made:
    """Four layers of 60 MiB."""
    return image(docker_plain, layers=[os.urandom(60 << 20) for _ in range(4)])


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("delay", _DELAYS)
def test_ctrl_c_at_any_moment_leaves_nothing(
    hundreds: Made, docker_tls: Registry, tmp_path: Path, delay: float
) -> None:
    """Exit 130 quickly, no temporary file, no tag."""
    repo = fresh("copy/to")
    words = [*flags(hundreds.registry, docker_tls), f"--tmpdir={tmp_path}", hundreds.ref, docker_tls.ref(repo, "1")]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "fastcopy", "copy", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    time.sleep(delay)
    if process.poll() is not None:
        process.communicate()
        pytest.skip("the copy was over before the signal")
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = process.communicate(timeout=30)
    took = time.monotonic() - started
    if process.returncode == 0:  # the signal met a copy that had just ended
        return
    assert process.returncode in (130, -signal.SIGINT), err
    assert took < 3, f"{took:.2f} s"
    if out:  # before that Python itself may still be starting, and dies of the signal in its own way
        assert process.returncode == 130
        assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert named(docker_tls, repo) == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def _open_files(*servers: Registry) -> set[str]:
    """Descriptors of this process, without the ends that belong to the servers in it."""
    ports = {int(each.host.rpartition(":")[2]) for each in servers}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    theirs = {f"socket:[{row[9]}]" for row in rows if int(row[1].partition(":")[2], 16) in ports}
    return {each for each in _descriptors() if each.partition(" ")[2] not in theirs}


def _descriptors() -> set[str]:
    found = set()
    for each in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{each} {os.readlink(f'/proc/self/fd/{each}')}")
        except OSError:
            continue
    return {each for each in found if "memfd:" not in each}  # open uploads of the servers in this process


@pytest.mark.slow
@pytest.mark.parametrize("where", ["source", "destination"])
@pytest.mark.parametrize("flavour", ["pair", "tls_pair"])
def test_a_cancelled_copy_leaves_no_thread_and_no_socket(
    request: pytest.FixtureRequest, flavour: str, where: str
) -> None:
    """trio's cancellation reaches a body that stands still at either side, within a second."""
    pair: Pair = request.getfixturevalue(flavour)
    made, repo = pair.image(sizes=(30 << 20, 5_000)), fresh("copy/to")
    if where == "source":
        pair.at_source.add(stall_download(1_000_000, 2), method="GET", path=made.layer)
    else:
        pair.at_destination.add(stall_upload(1_000_000, 2), method="PUT", path=made.layer.partition(":")[2])
    before, threads = _open_files(pair.source, pair.destination), set(threading.enumerate())
    took: list[float] = []

    async def main() -> None:
        with trio.move_on_after(1.0) as scope:
            await api.copy_async(made.ref, pair.destination.ref(repo, "1"), options(pair.source, pair.destination))
        took.append(trio.current_time() - scope.deadline)
        assert scope.cancelled_caught

    trio.run(main)
    assert took[0] < 3
    assert not [each for each in threading.enumerate() if each not in threads and "trio" not in each.name.lower()]
    deadline = time.monotonic() + 10
    while (left := _open_files(pair.source, pair.destination) - before) and time.monotonic() < deadline:
        time.sleep(0.05)  # the servers of this process close their own ends in a moment
    assert left == set()
    assert named(pair.destination, repo) == ""
