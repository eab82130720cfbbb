"""Bodies on loan: one end of one transfer, lent to one pump, then settled.

Law 1: while a lease is out its link belongs to the pump; the loop touches it again only in `settle`, `finish`, `close`.
Law 2: `close` may be called at any time when no pump runs, and any number of times; a lease that was neither settled
nor finished is closed, its connection never returns to the pool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastcopy.errors import Bug, FastcopyError, LinkLost

if TYPE_CHECKING:
    from fastcopy._native import Inlet, Outlet, Report
    from fastcopy.http.h1 import Exchange
    from fastcopy.http.pacing import Turn
    from fastcopy.http.wire import Response, Url

#: A peer that broke off an upload has said why already, or will not; no need to wait long for the reason.
LAST_WORDS = 2.0


class Lease:
    """What every body on loan tells when it is over."""

    turn: Turn | None = None  #: the request is in flight until then
    ended: Callable[[bool], None] | None = None  #: told once, then, whether all of it was taken
    connecting: float | None = None  #: seconds it took to connect for this body; None: a link was there
    kept = True  #: whether the connection outlived the body

    def _over(self, *, whole: bool = False) -> None:
        if self.turn is not None:
            self.turn.over()
        ended, self.ended = self.ended, None
        if ended is not None:
            ended(whole)


class BodyLease(Lease):
    """A response whose body a pump will read through `inlet` (200 and 206), or that has none to lend.

    `inlet` is None when the body cannot be lent (chunked, no length, TLS in TLS: use `read_some`) and for every other
    status, whose body is in ``response.body``. `length` is the number of body bytes, None when unknown.
    """

    inlet: Inlet | None = None

    def __init__(self, response: Response, length: int | None = 0) -> None:
        self.response = response
        self.length = length

    @property
    def final_url(self) -> Url:
        """Where the body really comes from, after redirects; a capability: never to be logged unredacted."""
        assert self.response.url is not None
        return self.response.url

    async def read_some(self) -> bytes:
        """The next piece, empty at the end; for bodies without an inlet. Raises LinkLost, Stalled, ProtocolBroken."""
        return b""

    async def settle(self, report: Report | None = None) -> None:
        """The pump is done with the inlet: keep the connection if the body was read to its end, else drop it."""

    def close(self) -> None:
        """Drop the connection at once."""


class UploadLease(Lease, ABC):
    """A request whose body a pump will write through `outlet`; None when it cannot be lent: use `send`."""

    pausable = False  #: whether several pumps may write it, one after the other

    @property
    @abstractmethod
    def outlet(self) -> Outlet | None:
        """The writing side, lent to a pump from the first access on."""

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send a part of the body from the loop. Raises Stalled; a lost link is reported by `finish`."""

    @abstractmethod
    async def finish(self, report: Report | None = None) -> Response:
        """The server's answer, early or regular. Raises LinkLost, Stalled, ProtocolBroken."""

    @abstractmethod
    def close(self) -> None:
        """Give up; the connection is dropped."""


class H1Body(BodyLease):
    """A body on an HTTP/1.1 exchange."""

    def __init__(self, exchange: Exchange, response: Response, stall: float, done: Callable[[Exchange], None]) -> None:
        length = exchange.head.length
        super().__init__(response, length)
        self._exchange = exchange
        self._stall = stall
        self._done = done
        self._read = False
        self.connecting = exchange.link.took if exchange.link.is_fresh() else None
        if length is not None and exchange.link.lendable:
            from fastcopy._native import Inlet

            prefix = exchange.take_prefix()
            self.inlet = Inlet.socket(exchange.link.lend(), length, prefix)

    async def read_some(self) -> bytes:
        if self.inlet is not None:
            raise Bug("this body is lent; read it through its inlet")
        piece = await self._exchange.read_some(self._stall)
        self._read = not piece
        return piece

    async def settle(self, report: Report | None = None) -> None:
        complete = self.inlet.remaining == 0 if self.inlet is not None else self._read
        if not complete:
            self.close()
            return
        self._exchange.link.reclaim()
        self.kept = self._exchange.keepable
        self._over(whole=True)
        self._done(self._exchange)

    def close(self) -> None:
        self._over()
        self._exchange.link.reclaim()
        self._exchange.drop()


class H1Upload(UploadLease):
    """An upload on an HTTP/1.1 exchange whose head has been sent."""

    pausable = True

    def __init__(
        self,
        exchange: Exchange,
        length: int | None,
        *,
        patience: float,
        stall: float,
        finish: Callable[[Exchange], Awaitable[Response]],
    ) -> None:
        self._exchange = exchange
        self._length = length
        self._patience = patience
        self._stall = stall
        self._finish = finish
        self._sent = 0
        self._lost: FastcopyError | None = None
        self._outlet: Outlet | None = None
        self.connecting = exchange.link.took if exchange.link.is_fresh() else None

    @property
    def outlet(self) -> Outlet | None:
        if self._outlet is None and self._length is not None and self._exchange.link.lendable:
            from fastcopy._native import Outlet

            self._outlet = Outlet.socket(self._exchange.link.lend())
        return self._outlet

    async def send(self, data: bytes) -> None:
        if self._lost is not None or not data:
            return
        try:
            await self._exchange.send_piece(data, self._stall)
            self._sent += len(data)
        except LinkLost as error:
            self._lost = error

    async def finish(self, report: Report | None = None) -> Response:
        try:
            await self._receive()
            response = await self._finish(self._exchange)
            self.kept = self._exchange.keepable
            self._over(whole=200 <= response.status < 300)
            return response
        except BaseException:
            self.close()
            raise

    async def _receive(self) -> None:
        """Read the head of the answer: after a whole body with all patience, after a broken one only in passing."""
        exchange = self._exchange
        answer, pumped = self._taken_back()
        complete = self._lost is None and self._length in (None, self._sent + pumped)
        if complete and pumped:
            exchange.pumped(pumped)
        elif complete:
            await exchange.send_end(self._stall)
        try:
            await exchange.receive_head(self._patience if complete else LAST_WORDS, answer)
        except FastcopyError as error:
            if complete:
                raise
            broken = self._lost or LinkLost(f"{exchange.link.origin} broke off an upload")
            raise broken from error

    def _taken_back(self) -> tuple[bytes, int]:
        if self._outlet is None:
            return b"", 0
        self._exchange.link.reclaim()
        return bytes(self._outlet.answer), self._outlet.sent

    def close(self) -> None:
        self._over()
        self._exchange.link.reclaim()
        self._exchange.drop()
