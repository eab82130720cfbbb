"""Requests over HTTP/2: many on one connection, bodies on lanes of their own, and the retries that are safe at once."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal

from fastcopy.errors import LinkLost, ProtocolBroken, Stalled
from fastcopy.http.h2 import H2Link, Stream
from fastcopy.http.h2_body import H2Body, H2Upload, SharedBody
from fastcopy.http.lease import BodyLease, UploadLease
from fastcopy.http.link import Unprocessed, WantsHttp1
from fastcopy.http.multiplex import Multiplex
from fastcopy.http.over_h1 import Judge
from fastcopy.http.terms import Fields, Terms, body_limit, length_field, repeatable, response_of
from fastcopy.http.wire import Request, Response

Lend = Literal["lane", "shared"]
#: A server that refuses streams on this many connections in a row is left to the scheduler.
TRIES = 3
#: Statuses by which proxies and servers say that they want HTTP/1.1 here (protocol reference 4.6).
WRONG_VERSION = frozenset({421, 426, 505})


class OverH2:
    """The HTTP/2 road; every method returns None where HTTP/1.1 is to be used instead."""

    def __init__(self, multiplex: Multiplex, terms: Terms) -> None:
        self._multiplex = multiplex
        self._terms = terms

    async def perform(
        self, request: Request, authorization: str | None, *, lend: Lend | None = None
    ) -> Response | BodyLease | None:
        """The answer in memory, or a lease of a 200 or 206 body: on a lane, or on a connection shared with others."""
        pick = self._multiplex.lane if lend == "lane" else self._multiplex.connection
        return await self._tries(request, pick, lambda over: self._perform(over, request, authorization, lend))

    async def upload(
        self, request: Request, authorization: str | None, length: int | None, judge: Judge
    ) -> UploadLease | None:
        """The head of an upload on a lane."""
        over = await self._multiplex.lane(request.url.origin)
        if over is None:
            return None
        started = time.monotonic()
        try:
            stream = over.open(request.method, self._fields(over, request, authorization, length), more=True)
            await over.flush(self._terms.stall)
        except BaseException:
            over.close()
            raise

        async def finish(over: H2Link, stream: Stream, complete: bool) -> Response:
            response = await self._whole(over, stream, request, started)
            self._close(over, stream, complete)
            return await judge(response)

        return H2Upload(over, stream, length, patience=request.patience, stall=self._terms.stall, finish=finish)

    async def _tries(
        self,
        request: Request,
        pick: Callable[..., Awaitable[H2Link | None]],
        perform: Callable[[H2Link], Awaitable[Response | BodyLease]],
    ) -> Response | BodyLease | None:
        for last in (False,) * (TRIES - 1) + (True,):
            over = await pick(request.url.origin)
            if over is None:
                return None
            used = over.uses > 0
            try:
                answer = await perform(over)
            except WantsHttp1:
                self._multiplex.refuse(request.url.origin)
                return None
            except Unprocessed:
                if last:
                    raise
            except _Untouched as error:
                if isinstance(error.why, ProtocolBroken) and self._multiplex.asked == "auto":
                    self._multiplex.refuse(request.url.origin)  # a broken HTTP/2 front (protocol reference 4.6)
                    return None
                if last or not (used and repeatable(request)):
                    raise error.why from None
            else:
                return answer if self._is_right_version(answer, request) else None
        raise AssertionError

    def _is_right_version(self, answer: Response | BodyLease, request: Request) -> bool:
        if isinstance(answer, Response) and answer.status in WRONG_VERSION:
            self._multiplex.refuse(request.url.origin)
            return False
        return True

    async def _perform(
        self, over: H2Link, request: Request, authorization: str | None, lend: Lend | None
    ) -> Response | BodyLease:
        started = time.monotonic()
        body = request.body
        fields = self._fields(over, request, authorization, len(body or b""))
        stream = over.open(request.method, fields, more=bool(body))
        stream.paced = lend == "shared"
        kept = False
        try:
            if body:
                await over.send(stream, body, self._terms.stall, end=True)
            head = await over.receive_head(stream, request.patience)
            if lend and head.status in (200, 206):
                lease = await self._lease(over, stream, self._response(over, stream, request, started), lend)
                kept = True
                return lease
            return await self._whole(over, stream, request, started)
        except Stalled as error:
            raise Stalled(f"{request.method} {request.url.redacted}: {error.message}") from None
        except (LinkLost, ProtocolBroken) as error:
            if isinstance(error, Unprocessed | WantsHttp1) or stream.touched:
                raise
            raise _Untouched(error) from None
        finally:
            if not kept:
                over.forget(stream)
                if lend == "lane":
                    self._multiplex.keep(over)

    async def _lease(self, over: H2Link, stream: Stream, response: Response, lend: Lend) -> BodyLease:
        if lend == "shared":
            return SharedBody(over, stream, response, self._terms.stall)
        return await H2Body.lend(over, stream, response, self._terms.stall, self._multiplex.keep)

    async def _whole(self, over: H2Link, stream: Stream, request: Request, started: float) -> Response:
        assert stream.head is not None
        body = await over.read_body(stream, body_limit(request, stream.head.status), self._terms.stall)
        return self._response(over, stream, request, started, body)

    def _close(self, over: H2Link, stream: Stream, complete: bool) -> None:
        """An upload is over; a lane whose body was cut short is not worth repairing."""
        over.forget(stream)
        if complete:
            self._multiplex.keep(over)
        else:
            over.close()

    def _fields(self, over: H2Link, request: Request, authorization: str | None, length: int | None) -> Fields:
        origin = over.link.origin
        fields = [
            (":method", request.method),
            (":scheme", origin.scheme),
            (":authority", origin.netloc),
            (":path", request.url.target),
            ("user-agent", self._terms.user_agent),
            *request.headers,
        ]
        if authorization:
            fields.append(("authorization", authorization))
        return fields + length_field(request.method, fields, length)

    def _response(self, over: H2Link, stream: Stream, request: Request, started: float, body: bytes = b"") -> Response:
        assert stream.head is not None
        origin = over.link.origin
        return response_of(stream.head, request, origin, body, http="2", started=started, terms=self._terms)


class _Untouched(Exception):
    """Nothing of an answer had arrived when *why* happened."""

    def __init__(self, why: LinkLost | ProtocolBroken) -> None:
        super().__init__(why.message)
        self.why = why
