"""Local writes are atomic: processes that are killed at any moment, and many that write at once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.places import made
from tests.registries import embedded_registry

_ROOT = Path(__file__).parents[2]


def _started(*words: str) -> subprocess.Popen[bytes]:
    """``fastcopy copy words…`` as a process of its own."""
    program = [sys.executable, "-m", "fastcopy", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
    environ = os.environ | {"PYTHONPATH": str(_ROOT)}
    return subprocess.Popen([*program, *words], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _all_done(writers: Sequence[subprocess.Popen[bytes]]) -> None:
    for each in writers:
        _, err = each.communicate(timeout=100)
        assert each.returncode == 0, err


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _files(path: Path) -> dict[Path, bytes]:
    """Everything that has a final name below *path*."""
    return {
        each.relative_to(path): each.read_bytes()
        for each in path.rglob("*")
        if each.is_file() and not each.name.startswith(".fastcopy-")
    }


def _until_partial(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until an unfinished file below *path* has bytes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if any(each.stat().st_size for each in path.rglob(".fastcopy-*")):
            return
        time.sleep(0.005)
    raise AssertionError("nothing was under way")


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern", ["dir:{}/d", "oci:{}/o:v1", "oci-archive:{}/o.tar:v1", "docker-archive:{}/a.tar:it:v1"]
)
def test_sigkill_in_mid_copy_leaves_nothing_under_a_final_name(pattern: str, tmp_path: Path) -> None:
    """No archive, no reference, no manifest; a blob with a name is whole. The same copy then ends as if nothing was."""
    it = made.image(sizes=(50_000, 6_000_000))
    made.directory(tmp_path / "start", it)
    (tmp_path / "to").mkdir()
    place = pattern.format(tmp_path / "to")
    killed = _started("--bwlimit", "500KiB/s", f"dir:{tmp_path}/start", place)
    _until_partial(tmp_path / "to", killed)
    _kill(killed)
    for path, data in _files(tmp_path / "to").items():
        assert path.name == "version" or path.name == made.digest_of(data).removeprefix("sha256:"), path
    _all_done([_started(f"dir:{tmp_path}/start", place)])
    made.copy(place, f"dir:{tmp_path}/end")
    if not pattern.startswith("docker-archive"):
        assert made.read_dir(tmp_path / "end") == made.read_dir(tmp_path / "start")


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["dir:{}/d", "oci:{}/o:v1", "oci-archive:{}/o.tar:v1"])
def test_sigkill_at_any_moment_leaves_the_old_image_or_the_new(pattern: str, tmp_path: Path) -> None:
    """Over an image that is there: whenever the kill comes, the place has one of the two, complete."""
    old, new = made.image(1), made.image(2)
    made.directory(tmp_path / "old", old)
    made.directory(tmp_path / "new", new)
    place = pattern.format(tmp_path)
    made.copy(f"dir:{tmp_path}/old", place)
    moments = random.Random(pattern)
    for n in range(5):
        running = _started(f"dir:{tmp_path}/new", place)
        time.sleep(moments.uniform(0.15, 0.6))
        _kill(running)
        made.copy(place, f"dir:{tmp_path}/end{n}")
        found = made.read_dir(tmp_path / f"end{n}")
        assert found in (made.read_dir(tmp_path / "old"), made.read_dir(tmp_path / "new"))


@pytest.mark.slow
def test_eight_processes_lose_no_entry_of_a_layout(tmp_path: Path) -> None:
    """Each writes its reference into one layout that none of them made."""
    images = [made.image(n, sizes=(2_000,)) for n in range(8)]
    for n, each in enumerate(images):
        made.directory(tmp_path / f"d{n}", each)
    _all_done([_started(f"dir:{tmp_path}/d{n}", f"oci:{tmp_path}/o:v{n}") for n in range(8)])
    assert made.read_index(tmp_path / "o") == {f"v{n}": each.digest for n, each in enumerate(images)}
    for each in images:
        made.assert_layout_has(tmp_path / "o", each)


@pytest.mark.slow
def test_copies_and_a_registry_write_into_one_layout_at_once(tmp_path: Path) -> None:
    """`fastcopy serve` on the layout is pushed to while copies write it: nobody's entries are lost."""
    images = [made.image(n, sizes=(2_000,)) for n in range(8)]
    for n, each in enumerate(images):
        made.directory(tmp_path / f"d{n}", each)
    with embedded_registry(tmp_path / "server", directory=tmp_path / "o") as registry:
        _all_done([
            _started(f"dir:{tmp_path}/d{n}", registry.ref("app", f"p{n}") if n % 2 else f"oci:{tmp_path}/o:app:v{n}")
            for n in range(8)
        ])  # fmt: skip
    names = {name for name in made.read_index(tmp_path / "o") if not name.partition("@")[2]}
    assert names == {f"app:{'p' if n % 2 else 'v'}{n}" for n in range(8)}
