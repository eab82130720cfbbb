"""Registries that resume uploads, and the same road in miniature; version 3 of distribution is built where Go is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcopy.transfer import resume
from fastcopy.transports import _manners
from tests.copy.conftest import (  # noqa: F401 - fixtures for every test here
    _no_files_of_the_user,
    _plain_pair,
    _tls_pair,
    pair,
    tls_pair,
)
from tests.registries import Registry, docker_registry

#: Pinned, so that a new behaviour upstream is a decision here and not a surprise.
VERSION = "v3.1.2"
MODULE = "github.com/distribution/distribution/v3/cmd/registry"
CACHE = Path(__file__).parents[2] / ".cache" / "distribution"
#: Bytes of a part, and of the smallest blob that comes in parts, in these tests.
PART = 256 * 1024


@pytest.fixture
def _in_miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs of 256 KiB and more count as large."""
    monkeypatch.setattr(_manners, "RESUMED_MIN", PART)
    monkeypatch.setattr(_manners, "PART", PART)
    monkeypatch.setattr(resume, "GAIN", PART // 4)


@pytest.fixture(scope="session")
def distribution_program() -> str:
    """Distribution 3, built from its source; without the module proxy there is none."""
    program = CACHE / VERSION / "registry"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(program.parent), "GOFLAGS": "-mod=mod"}
        command = ["go", "install", f"{MODULE}@{VERSION}"]
        built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        if built.returncode != 0:
            pytest.skip(f"distribution 3 cannot be built: {built.stderr.strip().splitlines()[-1]}")
    return str(program)


@pytest.fixture(scope="session")
def distribution_plain(distribution_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Distribution 3 without TLS."""
    with docker_registry(tmp_path_factory.mktemp("distribution"), "plain", program=distribution_program) as running:
        yield running


@pytest.fixture(scope="session")
def distribution_tls(distribution_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Distribution 3 over TLS."""
    with docker_registry(tmp_path_factory.mktemp("distribution-tls"), "tls", program=distribution_program) as running:
        yield running


RESUMING = [
    "embedded_plain",
    "embedded_tls",
    "embedded_token",
    pytest.param("distribution_plain", marks=pytest.mark.real("go")),
    pytest.param("distribution_tls", marks=pytest.mark.real("go")),
]


@pytest.fixture(params=RESUMING)
def resuming(request: pytest.FixtureRequest) -> Registry:
    """Each registry that resumes uploads."""
    found: Registry = request.getfixturevalue(request.param)
    return found
