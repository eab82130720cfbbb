"""Which HTTP version a request goes over, and the HTTP/2 connections of a client.

Law 1: one small copy never pays two handshakes: an idle HTTP/1.1 link is used first, and HTTP/2 is opened only when
several requests wait for the same origin (or `--http 2` asks for it).
Law 2: an origin that showed that it wants HTTP/1.1 is remembered, for the life of the client.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from fastcopy.http.reach import H1, H2, LANE, Reach

if TYPE_CHECKING:
    from fastcopy.http.h2 import H2Link
    from fastcopy.http.link import Link
    from fastcopy.http.wire import Origin
    from fastcopy.options import HttpVersion

#: With this many requests in flight to an origin over HTTP/1.1, the next one opens an HTTP/2 connection.
ENOUGH_WAITING = 4
#: A server that closed this many links after an answer has keep-alive off (Quay's blob paths): each HTTP/1.1 request
#: would pay a handshake, HTTP/2 pays one for all.
CLOSES = 2


class Multiplex:
    """HTTP/2 where it is offered and worth it."""

    def __init__(self, reach: Reach, asked: HttpVersion) -> None:
        self.asked = asked
        self._reach = reach
        self._refused: set[Origin] = set()
        self._connections: defaultdict[Origin, list[H2Link]] = defaultdict(list)
        self._opening: defaultdict[Origin, trio.Lock] = defaultdict(trio.Lock)
        self._in_flight: Counter[Origin] = Counter()
        self._closed: Counter[Origin] = Counter()

    def closes(self, origin: Origin) -> None:
        """*origin* ended a link after one orderly answer."""
        self._closed[origin] += 1

    @contextmanager
    def counted(self, origin: Origin) -> Iterator[None]:
        """A metadata request to *origin* is in flight over HTTP/1.1."""
        self._in_flight[origin] += 1
        try:
            yield
        finally:
            self._in_flight[origin] -= 1

    def is_worth_it(self, origin: Origin) -> bool:
        """Whether a metadata request to *origin* should look for an HTTP/2 connection at all."""
        if not self._may(origin):
            return False
        if self.asked == "2" or self._reach.settled(origin) in self._reach.sparing:
            return True
        if self._reach.pool.has(self._reach.key(origin, H1)):
            return False
        crowded = self._in_flight[origin] >= ENOUGH_WAITING or self._closed[origin] >= CLOSES
        return crowded or bool(self._connections[origin])

    def _may(self, origin: Origin) -> bool:
        if self.asked == "1.1" or origin in self._refused:
            return False
        return self.asked == "2" or self._reach.settled(origin).scheme == "https"

    def refuse(self, origin: Origin) -> None:
        """*origin* wants HTTP/1.1."""
        self._refused.add(origin)

    async def connection(self, origin: Origin) -> H2Link | None:
        """A connection with room for one more stream; None where the server does not offer HTTP/2."""
        found = self._with_room(origin)
        if found is not None:
            return found
        async with self._opening[origin]:
            found = self._with_room(origin)
            if found is None:
                link = await self._dial(origin)
                found = self._adopt(link, origin) if link else None
            return found

    def _adopt(self, link: Link, origin: Origin) -> H2Link:
        from fastcopy.http.h2 import H2Link

        made = H2Link(link)
        self._connections[origin].append(made)
        return made

    def _with_room(self, origin: Origin) -> H2Link | None:
        alive: list[H2Link] = []
        for each in self._connections[origin]:
            if not each.looks_dead():
                alive.append(each)
            elif not each.busy:
                each.close()
        self._connections[origin] = alive
        return next((each for each in alive if each.has_room()), None)

    async def lane(self, origin: Origin) -> H2Link | None:
        """A connection for one body, kept or new; None where HTTP/1.1 is to be used."""
        from fastcopy.http.h2 import H2Link
        from fastcopy.http.h2_body import lane

        if not self._may(origin):
            return None
        kept = self._reach.pool.take(self._lane_key(origin), H2Link)
        if kept is not None:
            return kept
        link = await self._dial(origin)
        if link is None:
            return None
        made = lane(link)
        made.key = self._lane_key(origin)
        return made

    def _lane_key(self, origin: Origin) -> tuple[Origin, str]:
        return self._reach.settled(origin), LANE

    def keep(self, over: H2Link) -> None:
        """A lane is free again."""
        if over.uses == 1:
            self._reach.remember(over.link)
        for expired in self._reach.pool.give_back(over):
            expired.close()

    async def _dial(self, origin: Origin) -> Link | None:
        """A link that speaks HTTP/2; one that does not is kept for HTTP/1.1, and the finding too."""
        if origin in self._refused:
            return None
        link = await self._reach.dial(origin, H2)
        prior_knowledge = link.origin.scheme == "http" and not link.forward
        if link.alpn == "h2" or prior_knowledge:
            return link
        self.refuse(origin)
        link.key = self._reach.key(origin, H1)
        for expired in self._reach.pool.give_back(link):
            expired.close()
        return None

    def close(self) -> None:
        """Close every connection; lanes idle in the pool are closed with it."""
        for connections in self._connections.values():
            for each in connections:
                each.close()
        self._connections.clear()
