"""One world per session, and the image of the matrix in a place of every kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.daemon.test_daemon import _wait_for
from tests.matrix.world import World
from tests.registries import Registry
from tests.storage import rich
from tests.storage.conftest import _gone


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, embedded_plain: Registry) -> Iterator[World]:
    """podman's service listens, the storages are empty."""
    if os.geteuid() != 0:
        pytest.skip("root needed")
    base = Path(tempfile.mkdtemp(prefix="fcm-"))  # podman wants short names
    storages = [rich.Storage(driver, base / driver) for driver in ("overlay", "vfs")]
    for each in storages:
        each.base.mkdir()
    socket = base / "docker.sock"
    where = ["--root", f"{base}/d/root", "--runroot", f"{base}/d/run", "--storage-driver", "vfs"]
    words = ["podman", *where, "system", "service", "--time=0", f"unix://{socket}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(socket)
            yield World(base, embedded_plain.host, f"unix://{socket}", *storages)
        finally:
            process.kill()  # it would wait for its idle connections
            for each in storages:
                _gone(each)
            shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def start(world: World) -> Callable[[str], str]:
    """The image of the matrix in a place of a kind, brought there once by skopeo."""
    return cache(world.start)
