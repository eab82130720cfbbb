"""From rules to jobs: lists what has to be listed, all repositories at once, and refuses colliding destinations.

A rule that cannot be expanded does not stop the others; it becomes a Failure of the report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from fastcopy.engine import Engine, Hosts
from fastcopy.errors import FastcopyError
from fastcopy.jobs import Job, Rule, check, expand, expand_catalog
from fastcopy.migrate.report import Failure
from fastcopy.migrate.watch import Watcher
from fastcopy.names import DockerRef
from fastcopy.places import open_repository
from fastcopy.transfer.run import Step, blamed
from fastcopy.transfer.together import gather


@dataclass(slots=True)
class Discovery:
    """Jobs in the order of their rules, and the rules that gave none because of an error."""

    jobs: list[Job] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    sources: int = 0


async def discover(
    engine: Engine, rules: Sequence[Rule], watch: Watcher | None = None, jobs: Sequence[Job] = ()
) -> Discovery:
    """Expand every rule, behind *jobs* that are known already; raises BadConfig when two sources have one name."""
    found = Discovery()
    told = watch or Watcher()
    batches = await gather(*(partial(_expand, engine, rule, found, told) for rule in rules))
    found.jobs = check(job for batch in (jobs, *batches) for job in batch)
    found.sources = sum(bool(batch) for batch in (jobs, *batches))
    return found


async def _expand(engine: Engine, rule: Rule, found: Discovery, watch: Watcher) -> list[Job]:
    try:
        return await _jobs(engine, rule, watch)
    except FastcopyError as error:
        failure = Failure(rule.where, rule.source, error.blame("source"))
        found.failures.append(failure)
        watch.unlisted(failure)
        return []


async def _jobs(engine: Engine, rule: Rule, watch: Watcher) -> list[Job]:
    watch.rule(rule)
    if rule.needs_catalog:
        narrowed = expand_catalog(rule, await _catalog(engine, rule))
        batches = await gather(*(partial(_jobs, engine, one, watch) for one in narrowed))
        return [job for batch in batches for job in batch]
    tags: list[str] = []
    if rule.needs_tags:
        watch.listing(rule)
        tags = await _tags(engine, rule)
    jobs = expand(rule, tags)
    if not jobs:
        watch.empty(rule)
    return jobs


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
