"""The registries of the copy tests, and docker-registry with skopeo where they are installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.copy.conftest import (  # noqa: F401 - fixtures
    _no_files_of_the_user,
    _plain_pair,
    _tls_pair,
    pair,
    tls_pair,
)
from tests.registries import Registry, docker_registry, missing_programs


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Debian's docker-registry, for tests that hold the result against skopeo."""
    if missing := missing_programs(("docker-registry", "skopeo")):
        pytest.skip(f"not installed: {', '.join(missing)}")
    with docker_registry(tmp_path_factory.mktemp("debian")) as registry:
        yield registry
