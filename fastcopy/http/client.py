"""The HTTP client of one registry side: token, link, send, redirect, and one re-send at once.

Law 1: it never sleeps, never queues and never limits concurrency; what must wait goes back to the scheduler.
Law 2: it repeats a request only when nothing of an answer arrived on a reused link, or with a refreshed token.
Law 3: Authorization goes to the registry's own origin and nowhere else, whatever redirects say.

Errors leave here with the side empty; texts and traces show redacted URLs and no header value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import trio

from fastcopy.errors import LinkLost, ProtocolBroken, Stalled
from fastcopy.http.auth import Authority
from fastcopy.http.h1 import Exchange
from fastcopy.http.lease import BodyLease, H1Body, H1Upload, UploadLease
from fastcopy.http.reach import Reach
from fastcopy.http.redirect import REDIRECT_LIMIT, next_request
from fastcopy.http.wire import Request, Response, Url

if TYPE_CHECKING:
    from fastcopy.http.hosts import HostAccess
    from fastcopy.options import RunOptions

#: Bodies of error answers are for people; c/image and ggcr read 64 KiB to 1 MiB of them.
ERROR_LIMIT = 64 << 10
_BODY_VERBS = frozenset({"POST", "PUT", "PATCH"})


class Client:
    """Requests to one registry, and to wherever it redirects."""

    def __init__(
        self,
        host: HostAccess,
        *,
        run: RunOptions,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.host = host
        self.trace = trace
        self.requests = 0  #: heads sent so far, redirects and token requests included
        self.bodies: Literal["1.1", "2"] = "2" if host.http == "2" else "1.1"
        self._stall = run.stall
        self._reach = Reach(host, run.connect_timeout)
        self._authority = Authority(host)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close idle connections; leases must have been settled or closed before."""
        self._reach.close()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def request(self, request: Request) -> Response:
        """Perform *request* with its whole body in memory, and return the whole answer, whatever its status.

        Raises LinkError (and its kinds), AuthError from the token server, ProtocolBroken.
        """
        answer = await self._resolve(request, lend=False)
        assert isinstance(answer, Response)
        return answer

    async def open_body(self, request: Request) -> BodyLease:
        """A GET whose 200 or 206 body will be pumped; other answers come back whole in ``lease.response``."""
        answer = await self._resolve(request, lend=True)
        return BodyLease(answer) if isinstance(answer, Response) else answer

    async def open_upload(self, request: Request, length: int | None) -> UploadLease:
        """Send the head of an upload of *length* bytes (None: chunked, from the loop only) and lend its writing side.

        The token is fetched before; a 401 is for `UploadLease.finish` to report, with a fresh token kept for the next.
        """
        attempt = self._authority.attempt(request)
        authorization = attempt.ready() or await attempt.header(self._send_token)
        exchange = Exchange(await self._reach.h1(request.url.origin))
        started = time.monotonic()
        try:
            await exchange.send_head(*self._head(exchange, request, authorization, length), self._stall)
        except BaseException:
            exchange.drop()
            raise

        async def finish(exchange: Exchange) -> Response:
            response = await self._whole(exchange, request, started)
            if response.status not in (401, 403):
                return response
            await attempt.challenged(response, self._send_token)
            return replace(response, auth=attempt.proves)

        return H1Upload(exchange, length, patience=request.patience, stall=self._stall, finish=finish)

    async def _resolve(self, request: Request, *, lend: bool) -> Response | BodyLease:
        for _ in range(REDIRECT_LIMIT + 1):
            answer = await self._authorised(request, lend)
            if not isinstance(answer, Response):
                return answer
            onward = next_request(request, answer)
            if onward is None:
                return answer
            request = onward
        raise ProtocolBroken(f"{request.url.origin}: more than {REDIRECT_LIMIT} redirects")

    async def _authorised(self, request: Request, lend: bool) -> Response | BodyLease:
        """*request* with what its origin may see, sent again as long as the authority has something better to offer."""
        attempt = self._authority.attempt(request)
        while True:
            authorization = attempt.ready() or await attempt.header(self._send_token)
            answer = await self._twice(request, authorization, lend)
            if not isinstance(answer, Response) or answer.status not in (401, 403):
                return answer
            if not await attempt.challenged(answer, self._send_token):
                return replace(answer, auth=attempt.proves)

    async def _send_token(self, request: Request) -> Response:
        """Requests of the authority: their own headers, no redirects, no further authorisation."""
        answer = await self._twice(request, None, lend=False)
        assert isinstance(answer, Response)
        return answer

    async def _twice(self, request: Request, authorization: str | None, lend: bool) -> Response | BodyLease:
        """Perform *request*; once more on a new link if a kept one had been closed before anything was answered."""
        exchange = Exchange(await self._reach.h1(request.url.origin))
        try:
            return await self._perform(exchange, request, authorization, lend)
        except LinkLost:
            if exchange.link.is_fresh() or exchange.touched or not repeatable(request):
                raise
        exchange = Exchange(await self._reach.h1(request.url.origin, fresh=True))
        return await self._perform(exchange, request, authorization, lend)

    async def _perform(
        self, exchange: Exchange, request: Request, authorization: str | None, lend: bool
    ) -> Response | BodyLease:
        started = time.monotonic()
        try:
            head = self._head(exchange, request, authorization, len(request.body or b""))
            await exchange.send(*head, request.body, self._stall)
            await exchange.receive_head(request.patience)
            if lend and exchange.head.status in (200, 206):
                return self._lease(exchange, request, started)
            return await self._whole(exchange, request, started)
        except Stalled as error:
            exchange.drop()
            raise Stalled(f"{request.method} {request.url.redacted}: {error.message}") from None
        except BaseException:
            exchange.drop()
            raise

    def _head(
        self, exchange: Exchange, request: Request, authorization: str | None, length: int | None
    ) -> tuple[str, str, list[tuple[str, str]]]:
        """Method, target and header fields as this link wants them."""
        self.requests += 1
        link = exchange.link
        headers = [("host", link.origin.netloc), ("user-agent", self.host.user_agent), *request.headers]
        if authorization:
            headers.append(("authorization", authorization))
        if link.forward and link.proxy_authorization:
            headers.append(("proxy-authorization", link.proxy_authorization))
        if length is None:
            headers.append(("transfer-encoding", "chunked"))
        elif (length or request.method in _BODY_VERBS) and not any(name == "content-length" for name, _ in headers):
            headers.append(("content-length", str(length)))
        target = request.url.target
        return request.method, f"{link.origin}{target}" if link.forward else target, headers

    async def _whole(self, exchange: Exchange, request: Request, started: float) -> Response:
        """The answer with its body in memory; the link goes back to the pool if it can carry another exchange."""
        status = exchange.head.status
        body = await exchange.read_body(request.limit if 200 <= status < 300 else ERROR_LIMIT, self._stall)
        self._finished(exchange)
        return self._response(exchange, request, started, body)

    def _lease(self, exchange: Exchange, request: Request, started: float) -> BodyLease:
        return H1Body(exchange, self._response(exchange, request, started), self._stall, self._finished)

    def _response(self, exchange: Exchange, request: Request, started: float, body: bytes = b"") -> Response:
        head = exchange.head
        url = Url(exchange.link.origin, request.url.target)
        if self.trace is not None:
            elapsed = (time.monotonic() - started) * 1000
            self.trace(f"{request.method} {url.redacted} -> {head.status} HTTP/1.1 {elapsed:.0f} ms")
        return Response(head.status, head.headers, body, url)

    def _finished(self, exchange: Exchange) -> None:
        self._reach.done(exchange.link, keep=exchange.keepable)


def repeatable(request: Request) -> bool:
    """Whether sending *request* a second time is harmless (PATCH appends; the caller knows about its PUTs)."""
    return request.repeatable and request.method != "PATCH"
