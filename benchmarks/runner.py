"""Runs a scenario: the tools take turns inside each repeat, so that noise falls on all of them.

Owns: the order of runs, the fresh destination of each, the check that the job was done. Refuses to
know: how a tool is called and how results are shown.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.changes import CHANGES
from benchmarks.client import Client, RegistryError
from benchmarks.local import check_archive, check_layout
from benchmarks.measure import RunFailedError, Sample, machine_cpu, run
from benchmarks.peers import TOOLS, Job, Program
from benchmarks.results import Table
from benchmarks.scenarios import Scenario
from benchmarks.servers import (
    Registry,
    Relay,
    cheap_registry,
    embedded_registry,
    limited_registry,
    relay,
    sink_stats,
)
from benchmarks.world import Fixture, World, unique_bytes


@dataclass(frozen=True)
class Stage:
    """Both registries, and the ports a client reaches them by (a relay's where there is one)."""

    source: Registry
    destination: Registry
    near_source: Relay
    near_destination: Relay
    second: Registry | None = None

    @property
    def destinations(self) -> list[Registry]:
        """Where the images have to arrive."""
        return [each for each in (self.destination, self.second) if each]

    def cpu(self) -> tuple[float, float, float]:
        """CPU seconds so far: source, destination, everything else on the machine but them and the relays."""
        source, destination = self.source.cpu(), sum(each.cpu() for each in self.destinations)
        relays = self.near_source.cpu() + self.near_destination.cpu()
        return source, destination, machine_cpu() - source - destination - relays


def say(text: str) -> None:
    """Tell the person waiting what happens; results go to stdout."""
    print(text, file=sys.stderr, flush=True)


def room_for(fixtures: Sequence[Fixture]) -> int:
    """Return how much memory a run may touch: twice what is stored, and room for heaps and sockets."""
    return (512 << 20) + 2 * sum(
        layer.size for layer in {layer for fixture in fixtures for layer in fixture.image.all_layers}
    )


@contextmanager
def staged(world: World, scenario: Scenario, fixtures: Sequence[Fixture]) -> Iterator[Stage]:
    """Set up registries and relays for one tool's turn."""
    with ExitStack() as stack:
        if scenario.cheap_source:
            source = stack.enter_context(cheap_registry(world.shelve(fixtures)))
        elif scenario.difficult is not None:
            layout, repository = world.place("oci", fixtures[0]), fixtures[0].image.repository
            source = stack.enter_context(
                embedded_registry(world.python, layout, repository, world.certificates, scenario.difficult)
            )
        elif scenario.count_requests:
            source = stack.enter_context(world.registry(world.root / "source", scenario.tls, count=True))
        else:
            source = world.source(scenario.tls)
        if scenario.cheap_sink:
            destination = stack.enter_context(cheap_registry())
        elif scenario.limit_rate:
            destination = stack.enter_context(limited_registry(world.python, scenario.limit_rate))
        else:
            destination = stack.enter_context(
                world.fresh_destination(scenario.tls, scenario.count_requests, room_for(fixtures))
            )
        second = None
        if scenario.two:
            second = stack.enter_context(
                world.fresh_destination(scenario.tls, scenario.count_requests, 0, "second-destination")
            )
        delay = scenario.delay_ms
        near_source = stack.enter_context(relay(source.port, delay, scenario.source_rate))
        near_destination = stack.enter_context(relay(destination.port, delay, None))
        yield Stage(source, destination, near_source, near_destination, second)


def turn(
    world: World, scenario: Scenario, fixtures: Sequence[Fixture], tool: str, program: Program
) -> Generator[Sample, None, None]:
    """Give one tool its turn: yield one sample per pass, each checked."""
    state = world.root / "client"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    with staged(world, scenario, fixtures) as stage:
        source, destination = (f"127.0.0.1:{near.port}" for near in (stage.near_source, stage.near_destination))
        second = f"127.0.0.1:{stage.second.port}" if stage.second else ""
        job = Job(source, destination, scenario.tls, [fixture.image for fixture in fixtures], state, second)
        job = dataclasses.replace(job, names=names_of(world, scenario, job, fixtures[0]))
        command = TOOLS[tool].command(job, program)
        with restored(world, fixtures):
            for name in scenario.passes_of(tool):
                if name in CHANGES:
                    fixtures = CHANGES[name](world, stage.destination, fixtures)
                sample = measured(
                    stage, lambda: run(command, state, world.certificates.authority, scenario.limit), scenario
                )
                stored = check(world, scenario, stage, fixtures) if TOOLS[tool].copies else 0
                yield dataclasses.replace(sample, stored_bytes=stored, unique_bytes=unique_bytes(fixtures))


def names_of(world: World, scenario: Scenario, job: Job, fixture: Fixture) -> tuple[str, str]:
    """Return the image's names at both ends; a place on disk stands for a registry where the scenario says so."""
    source, destination = (f"docker://{reference}" for reference in job.pairs()[0])
    if scenario.source_place:
        source = _local_name(scenario.source_place, world.place(scenario.source_place, fixture), fixture)
    if scenario.destination_place:
        destination = _local_name(scenario.destination_place, job.files / "out", fixture)
    return source, destination


def _local_name(kind: str, path: Path, fixture: Fixture) -> str:
    image = fixture.image
    return f"{kind}:{path}:{image.tag}" if kind == "oci" else f"{kind}:{path}:{image.repository}:{image.tag}"


@contextmanager
def restored(world: World, fixtures: Sequence[Fixture]) -> Iterator[None]:
    """Afterwards the source's first tag, the one that changes move, is what it was."""
    try:
        yield
    finally:
        world.push(fixtures[0].image)


def measured(stage: Stage, act: Callable[[], Sample], scenario: Scenario) -> Sample:
    """Run *act*, and add what both registries did meanwhile."""
    before = stage.cpu()
    seen = _requests(stage) if scenario.count_requests else Counter[str]()
    sent = stage.source.sent() if scenario.count_requests else 0
    sample = act()
    source, destination, other = (now - then for now, then in zip(stage.cpu(), before, strict=True))
    return dataclasses.replace(
        sample,
        source_cpu=source,
        destination_cpu=destination,
        other_cpu=max(0.0, other - sample.cpu),
        requests=dict(_requests(stage) - seen) if scenario.count_requests else None,
        source_bytes=stage.source.sent() - sent if scenario.count_requests else None,
    )


def _requests(stage: Stage) -> Counter[str]:
    counted = stage.source.requests()
    for each in stage.destinations:
        counted += each.requests()
    return counted


def check(world: World, scenario: Scenario, stage: Stage, fixtures: Sequence[Fixture]) -> int:
    """Raise RunFailedError unless everything arrived; return the bytes of layers that were recompressed."""
    stored = 0
    if scenario.destination_place:
        _check_local(world, scenario, fixtures[0])
        return 0
    try:
        for destination in stage.destinations:
            with world.client(destination) as client:
                stored += _check_one(client, scenario, fixtures)
    except RegistryError as problem:
        raise RunFailedError(f"exit code 0, but {problem}") from problem
    return stored


def _check_local(world: World, scenario: Scenario, fixture: Fixture) -> None:
    out = world.root / "client/out"
    try:
        if scenario.destination_place == "oci":
            check_layout(out, fixture.image, fixture.manifest)
            return
        with world.client(world.source(tls=False)) as client:
            config = client.blob(fixture.image.repository, json.loads(fixture.manifest)["config"]["digest"])
        check_archive(out, fixture.image, config)
    except (RegistryError, OSError, ValueError, KeyError) as problem:
        raise RunFailedError(f"exit code 0, but {problem}") from problem


def _check_one(client: Client, scenario: Scenario, fixtures: Sequence[Fixture]) -> int:
    if scenario.cheap_sink:
        _check_sink(sink_stats(client), fixtures)
        return 0
    if scenario.recompressed:
        return sum(client.check_recompressed(each.image, each.manifest, scenario.recompressed) for each in fixtures)
    known: set[tuple[str, str]] = set()
    for fixture in fixtures:
        client.check_image(fixture.image, fixture.manifest, known)
    return 0


def _check_sink(found: Mapping[str, int], fixtures: Sequence[Fixture]) -> None:
    wanted = sum(layer.size for fixture in fixtures for layer in fixture.image.layers)
    if found["bytes_in"] < wanted or found["manifests"] < len(fixtures):
        raise RegistryError(f"only {found['bytes_in']} bytes and {found['manifests']} manifests arrived")


def rehearse(world: World, scenario: Scenario, fixtures: Sequence[Fixture], programs: Mapping[str, Program]) -> None:
    """Run the first tool once and forget it: caches of the source and of the machine are warm for all."""
    for name, program in list(programs.items())[:1]:
        samples = turn(world, scenario, fixtures, name, program)
        try:
            next(samples)
        except RunFailedError as problem:
            say(f"  {scenario.name:18} {name:20} rehearsal failed: {problem}")
        finally:
            samples.close()


def run_scenario(world: World, scenario: Scenario, programs: Mapping[str, Program], repeat: int) -> list[Table]:
    """Measure every tool of *programs* (tool name -> program) *repeat* times; return a table per pass."""
    say(f"{scenario.name}: {scenario.title}")
    fixtures = world.stock(scenario.images)
    tables = [
        Table(scenario.row(number), scenario.title, targets=scenario.targets_of(number))
        for number in range(len(scenario.passes))
    ]
    tools = [name for name in scenario.tools if name in programs]
    for table in tables:
        for name in tools:
            table.row(name)
    rehearse(world, scenario, fixtures, {name: programs[name] for name in tools})
    for number in range(repeat):
        shift = number % len(tools) if tools else 0
        for name in tools[shift:] + tools[:shift]:
            _one_turn(world, scenario, fixtures, name, programs[name], tables)
    return tables


def _one_turn(
    world: World, scenario: Scenario, fixtures: Sequence[Fixture], name: str, program: Program, tables: list[Table]
) -> None:
    samples = turn(world, scenario, fixtures, name, program)
    stays = len(scenario.passes_of(name))
    for table in tables[:stays]:
        try:
            sample = next(samples)
        except RunFailedError as problem:
            table.row(name).errors.append(str(problem))
            say(f"  {table.name:18} {name:20} FAILED: {problem}")
            break
        table.row(name).samples.append(sample)
        say(f"  {table.name:18} {name:20} {_brief(sample)}")
    samples.close()


def _brief(sample: Sample) -> str:
    return (
        f"wall {sample.wall:7.2f}  CPU {sample.cpu:6.2f}  peak {sample.peak_mib:5.0f} MiB  "
        f"registries {sample.registry_cpu:6.2f}  others {sample.other_cpu:5.2f}"
    )
