"""HTTP/2 front end (RFC 9113): python-h2 for everything but DATA; one task reads, one task per stream answers.

Owns one connection's streams and windows. Refuses to know what is asked: it calls the same handler as h1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from fastcopy.http.wire import Headers
from fastcopy.serve import moving
from fastcopy.serve.framing import BrokenFraming, Data, Inbox, data_frames, end_of_stream, window_update
from fastcopy.serve.link import Link
from fastcopy.serve.message import BODILESS, PREFACE, BodyLost, Handler, Hangup, Head, Record, Reply
from fastcopy.serve.stream import WINDOW, Stream

_CONNECTION_WINDOW = 8 << 20
_DEFAULT_WINDOW = 65535
#: Go's client fills frames of up to 512 KiB; python-h2 allows 16 KiB unless told.
_MAX_FRAME = 256 * 1024
_READ = 256 * 1024
_MAX_STREAMS = 256
#: Resets a client may send before it is sent away: each costs a task (CVE-2023-44487, rapid reset).
_MOST_RESETS = 1000
#: HTTP/1.1 connection fields have no place in HTTP/2 (RFC 9113 8.2.2).
_FORBIDDEN = frozenset({"connection", "transfer-encoding", "keep-alive", "upgrade"})


class Conversation:
    """All streams of one connection."""

    def __init__(self, link: Link, handler: Handler, note: Callable[[Record], None], idle: float) -> None:
        self.link = link
        self._handler = handler
        self._note = note
        self._idle = idle
        self._streams: dict[int, Stream] = {}
        self._credit = _CONNECTION_WINDOW
        self._resets = 0
        self._inbox = Inbox(_MAX_FRAME, _READ)
        self._out: list[bytes | memoryview] = []
        self._sending = trio.Lock()
        self._h2 = _connection()

    async def run(self) -> None:
        """Until either side closes; raises nothing of the connection's."""
        async with trio.open_nursery() as nursery:
            try:
                await self._read(nursery)
            except BodyLost:
                pass
            except (BrokenFraming, h2.exceptions.ProtocolError):
                await self._say_goodbye()
            finally:
                for stream in self._streams.values():
                    stream.finish(reset=True)
            nursery.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        self._h2.close_connection(h2.errors.ErrorCodes.PROTOCOL_ERROR)
        try:
            await self._flush(wait=True)
            await self.link.linger(1 << 20, 1.0)
        except BodyLost:
            return

    # -- what comes in

    async def _read(self, nursery: trio.Nursery) -> None:
        """Take frames until the end; the only task that reads."""
        self._h2.receive_data(await self.link.receive_exactly(len(PREFACE)))
        await self._flush()
        while count := await self.link.receive_into(self._inbox.room(), self._patience()):
            self._inbox.fill(count)
            for frame in self._inbox.frames():
                if isinstance(frame, Data):
                    self._data(frame)
                else:
                    for event in self._h2.receive_data(frame):
                        self._on(event, nursery)
            await self._flush()

    def _patience(self) -> float:
        return self._idle if not self._streams else max(self._idle, self.link.stall)

    def _on(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._open(event, nursery)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self._close(event.stream_id or 0, reset=isinstance(event, h2.events.StreamReset))
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for stream in self._streams.values():
                stream.room.set()

    def _open(self, event: h2.events.RequestReceived, nursery: trio.Nursery) -> None:
        assert event.stream_id is not None
        head = _head(event.headers or [], tls=self.link.tls)
        length = head.headers.integer("Content-Length")
        if event.stream_ended is not None and length is None:
            length = 0
        stream = Stream(event.stream_id, length, self.link.stall, self._grant)
        if known := self._h2.streams.get(stream.id):  # a reset behind the head in the same packet: gone already
            # python-h2 never sees DATA, so the comparison with Content-Length is ours (Stream.read)
            known._expected_content_length = None
        self._streams[stream.id] = stream
        nursery.start_soon(self._answer, head, stream)

    def _close(self, number: int, *, reset: bool) -> None:
        self._resets += reset
        if self._resets > _MOST_RESETS:
            raise BrokenFraming("too many resets")
        if stream := self._streams.get(number):
            stream.finish(reset=reset)

    def _data(self, frame: Data) -> None:
        self._credit -= frame.flow
        stream = self._streams.get(frame.stream)
        if stream is None or stream.ended:  # answered already: the connection's window needs it back
            self._give_back(frame.flow)
        elif not stream.add(frame.payload, frame.flow, ends=frame.ends):
            raise BrokenFraming("more than the stream's window")
        elif frame.ends:  # the one thing about DATA that python-h2 must know
            self._h2.receive_data(end_of_stream(frame.stream))
        if self._credit < 0:
            raise BrokenFraming("more than the connection's window")

    async def _grant(self, number: int, flow: int) -> None:
        """Credit for what a handler has consumed."""
        self._out.append(window_update(number, flow))
        self._give_back(flow)
        await self._flush()

    def _give_back(self, flow: int) -> None:
        if flow:
            self._credit += flow
            self._out.append(window_update(0, flow))

    # -- what goes out

    async def _answer(self, head: Head, stream: Stream) -> None:
        status, sent = 0, 0
        try:
            reply = await self._handler(head, stream)
            status = reply.status
            sent = await self._reply(head, stream, reply)
        except (BodyLost, Hangup):
            self._reset(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        finally:
            self._note(Record(head.method, head.target, status, stream.received, sent, head.http))
            self._forget(stream)
        try:
            await self._flush()
        except BodyLost:  # the reader meets it too
            return

    def _forget(self, stream: Stream) -> None:
        """The exchange is over: its unread bytes go back to the connection's window."""
        self._streams.pop(stream.id, None)
        self._give_back(stream.abandon())
        if not stream.ended:  # the rest of the request is not wanted (RFC 9113 8.1)
            self._reset(stream, h2.errors.ErrorCodes.NO_ERROR)

    def _reset(self, stream: Stream, code: h2.errors.ErrorCodes) -> None:
        try:
            self._h2.reset_stream(stream.id, code)
        except h2.exceptions.ProtocolError:  # closed already
            return

    async def _reply(self, head: Head, stream: Stream, reply: Reply) -> int:
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
        async with aclosing(moving.pieces(reply.body)) as pieces:
            return await self._send_body(stream, pieces)

    async def _send_body(self, stream: Stream, pieces: AsyncIterator[memoryview]) -> int:
        sent = 0
        async for piece in pieces:
            at = 0
            while at < len(piece):
                part = piece[at : at + await self._room(stream)]
                at += len(part)
                sent += len(part)
                self._queue(stream, part)
                await self._flush(wait=True)
        try:
            self._h2.end_stream(stream.id)
        except h2.exceptions.ProtocolError:
            raise BodyLost from None
        await self._flush(wait=True)
        return sent

    def _queue(self, stream: Stream, part: memoryview) -> None:
        """DATA frames behind whatever python-h2 has to say; the windows are kept honest."""
        self._collect()
        self._out += data_frames(stream.id, part, self._h2.max_outbound_frame_size)
        self._h2.outbound_flow_control_window -= len(part)
        self._h2.streams[stream.id].outbound_flow_control_window -= len(part)

    async def _room(self, stream: Stream) -> int:
        """How many bytes may be sent now; waits for it. Raises BodyLost."""
        while not stream.reset:
            try:
                room = self._h2.local_flow_control_window(stream.id)
            except h2.exceptions.ProtocolError:
                break
            if room > 0:
                return room
            await stream.wait_for_room()
        raise BodyLost

    def _collect(self) -> None:
        if data := self._h2.data_to_send():
            self._out.append(data)

    async def _flush(self, *, wait: bool = False) -> None:
        """Send what is queued. Without `wait` a task that is sending already takes it along. Raises BodyLost."""
        self._collect()
        if self._sending.locked() and not wait:
            return
        async with self._sending:
            while self._out:
                data, self._out = b"".join(self._out), []
                await self.link.send(data)
                self._collect()


def _connection() -> h2.connection.H2Connection:
    config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    connection = h2.connection.H2Connection(config)
    codes = h2.settings.SettingCodes
    wide = {
        codes.INITIAL_WINDOW_SIZE: WINDOW,
        codes.MAX_FRAME_SIZE: _MAX_FRAME,
        codes.MAX_CONCURRENT_STREAMS: _MAX_STREAMS,
        codes.MAX_HEADER_LIST_SIZE: 64 * 1024,
    }
    # update() would only queue them for a second SETTINGS frame after the first is acknowledged
    connection.local_settings = h2.settings.Settings(client=False, initial_values=wide)
    connection.max_inbound_frame_size = _MAX_FRAME
    connection.initiate_connection()
    connection.increment_flow_control_window(_CONNECTION_WINDOW - _DEFAULT_WINDOW)
    return connection


def _head(decoded: Iterable[tuple[str | bytes, str | bytes]], *, tls: bool) -> Head:
    pairs = [(str(name), str(value)) for name, value in decoded]  # text already: header_encoding is set
    pseudo = {name: value for name, value in pairs if name.startswith(":")}
    headers = Headers((name, value) for name, value in pairs if not name.startswith(":"))
    authority = pseudo.get(":authority", "") or headers.get("Host")
    scheme = "https" if tls else "http"
    return Head(pseudo.get(":method", ""), pseudo.get(":path", ""), headers, authority, scheme, "2")
