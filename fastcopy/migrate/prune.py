"""Deleting destination tags that left the source: which ones, when not to, and how without harm to what stays.

Law 1: a repository is touched only if every rule that writes to it consents and the caller asks, if all of its source
was listed, and if every image of it is there.
Law 2: nothing that stays may lose its manifest. A registry that deletes by digest only is asked first what its other
tags point to, the instances inside of indexes and the subjects of referrers included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from fastcopy import media
from fastcopy.descriptor import Digest
from fastcopy.engine import Engine
from fastcopy.errors import FastcopyError, NotThere
from fastcopy.jobs import Access, Job, Rule, left_over, to_prune
from fastcopy.manifest import Manifest
from fastcopy.migrate.discover import Discovery
from fastcopy.migrate.report import Failure, Outcome
from fastcopy.migrate.watch import Watcher
from fastcopy.names import DockerRef, parse, parse_docker
from fastcopy.places import open_repository
from fastcopy.tags.pattern import Pattern
from fastcopy.tags.selection import Name
from fastcopy.transfer.reading import MAX_DEPTH
from fastcopy.transfer.run import Step, blamed
from fastcopy.transfer.together import gather

if TYPE_CHECKING:
    from fastcopy.transports.docker import RegistrySource

T = TypeVar("T")

#: `listed`: where the source has at least one image that is wanted; `even-empty`: also where nothing is left of it.
Consent = Literal["", "listed", "even-empty"]


@dataclass(slots=True)
class Owned:
    """A destination repository of this run: tags that stay, patterns of those that never go, digests that are used."""

    name: str
    access: Access
    kept: frozenset[str] = frozenset()
    immutable: tuple[Pattern, ...] = ()
    digests: frozenset[str] = frozenset()


@dataclass(slots=True)
class Pruned:
    """What was deleted (in a dry run: would be), what could not be, and what was left alone with the reason."""

    deleted: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    spared: list[tuple[str, str]] = field(default_factory=list)


def owned(
    rules: Sequence[Rule], found: Discovery, outcomes: Mapping[Job, Outcome] | None, consent: Consent
) -> tuple[list[Owned], list[tuple[str, str]]]:
    """The repositories that may be pruned, and those that are left alone although their rules consent, with reasons.

    No *outcomes*: nothing has been tried, and everything is taken to go well.
    """
    mine = _of_jobs(found.jobs, outcomes or {})
    spared: dict[str, str] = {}
    reasons = _empty(found, mine, consent) | _unfinished(found.jobs, outcomes) | _unlisted(rules, found.failures)
    everywhere = reasons.pop("", "")
    for name in list(mine):
        if why := everywhere or reasons.get(name, ""):
            spared[f"docker://{name}"] = why
            del mine[name]
    return list(mine.values()), sorted(spared.items())


def _of_jobs(jobs: Sequence[Job], outcomes: Mapping[Job, Outcome]) -> dict[str, Owned]:
    """Those whose jobs all consent."""
    found = {name: Owned(name, Access(), kept) for name, kept in to_prune(jobs).items()}
    for job in jobs:
        ref = job.destination_ref
        mine = found.get(ref.name) if isinstance(ref, DockerRef) else None
        if mine is not None:
            mine.access = job.destination_access
            mine.immutable = tuple(dict.fromkeys((*mine.immutable, *job.settings.immutable)))
            outcome = outcomes.get(job)
            mine.digests |= {outcome.digest} if outcome and outcome.digest else frozenset()
    return found


def _unfinished(jobs: Sequence[Job], outcomes: Mapping[Job, Outcome] | None) -> dict[str, str]:
    """Repositories where an image is missing."""
    found: dict[str, str] = {}
    for job in jobs if outcomes is not None else ():
        ref = job.destination_ref
        outcome = (outcomes or {}).get(job)
        if isinstance(ref, DockerRef) and (outcome is None or outcome.status not in ("copied", "present")):
            found[ref.name] = f"{job.source} is not there"
    return found


def _unlisted(rules: Sequence[Rule], failures: Sequence[Failure]) -> dict[str, str]:
    """Repositories of rules that could not be listed; "" stands for all: it is not known what they would have made."""
    found: dict[str, str] = {}
    for failure in failures:
        broken = [rule for rule in rules if rule.where == failure.where and failure.source.startswith(rule.source)]
        places = [_places(_narrowed(rule, failure)) for rule in broken] or [None]
        for repositories in places:
            for name in [""] if repositories is None else repositories:
                found[name] = f"{failure.where or 'the list'} could not be read: {failure.error}"
    return found


def _narrowed(rule: Rule, failure: Failure) -> Rule:
    """A rule for a whole registry, as the one for the repository that failed."""
    name = failure.source.removeprefix("docker://")
    if not rule.needs_catalog or name == rule.registry:
        return rule
    return replace(rule, source=f"docker://{parse_docker(name).name}", repositories=None)


def _empty(found: Discovery, mine: dict[str, Owned], consent: Consent) -> dict[str, str]:
    """Repositories of rules that select nothing (any more): left alone, unless the caller wants them emptied."""
    written = {ref.name for job in found.jobs if isinstance(ref := job.destination_ref, DockerRef)}
    reasons: dict[str, str] = {}
    for rule in found.empty:
        why = f"nothing of {rule.source} is selected"
        places = _places(rule)
        if places is None:
            reasons[""] = why
            continue
        for name, access in places.items():
            if not rule.settings.prune or consent != "even-empty":
                reasons[name] = why
            if rule.settings.prune and name not in written:
                mine.setdefault(name, Owned(name, access))
            if name in mine:
                mine[name].immutable += rule.settings.immutable
    return reasons


def _places(rule: Rule) -> dict[str, Access] | None:
    """The destination repositories of one source repository; None where they depend on what was not listed."""
    ref = rule.ref
    if not isinstance(ref, DockerRef):
        return None
    found: dict[str, Access] = {}
    for target in rule.targets:
        try:
            names = {parse(target.name(ref, Name(tag), rule.base)) for tag in ("a", "b")}
        except FastcopyError:
            return None
        repositories = {each.name for each in names if isinstance(each, DockerRef)}
        if len(repositories) > 1:
            return None
        found |= dict.fromkeys(repositories, target.access)
    return found


async def prune(engine: Engine, places: Iterable[Owned], told: Watcher, *, dry_run: bool) -> Pruned:
    """Delete what is left over in *places*; failures are in the result, not raised."""
    result = Pruned()
    await gather(*(partial(_in_repository, engine, each, result, told, dry_run) for each in places))
    result.deleted.sort()
    return result


async def _in_repository(engine: Engine, place: Owned, result: Pruned, told: Watcher, dry_run: bool) -> None:
    try:
        repository = await _opened(engine, place)
        shears = Shears(engine, repository, place, result, told)
        going = await shears.left_over()
        if dry_run:
            for tag in going:
                shears.gone(tag)
        else:
            await shears.cut(going)
    except FastcopyError as error:
        failure = Failure("prune", f"docker://{place.name}", error.blame("destination"))
        result.failures.append(failure)
        told.unpruned(failure)


async def _opened(engine: Engine, place: Owned) -> RegistrySource:
    ref = parse(f"docker://{place.name}")
    assert isinstance(ref, DockerRef)
    hosts = engine.hosts("destination", place.access.over(engine.options.destination))
    return await open_repository(hosts, ref)


@dataclass
class Shears:
    """Deletes in one repository."""

    engine: Engine
    repository: RegistrySource
    place: Owned
    result: Pruned
    told: Watcher
    tags: list[str] = field(default_factory=list)

    def gone(self, tag: str) -> None:
        """*tag* is deleted, or would be."""
        name = f"docker://{self.place.name}:{tag}"
        self.result.deleted.append(name)
        self.told.pruned(name)

    def spare(self, tag: str, why: str) -> None:
        """*tag* should go, and stays."""
        name = f"docker://{self.place.name}:{tag}"
        self.result.spared.append((name, why))
        self.told.spared(name, why)

    async def left_over(self) -> list[str]:
        """The tags that nothing of the run wants; none in a repository that does not exist."""
        try:
            self.tags = await self._perform(f"listing tags of {self.place.name}", self.repository.names)
        except NotThere:
            return []
        return left_over(self.tags, self.place.kept, self.place.immutable)

    async def cut(self, going: Sequence[str]) -> None:
        """Delete *going*: the tag alone where the registry does that, else the manifest if nothing else needs it."""
        refused: list[str] = []

        async def one(tag: str) -> None:
            if await self._delete(tag):
                self.gone(tag)
            else:
                refused.append(tag)

        for tag in going[:1]:
            await one(tag)
        if refused:
            refused = list(going)  # the answer to the first is that to all
        else:
            await gather(*(partial(one, tag) for tag in going[1:]))
        if refused:
            await self._by_digest(refused)

    async def _delete(self, reference: str) -> bool:
        from fastcopy.transports.docker import delete_reference

        work = partial(delete_reference, self.repository, reference)
        return await self._perform(f"deleting {reference} of {self.place.name}", work)

    async def _by_digest(self, going: Sequence[str]) -> None:
        staying = [tag for tag in self.tags if tag not in going]
        read = await gather(*(partial(self._manifest, tag) for tag in going))
        named = {tag: manifest for tag, manifest in zip(going, read, strict=True) if manifest}
        needed = await self._needed(staying)
        for tag in going:
            if tag not in named:
                self.gone(tag)  # somebody else was faster
        for digest in dict.fromkeys(manifest.digest for manifest in named.values()):
            tags = [tag for tag, manifest in named.items() if manifest.digest == digest]
            why = _why_needed(named[tags[0]], needed)
            if not why and not await self._delete(digest):
                why = "the registry deletes neither tags nor manifests"
            for tag in tags:
                if why:
                    self.spare(tag, why)
                else:
                    self.gone(tag)

    async def _needed(self, staying: Collection[str]) -> dict[str, str]:
        """The digests that must stay, and who needs them."""
        found = dict.fromkeys(self.place.digests, "an image of this run")
        read = await gather(*(partial(self._manifest, tag) for tag in staying))
        for tag, manifest in zip(staying, read, strict=True):
            if manifest is not None:
                await self._collect(manifest, f"the tag {tag}", found)
        return found

    async def _collect(self, manifest: Manifest, who: str, found: dict[str, str], depth: int = 0) -> None:
        found.setdefault(manifest.digest, who)
        for child in manifest.children:
            known = child.digest in found
            found.setdefault(child.digest, who)
            if child.media_type not in media.IMAGES and not known and depth < MAX_DEPTH:
                inner = await self._by(child.digest)
                if inner is not None:
                    await self._collect(inner, who, found, depth + 1)

    async def _manifest(self, tag: str) -> Manifest | None:
        source = self.repository.companion(tag)
        return await self._read(source, None)

    async def _by(self, digest: Digest) -> Manifest | None:
        return await self._read(self.repository, digest)

    async def _read(self, source: RegistrySource, digest: Digest | None) -> Manifest | None:
        """A manifest of the destination; None: it is gone."""
        try:
            raw = await self._perform(f"reading manifest of {source.name}", partial(source.manifest, digest))
        except NotThere:
            return None
        return Manifest.parse(raw.raw, raw.media_type, digest)

    async def _perform(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        step = Step(what, lambda: blamed("destination", work()), destinations=(self.repository.host,))
        return await self.engine.run.perform(step)


def _why_needed(manifest: Manifest, needed: Mapping[str, str]) -> str:
    """Who would lose something if *manifest* went; "" nobody."""
    if manifest.digest in needed:
        return f"the registry deletes by digest only, and {needed[manifest.digest]} has the same manifest"
    if manifest.subject and manifest.subject.digest in needed:
        return f"it refers to what {needed[manifest.subject.digest]} has"
    return ""
