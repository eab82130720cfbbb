"""Storages for tests: one of each driver that skopeo wrote, and empty ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import made
from tests.storage import rich


def _gone(storage: rich.Storage) -> None:
    rich.unmount(storage.root)
    shutil.rmtree(storage.base, ignore_errors=True)


@pytest.fixture(scope="session", params=["overlay", "vfs"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rich.Storage]:
    """The image localhost/rich:v1 in a storage, written by skopeo."""
    if os.geteuid() != 0 or not shutil.which("skopeo"):
        pytest.skip("skopeo and root needed")
    base = tmp_path_factory.mktemp(f"filled-{request.param}")
    storage = rich.Storage(request.param, Path(tempfile.mkdtemp(prefix="fcs-")))
    layout = made.layout(base / "layout", {"v1": rich.image()})
    rich.skopeo("copy", "-q", f"oci:{layout}:v1", storage.ref("localhost/rich:v1"))
    yield storage
    _gone(storage)


@pytest.fixture(params=["overlay", "vfs"])
def empty(request: pytest.FixtureRequest) -> Iterator[rich.Storage]:
    """A storage that nobody has written to."""
    if os.geteuid() != 0:
        pytest.skip("root needed")
    storage = rich.Storage(request.param, Path(tempfile.mkdtemp(prefix="fcs-")))  # podman wants short names
    yield storage
    _gone(storage)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with rich as v1 and a small image as v2."""
    return made.layout(tmp_path / "layout", {"v1": rich.image(), "v2": made.image()})
