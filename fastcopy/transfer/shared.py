"""Single flight: work has a key, doing it twice at once is impossible, and failure is forgotten.

Law: whoever waits gets the result or the FastcopyError; when nobody waits any more, the work is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import outcome
import trio

from fastcopy.errors import FastcopyError

T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.done = trio.Event()
        self.landed = trio.Event()
        self.scope = trio.CancelScope()
        self.waiters = 0
        self.result: outcome.Value[T] | outcome.Error | None = None


class Shared:
    """Results by key, each computed once; computed in *nursery*, so that no caller's fate is another's."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[Hashable, _Flight[Any]] = {}
        self._aloft: set[_Flight[Any]] = set()

    async def get(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of *work* for *key*: this call's, or that of whoever came first."""
        flight: _Flight[T] | None = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._aloft.add(flight)
            self._nursery.start_soon(self._fly, key, flight, work)
        return await self._wait(key, flight)

    async def drain(self) -> None:
        """Cancel what still flies and wait until it has landed: nothing may use a client that is being closed."""
        flights = list(self._aloft)
        for flight in flights:
            flight.scope.cancel()
        with trio.CancelScope(shield=True):
            for flight in flights:
                await flight.landed.wait()

    def forget(self, key: Hashable) -> None:
        """The next caller for *key* starts anew."""
        self._flights.pop(key, None)

    async def _wait(self, key: Hashable, flight: _Flight[T]) -> T:
        flight.waiters += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.done.is_set():
                self._forget(key, flight)  # at once: a newcomer must not board a flight that is going down
                flight.scope.cancel()
        if isinstance(flight.result, outcome.Value):
            return flight.result.value
        assert isinstance(flight.result, outcome.Error)
        raise flight.result.error

    def _forget(self, key: Hashable, flight: _Flight[Any]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(self, key: Hashable, flight: _Flight[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            with flight.scope:
                flight.result = outcome.Value(await work())
        except FastcopyError as error:
            flight.result = outcome.Error(error)
        finally:
            if not isinstance(flight.result, outcome.Value):
                self._forget(key, flight)
            self._aloft.discard(flight)
            flight.landed.set()
            if flight.result is not None:
                flight.done.set()


async def gather(*jobs: Callable[[], Awaitable[T]]) -> list[T]:
    """Run *jobs* at once, results in order; the first FastcopyError cancels the others and is raised, alone."""
    if len(jobs) == 1:
        return [await jobs[0]()]
    results: list[Any] = [None] * len(jobs)
    failures: list[FastcopyError] = []

    async def run(index: int) -> None:
        try:
            results[index] = await jobs[index]()
        except FastcopyError as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for index in range(len(jobs)):
            nursery.start_soon(run, index)
    if failures:
        raise failures[0]
    return results
