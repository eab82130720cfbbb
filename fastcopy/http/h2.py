"""HTTP/2 on one Link: python-h2 decides, this moves bytes between it and the socket.

Law 1: nobody owns the connection in the background. Whoever waits reads for all (the leader) and hands the reading on
when it has what it wanted; a cancelled leader hands it on as well, so nothing is left behind.
Law 2: what is to be sent is appended to one buffer and leaves it only byte by byte as the kernel takes it; a
cancelled sender therefore never leaves half a frame on the wire.
Law 3: GOAWAY is drained: streams it lets live end normally, the others are known to be unprocessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack
import trio

from fastcopy.errors import FastcopyError, LinkLost, ProtocolBroken, Stalled, TooManyRequests
from fastcopy.http import h2_frames as frames
from fastcopy.http.h1 import INTERIM_LIMIT, Head
from fastcopy.http.link import Link, Unprocessed, WantsHttp1
from fastcopy.http.wire import Headers

#: Never more streams on one connection, whatever the server would allow (registries advertise 100 to 250).
STREAM_LIMIT = 100
#: Windows of metadata: a manifest (4 MiB at most) fits in few round trips, a hundred of them in the connection's.
STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 16 << 20
#: 64 to 256 KiB frames are python-h2's fastest [protocol reference 4.5]; the pump does not care.
MAX_FRAME = 256 << 10
HEADER_LIMIT = 64 << 10
READ = 64 << 10
_DEFAULT_WINDOW = 65535
S = h2.settings.SettingCodes


class Stream:
    """One request on a connection, and what has come back so far."""

    __slots__ = ("body", "ended", "failure", "head", "id", "interim", "method", "owed", "paced", "touched", "wake")

    def __init__(self, number: int, method: str) -> None:
        self.id = number
        self.method = method
        self.head: Head | None = None
        self.body = bytearray()
        self.ended = False
        self.failure: FastcopyError | None = None
        self.interim = 0
        self.touched = False
        self.paced = False  #: its window is topped up as `H2Link.take` takes the body, not as it comes in
        self.owed = 0
        self.wake = trio.Event()


class H2Link:
    """A connection that carries many requests at once (metadata), or one body at a time (lanes)."""

    def __init__(
        self,
        link: Link,
        *,
        stream_window: int = STREAM_WINDOW,
        connection_window: int = CONNECTION_WINDOW,
        read: int = READ,
    ) -> None:
        self.link = link
        self.key: object = link.key
        self.idle_since = 0.0
        self.uses = 0
        self.cutter = frames.Cutter(MAX_FRAME)
        self.draining = False
        self._read = read
        self._streams: dict[int, Stream] = {}
        self._out = bytearray()
        self._reading = False
        self._writing = trio.Lock()
        self._dead = False
        self._owed = 0  #: of the connection's window, for bodies of paced streams
        self.conn = _connection(stream_window, connection_window)
        self._out += self.conn.data_to_send()

    def __repr__(self) -> str:
        state = "dead" if self._dead else "draining" if self.draining else "open"
        return f"<H2Link {self.link.origin} {state} streams={len(self._streams)} uses={self.uses}>"

    # -- whether it can be used

    def looks_dead(self) -> bool:
        """Take in what came meanwhile (PING, SETTINGS, GOAWAY); whether no stream can be opened any more."""
        while not (self._reading or self._dead):
            try:
                data = self.link.receive_nowait(self._read)
            except LinkLost:
                self._die(lambda: LinkLost(f"connection to {self.link.origin} was lost"))
                break
            if data is None:
                break
            self._take(data)
        return self._dead or self.draining

    def has_room(self) -> bool:
        """Whether one more stream may be opened."""
        limit = min(STREAM_LIMIT, self.conn.remote_settings.max_concurrent_streams)
        return not (self._dead or self.draining) and len(self._streams) < limit

    @property
    def busy(self) -> bool:
        """Whether requests are in flight (a draining connection closes itself after the last of them)."""
        return bool(self._streams)

    def close(self) -> None:
        """Close at once; waiting requests fail."""
        self._die(lambda: LinkLost(f"connection to {self.link.origin} was closed"))

    # -- one request

    def open(self, method: str, fields: Sequence[tuple[str, str]], *, more: bool) -> Stream:
        """Send a head, to be flushed by whatever waits next; *more*: a body follows. Raises ProtocolBroken."""
        try:
            stream = Stream(self.conn.get_next_available_stream_id(), method)
            self.conn.send_headers(stream.id, list(fields), end_stream=not more)
        except h2.exceptions.ProtocolError as error:
            self.draining = True
            raise ProtocolBroken(f"not a request that HTTP/2 can carry: {error}") from None
        self._streams[stream.id] = stream
        self.uses += 1
        return stream

    async def send(self, stream: Stream, data: bytes | memoryview, stall: float, *, end: bool) -> None:
        """Send body bytes as the windows allow; stops early when the answer came first."""
        view = memoryview(data)
        while not (stream.ended or stream.failure):
            room = min(len(view), self.conn.local_flow_control_window(stream.id), self.conn.max_outbound_frame_size)
            if room or not view:
                self.conn.send_data(stream.id, view[:room].tobytes(), end_stream=end and room == len(view))
                view = view[room:]
                await self.flush(stall)
            if not view:
                return
            if not room:
                await self.until(
                    stream, lambda: stream.ended or self.conn.local_flow_control_window(stream.id) > 0, stall
                )

    async def receive_head(self, stream: Stream, patience: float) -> Head:
        """The final head of the answer, within *patience* seconds.

        Raises LinkLost (and its kinds), Stalled, ProtocolBroken.
        """
        await self.flush(patience)
        await self.until(stream, lambda: stream.head is not None, patience)
        assert stream.head is not None
        return stream.head

    async def read_body(self, stream: Stream, limit: int, stall: float) -> bytes:
        """The body in memory; over *limit* an error for 2xx, else cut there."""
        assert stream.head is not None
        while not stream.ended and len(stream.body) <= limit:
            await self._more(stream, len(stream.body), stall)
        if len(stream.body) > limit and 200 <= stream.head.status < 300:
            raise ProtocolBroken(f"{self.link.origin} sends more than the {limit} bytes that were expected")
        return bytes(stream.body[:limit])

    async def _more(self, stream: Stream, have: int, stall: float) -> None:
        await self.until(stream, lambda: stream.ended or len(stream.body) > have, stall)

    def take(self, stream: Stream) -> bytes:
        """What has come of the body of a paced stream; the server may send as much again."""
        piece = bytes(stream.body)
        stream.body.clear()
        if stream.owed >= STREAM_WINDOW // 4 and not (stream.ended or stream.failure or self._dead):
            with suppress(LinkLost):  # `until` reports it
                self.conn.increment_flow_control_window(stream.owed, stream.id)
                self.push()
            stream.owed = 0
        return piece

    def forget(self, stream: Stream) -> None:
        """The request is over; a stream that has not ended is reset. Safe at any time."""
        self._streams.pop(stream.id, None)
        if self._dead:
            return
        with suppress(h2.exceptions.ProtocolError, LinkLost):
            self.conn.reset_stream(stream.id, frames.CANCEL)  # a closed stream makes this raise
        with suppress(LinkLost):
            self.push()
        if self.draining and not self._streams:
            self.close()

    # -- waiting

    async def until(self, stream: Stream, ready: Callable[[], object], patience: float) -> None:
        """Return when *ready*; *patience* is the limit in seconds. Raises the stream's failure, or Stalled."""
        deadline = trio.current_time() + patience
        while not ready():
            if stream.failure is not None:
                raise stream.failure
            if self._reading:
                await self._follow(stream, deadline)
            else:
                await self._lead(stream, ready, deadline)

    async def _follow(self, stream: Stream, deadline: float) -> None:
        stream.wake = trio.Event()
        with trio.CancelScope(deadline=deadline) as scope:
            await stream.wake.wait()
        if scope.cancelled_caught:
            raise Stalled(f"{self.link.origin} did not answer within the time allowed")

    async def _lead(self, stream: Stream, ready: Callable[[], object], deadline: float) -> None:
        self._reading = True
        try:
            while not ready() and stream.failure is None:
                self._take(await self.link.receive_some(self._read, deadline))
        except LinkLost as error:
            message = error.message
            self._die(lambda: LinkLost(message))
        finally:
            self._reading = False
            self._hand_over()

    def _hand_over(self) -> None:
        for other in self._streams.values():
            if not other.ended and not other.wake.is_set():
                other.wake.set()
                return

    async def flush(self, stall: float) -> None:
        """Send what waits to be sent; *stall* seconds without progress are too many."""
        self.push()
        while self._out:
            async with self._writing:
                if self._out:
                    await self.link.wait_writable(trio.current_time() + stall)
                self.push()

    def push(self) -> None:
        """Send what the kernel takes at once. Raises LinkLost."""
        if self._dead:
            return
        self._out += self.conn.data_to_send()
        if self._out:
            sent = self.link.send_nowait(self._out)
            del self._out[:sent]

    # -- what came in

    def _take(self, data: bytes) -> None:
        if not data:
            self._die(lambda: LinkLost(f"{self.link.origin} closed the connection before it answered"))
            return
        if not self._digest(data):
            return
        try:
            self.push()
        except LinkLost as error:
            message = error.message
            self._die(lambda: LinkLost(message))

    def _digest(self, data: bytes) -> bool:
        """Let python-h2 see *data*; whether the connection survived that."""
        try:
            whole, leaving = self.cutter.feed(data)
            for event in self.conn.receive_data(whole):
                self._handle(event)
        except (h2.exceptions.ProtocolError, ValueError) as error:
            self._broken(data, str(error))
            return False
        for goaway in leaving:
            self._drain(goaway)
        return True

    def feed(self, data: bytes) -> None:
        """Take in bytes that a pump read from the link and did not act on."""
        if data:
            self._take(data)

    def feed_silently(self, data: bytes) -> None:
        """Take in frames that a pump has acted on; of our answers only PING acknowledgements may go out twice."""
        if self._digest(frames.merged(data)):
            self._out += frames.only_ping_acks(self.conn.data_to_send())

    def queue(self, data: bytes) -> None:
        """Send these frames of our own with the next flush."""
        self._out += data

    def _broken(self, data: bytes, reason: str) -> None:
        origin = self.link.origin
        if data.startswith(b"HTTP/1"):
            text = f"{origin} does not speak HTTP/2 without TLS"
        else:
            text = f"{origin} breaks HTTP/2: {reason}"
        with suppress(LinkLost):
            self.push()  # our GOAWAY, for the other side's log
        self._die(lambda: ProtocolBroken(text))

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for waiting in self._streams.values():
                waiting.wake.set()
            return
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.DataReceived):
            self._data(event, stream)
        elif stream is not None and type(event) in _HANDLERS:
            _HANDLERS[type(event)](self, stream, event)
            stream.wake.set()

    def _data(self, event: h2.events.DataReceived, stream: Stream | None) -> None:
        flow = event.flow_controlled_length or 0
        if stream is not None and stream.paced:
            stream.owed += flow
            self._owed += flow
            if self._owed >= CONNECTION_WINDOW // 4:  # the connection is for all: a slow reader holds up itself alone
                self.conn.increment_flow_control_window(self._owed)
                self._owed = 0
        else:
            with suppress(h2.exceptions.StreamClosedError):
                self.conn.acknowledge_received_data(flow, event.stream_id)
        if stream is not None:
            stream.body += event.data or b""
            stream.wake.set()

    def _response(self, stream: Stream, event: h2.events.ResponseReceived) -> None:
        stream.touched = True
        stream.head = _head(stream.method, event.headers or [])

    def _informational(self, stream: Stream, event: h2.events.InformationalResponseReceived) -> None:
        del event
        stream.touched = True
        stream.interim += 1
        if stream.interim > INTERIM_LIMIT:
            stream.failure = ProtocolBroken(f"{self.link.origin} sends interim answers without end")

    def _ended(self, stream: Stream, event: h2.events.StreamEnded) -> None:
        del event
        stream.ended = True

    def _reset(self, stream: Stream, event: h2.events.StreamReset) -> None:
        if stream.ended:
            return  # the answer is complete, the rest of our body is not needed (RFC 9113 8.1)
        stream.failure = self._refusal(int(event.error_code or 0))

    def _refusal(self, code: int, *, last: bool = False) -> FastcopyError:
        origin, name = self.link.origin, frames.error_name(code)
        if code == frames.HTTP_1_1_REQUIRED:
            return WantsHttp1(f"{origin} wants HTTP/1.1")
        if code == frames.ENHANCE_YOUR_CALM:
            return TooManyRequests(f"{origin} asks for fewer requests ({name})")
        if last or code == frames.REFUSED_STREAM:
            return Unprocessed(f"{origin} did not take the request ({name})")
        return LinkLost(f"{origin} broke off the exchange ({name})")

    def _drain(self, goaway: frames.GoAway) -> None:
        self.draining = True
        for stream in self._streams.values():
            if stream.id > goaway.last and stream.failure is None:
                stream.failure = self._refusal(goaway.code, last=True)
                stream.wake.set()

    def _die(self, failure: Callable[[], FastcopyError]) -> None:
        self._dead = True
        for stream in self._streams.values():
            if not stream.ended and stream.failure is None:
                stream.failure = failure()
            stream.wake.set()
        self.link.close()


_HANDLERS: dict[type[h2.events.Event], Callable[[H2Link, Stream, Any], None]] = {
    h2.events.ResponseReceived: H2Link._response,
    h2.events.InformationalResponseReceived: H2Link._informational,
    h2.events.StreamEnded: H2Link._ended,
    h2.events.StreamReset: H2Link._reset,
}


class _PlainEncoder(hpack.Encoder):
    """Strings as they are: Huffman coding a head with a 900-byte token takes 226 us instead of 12 to save 114 bytes."""

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        return bytes(super().encode(headers, huffman))


def _connection(stream_window: int, connection_window: int) -> h2.connection.H2Connection:
    config = h2.config.H2Configuration(client_side=True, header_encoding=None)
    conn = h2.connection.H2Connection(config)
    conn.encoder = _PlainEncoder()
    conn.local_settings = h2.settings.Settings(
        client=True,
        initial_values={
            S.ENABLE_PUSH: 0,
            S.INITIAL_WINDOW_SIZE: stream_window,
            S.MAX_FRAME_SIZE: MAX_FRAME,
            S.MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
        },
    )
    conn.max_inbound_frame_size = MAX_FRAME
    conn.initiate_connection()
    conn.increment_flow_control_window(connection_window - _DEFAULT_WINDOW)
    return conn


def _head(method: str, fields: Sequence[tuple[bytes, bytes]]) -> Head:
    headers = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    status = int(headers.get(":status", "0"))
    plain = Headers((name, value) for name, value in headers if not name.startswith(":"))
    empty = method == "HEAD" or status in (204, 304)
    return Head(status, plain, 0 if empty else plain.integer("content-length"))
