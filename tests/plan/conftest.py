"""Two embedded registries whose answers can be held back, and two of docker's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.copy.conftest import _no_files_of_the_user, _plain_pair, pair  # noqa: F401 - fixtures for every test here
from tests.copy.world import Pair
from tests.registries import Registry, docker_registry
from tests.sync.world import Place


@pytest.fixture
def place(tmp_path: Path, pair: Pair) -> Place:  # noqa: F811
    """Files, and two registries of ours."""
    return Place(tmp_path, pair.source, pair.destination)


@pytest.fixture(scope="session", name="_docker")
def _docker_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    base = tmp_path_factory.mktemp("plan-docker")
    with docker_registry(base / "a") as source, docker_registry(base / "b") as destination:
        yield source, destination


@pytest.fixture
def real_place(tmp_path: Path, _docker: tuple[Registry, Registry]) -> Place:
    """Files, and two of docker's registries."""
    return Place(tmp_path, *_docker)
