"""The registries of tests/sync, for the same promises about long runs."""

from __future__ import annotations

from tests.sync.conftest import (  # noqa: F401 - fixtures for every test here
    _docker_pair,
    _embedded_pair,
    _no_files_of_the_user,
    any_place,
    place,
    real_place,
)
