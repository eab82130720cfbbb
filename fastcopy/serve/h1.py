"""HTTP/1.1 front end: heads through h11, bodies past it.

Owns one connection's conversation. Refuses to know what is asked: it calls a handler with a head and a body.
"""

from __future__ import annotations

import http
from collections.abc import Callable
from functools import lru_cache

import h11

from fastcopy.http.wire import Headers
from fastcopy.serve import moving
from fastcopy.serve.content import Spool
from fastcopy.serve.link import Link
from fastcopy.serve.message import BODILESS, BodyLost, Handler, Hangup, Head, Record, Reply

#: Bytes of an unread request body that are swallowed to keep the connection; above, it is closed after the answer.
_SWALLOW = 64 * 1024
_LINGER_BYTES, _LINGER_SECONDS = 64 << 20, 5.0
_HEAD_LIMIT = 64 * 1024
_BAD = Reply(400, [("Content-Type", "text/plain")], b"bad request\n")
_WRONG_VERSION = Reply(505, [("Content-Type", "text/plain")], b"HTTP/1.1 is spoken here\n")


class _LengthBody:
    """A body of known length: the part read with the head, then straight from the connection."""

    def __init__(self, talk: Conversation, length: int, expects: bool) -> None:
        self.length: int | None = length
        self.received = 0
        self._left = length
        self._talk = talk
        self._expects = expects

    @property
    def unread(self) -> int:
        return self._left

    async def read(self, max_bytes: int) -> bytes:
        await self._invite()
        if not self._left or not max_bytes:
            return b""
        data = self._talk.buffered(min(max_bytes, self._left))
        data = data or await self._talk.link.receive(min(max_bytes, self._left, 64 * 1024))
        if not data:
            raise BodyLost
        self._count(len(data))
        return data

    async def pour(self, spool: Spool) -> None:
        await self._invite()
        before = spool.length
        try:
            spool.write(self._talk.buffered(self._left))
            await moving.receive(self._talk.link, spool, self._left - (spool.length - before))
        except OSError:
            self._talk.spoilt = True  # taken from the connection, but not counted
            raise
        finally:
            self._count(spool.length - before)

    def _count(self, count: int) -> None:
        self.received += count
        self._left -= count

    async def _invite(self) -> None:
        if self._expects and self._left:
            self._expects = False
            await self._talk.link.send(b"HTTP/1.1 100 Continue\r\n\r\n")


class _ChunkedBody:
    """Transfer-Encoding: chunked, decoded by h11 in the loop."""

    def __init__(self, talk: Conversation, parser: h11.Connection, expects: bool) -> None:
        self.length: int | None = None
        self.received = 0
        self._talk = talk
        self._parser = parser
        self._ended = False
        self._expects = expects
        self._rest = b""

    @property
    def unread(self) -> int:
        return 0 if self._ended else 1 << 62

    async def read(self, max_bytes: int) -> bytes:
        if self._expects:
            self._expects = False
            await self._talk.link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = self._rest or await self._next()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def _next(self) -> bytes:
        while not self._ended:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError:
                raise BodyLost from None
            if event is h11.NEED_DATA:
                self._parser.receive_data(await self._talk.link.receive())
            elif isinstance(event, h11.Data):
                self.received += len(event.data)
                return bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._ended = True
                self._talk.leftover = self._parser.trailing_data[0]
            else:
                raise BodyLost
        return b""

    async def pour(self, spool: Spool) -> None:
        while data := await self.read(1 << 20):
            spool.write(data)


class Conversation:
    """Requests and answers of one connection, in order."""

    def __init__(
        self, link: Link, handler: Handler, note: Callable[[Record], None], idle: float, *, keep_alive: bool = True
    ) -> None:
        self.link = link
        self._keep_alive = keep_alive
        self.leftover = b""
        self.spoilt = False  #: where the next request begins is not known any more
        self._handler = handler
        self._note = note
        self._idle = idle

    def buffered(self, most: int) -> bytes:
        """Take up to `most` bytes that were read beyond a head."""
        data, self.leftover = self.leftover[:most], self.leftover[most:]
        return data

    async def run(self) -> None:
        """Until either side closes; raises nothing of the connection's."""
        try:
            while await self._exchange():
                pass
        except BodyLost:
            return
        except Hangup:
            self.link.abort()

    async def _exchange(self) -> bool:
        """One request and its answer; False when the connection ends."""
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT)
        try:
            request = await self._read_head(parser)
        except h11.RemoteProtocolError:
            return await self._refuse(_BAD)
        if request is None:
            return False
        if request.http_version not in (b"1.0", b"1.1"):  # HTTP/2's preface looks like a request
            return await self._refuse(_WRONG_VERSION)
        head = self._head(request)
        body = self._body(parser, request)
        keep = self._keep_alive and parser.their_state is not h11.MUST_CLOSE and _keeps_alive(request)
        return await self._answer(head, body, keep)

    async def _refuse(self, reply: Reply) -> bool:
        await self._send(reply, head_only=False, keep=False)
        await self.link.linger(_LINGER_BYTES, _LINGER_SECONDS)
        return False

    async def _answer(self, head: Head, body: _LengthBody | _ChunkedBody, keep: bool) -> bool:
        status, before = 0, self.link.bytes_out
        try:
            reply = await self._handler(head, body)
            keep = keep and body.unread <= _SWALLOW and not self.spoilt
            status = reply.status
            await self._send(reply, head_only=head.method == "HEAD", keep=keep)
        finally:
            sent = self.link.bytes_out - before
            self._note(Record(head.method, head.target, status, body.received, sent, head.http))
        if not keep:
            await self._part(body)
            return False
        while body.unread:
            await body.read(_SWALLOW)
        return True

    async def _part(self, body: _LengthBody | _ChunkedBody) -> None:
        if body.unread or self.spoilt:
            await self.link.linger(_LINGER_BYTES, _LINGER_SECONDS)

    async def _read_head(self, parser: h11.Connection) -> h11.Request | None:
        if self.leftover:
            parser.receive_data(self.leftover)
            self.leftover = b""
        first = True
        while (event := parser.next_event()) is h11.NEED_DATA:
            data = await self.link.receive(4096, self._idle if first else None)
            first = False
            parser.receive_data(data)
        if not isinstance(event, h11.Request):
            return None
        self.leftover = parser.trailing_data[0]
        return event

    def _body(self, parser: h11.Connection, request: h11.Request) -> _LengthBody | _ChunkedBody:
        expects = parser.they_are_waiting_for_100_continue
        headers = dict(request.headers)
        if b"transfer-encoding" in headers:
            self.leftover = b""  # h11 keeps and decodes it
            return _ChunkedBody(self, parser, expects)
        return _LengthBody(self, int(headers.get(b"content-length", b"0")), expects)

    def _head(self, request: h11.Request) -> Head:
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
        return Head(
            request.method.decode("ascii"),
            request.target.decode("latin-1"),
            headers,
            headers.get("Host"),
            "https" if self.link.tls else "http",
            request.http_version.decode("ascii"),
        )

    async def _send(self, reply: Reply, *, head_only: bool, keep: bool) -> None:
        block = _render(reply, keep)
        bodiless = head_only or reply.status in BODILESS
        if not bodiless and isinstance(reply.body, bytes):
            await self.link.send(block + reply.body)
            return
        await self.link.send(block)
        if not bodiless:
            await moving.send(self.link, reply.body)


def _keeps_alive(request: h11.Request) -> bool:
    options = b",".join(value for name, value in request.headers if name == b"connection").lower()
    return request.http_version == b"1.1" and b"close" not in options


def _render(reply: Reply, keep: bool) -> bytes:
    lines = [_status_line(reply.status)]
    lines += [f"{name}: {_clean(value)}" for name, value in reply.headers]
    if reply.status not in BODILESS:
        lines.append(f"Content-Length: {reply.length}")
    if not keep:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    try:
        reason = http.HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return f"HTTP/1.1 {status} {reason}"


def _clean(value: str) -> str:
    """A header value can never start a line of its own (media types come from clients)."""
    return value.replace("\r", " ").replace("\n", " ")
