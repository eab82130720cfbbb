"""Asks what a plan depends on: goes the way of the copy, up to the first byte.

Owns the questions. Manifests are selected by the very code that copies them (`transfer.image`), with recording in the
place of writing; blobs are looked for only where a name has to change. Decides nothing: `plan` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from fastcopy.descriptor import Digest
from fastcopy.engine import Hosts
from fastcopy.errors import Drained, FastcopyError
from fastcopy.events import Event, ManifestKind, Message, Retrying, Waiting
from fastcopy.jobs import Job
from fastcopy.manifest import Manifest
from fastcopy.migrate.costs import Pulls, pulls_of
from fastcopy.migrate.discover import Crawl
from fastcopy.migrate.plan import Action, Image, Part, Plan, Planner, Question, Spot
from fastcopy.migrate.report import Outcome, Status, SyncReport
from fastcopy.migrate.runner import Syncing, copy_options
from fastcopy.names import DockerRef, Ref
from fastcopy.options import CopyOptions
from fastcopy.places import open_unwritten
from fastcopy.transfer import reshape
from fastcopy.transfer.image import ImageCopy, Result
from fastcopy.transfer.run import Step
from fastcopy.transfer.together import gather
from fastcopy.transports._registry import PullBudget
from fastcopy.transports.base import Destination

#: Tasks that put questions to the gate, which limits the requests; more tasks would only hold memory.
ASKERS = 64
_NOWHERE = Spot("", "")


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, how it was come by, and what it does not know (`remarks`)."""

    plan: Plan
    report: SyncReport
    jobs: tuple[Job, ...]
    copy: CopyOptions
    pulls: tuple[Pulls, ...] = ()
    remarks: tuple[str, ...] = ()
    heads: bool = True
    listed: int = 0

    @property
    def numbered(self) -> Iterator[tuple[Job, Image]]:
        """Jobs and what is planned for them."""
        return zip(self.jobs, self.plan.images, strict=True)


@dataclass(slots=True)
class Sketch:
    """What was learnt of one job."""

    origin: Spot
    spot: Spot
    group: int
    digest: str = ""
    read: tuple[Digest, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass
class SketchedCopy(ImageCopy):
    """A copy that records what it would write."""

    parts: dict[Destination, list[Part]] = field(default_factory=dict)
    reshaped: bool = False
    inner: list[SketchedCopy] = field(default_factory=list)  #: of destinations that take other forms

    def _apart(self, targets: list[Destination]) -> ImageCopy:
        self.inner.append(SketchedCopy(self.run, self.source, targets, self.heads_first))
        return self.inner[-1]

    async def _bring(self, image: Manifest, plan: reshape.Plan | None) -> Manifest:
        self.reshaped |= plan is not None
        return image

    async def _put(self, manifest: Manifest, kind: ManifestKind, *, top_level: bool) -> None:
        for target in self.aboard:
            mine = self.parts.setdefault(target, [])
            children = {child.digest for child in manifest.children} & {part.digest for part in mine}
            blobs = () if manifest.is_index else manifest.blobs()
            mine.append(Part(manifest.digest, manifest.size, blobs, tuple(sorted(children))))

    def all(self) -> Iterator[SketchedCopy]:
        """This copy and those for other forms."""
        yield self
        for each in self.inner:
            yield from each.all()

    @property
    def read(self) -> tuple[Digest, ...]:
        """The source's manifests that were read, each once."""
        top = (self.top.digest,) if self.top else ()
        return tuple(dict.fromkeys((*top, *self.handled)))


@dataclass
class Planning(Syncing):
    """A run that copies nothing."""

    achieved: ClassVar[Status] = "planned"
    planner: Planner = field(default_factory=Planner)
    sketches: dict[Job, Sketch] = field(default_factory=dict)
    places: dict[tuple[str, str], Destination] = field(default_factory=dict)
    groups: int = 0
    reshaped: int = 0

    def planned(self, report: SyncReport) -> Planned:
        """What came of `go`, which returned *report*."""
        plan, copy = self.planner.plan(), self.engine.run.copy
        budgets = self.engine.source_pulls()
        pulls = [_pulls(plan, name, budgets[name]) for name in sorted(budgets)]
        jobs = tuple(self.found.jobs)
        heads = not reshape.alters(copy)
        return Planned(plan, report, jobs, copy, tuple(pulls), tuple(self._remarks(plan)), heads, self.found.asked)

    async def _carry_out(self, known: list[Job], crawl: Crawl) -> None:
        await self._copy_all(known, crawl)
        if self.engine.run.drain.asked:
            raise Drained("asked to end before the plan was complete", side="us")
        for number, job in enumerate(self.found.jobs):
            self.planner.image(self._image(number, job))
        questions = iter(self.planner.questions())
        await gather(*(partial(self._ask, questions) for _ in range(ASKERS)))

    async def _open(self, hosts: Hosts, ref: Ref) -> Destination:
        return await open_unwritten(hosts, ref)

    async def _copy_image(self, image: ImageCopy, jobs: Mapping[Destination, Job]) -> dict[Destination, Result]:
        run = replace(image.run, copy=replace(image.run.copy, referrers=False, digest_tags=False))
        run.emit = partial(_waits_only, image.run.emit)
        copy = SketchedCopy(run, image.source, list(image.targets), heads_first=True, begun=image.begun)
        results = await copy.go()
        self.groups += 1
        self.reshaped += any(each.reshaped for each in copy.all())
        for each in copy.all():
            for target in each.targets:
                if each.parts.get(target) or each is copy:
                    self.sketches[jobs[target]] = self._sketch(each, target, results[target])
        for target in jobs:
            self.places.setdefault((target.host, target.place), target)
        return results

    def _sketch(self, copy: SketchedCopy, target: Destination, result: Result) -> Sketch:
        source = copy.source
        digest = "" if isinstance(result, FastcopyError) else result.source_digest or result.digest
        origin, spot = Spot(source.host, source.place), Spot(target.host, target.place, target.accepts.mounts)
        top = copy.top.digest if copy.top else digest
        return Sketch(origin, spot, self.groups, top, copy.read, tuple(copy.parts.get(target, ())))

    def _image(self, number: int, job: Job) -> Image:
        outcome = self.outcomes.get(job) or Outcome(job, "failed")
        sketch = self.sketches.get(job) or Sketch(_NOWHERE, _spot_of(job), 0)
        actions: dict[Status, Action] = {"planned": "copy", "present": "present"}
        error = outcome.error
        return Image(
            number, job.source, job.destination, sketch.origin, sketch.spot, actions.get(outcome.status, "failed"),
            sketch.digest, sketch.read, sketch.parts, sketch.group, error.message if error else "",
            error.slug if error else "",
        )  # fmt: skip

    async def _ask(self, questions: Iterator[Question]) -> None:
        for question in questions:
            self.planner.presence(question, await self._there(question))

    async def _there(self, question: Question) -> bool:
        """Whether the blob is there; a place that refuses to say so is told of, and counts as empty."""
        target = self.places[question.host, question.place]
        what = self.planner.wanted(question)
        step = Step(f"looking for blob {what.digest}", partial(target.has_blob, what), destinations=(target.host,))
        try:
            return await self.engine.run.perform(step)
        except Drained:
            raise
        except FastcopyError as error:
            text = f"{question.host}/{question.place} does not say whether it has {what.digest}: {error.message}"
            self.engine.run.emit(Message(text, "warning"))
            return False

    def _remarks(self, plan: Plan) -> Iterator[str]:
        unknown = {each.what.digest for _, each in plan.blobs if each.what.size < 0}
        if unknown:
            yield f"{len(unknown)} blobs whose size no manifest states count as empty"
        if self.reshaped:
            yield f"{self.reshaped} images change their form on the way: their bytes are those of the source"
        if any(copy_options(self.engine.run.copy, job.settings).companions for job in self.found.jobs):
            yield "referrers and digest tags are not counted"
        if any(image.action == "copy" and not image.spot.host for image in plan.images):
            yield "local destinations are not looked at: what they have already counts as to be written"


def _waits_only(emit: Callable[[Event], None], event: Event) -> None:
    """Nothing is copied, so nothing is told of copies."""
    if isinstance(event, Waiting | Retrying | Message):
        emit(event)


def _pulls(plan: Plan, name: str, said: PullBudget | None) -> Pulls:
    needed = pulls_of(plan, name)
    return Pulls(name, needed, said.left, said.limit, said.window) if said else Pulls(name, needed)


def _spot_of(job: Job) -> Spot:
    ref = job.destination_ref
    return Spot(ref.registry, ref.repository) if isinstance(ref, DockerRef) else Spot("", job.destination)
