"""Copies that are broken off and begun again, with notes that outlive the run, and what the registry saw of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

import fastcopy.api as api
from fastcopy.engine import Engine, running
from fastcopy.errors import FastcopyError
from fastcopy.events import CopyReport, Event
from fastcopy.names import parse
from fastcopy.options import Options, RunOptions
from fastcopy.places import closing, open_destination, open_source
from fastcopy.transfer.image import ImageCopy
from fastcopy.transfer.notes import Notes
from tests.copy.world import Made, Outcome, options
from tests.registries import Registry

#: One attempt and no more: what was interrupted stays interrupted until somebody begins again.
ONCE = RunOptions(retries=0, stall=20.0)


class Lasting(Notes):
    """Notes that another process could read."""

    @property
    def lasting(self) -> bool:
        return True


def again(
    made: Made,
    destination: Registry,
    repo: str,
    notes: Notes,
    *,
    run_options: RunOptions = ONCE,
    seconds: float = float("inf"),
    chosen: Options | None = None,
) -> Outcome:
    """Copy as a new process would that found *notes*; after *seconds* somebody presses Ctrl-C."""
    events: list[Event] = []
    chosen = chosen or options(made.registry, destination, run_options=run_options)

    async def work(engine: Engine) -> CopyReport:
        engine.run.notes = notes
        return await api._copy(made.ref, destination.ref(repo, "1"), events.append, engine)

    async def main() -> CopyReport | None:
        with trio.move_on_after(seconds):
            return await running(chosen, work, emit=events.append)
        return None

    try:
        return Outcome(trio.run(main), None, events)
    except FastcopyError as error:
        return Outcome(None, error, events)


def both(made: Made, destinations: Sequence[Registry], repo: str, notes: Notes) -> None:
    """Copy to several destinations with one download; raises what failed at any of them."""

    async def work(engine: Engine) -> None:
        engine.run.notes = notes
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(closing(await open_source(engine.source, parse(made.ref))))
            targets = [
                await stack.enter_async_context(
                    closing(await open_destination(engine.destination, parse(each.ref(repo, "1"))))
                )
                for each in destinations
            ]
            results = await ImageCopy(engine.run, source, targets).go()
        for result in results.values():
            if isinstance(result, FastcopyError):
                raise result

    async def main() -> None:
        chosen = options(made.registry, destinations[0], run_options=ONCE)
        await running(chosen, work, emit=lambda event: None)

    trio.run(main)


def body_bytes(registry: Registry, repo: str, method: str = "PATCH|PUT") -> int:
    """Bytes of upload bodies that the embedded *registry* took into *repo*, broken requests included."""
    registry.settle()
    return sum(
        each.bytes_in
        for each in list(registry.server.log)
        if re.fullmatch(method, each.method) and f"/{repo}/blobs/uploads/" in each.target
    )


def open_uploads(registry: Registry) -> int:
    """Uploads that the embedded *registry* keeps open."""
    return len(registry.server.registry.pushing.uploads)
