"""How a registry side is reached: which scheme, through which proxy, with which identity, on which kept link.

State in one sentence: one pool of idle links, every open link, the scheme that the registry turned out to speak, and
whether its address is private.
Law: credentials, client certificates and a relaxed verification belong to the registry's own host; every other
origin (redirect target, token server) is a stranger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from fastcopy.errors import CannotConnect, FastcopyError, LinkError, LinkLost, TlsRefused, TooManyConnections
from fastcopy.http.dial import anywhere, dial, is_private, public_only
from fastcopy.http.link import Link
from fastcopy.http.pool import Pool
from fastcopy.http.tls import TlsSetup
from fastcopy.http.wire import DEFAULT_PORTS, Origin, Url

if TYPE_CHECKING:
    from fastcopy.http.hosts import HostAccess

H1 = ("http/1.1",)
H2 = ("h2", "http/1.1")
LANE = "lane"  #: HTTP/2 connections for bodies idle under this name
#: Seconds until a host that takes no further connection is asked again: about as long as a request holds one.
CROWDED_PAUSE = 0.1


class Reach:
    """Dials and keeps links for one registry side."""

    def __init__(self, access: HostAccess, timeout: float) -> None:
        self.api = access.api  #: where the registry answers: the scheme is settled by the first connection
        self.pool = Pool()
        self._access = access
        self._timeout = timeout
        self._setups: dict[str, TlsSetup] = {}
        self._undecided = access.insecure and access.api.scheme == "https"
        self._deciding = trio.Lock()
        self._private: bool | None = None
        self._open: defaultdict[Origin, set[Link]] = defaultdict(set)
        self.sparing: set[Origin] = set()  #: origins that take few connections: HTTP/1.1 ones are not kept
        self.on_crowd: Callable[[Origin], None] = lambda origin: None  #: told when a further connection is refused

    def settled(self, origin: Origin) -> Origin:
        """*origin*, or the plain-HTTP origin that the registry turned out to be."""
        return self.api if origin == self._access.api else origin

    def key(self, origin: Origin, alpn: tuple[str, ...]) -> tuple[Origin, str]:
        """Under which links to *origin* idle; everything else about a link follows from its origin."""
        return self.settled(origin), alpn[0]

    async def h1(self, origin: Origin, *, fresh: bool = False) -> Link:
        """A link to *origin* for one HTTP/1.1 exchange: an idle one unless *fresh*, else a new one."""
        if not fresh:
            kept = self.pool.take(self.key(origin, H1), Link)
            if kept is not None:
                return kept
        return await self.dial(origin, H1)

    async def dial(self, origin: Origin, alpn: tuple[str, ...]) -> Link:
        """A new link; settles the scheme first where that is open. Raises what `dial` raises."""
        if not self._is_open(origin):
            return await self._dial(self.settled(origin), alpn)
        async with self._deciding:
            if not self._is_open(origin):
                return await self._dial(self.settled(origin), alpn)
            link = await self._either(alpn)
            self._undecided = False
            return link

    def _is_open(self, origin: Origin) -> bool:
        """Whether it is yet to be found out which scheme *origin* speaks."""
        return self._undecided and origin == self._access.api

    async def _either(self, alpn: tuple[str, ...]) -> Link:
        """HTTPS, or plain HTTP when nobody speaks TLS there; only for a registry configured insecure."""
        try:
            return await self._dial(self._access.api, alpn)
        except (TlsRefused, CannotConnect, LinkLost) as secure:
            plain = replace(self._access.api, scheme="http", port=_plain_port(self._access.api))
            try:
                link = await self._dial(plain, alpn)
            except LinkError:
                raise secure from None
            self.api = plain
            return link

    async def _dial(self, origin: Origin, alpn: tuple[str, ...]) -> Link:
        home = origin.host == self._access.api.host
        started = trio.current_time()
        try:
            link = await dial(
                origin,
                self._setup(origin) if origin.scheme == "https" else None,
                proxy=self._access.proxy_for(Url(origin, "/")),
                timeout=self._timeout,
                alpn=alpn,
                allow=anywhere if home or self._private else public_only,
            )
        except (CannotConnect, LinkLost) as error:
            raise self._judged(error, origin) from None
        link.took = trio.current_time() - started
        link.key = self.key(origin, alpn)
        link.on_close = self._open[origin].discard
        self._open[origin].add(link)
        if home and self._private is None and link.peer:
            self._private = is_private(link.peer)
        return link

    def _judged(self, error: LinkError, origin: Origin) -> FastcopyError:
        """Refused while others are in use: the host is there, it takes no further connection."""
        if not self.others(origin):
            return error
        self.on_crowd(origin)
        return TooManyConnections(f"{origin} takes no further connection: {error.message}", retry_after=CROWDED_PAUSE)

    def others(self, origin: Origin, but: Link | None = None) -> bool:
        """Whether other links to *origin* than *but* are open at both ends."""
        return any(link is not but and link.seems_alive() for link in self._open[self.settled(origin)])

    def spare(self, origin: Origin) -> None:
        """*origin* takes few connections: leave it those that are needed."""
        self.sparing.add(origin)
        for alpn in (H1[0], LANE):
            for link in self.pool.discard((self.settled(origin), alpn)):
                link.close()

    def _setup(self, origin: Origin) -> TlsSetup:
        context, identity = self._access.tls_context(origin)
        if identity not in self._setups:
            self._setups[identity] = TlsSetup(context)
        return self._setups[identity]

    def done(self, link: Link, *, keep: bool) -> None:
        """An exchange on *link* ended well: remember its TLS session, and let the next one have it if it may live."""
        link.uses += 1
        if link.uses == 1:
            self.remember(link)
        if not keep or link.origin in self.sparing:
            link.close()
            return
        for expired in self.pool.give_back(link):
            expired.close()

    def remember(self, link: Link) -> None:
        """Keep the TLS session of *link*, so that the next connection to its host need not verify and sign again."""
        if link.origin.scheme == "https" and link.lendable:
            self._setup(link.origin).remember(link)

    def close(self) -> None:
        """Close every idle link."""
        for link in self.pool.clear():
            link.close()


def _plain_port(origin: Origin) -> int:
    return DEFAULT_PORTS["http"] if origin.port == DEFAULT_PORTS["https"] else origin.port
