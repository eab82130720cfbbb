"""Every digest is downloaded once in the whole run, also when different images take it to different registries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import faults as broken
from tests.cli.support import Ran, run
from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - a fixture for every test here
from tests.copy.world import Made, assert_complete, content, fresh, image
from tests.registries import Registry, embedded_registry
from tests.sync.world import moved


@dataclass
class World:
    """A source and three destinations, each with faults of its own."""

    files: Path
    source: Registry
    destinations: list[Registry]
    at_source: broken.Faults
    at_destinations: list[broken.Faults]
    rules: list[dict[str, Any]] = field(default_factory=list)

    def rule(self, made: Made, number: int) -> str:
        """Let *made* go to destination *number*; the repository it goes to."""
        to = f"mirror/{made.repo}"
        self.rules.append({"from": made.ref, "to": self.destinations[number].ref(to, "1")})
        return to

    def run(self, *words: str) -> Ran:
        """``fastcopy sync`` of the rules so far."""
        names = [(each["from"].removeprefix("docker://"), each["to"].removeprefix("docker://")) for each in self.rules]
        path = self.files / "images.txt"
        path.write_text("".join(f"{source}={destination}\n" for source, destination in names))
        report = self.files / "report.json"
        flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--retry-delay=10ms"]
        return run("sync", *flags, "--list", str(path), f"--report={report}", *words)

    def report(self) -> Any:
        """What --report wrote."""
        return json.loads((self.files / "report.json").read_text())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Everything plain and embedded, so that each byte is counted."""
    with ExitStack() as stack:
        faults = [broken.Faults() for _ in range(4)]
        source, *others = (
            stack.enter_context(embedded_registry(tmp_path / str(n), middleware=each)) for n, each in enumerate(faults)
        )
        yield World(tmp_path, source, others, faults[0], faults[1:])


SHARED = (content(700_000, "base"), content(400_000, "more"), content(20_000, "little"))


def _images(world: World, count: int, shared: Sequence[bytes] = SHARED) -> list[Made]:
    return [image(world.source, fresh("one/i"), layers=[*shared, content(5_000, f"own {n}")]) for n in range(count)]


def _read(world: World, images: Sequence[Made]) -> int:
    """Bytes of blobs that the source has sent whole, by its log."""
    sizes = _sizes(images)
    return sum(times * sizes[digest] for digest, times in moved(world.source, "GET").items())


def _sizes(images: Sequence[Made]) -> dict[str, int]:
    return {digest: len(data) for made in images for digest, data in made.blobs.items()}


def _unique(images: Sequence[Made]) -> int:
    return sum(_sizes(images).values())


def test_two_images_for_two_registries_share_the_download_of_their_base(world: World) -> None:
    """The source sends each unique byte once, and everything is complete at both."""
    images = _images(world, 2)
    places = [world.rule(made, number) for number, made in enumerate(images)]
    ran = world.run()

    assert ran.code == 0, ran.err
    assert _read(world, images) == _unique(images)
    for number, (made, to) in enumerate(zip(images, places, strict=True)):
        assert_complete(world.destinations[number], to, made)


def test_many_images_for_three_registries_read_every_blob_once(world: World) -> None:
    """Twelve images over one base, dealt to three registries: one GET per blob."""
    images = _images(world, 12)
    for number, made in enumerate(images):
        world.rule(made, number % 3)
    ran = world.run()

    assert ran.code == 0, ran.err
    assert set(moved(world.source, "GET").values()) == {1}
    assert _read(world, images) == _unique(images)
    assert all(set(moved(each, "PUT").values()) == {1} for each in world.destinations)


def test_a_registry_that_fails_in_company_fails_alone(world: World) -> None:
    """507 at one of two registries is that image's failure; the other image is complete."""
    images = _images(world, 2)
    places = [world.rule(made, number) for number, made in enumerate(images)]
    world.at_destinations[1].add(broken.storage_full(1000), method="PUT", path="/blobs/uploads/")
    ran = world.run()

    assert ran.code != 0
    assert_complete(world.destinations[0], places[0], images[0])
    states = {each["destination"].rpartition("/")[2]: each["status"] for each in world.report()["images"]}
    assert sorted(states.values()) == ["copied", "failed"]


def test_who_leads_with_a_bad_source_does_not_fail_the_others(world: World) -> None:
    """The base is gone from one of two repositories: only the image there fails, whoever led."""
    images = _images(world, 2)
    places = [world.rule(made, number) for number, made in enumerate(images)]
    world.at_source.add(broken.respond(404, "BLOB_UNKNOWN"), method="GET", path=f"/v2/{images[0].repo}/blobs/")
    ran = world.run()

    assert ran.code != 0
    assert_complete(world.destinations[1], places[1], images[1])


def test_what_is_wanted_after_the_download_ended_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image whose manifest is late reads the base a second time, and the bytes are counted as such."""
    from fastcopy.transfer import wants

    images = _images(world, 2)
    for number, made in enumerate(images):
        world.rule(made, number)
    world.at_source.add(broken.slow(1.5), method="GET|HEAD", path=f"/v2/{images[1].repo}/manifests/")
    monkeypatch.setattr(wants, "CRAWL_PATIENCE", 0.1)
    runs = _spied(monkeypatch)
    ran = world.run()

    assert ran.code == 0, ran.err
    shared = sum(map(len, SHARED))
    assert _read(world, images) == _unique(images) + shared
    assert [run.meters.extras for run in runs] == [{("late", "source"): shared}]


def _spied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every Run made from now on."""
    from fastcopy.transfer.run import Run as plain

    made: list[Any] = []

    def spy(*given: Any, **named: Any) -> Any:
        made.append(plain(*given, **named))
        return made[-1]

    monkeypatch.setattr("fastcopy.engine.Run", spy)
    return made


def test_a_failure_names_the_destination_where_it_happened(world: World) -> None:
    """One source that goes to two registries: the line of the one that refuses names it, and not the other."""
    (made,) = _images(world, 1)
    for number in range(2):
        world.rule(made, number)
    world.at_destinations[1].add(broken.respond(403, "DENIED"), method="PUT", path="/manifests/")
    ran = world.run("--retry-times=0")
    assert ran.code == 3, ran.err
    (line,) = (each for each in ran.err.splitlines() if "level=error" in each)
    assert f"destination {world.destinations[1].ref(f'mirror/{made.repo}', '1')}: " in line
    assert world.destinations[0].host not in line
