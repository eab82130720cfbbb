"""One HTTP/1.1 exchange on a Link: h11 for the heads, nothing between the socket and whoever reads the body.

Law 1: h11 decides what a head means and whether the link may live (`our_state`); nobody parses Connection: by hand.
Law 2: a body with a known length never passes through h11: what the head reads swallowed is handed over as a prefix,
the rest stays in the socket. A fresh h11.Connection serves the next exchange on the same link.
Law 3: chunked and length-less bodies are read here, by h11, and cannot be lent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import h11
import trio

from fastcopy.errors import Bug, LinkLost, ProtocolBroken
from fastcopy.http.wire import Headers

if TYPE_CHECKING:
    from fastcopy.http.link import Link

#: Head reads are small, so that at most this much of a body is copied as prefix.
HEAD_READ = 4096
BODY_READ = 64 << 10
#: Presigned Location headers are several KiB long; h11's own 16 KiB is too small for some (protocol reference 7.1).
HEAD_LIMIT = 64 << 10
#: More interim answers than this are a flood.
INTERIM_LIMIT = 32
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response. `length` is that of the body that follows on the wire, None when unknown."""

    status: int
    headers: Headers
    length: int | None


class Placeholder:
    """Stands for *length* body bytes that h11 never sees; keeps its Content-Length bookkeeping honest."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class Exchange:
    """One request and its response. Whoever makes it calls `settle` or `drop` exactly once at the end."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.touched = False  #: something of the answer arrived: the request must not be repeated blindly
        self._conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._method = ""
        self._head: Head | None = None
        self._lost: LinkLost | None = None
        self._clean = False  #: the response body was read to its end, and nothing came after it

    async def send(self, method: str, target: str, headers: Pairs, body: bytes | None, patience: float) -> None:
        """Send a whole request; a link that breaks under it may still hold an early answer, so look for one."""
        head = self._render(method, target, headers)
        if body:
            self._conn.send_with_data_passthrough(h11.Data(data=body))
        tail = self._conn.send(h11.EndOfMessage()) or b""
        try:
            await self.link.send_all(head + body + tail if body else head + tail, patience)
        except LinkLost as error:
            if not body:
                raise
            self._lost = error

    async def send_head(self, method: str, target: str, headers: Pairs, patience: float) -> None:
        """Send the head of a request whose body follows by way of a pump, or of `send_piece`."""
        await self.link.send_all(self._render(method, target, headers), patience)

    async def send_piece(self, data: bytes, patience: float) -> None:
        """Send a part of the body (chunk-framed when the head said so)."""
        framed = self._conn.send(h11.Data(data=data)) or b""
        await self.link.send_all(framed, patience)

    async def send_end(self, patience: float) -> None:
        """End a body that was sent with `send_piece`."""
        tail = self._conn.send(h11.EndOfMessage()) or b""
        if tail:
            await self.link.send_all(tail, patience)

    def pumped(self, length: int) -> None:
        """A pump has sent the *length* bytes of the request body."""
        self._conn.send_with_data_passthrough(h11.Data(data=cast(Any, Placeholder(length))))
        self._conn.send(h11.EndOfMessage())

    def _render(self, method: str, target: str, headers: Pairs) -> bytes:
        self._method = method
        try:
            return self._conn.send(h11.Request(method=method, target=target, headers=list(headers))) or b""
        except h11.LocalProtocolError as error:
            raise ProtocolBroken(f"not a request that HTTP/1.1 can carry: {error}") from None

    async def receive_head(self, patience: float, already: bytes = b"") -> Head:
        """The final response head, interim ones skipped, within *patience* seconds in all.

        *already* are bytes of the answer that a pump has read. Raises LinkLost, Stalled, ProtocolBroken.
        """
        deadline = trio.current_time() + patience
        interim = 0
        data = already or await self._more(deadline)
        while True:
            self._conn.receive_data(data)
            event = self._next()
            while isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > INTERIM_LIMIT:
                    raise ProtocolBroken(f"{self.link.origin} sends interim answers without end")
                event = self._next()
            if isinstance(event, h11.Response):
                self._head = self._understand(event)
                return self._head
            if event is not h11.NEED_DATA:
                raise LinkLost(f"{self.link.origin} closed the connection before it answered")
            data = await self._more(deadline)

    async def _more(self, deadline: float) -> bytes:
        try:
            data = await self.link.receive_some(HEAD_READ, deadline)
        except LinkLost as error:
            raise self._lost or error from None
        if not data:
            raise self._lost or LinkLost(f"{self.link.origin} closed the connection before it answered")
        self.touched = True
        return data

    def _next(self) -> object:
        try:
            return self._conn.next_event()
        except h11.RemoteProtocolError as error:
            raise ProtocolBroken(f"{self.link.origin} breaks HTTP/1.1: {error}") from None

    def _understand(self, event: h11.Response) -> Head:
        headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
        status = event.status_code
        if self._method == "HEAD" or status in (204, 304):
            return Head(status, headers, 0)
        if "transfer-encoding" in headers:
            return Head(status, headers, None)
        return Head(status, headers, headers.integer("content-length"))

    def take_prefix(self) -> bytes:
        """Body bytes that the head reads swallowed; for a body with a known length, once."""
        assert self._head is not None
        length = self._head.length
        assert length is not None
        prefix = self._conn.trailing_data[0]
        self._clean = len(prefix) <= length
        return prefix[:length]

    async def read_body(self, limit: int, stall: float) -> bytes:
        """The body in memory. A longer one than *limit* bytes is an error, but error bodies are cut there.

        Raises ProtocolBroken, LinkLost (also when the body ends before its length), Stalled.
        """
        assert self._head is not None
        length = self._head.length
        if length is None:
            return await self._read_framed(limit, stall)
        prefix = self.take_prefix()
        if length > limit:
            self._too_long(limit)
            self._clean = False
        wanted = min(length, limit)
        if len(prefix) >= wanted:
            return prefix[:wanted]
        body = bytearray(prefix)
        while len(body) < wanted:
            body += await self._receive_body(min(BODY_READ, wanted - len(body)), stall)
        return bytes(body)

    async def _receive_body(self, max_bytes: int, stall: float) -> bytes:
        data = await self.link.receive_some(max_bytes, trio.current_time() + stall)
        if not data:
            raise LinkLost(f"{self.link.origin} closed the connection in the middle of a body")
        return data

    async def _read_framed(self, limit: int, stall: float) -> bytes:
        body = bytearray()
        while piece := await self.read_some(stall):
            body += piece
            if len(body) > limit:
                self._too_long(limit)
                self._clean = False
                return bytes(body[:limit])
        return bytes(body)

    async def read_some(self, stall: float) -> bytes:
        """The next piece of the body, empty at its end; for every framing. Raises as `read_body`."""
        while True:
            event = self._next()
            if isinstance(event, h11.Data):
                await trio.lowlevel.checkpoint()
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._clean = self._conn.trailing_data == (b"", False)  # nothing more came, not even EOF
                return b""
            if event is not h11.NEED_DATA:
                return b""
            data = await self.link.receive_some(BODY_READ, trio.current_time() + stall)
            self._feed_body(data)

    def _feed_body(self, data: bytes) -> None:
        try:
            self._conn.receive_data(data)
        except h11.RemoteProtocolError:
            raise ProtocolBroken(f"{self.link.origin} breaks HTTP/1.1 in a body") from None
        if not data and self._head is not None and (self._head.length or "transfer-encoding" in self._head.headers):
            raise LinkLost(f"{self.link.origin} closed the connection in the middle of a body")

    def _too_long(self, limit: int) -> None:
        assert self._head is not None
        if 200 <= self._head.status < 300:
            raise ProtocolBroken(f"{self.link.origin} sends more than the {limit} bytes that were expected")

    @property
    def keepable(self) -> bool:
        """Both sides are done with this exchange and the link may carry another, h11 says."""
        return self._clean and self._conn.our_state is h11.DONE and not self.link.closed

    @property
    def head(self) -> Head:
        """The head that `receive_head` returned."""
        if self._head is None:
            raise Bug("no response head was read")
        return self._head

    def drop(self) -> None:
        """Close the link; safe at any time."""
        self.link.close()
