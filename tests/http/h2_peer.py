"""A small HTTP/2 server made with python-h2, scripted per request."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from tests.http.support import Peer

Script = Callable[["Asked"], Awaitable[None]]


@dataclass
class Asked:
    """One request: its head, its body so far, and the ways to answer."""

    peer: H2Peer
    id: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    ended: trio.Event = field(default_factory=trio.Event)
    number: int = 0

    @property
    def path(self) -> str:
        return self.headers[":path"]

    async def answer(self, status: int = 200, body: bytes = b"", *, end: bool = True, **headers: str) -> None:
        fields = [(":status", str(status)), *((name.replace("_", "-"), value) for name, value in headers.items())]
        if end and "content_length" not in headers:
            fields.append(("content-length", str(len(body))))
        self.peer.conn.send_headers(self.id, fields, end_stream=end and not body)
        await self.peer.flush()
        if body:
            await self.data(body, end=end)

    async def data(self, body: bytes, *, end: bool = True, piece: int = 16384, pad: int | None = None) -> None:
        while body:
            room = min(self.peer.conn.local_flow_control_window(self.id), piece)
            room = min(room - (0 if pad is None else pad + 1), len(body))
            if room <= 0:
                await self.peer.changed()
                continue
            self.peer.conn.send_data(self.id, body[:room], pad_length=pad)
            body = body[room:]
            await self.peer.flush()
        if end:
            self.peer.conn.end_stream(self.id)  # as Go does: an empty DATA frame after the body
            await self.peer.flush()

    async def reset(self, code: int) -> None:
        self.peer.conn.reset_stream(self.id, code)
        await self.peer.flush()


class H2Peer:
    """The server's end of one HTTP/2 connection."""

    def __init__(self, peer: Peer, script: Script, settings: dict[int, int] | None = None) -> None:
        self.stream = peer.stream
        self.script = script
        self.requests = 0
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        if settings:
            self.conn.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.asked: dict[int, Asked] = {}
        self._changed = trio.Event()
        self._sending = trio.Lock()

    async def changed(self) -> None:
        await self._changed.wait()

    async def raw(self, data: bytes) -> None:
        """Bytes that python-h2 does not know of."""
        await self.flush()
        async with self._sending:
            await self.stream.send_all(data)

    async def goaway(self, last: int, code: int = 0) -> None:
        await self.raw(struct.pack(">HBBBLLL", 0, 8, 7, 0, 0, last, code))

    async def flush(self) -> None:
        async with self._sending:
            data = self.conn.data_to_send()
            if data:
                await self.stream.send_all(data)

    async def serve(self) -> None:
        self.conn.initiate_connection()
        await self.flush()
        async with trio.open_nursery() as nursery:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await self.stream.receive_some(65536):
                    for event in self.conn.receive_data(data):
                        self._handle(event, nursery)
                    await self.flush()
            nursery.cancel_scope.cancel()

    def _handle(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        self._changed.set()
        self._changed = trio.Event()
        if isinstance(event, h2.events.RequestReceived):
            self.requests += 1
            asked = Asked(self, event.stream_id or 0, dict(event.headers or []), number=self.requests)  # type: ignore[arg-type]
            self.asked[asked.id] = asked
            nursery.start_soon(self._run, asked)
        elif isinstance(event, h2.events.DataReceived):
            self.asked[event.stream_id].body += event.data or b""
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.conn.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self.asked[event.stream_id].ended.set()

    async def _run(self, asked: Asked) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            await self.script(asked)


def speaks_h2(script: Script, settings: dict[int, int] | None = None) -> Callable[[Peer], Awaitable[None]]:
    """A handler for `serving` that speaks HTTP/2 and runs *script* for each request."""

    async def handler(peer: Peer) -> None:
        await H2Peer(peer, script, settings).serve()

    return handler
