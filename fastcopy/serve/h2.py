"""HTTP/2 front end (RFC 9113) through python-h2: one task reads, one task per stream answers.

Owns one connection's streams and windows. Refuses to know what is asked: it calls the same handler as h1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from fastcopy.http.wire import Headers
from fastcopy.serve import moving
from fastcopy.serve.content import Spool
from fastcopy.serve.link import Link
from fastcopy.serve.message import BODILESS, BodyLost, Handler, Hangup, Head, Record, Reply

#: Bytes a client may send ahead of us. One stream may use 4 MiB: at 30 ms RTT that is 130 MB/s (64 KiB: 2 MB/s).
_STREAM_WINDOW, _CONNECTION_WINDOW = 4 << 20, 8 << 20
_MAX_FRAME = 1 << 20
_MAX_STREAMS = 256
_READ = 256 * 1024
#: Grant credit back once this much is consumed: one WINDOW_UPDATE per several frames.
_GRANT = 1 << 20
#: HTTP/1.1 connection fields have no place in HTTP/2 (RFC 9113 8.2.2).
_FORBIDDEN = frozenset({"connection", "transfer-encoding", "keep-alive", "upgrade"})


class _Stream:
    """One request: what arrived of its body, and room to send."""

    def __init__(self, talk: Conversation, stream_id: int, length: int | None, ended: bool) -> None:
        self.length = 0 if ended and length is None else length
        self.received = 0
        self.id = stream_id
        self.ended = ended
        self.reset = False
        self.news = trio.Event()  #: data, end or reset arrived
        self.room = trio.Event()  #: the peer granted window, or reset
        self._talk = talk
        self._parts: deque[tuple[bytes, int]] = deque()

    def add(self, data: bytes, flow: int) -> None:
        """DATA arrived; `flow` counts its padding too."""
        self._parts.append((data, flow))
        self.news.set()

    def finish(self, *, reset: bool) -> None:
        """END_STREAM, RST_STREAM or the end of the connection."""
        self.ended, self.reset = True, self.reset or reset
        self.news.set()
        if reset:
            self.room.set()

    async def read(self, max_bytes: int) -> bytes:
        while not self._parts:
            if self.reset or (self.ended and self.length is not None and self.received < self.length):
                raise BodyLost
            if self.ended:
                return b""
            await self._wait_for_news()
        data, flow = self._parts.popleft()
        if len(data) > max_bytes:
            self._parts.appendleft((data[max_bytes:], flow - max_bytes))
            data, flow = data[:max_bytes], max_bytes
        self.received += len(data)
        await self._talk.consumed(self.id, flow)
        return data

    async def _wait_for_news(self) -> None:
        self.news = trio.Event()
        with trio.move_on_after(self._talk.link.stall) as scope:
            await self.news.wait()
        if scope.cancelled_caught:
            raise BodyLost

    async def pour(self, spool: Spool) -> None:
        while data := await self.read(_MAX_FRAME):
            spool.write(data)

    def unread(self) -> int:
        """Flow-controlled bytes nobody took; they are given back to the connection's window."""
        total = sum(flow for _, flow in self._parts)
        self._parts.clear()
        return total


class Conversation:
    """All streams of one connection."""

    def __init__(self, link: Link, handler: Handler, note: Callable[[Record], None], idle: float) -> None:
        self.link = link
        self._handler = handler
        self._note = note
        self._idle = idle
        self._streams: dict[int, _Stream] = {}
        self._owed: dict[int, int] = {}  #: consumed bytes per stream whose credit has not been granted back
        self._sending = trio.Lock()
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)

    async def run(self) -> None:
        """Until either side closes; raises nothing of the connection's."""
        self._greet()
        try:
            async with trio.open_nursery() as nursery:
                await self._flush()
                await self._read(nursery)
                nursery.cancel_scope.cancel()
        finally:
            for stream in self._streams.values():
                stream.finish(reset=True)

    def _greet(self) -> None:
        codes = h2.settings.SettingCodes
        wide = {
            codes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            codes.MAX_FRAME_SIZE: _MAX_FRAME,
            codes.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
            codes.MAX_HEADER_LIST_SIZE: 64 * 1024,
        }
        # update() would only queue them for a second SETTINGS frame after the first is acknowledged
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=wide)
        self._h2.max_inbound_frame_size = _MAX_FRAME
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW - 65535)

    async def _read(self, nursery: trio.Nursery) -> None:
        """Feed python-h2 until the end; the only task that reads."""
        try:
            while data := await self.link.receive(_READ, self._patience()):
                for event in self._h2.receive_data(data):
                    self._on(event, nursery)
                await self._flush()
        except BodyLost:
            return
        except h2.exceptions.ProtocolError:
            await self._flush()  # python-h2 has queued the GOAWAY

    def _patience(self) -> float:
        return self._idle if not self._streams else max(self._idle, self.link.stall)

    def _on(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._open(event, nursery)
        elif isinstance(event, h2.events.DataReceived):
            self._data(event)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            if stream := self._streams.get(event.stream_id or 0):
                stream.finish(reset=isinstance(event, h2.events.StreamReset))
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for stream in self._streams.values():
                stream.room.set()

    def _open(self, event: h2.events.RequestReceived, nursery: trio.Nursery) -> None:
        assert event.stream_id is not None
        head = _head(event.headers or [], tls=self.link.tls)
        stream = _Stream(self, event.stream_id, head.headers.integer("Content-Length"), event.stream_ended is not None)
        self._streams[stream.id] = stream
        nursery.start_soon(self._answer, head, stream)

    def _data(self, event: h2.events.DataReceived) -> None:
        stream, flow = self._streams.get(event.stream_id or 0), event.flow_controlled_length or 0
        if stream is None:  # answered already: only the connection's window needs it back
            if flow:
                self._h2.increment_flow_control_window(flow)
        else:
            stream.add(event.data or b"", flow)

    async def consumed(self, stream_id: int, flow: int) -> None:
        """Grant credit back, in large pieces."""
        owed = self._owed[stream_id] = self._owed.get(stream_id, 0) + flow
        if owed >= _GRANT and stream_id in self._streams:
            self._owed[stream_id] = 0
            self._acknowledge(stream_id, owed)
            await self._flush()
        else:
            await trio.lowlevel.checkpoint()

    def _acknowledge(self, stream_id: int, flow: int) -> None:
        try:
            self._h2.acknowledge_received_data(flow, stream_id)
        except h2.exceptions.ProtocolError:  # the connection is closing
            return

    async def _answer(self, head: Head, stream: _Stream) -> None:
        status, sent = 0, 0
        try:
            reply = await self._handler(head, stream)
            status = reply.status
            sent = await self._reply(head, stream, reply)
        except (BodyLost, Hangup):
            self._reset(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        finally:
            self._note(Record(head.method, head.target, status, stream.received, sent, "2"))
            self._forget(stream)
        await self._flush()

    def _forget(self, stream: _Stream) -> None:
        self._streams.pop(stream.id, None)
        back = self._owed.pop(stream.id, 0) + stream.unread()
        if back:
            self._acknowledge(stream.id, back)
        if not stream.ended:  # the rest of the request is not wanted (RFC 9113 8.1)
            self._reset(stream, h2.errors.ErrorCodes.NO_ERROR)

    def _reset(self, stream: _Stream, code: h2.errors.ErrorCodes) -> None:
        try:
            self._h2.reset_stream(stream.id, code)
        except h2.exceptions.ProtocolError:  # closed already
            return

    async def _reply(self, head: Head, stream: _Stream, reply: Reply) -> int:
        """Send a reply; bytes of body sent. Raises BodyLost, Hangup."""
        headers = [(":status", str(reply.status))]
        headers += [(name.lower(), value) for name, value in reply.headers if name.lower() not in _FORBIDDEN]
        if reply.status not in BODILESS:
            headers.append(("content-length", str(reply.length)))
        empty = head.method == "HEAD" or reply.status in BODILESS or reply.length == 0
        try:
            self._h2.send_headers(stream.id, headers, end_stream=empty)
        except h2.exceptions.ProtocolError:
            raise BodyLost from None
        if empty:
            await self._flush()
            return 0
        return await self._send_body(stream, moving.pieces(reply.body), reply.length)

    async def _send_body(self, stream: _Stream, pieces: AsyncIterator[memoryview], length: int) -> int:
        sent = 0
        async for piece in pieces:
            at = 0
            while at < len(piece):
                part = piece[at : at + await self._room(stream)]
                at += len(part)
                sent += len(part)
                self._h2.send_data(stream.id, part, end_stream=sent == length)
                await self._flush(wait=True)
        return sent

    async def _room(self, stream: _Stream) -> int:
        """How much may be sent now; waits for it. Raises BodyLost."""
        while True:
            if stream.reset:
                raise BodyLost
            try:
                room = self._h2.local_flow_control_window(stream.id)
            except h2.exceptions.ProtocolError:
                raise BodyLost from None
            if room > 0:
                return min(room, self._h2.max_outbound_frame_size)
            stream.room = trio.Event()
            with trio.move_on_after(self.link.stall) as scope:
                await stream.room.wait()
            if scope.cancelled_caught:
                raise BodyLost

    async def _flush(self, *, wait: bool = False) -> None:
        """Send what python-h2 has queued. Without `wait` a task that is sending already takes it along."""
        if self._sending.locked() and not wait:
            return
        async with self._sending:
            while data := self._h2.data_to_send():
                try:
                    await self.link.send(data)
                except BodyLost:
                    for stream in self._streams.values():
                        stream.finish(reset=True)
                    raise


def _head(decoded: Iterable[tuple[str | bytes, str | bytes]], *, tls: bool) -> Head:
    pairs = [(str(name), str(value)) for name, value in decoded]  # text already: header_encoding is set
    pseudo = {name: value for name, value in pairs if name.startswith(":")}
    headers = Headers((name, value) for name, value in pairs if not name.startswith(":"))
    authority = pseudo.get(":authority", "") or headers.get("Host")
    scheme = "https" if tls else "http"
    return Head(pseudo.get(":method", ""), pseudo.get(":path", ""), headers, authority, scheme, "2")
