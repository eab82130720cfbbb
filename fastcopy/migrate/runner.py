"""Runs jobs: jobs with one source become one copy with several destinations; one failure never stops the others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import trio

from fastcopy.engine import Engine, Hosts
from fastcopy.errors import BadConfig, Drained, FastcopyError
from fastcopy.events import ImageFailed, SyncDone, SyncedImage, SyncPlanned
from fastcopy.jobs import Job, Rule, Settings
from fastcopy.migrate.discover import Crawl, Discovery
from fastcopy.migrate.prune import Consent, Pruned, owned, prune
from fastcopy.migrate.report import Failure, Outcome, Status, SyncReport, by_cause
from fastcopy.migrate.watch import Watcher
from fastcopy.names import DockerRef, Ref
from fastcopy.options import CopyOptions
from fastcopy.places import closing, open_destination, open_trusted
from fastcopy.schedule import IMAGES, Lane
from fastcopy.transfer.gate import Slot
from fastcopy.transfer.image import Copied, ImageCopy, Result
from fastcopy.transfer.run import Step
from fastcopy.transfer.wants import Crawling
from fastcopy.transports.base import Destination

if TYPE_CHECKING:
    from fastcopy.migrate.planfile import SavedPlan


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a run of many images behaves.

    `keep_going`: one failed image does not stop the others. `jobs` are copied as they are, beside what the rules
    select. `problems` are entries that the list's reader had to leave out; they count as failures. `check` sees the
    complete set of jobs before anything is copied and may raise; without it, as without `dry_run`, images are copied
    while other repositories are still being listed.
    """

    keep_going: bool = True
    dry_run: bool = False
    prune: Consent = ""  #: delete destination tags that left the source, where the rules consent
    command: str = "sync"  #: what `status` shows the run as; without secrets
    jobs: tuple[Job, ...] = ()
    problems: tuple[str, ...] = ()
    check: Callable[[Sequence[Job]], None] | None = field(default=None, compare=False)
    watch: Watcher = field(default_factory=Watcher, compare=False)
    plan: SavedPlan | None = None  #: where `jobs` and the options of the run come from, if they were planned


@dataclass
class Syncing:
    """One run over many jobs."""

    engine: Engine
    sync: SyncOptions
    found: Discovery = field(default_factory=Discovery)
    outcomes: dict[Job, Outcome] = field(default_factory=dict)
    pruned: Pruned = field(default_factory=Pruned)
    stopped: bool = False
    achieved: ClassVar[Status] = "copied"  #: what an image is that was not there

    async def go(self, rules: Sequence[Rule]) -> SyncReport:
        """Discover, copy, report; raises Collision for two sources of one destination, if it is known beforehand."""
        started = time.monotonic()
        try:
            crawl = Crawl(self.engine, rules, self.sync.watch, self.sync.jobs)
            self.found = crawl.found
            self.found.failures += [Failure("", "", BadConfig(each)) for each in self.sync.problems]
            known = await self._known(crawl)
            self._grew()
            await self._carry_out(known, crawl)
            await self._prune(rules)
        finally:
            report = self._report(time.monotonic() - started)
            self.sync.watch.finished(report)
        self.engine.run.emit(SyncDone(report.totals))
        return report

    async def _prune(self, rules: Sequence[Rule]) -> None:
        if not self.sync.prune or self.stopped or self.engine.run.drain.asked:
            return
        outcomes = None if self.sync.dry_run else self.outcomes
        places, left = owned(rules, self.found, outcomes, self.sync.prune)
        for name, why in left:
            self.sync.watch.spared(name, why)
        self.pruned = await prune(self.engine, places, self.sync.watch, dry_run=self.sync.dry_run)
        self.pruned.spared[:0] = left

    async def _carry_out(self, known: list[Job], crawl: Crawl) -> None:
        if not self.sync.dry_run:
            await self._copy_all(known, crawl)

    async def _known(self, crawl: Crawl) -> list[Job]:
        """What can be copied at once: all of it where somebody wants to see it first."""
        if self.sync.check is None and not self.sync.dry_run:
            return crawl.known()
        jobs = await crawl.whole()
        if self.sync.check is not None:
            self.sync.check(jobs)
        return jobs

    def _grew(self) -> None:
        found = self.found
        self.sync.watch.grew(found)
        if not found.listing:
            self.sync.watch.found(found)
        self.engine.run.emit(SyncPlanned(found.count, found.sources, found.listing))

    async def _copy_all(self, known: list[Job], crawl: Crawl) -> None:
        """Copy what is *known*, and what *crawl* finds meanwhile as it finds it."""
        send, receive = trio.open_memory_channel[list[Job]](math.inf)  # all jobs are held anyway
        async with trio.open_nursery() as nursery:
            send.send_nowait(known)
            nursery.start_soon(self._list, crawl, send)
            async for batch in receive:
                await self._copy_batch(batch, nursery)

    async def _list(self, crawl: Crawl, send: trio.MemorySendChannel[list[Job]]) -> None:
        def deliver(batch: list[Job]) -> None:
            self._grew()
            send.send_nowait(batch)

        with send:
            await crawl.listed(deliver)

    async def _copy_batch(self, batch: list[Job], nursery: trio.Nursery) -> None:
        """Begin the images in their order, as many at a time as the schedule allows."""
        for job in batch:
            self._note(Outcome(job, "planned"))
        groups = by_source(batch)
        begun = [self._begin(group) for group in groups[:IMAGES]]
        for number, group in enumerate(groups):
            slot = self.engine.run.gate.slot(Lane.IMAGE, ("images",), drain=self.engine.run.drain)
            try:
                await slot.__aenter__()
            except Drained:
                for late in begun[number:]:  # nobody has to wait for what they want
                    self.engine.run.wants.ended(late)
                return
            for job in group:
                self.sync.watch.began(job)
            crawling = begun[number] if number < len(begun) else self._begin(group)
            nursery.start_soon(self._in_turn, group, slot, crawling, nursery)

    def _begin(self, group: list[Job]) -> Crawling:
        """From now on blobs that may be wanted here too wait for these images to say so."""
        references = (job.destination_ref for job in group)
        return self.engine.run.wants.begin(ref.registry if isinstance(ref, DockerRef) else "" for ref in references)

    async def _in_turn(self, group: list[Job], slot: Slot, crawling: Crawling, nursery: trio.Nursery) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_exit(slot)
            stack.callback(self.engine.run.wants.ended, crawling)
            await self._group(group, crawling)
        if self.stopped:
            nursery.cancel_scope.cancel()

    async def _group(self, group: list[Job], crawling: Crawling) -> None:
        """Copy one source to its destinations and record every outcome."""
        try:
            results = await self._copy(group, crawling)
        except FastcopyError as error:
            results = dict.fromkeys(group, error)
        for job, result in results.items():
            self._record(job, result)

    def _record(self, job: Job, result: Result) -> None:
        if isinstance(result, Drained):  # left for another run
            return
        if isinstance(result, FastcopyError):
            result.let_go()  # the report keeps it to the end
            outcome = Outcome(job, "failed", error=result)
            self.engine.run.emit(ImageFailed("", f"{job.source}: {result}", result.slug, result.side))
            self.stopped = self.stopped or not self.sync.keep_going
        else:
            status = "present" if result.present else self.achieved
            source = result.source_digest or result.digest
            outcome = Outcome(job, status, result.digest, source, companions=result.companions)
        self.outcomes[job] = outcome
        self._note(outcome)
        self.sync.watch.ended(outcome)
        self.engine.run.emit(SyncedImage(job.source, job.destination, outcome.status, outcome.digest))

    def _note(self, outcome: Outcome) -> None:
        job, error = outcome.job, outcome.error
        told = {"digest": outcome.digest, "source_digest": outcome.source_digest, "error": str(error) if error else ""}
        self.engine.run.notes.image(job.key, job.source, job.destination, outcome.status, **told)

    async def _copy(self, group: list[Job], crawling: Crawling) -> dict[Job, Result]:
        first, engine = group[0], self.engine
        run = replace(engine.run, copy=copy_options(engine.run.copy, first.settings))
        hosts = engine.hosts("source", first.source_access.over(engine.options.source))
        async with AsyncExitStack() as stack:
            targets, results = await self._targets(group, stack)
            if not targets:
                return results
            source = await stack.enter_async_context(closing(await open_trusted(hosts, first.source_ref)))
            copied = await self._copy_image(
                ImageCopy(run, source, list(targets), heads_first=True, begun=crawling), targets
            )
        return results | {job: copied[target] for target, job in targets.items()}

    async def _copy_image(self, image: ImageCopy, jobs: Mapping[Destination, Job]) -> dict[Destination, Result]:
        return await image.go()

    async def _open(self, hosts: Hosts, ref: Ref) -> Destination:
        return await open_destination(hosts, ref)

    async def _targets(
        self, group: list[Job], stack: AsyncExitStack
    ) -> tuple[dict[Destination, Job], dict[Job, Result]]:
        """Open every destination; those that cannot be opened have failed, immutable names that exist are done."""
        targets: dict[Destination, Job] = {}
        settled: dict[Job, Result] = {}
        for job in group:
            hosts = self.engine.hosts("destination", job.destination_access.over(self.engine.options.destination))
            try:
                target = await stack.enter_async_context(closing(await self._open(hosts, job.destination_ref)))
                there = await self._immutable(job, target)
            except FastcopyError as error:
                settled[job] = error.blame("destination")
                continue
            if there:
                settled[job] = there
            else:
                targets[target] = job
        return targets, settled

    async def _immutable(self, job: Job, target: Destination) -> Copied | None:
        """What an immutable name points to already; the source is not asked for it."""
        if not job.immutable:
            return None
        step = Step(f"looking for {job.destination}", target.current, destinations=(target.host,))
        digest = await self.engine.run.perform(step)
        return Copied(digest, "", present=True) if digest else None

    def _report(self, seconds: float) -> SyncReport:
        meters = self.engine.run.meters
        untouched: Status = "planned" if self.sync.dry_run else "skipped"
        return SyncReport(
            outcomes=tuple(self.outcomes.get(job) or Outcome(job, untouched) for job in self.found.jobs),
            failures=tuple(self.found.failures),
            pruned=tuple(self.pruned.deleted),
            spared=tuple(self.pruned.spared),
            unpruned=tuple(self.pruned.failures),
            bytes_read=meters.bytes_in,
            bytes_written=meters.bytes_out,
            bytes_copied=meters.copied.bytes,
            bytes_reused=meters.present.bytes,
            bytes_mounted=meters.mounted.bytes,
            blobs_copied=meters.copied.blobs,
            blobs_reused=meters.present.blobs,
            blobs_mounted=meters.mounted.blobs,
            requests=self.engine.requests,
            requests_refused=self.engine.run.gate.schedule.refusals,
            extra=by_cause(meters.extras),
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
    base = _with_companions(base, settings)
    if settings.platform is not None:
        one = settings.platform
        base = replace(base, override_os=one.os, override_arch=one.architecture, override_variant=one.variant)
        return replace(base, multi_arch="system", platforms=())
    if settings.platforms:
        return replace(base, multi_arch="all", platforms=settings.platforms)
    if settings.all_platforms is not None:
        return replace(base, multi_arch="all" if settings.all_platforms else "system", platforms=())
    return base


def _with_companions(base: CopyOptions, settings: Settings) -> CopyOptions:
    """What is copied beside the image: None leaves the command line's choice, the list's types win if it has any."""
    return replace(
        base,
        referrers=base.referrers if settings.referrers is None else settings.referrers,
        referrer_types=settings.referrer_types or base.referrer_types,
        digest_tags=base.digest_tags if settings.digest_tags is None else settings.digest_tags,
    )
