"""The registries of tests/sync, for the same promises about long runs."""

from __future__ import annotations

from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - fixtures for every test here
from tests.sync.conftest import _docker_pair, _embedded_pair, any_place, place, real_place  # noqa: F401
