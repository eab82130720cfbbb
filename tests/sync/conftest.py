"""Two embedded registries shared by the session, and Debian's docker-registry for the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - a fixture for every test here
from tests.registries import Registry, docker_registry, embedded_registry
from tests.sync.world import Place


@pytest.fixture(scope="session", name="_embedded")
def _embedded_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    base = tmp_path_factory.mktemp("sync")
    with embedded_registry(base) as source, embedded_registry(base) as destination:
        yield source, destination


@pytest.fixture(scope="session", name="_docker")
def _docker_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    base = tmp_path_factory.mktemp("sync-docker")
    with docker_registry(base / "a") as source, docker_registry(base / "b") as destination:
        yield source, destination


@pytest.fixture
def place(tmp_path: Path, _embedded: tuple[Registry, Registry]) -> Place:
    """Files, and two registries of ours."""
    return Place(tmp_path, *_embedded)


@pytest.fixture
def real_place(tmp_path: Path, _docker: tuple[Registry, Registry]) -> Place:
    """Files, and two of docker's registries."""
    return Place(tmp_path, *_docker)


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.real("docker-registry"))])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Files, and two registries of either kind."""
    return Place(tmp_path, *request.getfixturevalue(f"_{request.param}"))
