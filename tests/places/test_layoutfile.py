"""The one lock of a layout, and the one way its files are replaced."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcopy import layoutfile
from fastcopy.errors import LocalError
from fastcopy.serve.indexfile import IndexFile
from tests.places import made


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """An open directory."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_file_is_replaced_whole_and_nothing_else_stays(directory: int, tmp_path: Path) -> None:
    """Also through a link of that name, which is replaced and not followed."""
    (tmp_path / "victim").write_bytes(b"keep me")
    (tmp_path / "x").symlink_to("victim")
    layoutfile.replace(directory, "x", b"new")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"victim": b"keep me", "x": b"new"}
    assert not (tmp_path / "x").is_symlink()


def test_a_replacement_that_fails_leaves_no_file(directory: int, tmp_path: Path) -> None:
    """A directory has the name."""
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="directory"):
        layoutfile.replace(directory, "x", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_lock_that_somebody_keeps_is_an_error_and_not_a_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies and the registry say so, and the index stays as it was."""
    monkeypatch.setattr(layoutfile, "LOCK_SECONDS", 0.1)
    made.layout(tmp_path / "o", {"v1": made.image(1)})
    made.directory(tmp_path / "d", made.image(2))
    served = IndexFile(tmp_path / "o", "app")
    before = (tmp_path / "o/index.json").read_bytes()
    other = os.open(tmp_path / "o", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with pytest.raises(LocalError, match=r"o/index\.json: another process keeps the layout locked"):
            made.copy(f"dir:{tmp_path}/d", f"oci:{tmp_path}/o:v2")
        with pytest.raises(TimeoutError, match="another process keeps the layout locked"):
            served.apply([])
    finally:
        os.close(other)
        served.close()
    assert (tmp_path / "o/index.json").read_bytes() == before
    made.copy(f"dir:{tmp_path}/d", f"oci:{tmp_path}/o:v2")
    assert set(made.read_index(tmp_path / "o")) == {"v1", "v2"}
