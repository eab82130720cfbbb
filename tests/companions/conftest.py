"""Every combination of registries with and without the referrers API, shared by the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.companions.world import Ends
from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - a fixture for every test here
from tests.copy.world import Pair
from tests.faults import Faults
from tests.registries import Registry, docker_registry, embedded_registry
from tests.sync.world import Place


@pytest.fixture(scope="session", name="_apis")
def _with_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    base, at_source, at_destination = tmp_path_factory.mktemp("with-api"), Faults(), Faults()
    with (
        embedded_registry(base, middleware=at_source) as source,
        embedded_registry(base, middleware=at_destination) as destination,
    ):
        yield Pair(source, destination, at_source, at_destination)


@pytest.fixture(scope="session", name="_tags")
def _without_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    base = tmp_path_factory.mktemp("without-api")
    with docker_registry(base / "a") as source, docker_registry(base / "b") as destination:
        yield source, destination


_REAL = pytest.mark.real("docker-registry")


@pytest.fixture(
    params=[
        "api to api",
        pytest.param("api to tag", marks=_REAL),
        pytest.param("tag to api", marks=_REAL),
        pytest.param("tag to tag", marks=_REAL),
    ]
)
def ends(request: pytest.FixtureRequest) -> Ends:
    """All four ways."""
    source, _, destination = request.param.partition(" to ")
    return Ends(_registry(request, source, 0), _registry(request, destination, 1))


def _registry(request: pytest.FixtureRequest, kind: str, side: int) -> Registry:
    if kind == "tag":
        found: tuple[Registry, Registry] = request.getfixturevalue("_tags")
        return found[side]
    pair: Pair = request.getfixturevalue("_apis")
    return (pair.source, pair.destination)[side]


@pytest.fixture
def apis(_apis: Pair) -> Iterator[Pair]:
    """Two registries with the API whose every answer can be spoilt."""
    _apis.at_source.clear()
    _apis.at_destination.clear()
    yield _apis
    _apis.at_source.clear()
    _apis.at_destination.clear()


@pytest.fixture
def both(apis: Pair) -> Ends:
    """The same, as ends."""
    return Ends(apis.source, apis.destination)


@pytest.fixture
def tags(_tags: tuple[Registry, Registry]) -> Ends:
    """Two of docker's registries: nobody has the API."""
    return Ends(*_tags)


@pytest.fixture
def place(tmp_path: Path, ends: Ends) -> Place:
    """Files, and the registries of `ends`."""
    return Place(tmp_path, ends.source, ends.destination)
