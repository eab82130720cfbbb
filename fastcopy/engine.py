"""The engine: opens the run's nursery, holds the registries of both sides, and keeps groups away from users.

Law: no domain error crosses a nursery. `running` gives its work an Engine and hands back the result, or raises the
one FastcopyError, never an exception group.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio

from fastcopy.errors import FastcopyError
from fastcopy.events import Event, Message
from fastcopy.options import CopyOptions, HostOptions, Options
from fastcopy.schedule import Lane, Limits, Schedule
from fastcopy.transfer.drain import Drain
from fastcopy.transfer.gate import Gate
from fastcopy.transfer.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from fastcopy._native import Rate
    from fastcopy.http.hosts import HostAccess, HostTable
    from fastcopy.http.policy import Policy
    from fastcopy.http.registries import Endpoint
    from fastcopy.transports._registry import PullBudget
    from fastcopy.transports._upload import Registry

T = TypeVar("T")

#: Bytes that one body in flight takes of the memory budget (docs/memory.md).
PER_BODY = 1 << 20


def limits_of(options: Options) -> Limits:
    """The windows that the memory budget and --image-parallel-copies allow."""
    limits = Limits()
    limits.total = max(1, min(limits.total, options.run.memory // PER_BODY))
    if options.run.parallel:
        limits.total = min(options.run.parallel, max(1, options.run.memory // PER_BODY))
        limits.start = {**limits.start, Lane.BULK: options.run.parallel}
        limits.ceiling = {**limits.ceiling, Lane.BULK: options.run.parallel}
    return limits


class Hosts:
    """One side of a run: how its registries are reached, and a client for each one met so far."""

    def __init__(
        self, options: HostOptions, run: Options, stack: AsyncExitStack, trace: Trace, shared: Run, *, side: str
    ) -> None:
        self.options, self.side = options, side
        self._run, self._stack, self._trace, self._shared = run, stack, trace, shared
        self._table: HostTable | None = None
        self._registries: dict[HostAccess, Registry] = {}

    @property
    def table(self) -> HostTable:
        """registries.conf, certificates and credentials, read when first needed."""
        if self._table is None:
            from fastcopy.http.hosts import HostTable

            self._table = HostTable(self.options)
        return self._table

    async def registry(self, name: str, repository: str = "") -> Registry:
        """The registry *name* (host[:port]) as this side reaches it; one client for the whole run."""
        return await self._client(self.table.access(name, repository))

    async def endpoint(self, endpoint: Endpoint) -> Registry:
        """The registry behind an endpoint of registries.conf."""
        return await self._client(self.table.access_endpoint(endpoint))

    async def _client(self, access: HostAccess) -> Registry:
        if access not in self._registries:
            from fastcopy.http.client import Client
            from fastcopy.transports._upload import Registry

            shared = self._shared
            client = Client(
                access,
                run=self._run.run,
                trace=self._trace,
                turns=shared.gate.turn,
                facts=lambda: shared.notes,
                heard=partial(shared.meters.answered, self.side, access.registry),
            )
            self._registries[access] = Registry(access.registry, client)
            await self._stack.enter_async_context(client)
        return self._registries[access]

    @cached_property
    def policy(self) -> Policy:
        """The trust policy of the run; raises BadConfig when its file cannot be used."""
        from fastcopy.http.policy import Policy, load

        return Policy() if self._run.run.insecure_policy else load(self._run.run.policy)

    @property
    def copy(self) -> CopyOptions:
        """What may differ between source and destination in this run."""
        return self._run.copy

    @property
    def tmpdir(self) -> Path | None:
        """Where large temporary files go (--tmpdir); None: the transport's usual place."""
        return self._run.run.tmpdir

    def tell(self, text: str) -> None:
        """Say *text* in the log of the run, at the level of information."""
        self._shared.emit(Message(text, "info"))

    @property
    def pulls(self) -> dict[str, PullBudget | None]:
        """Registries met so far that ration pulls, and what they said is left."""
        return {each.name: each.pulls for each in self._registries.values() if each.manners.counts_pulls}

    @property
    def requests(self) -> int:
        """Requests sent by this side so far."""
        return sum(registry.client.requests for registry in self._registries.values())


Trace = Callable[[str], None] | None


class Engine:
    """What a run works with: shared state, and the hosts of both sides by the options they are reached with."""

    def __init__(self, run: Run, options: Options, stack: AsyncExitStack, trace: Trace) -> None:
        self.run, self.options = run, options
        self._stack, self._trace = stack, trace
        self._hosts: dict[tuple[str, HostOptions], Hosts] = {}

    @property
    def source(self) -> Hosts:
        """The source side as the options say."""
        return self.hosts("source", self.options.source)

    @property
    def destination(self) -> Hosts:
        """The destination side as the options say."""
        return self.hosts("destination", self.options.destination)

    def hosts(self, side: str, options: HostOptions) -> Hosts:
        """One side reached in another way (a list may have credentials of its own)."""
        key = (side, options)
        if key not in self._hosts:
            self._hosts[key] = Hosts(options, self.options, self._stack, self._trace, self.run, side=side)
        return self._hosts[key]

    def source_pulls(self) -> dict[str, PullBudget | None]:
        """What the sources' registries that ration pulls said is left."""
        sources = [hosts for (side, _), hosts in self._hosts.items() if side == "source"]
        return {name: left for hosts in sources for name, left in hosts.pulls.items()}

    @property
    def requests(self) -> int:
        """Requests sent so far, by both sides."""
        return sum(hosts.requests for hosts in self._hosts.values())


async def running(
    options: Options,
    work: Callable[[Engine], Awaitable[T]],
    *,
    emit: Callable[[Event], None],
    trace: Trace = None,
    drain: Drain | None = None,
) -> T:
    """Run *work* with an engine; when it returns or raises, everything the engine started has ended."""
    result: outcome.Outcome[T] | None = None
    async with trio.open_nursery() as nursery:
        gate = Gate(Schedule(limits_of(options)))
        nursery.start_soon(gate.keep_time)
        rate = _rate(options.run.bandwidth)
        run = Run(gate, options.copy, options.run, emit, rate=rate, drain=drain or Drain())
        nursery.start_soon(run.measure)
        try:
            result = outcome.Value(await _with_hosts(run, options, work, trace))
        except FastcopyError as error:
            result = outcome.Error(error)
        nursery.cancel_scope.cancel()
    assert result is not None
    return result.unwrap()


def _rate(bandwidth: int) -> Rate | None:
    """The token bucket that all pumps of the run share; None: unlimited."""
    if not bandwidth:
        return None
    from fastcopy._native import Rate

    return Rate(bandwidth)


async def _with_hosts(run: Run, options: Options, work: Callable[[Engine], Awaitable[T]], trace: Trace) -> T:
    async with AsyncExitStack() as stack:
        return await work(Engine(run, options, stack, trace))
