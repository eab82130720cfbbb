"""Requests over HTTP/1.1: a kept link or a new one, and one re-send at once when a kept one had died."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

from fastcopy.errors import LinkLost, Stalled
from fastcopy.http.h1 import Exchange
from fastcopy.http.lease import BodyLease, H1Body, H1Upload, UploadLease
from fastcopy.http.reach import Reach
from fastcopy.http.roads import Roads
from fastcopy.http.terms import Fields, Terms, body_limit, length_field, repeatable, response_of
from fastcopy.http.wire import Origin, Request, Response

Judge = Callable[[Response], Awaitable[Response]]


class OverH1:
    """The HTTP/1.1 road to everything one client talks to."""

    def __init__(self, reach: Reach, terms: Terms, closes: Callable[[Origin], None], roads: Roads) -> None:
        self._reach = reach
        self._terms = terms
        self._roads = roads
        self._closes = closes  #: told of every link that the server does not let live

    async def perform(self, request: Request, authorization: str | None, *, lend: bool) -> Response | BodyLease:
        """The answer in memory, or with *lend* a lease of a 200 or 206 body. Raises LinkError, ProtocolBroken."""
        exchange = Exchange(await self._reach.h1(request.url.origin))
        try:
            return await self._perform(exchange, request, authorization, lend)
        except LinkLost:
            if exchange.link.is_fresh() or exchange.touched or not repeatable(request):
                raise
        exchange = Exchange(await self._reach.h1(request.url.origin, fresh=True))
        return await self._perform(exchange, request, authorization, lend)

    async def upload(
        self, request: Request, authorization: str | None, length: int | None, judge: Judge
    ) -> UploadLease:
        """Send the head of an upload of *length* bytes (None: chunked); *judge* sees the answer before the caller."""
        exchange = Exchange(await self._reach.h1(request.url.origin))
        started = time.monotonic()
        try:
            await exchange.send_head(*self._head(exchange, request, authorization, length), self._terms.stall)
        except BaseException:
            exchange.drop()
            raise

        async def finish(exchange: Exchange) -> Response:
            return await judge(await self._whole(exchange, request, started))

        return H1Upload(exchange, length, patience=request.patience, stall=self._terms.stall, finish=finish)

    async def _perform(
        self, exchange: Exchange, request: Request, authorization: str | None, lend: bool
    ) -> Response | BodyLease:
        started = time.monotonic()
        try:
            head = self._head(exchange, request, authorization, len(request.body or b""))
            await exchange.send(*head, request.body, self._terms.stall)
            await exchange.receive_head(request.patience)
            self._heard(exchange)
            if lend and exchange.head.status in (200, 206):
                return self._lease(exchange, request, started)
            return await self._whole(exchange, request, started)
        except Stalled as error:
            exchange.drop()
            raise Stalled(f"{request.method} {request.url.redacted}: {error.message}") from None
        except BaseException:
            exchange.drop()
            raise

    def _heard(self, exchange: Exchange) -> None:
        """What the status says of the server's limits."""
        link = exchange.link
        others = partial(self._reach.others, link.origin, link) if link.is_fresh() else None
        self._roads.of(link.origin).answered(exchange.head.status, others)

    def _head(
        self, exchange: Exchange, request: Request, authorization: str | None, length: int | None
    ) -> tuple[str, str, Fields]:
        """Method, target and header fields as this link wants them."""
        link = exchange.link
        fields = [("host", link.origin.netloc), ("user-agent", self._terms.user_agent), *request.headers]
        if authorization:
            fields.append(("authorization", authorization))
        if link.forward and link.proxy_authorization:
            fields.append(("proxy-authorization", link.proxy_authorization))
        fields += [("transfer-encoding", "chunked")] if length is None else length_field(request.method, fields, length)
        target = request.url.target
        return request.method, f"{link.origin}{target}" if link.forward else target, fields

    async def _whole(self, exchange: Exchange, request: Request, started: float) -> Response:
        """The answer with its body in memory; the link goes back to the pool if it can carry another exchange."""
        body = await exchange.read_body(body_limit(request, exchange.head.status), self._terms.stall)
        self._finished(exchange)
        return self._response(exchange, request, started, body)

    def _lease(self, exchange: Exchange, request: Request, started: float) -> BodyLease:
        return H1Body(exchange, self._response(exchange, request, started), self._terms.stall, self._finished)

    def _response(self, exchange: Exchange, request: Request, started: float, body: bytes = b"") -> Response:
        origin = exchange.link.origin
        return response_of(exchange.head, request, origin, body, http="1.1", started=started, terms=self._terms)

    def _finished(self, exchange: Exchange) -> None:
        keep = exchange.keepable
        self._reach.done(exchange.link, keep=keep)
        if not keep:
            self._closes(exchange.link.origin)
