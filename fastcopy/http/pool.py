"""Idle links: kept per key, newest first, forgotten when they expire.

State in one sentence: a stack of idle links per key, where a link in it is owned by nobody else.
Law: the pool never queues and has no maximum, the scheduler is the only gate; it does no I/O but looking whether an
idle link has died, and it hands back what the caller must close.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from typing import Protocol, TypeVar

import trio

#: Common servers drop idle links after 60 s (ALB, Azure) to 75 s (nginx); leave before they do.
IDLE_LIMIT = 50.0


class Poolable(Protocol):
    """What the pool has to know of a connection."""

    key: object
    idle_since: float

    def looks_dead(self) -> bool:
        """Whether it cannot be used any more."""

    def close(self) -> None:
        """Close at once."""


P = TypeVar("P", bound=Poolable)


class Pool:
    """Idle connections by key: (what, origin, proxy, TLS identity)."""

    def __init__(self, idle_limit: float = IDLE_LIMIT) -> None:
        self._idle: defaultdict[object, list[Poolable]] = defaultdict(list)
        self._limit = idle_limit

    def __repr__(self) -> str:
        return f"<Pool {', '.join(f'{key}: {len(links)}' for key, links in self._idle.items() if links)}>"

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, key: Hashable, kind: type[P]) -> P | None:
        """The most recently used live connection under *key*, or None; closes the dead ones it meets."""
        stack = self._idle.get(key)
        while stack:
            found = stack.pop()
            assert isinstance(found, kind)
            if trio.current_time() - found.idle_since > self._limit:
                found.close()
                self._drop(stack)
            elif found.looks_dead():
                found.close()
            else:
                return found
        return None

    def has(self, key: Hashable) -> bool:
        """Whether something idles under *key* (it may turn out dead)."""
        return bool(self._idle.get(key))

    def discard(self, key: Hashable) -> list[Poolable]:
        """Forget everything under *key*; returns what the caller must close."""
        return self._idle.pop(key, [])

    def give_back(self, link: Poolable) -> list[Poolable]:
        """Keep *link* for the next taker; returns expired ones of the same key, which the caller must close."""
        now = trio.current_time()
        link.idle_since = now
        stack = self._idle[link.key]
        stack.append(link)
        expired = 0
        while now - stack[expired].idle_since > self._limit:
            expired += 1
        gone, stack[:expired] = stack[:expired], []
        return gone

    def clear(self) -> list[Poolable]:
        """Forget everything; returns what the caller must close."""
        gone = [link for stack in self._idle.values() for link in stack]
        self._idle.clear()
        return gone

    @staticmethod
    def _drop(stack: list[Poolable]) -> None:
        """Everything under an expired link is older still."""
        for link in stack:
            link.close()
        stack.clear()
