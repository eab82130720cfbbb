"""Cancellation in the middle of a body: no file, temporary or final, and no descriptor stays behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import trio

from fastcopy import api
from fastcopy.options import CopyOptions, Options, RunOptions
from tests.places import made


def _open_below(path: Path) -> list[str]:
    """The files below *path* that this process has open, removed ones too."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor is closed by now
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [each for each in found if each.startswith(str(path))]


@pytest.mark.parametrize("pattern", ["dir:{}/d", "oci:{}/o:v1", "oci-archive:{}/o.tar:v1"])
async def test_a_cancelled_copy_leaves_nothing(pattern: str, tmp_path: Path) -> None:
    """The copy is slowed down so that it cannot end before it is cancelled."""
    made.directory(tmp_path / "start", made.image(sizes=(4_000_000,)))
    (tmp_path / "to").mkdir()
    run = RunOptions(bandwidth=200_000, insecure_policy=True)
    options = Options(CopyOptions(), run)
    with trio.move_on_after(0.5) as scope:
        await api.copy_async(f"dir:{tmp_path}/start", pattern.format(tmp_path / "to"), options)
    assert scope.cancelled_caught
    left = {each.name for each in (tmp_path / "to").rglob("*") if each.is_file()}
    config = made.image(sizes=(4_000_000,)).config
    assert left <= {"version", made.digest_of(config).removeprefix("sha256:")}
    assert not _open_below(tmp_path)
