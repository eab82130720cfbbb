"""From rules to jobs: lists what has to be listed, all repositories at once, and hands jobs on as they become known.

What no registry has to be asked for is known at once, and refused as a whole when two sources would be written to one
destination. What is listed arrives repository by repository; a job whose destination an earlier one has already then
fails alone. A rule that cannot be expanded does not stop the others. Both become a Failure of the report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from fastcopy.engine import Engine, Hosts
from fastcopy.errors import Collision, FastcopyError
from fastcopy.jobs import Job, Rule, check, clash, expand, expand_catalog, without_lists
from fastcopy.migrate.report import Failure
from fastcopy.migrate.watch import Watcher
from fastcopy.names import DockerRef
from fastcopy.places import open_repository
from fastcopy.transfer.run import Step, blamed
from fastcopy.transfer.together import gather

#: Where jobs come in the order of all: the number of their rule, and of the repository that a registry's catalog gave.
Place = tuple[int, int]
Deliver = Callable[[list[Job]], None]


@dataclass(slots=True)
class Discovery:
    """What is known so far: jobs, and rules that gave none because of an error; `listing` rules are still open."""

    failures: list[Failure] = field(default_factory=list)
    empty: list[Rule] = field(default_factory=list)  #: rules and repositories that were read and select nothing
    listing: int = 0
    count: int = 0  #: of jobs
    asked: int = 0  #: repositories and catalogs that were listed
    _batches: dict[Place, list[Job]] = field(default_factory=dict)
    _taken: dict[str, Job] = field(default_factory=dict)  #: by destination

    @property
    def jobs(self) -> list[Job]:
        """In the order of their rules, whichever was listed first."""
        return [job for place in sorted(self._batches) for job in self._batches[place]]

    @property
    def sources(self) -> int:
        """Rules and repositories that gave at least one job."""
        return sum(map(bool, self._batches.values()))

    def add(self, place: Place, jobs: Sequence[Job]) -> list[Job]:
        """Those of *jobs* that are new; each whose destination another source has becomes a failure."""
        fresh: list[Job] = []
        for job in jobs:
            first = self._taken.setdefault(job.destination, job)
            if first is job:
                fresh.append(job)
            elif first != job:
                self.failures.append(Failure(job.where, job.source, Collision(clash(first, job))))
        self._batches[place] = fresh
        self.count += len(fresh)
        return fresh


class Crawl:
    """Expands *rules*, behind *jobs* that are known already: `known` first, then `listed`, or `whole`."""

    def __init__(
        self, engine: Engine, rules: Sequence[Rule], watch: Watcher | None = None, jobs: Sequence[Job] = ()
    ) -> None:
        self.found = Discovery(listing=len(rules))
        self._engine, self._watch, self._jobs = engine, watch or Watcher(), jobs
        self._rules = [((number, 0), rule) for number, rule in enumerate(rules)]

    def known(self) -> list[Job]:
        """What no registry has to be asked for; raises BadConfig when two sources have one destination."""
        return self._checked(self._unasked())

    async def listed(self, deliver: Deliver) -> None:
        """List the rest, and *deliver* the jobs of each rule as they become known, none included."""

        def settle(place: Place, jobs: list[Job]) -> None:
            before = len(self.found.failures)
            fresh = self.found.add(place, jobs)
            for failure in self.found.failures[before:]:
                self._watch.collided(failure)
            self.found.listing -= 1
            deliver(fresh)

        await gather(*(partial(self._list, place, rule, settle) for place, rule in self._asked()))

    async def whole(self) -> list[Job]:
        """Everything, when all is listed; raises BadConfig when two sources have one destination."""
        batches = self._unasked()
        await gather(*(partial(self._list, place, rule, batches.__setitem__) for place, rule in self._asked()))
        self._rules, self.found.listing = [], 0
        return self._checked(batches)

    def _unasked(self) -> dict[Place, list[Job]]:
        batches: dict[Place, list[Job]] = {(-1, 0): list(self._jobs)}
        for place, rule in self._rules:
            if not _asks(rule):
                self._watch.rule(rule)
                batches[place] = self._expanded(rule, ())
                self.found.listing -= 1
        return batches

    def _asked(self) -> list[tuple[Place, Rule]]:
        return [(place, rule) for place, rule in self._rules if _asks(rule)]

    def _checked(self, batches: dict[Place, list[Job]]) -> list[Job]:
        check(chain.from_iterable(batches[place] for place in sorted(batches)))
        return [job for place in sorted(batches) for job in self.found.add(place, batches[place])]

    async def _list(self, place: Place, rule: Rule, settle: Callable[[Place, list[Job]], None]) -> None:
        """Ask for what *rule* needs; settles each repository once, also one that failed."""
        self._watch.rule(rule)
        self.found.asked += _asks(rule)
        try:
            if rule.needs_catalog:
                narrowed = expand_catalog(rule, await _catalog(self._engine, rule))
                self.found.listing += len(narrowed)
                leaves = (((place[0], number), one) for number, one in enumerate(narrowed, 1))
                await gather(*(partial(self._list, where, one, settle) for where, one in leaves))
                settle(place, [])
                return
            tags: list[str] = []
            if rule.needs_tags:
                self._watch.listing(rule)
                tags = await _tags(self._engine, rule)
        except FastcopyError as error:
            self._failed(rule, error)
            settle(place, [])
            return
        settle(place, self._expanded(rule, without_lists(tags) if self._follows(rule) else tags))

    def _follows(self, rule: Rule) -> bool:
        """Whether *rule*'s referrers are copied: a list of them is then no image to be copied as it is."""
        own = rule.settings.referrers
        return self._engine.run.copy.referrers if own is None else own

    def _expanded(self, rule: Rule, tags: Sequence[str]) -> list[Job]:
        try:
            jobs = expand(rule, tags)
        except FastcopyError as error:
            self._failed(rule, error)
            return []
        if not jobs:
            self.found.empty.append(rule)
            self._watch.empty(rule)
        return jobs

    def _failed(self, rule: Rule, error: FastcopyError) -> None:
        failure = Failure(rule.where, rule.source, error.blame("source"))
        self.found.failures.append(failure)
        self._watch.unlisted(failure)


def _asks(rule: Rule) -> bool:
    return rule.needs_catalog or rule.needs_tags


def hosts_of(engine: Engine, rule: Rule) -> Hosts:
    """The source side as *rule* reaches it."""
    return engine.hosts("source", rule.access.over(engine.options.source))


async def _tags(engine: Engine, rule: Rule) -> list[str]:
    ref = rule.ref
    assert isinstance(ref, DockerRef)
    repository = await open_repository(hosts_of(engine, rule), ref)

    async def read() -> list[str]:
        return [tag async for page in repository.tags() for tag in page]

    return await engine.run.perform(Step(f"listing tags of {ref.name}", partial(_blame_source, read), repository.host))


async def _catalog(engine: Engine, rule: Rule) -> list[str]:
    from fastcopy.transports.docker import catalog

    registry = await hosts_of(engine, rule).registry(rule.registry)
    step = Step(
        f"listing repositories of {rule.registry}", partial(_blame_source, partial(catalog, registry)), rule.registry
    )
    return await engine.run.perform(step)


async def _blame_source(read: Callable[[], Awaitable[list[str]]]) -> list[str]:
    return await blamed("source", read())
