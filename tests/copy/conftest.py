"""Two embedded registries whose answers can be spoilt, shared by the session; every test begins without faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.copy.world import Pair
from tests.faults import Faults
from tests.registries import embedded_registry


def _session_pair(flavour: str) -> object:
    @pytest.fixture(scope="session", name=f"_{flavour}_pair")
    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
        at_source, at_destination = Faults(), Faults()
        base = tmp_path_factory.mktemp(f"pair-{flavour}")
        with (
            embedded_registry(base, flavour, middleware=at_source) as source,  # type: ignore[arg-type]
            embedded_registry(base, flavour, middleware=at_destination) as destination,  # type: ignore[arg-type]
        ):
            yield Pair(source, destination, at_source, at_destination)

    return fixture


_plain_pair = _session_pair("plain")
_tls_pair = _session_pair("tls")


def _cleared(pair: Pair) -> Iterator[Pair]:
    pair.at_source.clear()
    pair.at_destination.clear()
    yield pair
    pair.at_source.clear()
    pair.at_destination.clear()


@pytest.fixture
def pair(_plain_pair: Pair) -> Iterator[Pair]:
    """Plain HTTP on both sides."""
    yield from _cleared(_plain_pair)


@pytest.fixture
def tls_pair(_tls_pair: Pair) -> Iterator[Pair]:
    """TLS on both sides."""
    yield from _cleared(_tls_pair)


@pytest.fixture(autouse=True)
def _no_files_of_the_user(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Auth files and configuration of whoever runs the suite play no part."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
