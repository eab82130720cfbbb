"""Fixtures of the whole suite: real registries (one process per flavour and session) and the rule for missing ones.

Hypothesis runs without deadlines: on a busy machine a slow example is no failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.registries import FLAVOURS, Flavour, Registry, docker_registry, embedded_registry, missing_programs

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_PEERS = ("docker-registry", "skopeo")
#: What tests/install_tools.sh can install; Go runs where it is present (the conformance suite).
_INSTALLABLE = {*_PEERS, "gpg"}
_MUST = os.environ.get("CI") == "true" or os.environ.get("FASTCOPY_REQUIRE_REAL") == "1"
_absent: dict[str, int] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.real` needs Debian's docker-registry and skopeo, `real("go")` the programs it names."""
    needed = {name for marker in item.iter_markers("real") for name in marker.args or _PEERS}
    missing = missing_programs(tuple(sorted(needed)))
    if not missing:
        return
    for name in missing:
        _absent[name] = _absent.get(name, 0) + 1
    if _MUST and set(missing) & _INSTALLABLE:
        pytest.fail(f"{', '.join(missing)} not installed, and CI=true or FASTCOPY_REQUIRE_REAL=1 demands it")
    pytest.skip(f"{', '.join(missing)} not installed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, and loudly, what was not tested against the real thing."""
    if _absent:
        parts = ", ".join(f"{name} ({count} tests)" for name, count in sorted(_absent.items()))
        line = f"NOT TESTED AGAINST THE REAL THING, programs missing: {parts}"
        terminalreporter.write_line(line, red=True, bold=True)


def _session_registry(kind: str, flavour: Flavour) -> object:
    start = docker_registry if kind == "docker" else embedded_registry

    @pytest.fixture(scope="session", name=f"{kind}_{flavour}")
    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
        with start(tmp_path_factory.mktemp(f"{kind}-{flavour}"), flavour) as running:
            yield running

    return fixture


docker_plain = _session_registry("docker", "plain")
docker_tls = _session_registry("docker", "tls")
docker_basic = _session_registry("docker", "basic")
docker_token = _session_registry("docker", "token")
embedded_plain = _session_registry("embedded", "plain")
embedded_tls = _session_registry("embedded", "tls")
embedded_basic = _session_registry("embedded", "basic")
embedded_token = _session_registry("embedded", "token")

_EVERY = [
    *(pytest.param(f"docker_{flavour}", marks=pytest.mark.real("docker-registry")) for flavour in FLAVOURS),
    *(f"embedded_{flavour}" for flavour in FLAVOURS),
]


@pytest.fixture(params=_EVERY)
def registry(request: pytest.FixtureRequest) -> Registry:
    """Each of docker-registry and ours, in each flavour: a test that asks for it runs eight times."""
    found: Registry = request.getfixturevalue(request.param)
    return found
