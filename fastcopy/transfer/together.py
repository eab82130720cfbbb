"""Several things at once, one error at most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from fastcopy.errors import FastcopyError

T = TypeVar("T")


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
