"""The pool of idle links: newest first, no queue, forgotten in time."""

from __future__ import annotations

import trio

from fastcopy.http.pool import Pool


class Idle:
    """What the pool needs to know of a connection."""

    def __init__(self, key: object = "k") -> None:
        self.key = key
        self.idle_since = 0.0
        self.dead = False
        self.closed = False

    def looks_dead(self) -> bool:
        return self.dead

    def close(self) -> None:
        self.closed = True


async def test_the_newest_comes_first() -> None:
    """LIFO keeps few links warm instead of many lukewarm."""
    pool = Pool()
    links = [Idle() for _ in range(3)]
    for link in links:
        assert pool.give_back(link) == []
    taken = [pool.take("k", Idle) for _ in range(4)]
    assert taken == [*reversed(links), None]


async def test_keys_are_apart() -> None:
    """A link is only for its own origin and protocol."""
    pool = Pool()
    pool.give_back(Idle("a"))
    assert pool.take("b", Idle) is None
    assert (pool.has("a"), pool.has("b"), len(pool)) == (True, False, 1)


async def test_dead_links_are_passed_over() -> None:
    """A link that the server closed is closed and the next one taken."""
    pool = Pool()
    old, new = Idle(), Idle()
    pool.give_back(old)
    pool.give_back(new)
    new.dead = True
    assert pool.take("k", Idle) is old
    assert (new.closed, old.closed) == (True, False)


async def test_links_expire(autojump_clock: trio.testing.MockClock) -> None:
    """What idled longer than the limit is not used; what lies under it is older still."""
    pool = Pool(idle_limit=10)
    links = [Idle(), Idle()]
    for link in links:
        pool.give_back(link)
    await trio.sleep(11)
    assert pool.take("k", Idle) is None
    assert [link.closed for link in links] == [True, True]


async def test_expired_links_are_handed_back_for_closing(autojump_clock: trio.testing.MockClock) -> None:
    """Giving a link back names the ones that have meanwhile expired."""
    pool = Pool(idle_limit=10)
    old, new = Idle(), Idle()
    pool.give_back(old)
    await trio.sleep(11)
    assert pool.give_back(new) == [old]
    assert pool.clear() == [new]
    assert len(pool) == 0
