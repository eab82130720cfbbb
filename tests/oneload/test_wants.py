"""Sharing wants, without any transfer: for any order, failures and cancellations nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.transfer.arrival import Arrival
from fastcopy.transfer.wants import CRAWL_PATIENCE, Wants
from fastcopy.transfer.wants import Want as Wanted

BLOB = Descriptor(Digest("sha256:" + "0" * 64), 100)


@dataclass(frozen=True)
class Task:
    """One task: when it begins to crawl, how long it reads, how long it brings, whether its source fails, its end."""

    host: str
    begins: int
    reads: int
    brings: int
    fails: bool
    cancelled_at: int | None


@dataclass(eq=False)
class Place:
    """All that is looked at of a source or a destination."""

    host: str


def _want(host: str) -> Wanted:
    target: Any = Place(host)
    source: Any = Place("source")
    return Wanted(source, [target], BLOB)


class World:
    """What tasks share: the wants, and the lock of each registry that `ensure` holds."""

    def __init__(self) -> None:
        self.wants = Wants()
        self.locks: dict[str, trio.Lock] = {}
        self.downloads = 0
        self.served: list[int] = []

    async def run(self, number: int, task: Task) -> None:
        """Crawl, want, bring: what an image with one blob does."""
        await trio.sleep(task.begins)
        with trio.CancelScope() as scope:
            if task.cancelled_at is not None:
                scope.deadline = trio.current_time() + task.cancelled_at
            image = self.wants.begin([task.host])
            try:
                await trio.sleep(task.reads)
                image.one_less()
                await self._ensure(number, task)
            finally:
                self.wants.ended(image)

    async def _ensure(self, number: int, task: Task) -> None:
        want = _want(task.host)
        with self.wants.known(want):
            async with self.locks.setdefault(task.host, trio.Lock()):
                want.ready = True
                await self.wants.others_said(want)
                if await self.wants.lead(want):
                    await self._bring(want, task)
        if not want.left:
            self.served.append(number)

    async def _bring(self, want: Wanted, task: Task) -> None:
        with self.wants.company(want, 15) as company:
            assert all(other is not want and not other.leading for other in company.values())
            self.downloads += 1
            await trio.sleep(task.brings)
            if task.fails:
                return
            want.outcomes[want.targets[0]] = Arrival("copied")
            for target, other in company.items():
                other.outcomes[target] = Arrival("copied")


def _run(tasks: list[Task]) -> World:
    world = World()

    async def main() -> None:
        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                for number, task in enumerate(tasks):
                    nursery.start_soon(world.run, number, task)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return world


_TASKS = st.builds(
    Task,
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 3),
    st.integers(0, 8),
    st.integers(0, 3),
    st.booleans(),
    st.none() | st.integers(0, 9),
)


@given(st.lists(_TASKS, max_size=8))
def test_everybody_is_served_or_has_failed_by_itself(tasks: list[Task]) -> None:
    """All tasks end; whoever is neither cancelled nor has a bad source is served, whatever became of its leaders."""
    world = _run(tasks)

    healthy = {n for n, task in enumerate(tasks) if not task.fails and task.cancelled_at is None}
    assert healthy <= set(world.served)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, int(CRAWL_PATIENCE) - 1)), min_size=1))
def test_images_that_begin_together_share_one_download(given_tasks: list[tuple[str, int]]) -> None:
    """Whoever has begun is waited for: one download for the first of each registry, whatever reading takes."""
    first = {host: Task(host, 0, reads, 1, False, None) for host, reads in given_tasks}
    world = _run(list(first.values()))

    assert world.downloads == 1
    assert len(world.served) == len(first)


def test_an_image_that_never_says_what_it_wants_is_waited_for_once() -> None:
    """Five seconds for the first blob, none for the next."""
    slow = Task("b", 0, 100, 0, False, None)
    world = World()
    times: list[float] = []

    async def ensure_twice() -> None:
        for _ in range(2):
            began = trio.current_time()
            await world.wants.others_said(_want("a"))
            times.append(trio.current_time() - began)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.run, 0, slow)
            await trio.testing.wait_all_tasks_blocked()
            await ensure_twice()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [round(seconds) for seconds in times] == [CRAWL_PATIENCE, 0]
