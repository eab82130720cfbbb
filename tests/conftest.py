"""Fixtures of the whole suite: real registries (one process per flavour and session) and the rule for missing ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.registries import Flavour, Registry, docker_registry, missing_programs

_PEERS = ("docker-registry", "skopeo")
_MUST = os.environ.get("CI") == "true" or os.environ.get("FASTCOPY_REQUIRE_REAL") == "1"
_absent: dict[str, int] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.real` needs Debian's docker-registry and skopeo, `real("go")` the programs it names."""
    marker = item.get_closest_marker("real")
    missing = missing_programs(marker.args or _PEERS) if marker else []
    if not missing:
        return
    for name in missing:
        _absent[name] = _absent.get(name, 0) + 1
    if _MUST:
        pytest.fail(f"{', '.join(missing)} not installed, and CI=true or FASTCOPY_REQUIRE_REAL=1 demands it")
    pytest.skip(f"{', '.join(missing)} not installed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, and loudly, what was not tested against the real thing."""
    if _absent:
        parts = ", ".join(f"{name} ({count} tests)" for name, count in sorted(_absent.items()))
        line = f"NOT TESTED AGAINST THE REAL THING, programs missing: {parts}"
        terminalreporter.write_line(line, red=True, bold=True)


def _session_registry(flavour: Flavour) -> object:
    @pytest.fixture(scope="session", name=f"{flavour}_registry")
    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
        with docker_registry(tmp_path_factory.mktemp(f"docker-{flavour}"), flavour) as running:
            yield running

    return fixture


plain_registry = _session_registry("plain")
tls_registry = _session_registry("tls")
basic_registry = _session_registry("basic")
token_registry = _session_registry("token")
