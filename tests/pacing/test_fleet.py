"""Bytes on the wire, counted at the registries: a fleet costs its unique bytes once, and what is more has a cause."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fastcopy.serve import Behaviour
from tests.copy.relay import relay_to
from tests.copy.world import content, image
from tests.faults import Faults, respond
from tests.registries import Registry, docker_registry, embedded_registry
from tests.sync.world import Place

MIB = 1 << 20


def test_a_fleet_moves_its_unique_bytes_once(tmp_path: Path) -> None:
    """Forty images that share bases, between docker-registries: at most 1.00 x in, and 1.00 x out, heads included."""
    bases = [content(2 * MIB, f"base {number}") for number in range(4)]
    own = [content(MIB + 1000 * number, f"own {number}") for number in range(40)]
    with docker_registry(tmp_path) as source, docker_registry(tmp_path) as destination:
        made = [
            image(source, f"fleet/i{number}", layers=[bases[number % 4], bases[(number + 1) % 4], own[number]])
            for number in range(40)
        ]
        unique = sum(
            len(data) for data in {digest: data for each in made for digest, data in each.blobs.items()}.values()
        )
        with relay_to(source.host) as down, relay_to(destination.host) as up:
            place = Place(tmp_path, replace(source, host=down.host), replace(destination, host=up.host))
            report = str(tmp_path / "report.json")
            lines = [f"i{number}:1" for number in range(40)]
            ran = place.listed(lines, "--report", report, base="fleet", to="there")
    assert ran.code == 0, ran.err
    assert round(down.down / unique, 2) <= 1.00
    assert round(up.up / unique, 2) <= 1.00
    assert place.report()["extra"] == {}
    assert place.report()["counts"] == {"copied": 40}


def test_a_refused_mount_is_counted_as_such(tmp_path: Path, docker_plain: Registry) -> None:
    """A registry that mounts nothing gets the shared layer for each repository; the report says what that cost."""
    shared = content(MIB, "shared by three")
    with embedded_registry(tmp_path, behaviour=Behaviour(mounts=False)) as destination:
        place = Place(tmp_path, docker_plain, destination)
        place.images("refused", 3, shared=[shared])
        lines = [f"i{number}:1" for number in range(3)]
        ran = place.listed(lines, "--report", str(tmp_path / "report.json"), base="refused", to="x")
    assert ran.code == 0, ran.err
    extra = place.report()["extra"]
    assert extra["mount"]["destination"] == 2 * MIB
    assert extra["mount"]["source"] == 2 * MIB
    assert "refused mounts" in ran.err


@pytest.mark.parametrize("size", [5_000, MIB])
def test_what_a_further_attempt_moves_again_is_counted(tmp_path: Path, docker_plain: Registry, size: int) -> None:
    """A closing PUT that fails once: the blob is read again, and that is called a further attempt."""
    faults = Faults()
    with embedded_registry(tmp_path, middleware=faults) as destination:
        made = image(docker_plain, f"again/s{size}", sizes=[size])
        faults.add(respond(503), method="PUT", path=made.layer.replace(":", ".*"), times=1)
        place = Place(tmp_path, docker_plain, destination)
        ran = place.listed([f"s{size}:1"], "--report", str(tmp_path / "report.json"), base="again", to="x")
    assert ran.code == 0, ran.err
    extra = json.loads((tmp_path / "report.json").read_text())["extra"]
    assert extra["retry"]["source"] > 0
    assert extra["retry"]["source"] <= size
