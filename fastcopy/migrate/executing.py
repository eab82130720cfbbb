"""Carries out a saved plan: every source by the digest that was planned, every destination asked again.

Owns what is said when the world has moved on: a tag that names another image by now is told of, an image that is gone
fails. All the rest is a run like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from fastcopy.errors import FastcopyError, NotThere
from fastcopy.events import Message
from fastcopy.jobs import Job, Rule
from fastcopy.migrate.planfile import SavedPlan
from fastcopy.migrate.report import SyncReport
from fastcopy.migrate.runner import Syncing
from fastcopy.names import DockerRef, parse
from fastcopy.options import CopyOptions
from fastcopy.places import closing, open_source
from fastcopy.transfer.image import Result
from fastcopy.transfer.run import Step, blamed
from fastcopy.transfer.wants import Crawling
from fastcopy.transports.base import Source


@dataclass
class Executing(Syncing):
    """A run over the jobs of a saved plan."""

    saved: SavedPlan = field(default_factory=lambda: SavedPlan((), CopyOptions()))

    async def go(self, rules: Sequence[Rule]) -> SyncReport:
        """Carry the plan out; what it found at the destinations is asked for where it was found, and mounted."""
        for job, digest in self.saved.found:
            ref = job.destination_ref
            if isinstance(ref, DockerRef):
                self.engine.run.expected.note(ref.registry, ref.repository, digest)
        return await super().go(rules)

    async def _copy(self, group: list[Job], crawling: Crawling) -> dict[Job, Result]:
        await self._compare(group[0])
        results = await super()._copy(group, crawling)
        for error in {id(each): each for each in results.values()}.values():
            if isinstance(error, NotThere) and error.side == "source" and group[0].key in self.saved.digests:
                error.message = f"what was planned is gone: {error.message}"
        return results

    async def _compare(self, job: Job) -> None:
        """Say that a tag has moved; raises NotThere for a local source that holds something else by now."""
        planned, name = self.saved.digests.get(job.key), self.saved.names.get(job.key, "")
        if planned is None or (name == job.source and isinstance(job.source_ref, DockerRef)):
            return
        hosts = self.engine.hosts("source", job.source_access.over(self.engine.options.source))
        async with closing(await blamed("source", open_source(hosts, parse(name)))) as source:
            if isinstance(job.source_ref, DockerRef):
                await self._tell_moved(source, name, planned)
            elif (found := (await blamed("source", source.manifest())).digest) != planned:
                raise NotThere(f"{name} has changed since it was planned: it is {found} now", side="source")

    async def _tell_moved(self, source: Source, name: str, planned: str) -> None:
        step = Step(f"looking at {name}", partial(blamed, "source", source.head()), source.host, once=True)
        try:
            found, _ = await self.engine.run.perform(step)
        except FastcopyError:
            return  # a hint that could not be had; the copy by digest is what counts
        if found != planned:
            now = f"it names {found} now" if found else "it is gone"
            text = f"{name} has moved since it was planned: {now}; {planned} is copied, as planned"
            self.engine.run.emit(Message(text, "warning"))
