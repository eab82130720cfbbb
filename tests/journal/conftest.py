"""The registries of the sync tests; the state of whoever runs the suite plays no part."""

from __future__ import annotations

import pytest

from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - a fixture for every test here
from tests.sync.conftest import (  # noqa: F401 - fixtures
    _docker_pair,
    _embedded_pair,
    any_place,
    place,
    real_place,
)


@pytest.fixture(autouse=True)
def _no_state_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test does not put below --journal goes below its own HOME."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
