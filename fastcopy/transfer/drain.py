"""Ending early and well: nothing new begins, bodies in flight land, and so do the manifests that only wait for them.

State in one sentence: whether the end was asked for, how many bodies are in flight, and who waits to begin something.
What is not to begin any more is *left*: it waits until everything in flight has landed, because its failure would
take the bodies of its own image along, and then raises Drained.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import trio

from fastcopy.errors import Drained


class Drain:
    """One run's way to end; `ask` may come before the run, during it or never, any number of times."""

    def __init__(self) -> None:
        self.asked = False
        self._flying = 0
        self._landed = trio.Event()
        self._waits: set[trio.CancelScope] = set()

    def ask(self) -> None:
        """Begin nothing new from now on; in the loop's thread."""
        self.asked = True
        for scope in self._waits:
            scope.cancel()
        self._look()

    def _look(self) -> None:
        if self.asked and not self._flying:
            self._landed.set()

    @asynccontextmanager
    async def flight(self, *, due: bool = False) -> AsyncIterator[None]:
        """A body moves inside; raises Drained instead when the end was asked for and it is not *due* in any case."""
        if self.asked and not due:
            await self.left()
        self._flying += 1
        try:
            yield
        finally:
            self._flying -= 1
            self._look()

    @contextmanager
    def wait(self) -> Iterator[trio.CancelScope]:
        """What waits inside, for a slot or for better times, waits no longer than until the end is asked for."""
        with trio.CancelScope() as scope:
            if self.asked:
                scope.cancel()
            self._waits.add(scope)
            try:
                yield scope
            finally:
                self._waits.discard(scope)

    async def left(self) -> NoReturn:
        """Raise Drained once nothing is in flight any more."""
        await self._landed.wait()
        raise Drained("left: the run was asked to end before its turn came")
