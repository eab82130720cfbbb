"""The specification's own conformance suite (Go), built into .cache/ and run against the embedded registry.

Everything is asked for, the parts of the specification's main branch included; nothing may fail or be left out.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.registries import PASSWORD, USER, Flavour, embedded_registry

#: Pinned, so that a new test upstream is a decision here and not a surprise.
VERSION = "v0.0.0-20260831232431-97274622c111"
MODULE = "github.com/opencontainers/distribution-spec/conformance"
CACHE = Path(__file__).parents[2] / ".cache" / "conformance"
WANTED = {
    "OCI_VERSION": "dev",
    "OCI_API_BLOBS_DIGEST_HEADER": "true",
    "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_TAG_PARAM": "true",
}


@pytest.fixture(scope="session")
def suite() -> Path:
    """The built suite; without the module proxy there is none."""
    program = CACHE / VERSION / "conformance"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(program.parent)}
        command = ["go", "install", f"{MODULE}@{VERSION}"]
        built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        if built.returncode != 0:
            pytest.skip(f"the conformance suite cannot be built: {built.stderr.strip().splitlines()[-1]}")
    return program


@pytest.mark.real("go")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("flavour", "storage", "http"),
    [("plain", "memory", "1.1"), ("plain", "layout", "1.1"), ("tls", "memory", "2"), ("token", "memory", "2")],
)
def test_the_embedded_registry_conforms(suite: Path, tmp_path: Path, flavour: Flavour, storage: str, http: str) -> None:
    """Every API and every kind of data passes, in memory and over a layout, over HTTP/1.1 and HTTP/2."""
    settings: dict[str, Any] = {"directory": tmp_path / "layout"} if storage == "layout" else {}
    with embedded_registry(tmp_path, flavour, **settings) as registry:
        environment = {**os.environ, **WANTED, "OCI_REGISTRY": registry.host, "OCI_RESULTS_DIR": str(tmp_path / "out")}
        environment["OCI_TLS"] = "enabled" if registry.tls else "disabled"
        if registry.certificates:
            environment["SSL_CERT_FILE"] = str(registry.certificates.ca)
        if registry.credentials:
            environment |= {"OCI_USERNAME": USER, "OCI_PASSWORD": PASSWORD}
        ran = subprocess.run([suite], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        spoken = {record.http for record in registry.server.log}
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "OCI Conformance Result: Pass" in ran.stdout
    assert spoken == {http}
