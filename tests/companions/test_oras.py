"""oras makes and reads what we carry: the other half of the protocol, not written by us."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import run
from tests.companions.world import Ends, listed
from tests.copy.world import Made, flags, fresh

pytestmark = pytest.mark.real("oras")

KIND = "application/vnd.example.attached"


def _oras(where: Path, *words: str) -> str:
    done = subprocess.run(["oras", *words], cwd=where, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _attached(ends: Ends, where: Path) -> Made:
    """An image with an artifact that oras attached."""
    made = ends.image()
    (where / "note.txt").write_text(made.repo)
    words = ("--plain-http", "--artifact-type", KIND, f"{ends.source.host}/{made.repo}:1", "note.txt:text/plain")
    _oras(where, "attach", *words)
    return made


def _discovered(where: Path, *words: str) -> list[str]:
    """The artifact types that oras finds."""
    told: dict[str, Any] = json.loads(_oras(where, "discover", "--format", "json", *words))
    return [each["artifactType"] for each in told.get("referrers") or told.get("manifests") or []]


def test_what_oras_attached_arrives_and_oras_finds_it(ends: Ends, tmp_path: Path) -> None:
    """Whoever has the API."""
    made, to = _attached(ends, tmp_path), fresh("with/to")
    assert ends.copy(made, to, "--referrers").code == 0
    assert len(listed(ends.destination, to, made.digest)) == 1
    assert _discovered(tmp_path, "--plain-http", f"{ends.destination.host}/{to}:1") == [KIND]


def test_oras_finds_it_in_our_layouts_and_we_find_it_in_its_own(both: Ends, tmp_path: Path) -> None:
    """Two ways to keep referrers in a layout; both are understood."""
    made, to = _attached(both, tmp_path), fresh("with/to")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    known = flags(both.source, both.destination)
    assert run("copy", *known, "--referrers", made.ref, f"oci:{ours}:v1").code == 0
    assert _discovered(tmp_path, "--oci-layout", f"{ours}:v1") == [KIND]
    _oras(
        tmp_path, "cp", "-r", "--from-plain-http", "--to-oci-layout", made.ref.removeprefix("docker://"), f"{theirs}:v1"
    )
    ran = run("copy", *known, "--referrers", f"oci:{theirs}:v1", both.destination.ref(to, "1"))
    assert ran.code == 0, ran.err
    assert len(listed(both.destination, to, made.digest)) == 1
