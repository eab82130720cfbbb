"""Runs jobs: jobs with one source become one copy with several destinations; one failure never stops the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import trio

from fastcopy.engine import Engine
from fastcopy.errors import FastcopyError
from fastcopy.events import ImageFailed
from fastcopy.jobs import Job, Rule, Settings
from fastcopy.migrate.discover import Discovery, discover
from fastcopy.migrate.report import Outcome, Status, SyncReport
from fastcopy.options import CopyOptions
from fastcopy.places import closing, open_destination, open_trusted
from fastcopy.schedule import Lane
from fastcopy.transfer.image import ImageCopy, Result
from fastcopy.transports.base import Destination


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a run of many images behaves. `keep_going`: one failed image does not stop the others."""

    keep_going: bool = True
    dry_run: bool = False
    on_outcome: Callable[[Outcome], None] = field(default=lambda outcome: None, compare=False)


@dataclass
class Syncing:
    """One run over many jobs."""

    engine: Engine
    sync: SyncOptions
    outcomes: dict[Job, Outcome] = field(default_factory=dict)
    stopped: bool = False

    async def go(self, rules: Sequence[Rule]) -> SyncReport:
        """Discover, copy, report."""
        started = time.monotonic()
        found = await discover(self.engine, rules)
        if not self.sync.dry_run:
            await self._copy_all(found.jobs)
        return self._report(found, time.monotonic() - started)

    async def _copy_all(self, jobs: Iterable[Job]) -> None:
        async with trio.open_nursery() as nursery:
            for group in by_source(jobs):
                nursery.start_soon(self._in_turn, group, nursery)

    async def _in_turn(self, group: list[Job], nursery: trio.Nursery) -> None:
        async with self.engine.run.gate.slot(Lane.IMAGE, ("images",)):
            await self._group(group)
        if self.stopped:
            nursery.cancel_scope.cancel()

    async def _group(self, group: list[Job]) -> None:
        """Copy one source to its destinations and record every outcome."""
        try:
            results = await self._copy(group)
        except FastcopyError as error:
            results = dict.fromkeys(group, error)
        for job, result in results.items():
            self._record(job, result)

    def _record(self, job: Job, result: Result) -> None:
        if isinstance(result, FastcopyError):
            outcome = Outcome(job, "failed", error=result)
            self.engine.run.emit(ImageFailed("", f"{job.source}: {result}", result.slug, result.side))
            self.stopped = self.stopped or not self.sync.keep_going
        else:
            status: Status = "present" if result.present else "copied"
            outcome = Outcome(job, status, result.digest, result.source_digest or result.digest)
        self.outcomes[job] = outcome
        self.sync.on_outcome(outcome)

    async def _copy(self, group: list[Job]) -> dict[Job, Result]:
        first, engine = group[0], self.engine
        run = replace(engine.run, copy=copy_options(engine.run.copy, first.settings))
        hosts = engine.hosts("source", first.source_access.over(engine.options.source))
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(closing(await open_trusted(hosts, first.source_ref)))
            targets, results = await self._targets(group, stack)
            copy = ImageCopy(run, source, list(targets), heads_first=True)
            copied = await copy.go() if targets else {}
        return results | {job: copied[target] for target, job in targets.items()}

    async def _targets(
        self, group: list[Job], stack: AsyncExitStack
    ) -> tuple[dict[Destination, Job], dict[Job, Result]]:
        """Open every destination; those that cannot be opened have failed already."""
        targets: dict[Destination, Job] = {}
        failed: dict[Job, Result] = {}
        for job in group:
            hosts = self.engine.hosts("destination", job.destination_access.over(self.engine.options.destination))
            try:
                target = await open_destination(hosts, job.destination_ref)
            except FastcopyError as error:
                failed[job] = error.blame("destination")
                continue
            targets[await stack.enter_async_context(closing(target))] = job
        return targets, failed

    def _report(self, found: Discovery, seconds: float) -> SyncReport:
        meters = self.engine.run.meters
        return SyncReport(
            outcomes=tuple(self.outcomes[job] for job in found.jobs if job in self.outcomes),
            failures=tuple(found.failures),
            bytes_copied=meters.copied.bytes,
            bytes_reused=meters.present.bytes,
            bytes_mounted=meters.mounted.bytes,
            blobs_copied=meters.copied.blobs,
            blobs_reused=meters.present.blobs,
            blobs_mounted=meters.mounted.blobs,
            requests=self.engine.requests,
            seconds=seconds,
        )


def by_source(jobs: Iterable[Job]) -> list[list[Job]]:
    """Jobs that read the same image in the same way, together; in the order of their first."""
    groups: dict[object, list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.source, job.settings, job.source_access), []).append(job)
    return list(groups.values())


def copy_options(base: CopyOptions, settings: Settings) -> CopyOptions:
    """*base* with what the list says of this image put on top."""
    if settings.platforms:
        return replace(base, platforms=settings.platforms)
    if settings.all_platforms is not None:
        return replace(base, multi_arch="all" if settings.all_platforms else "system", platforms=())
    return base
