"""Blob bodies over HTTP/2: one stream on a leased connection, its DATA frames moved by the pump.

Law 1: while the pump works python-h2 knows nothing; afterwards its books are made true again. What the pump acted
on (SETTINGS, PING) is replayed into it, and its answers are thrown away, the pump has given them.
Law 2: a lane on which anything ended other than it should is closed, not repaired.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import h2.exceptions

from fastcopy.errors import Bug, FastcopyError, LinkLost
from fastcopy.http import h2_frames as frames
from fastcopy.http.h2 import MAX_FRAME, H2Link, Stream
from fastcopy.http.lease import LAST_WORDS, BodyLease, UploadLease
from fastcopy.http.link import Link

if TYPE_CHECKING:
    from fastcopy._native import Inlet, Outlet, Report
    from fastcopy.http.wire import Response

#: What may be under way to us on a lane: 4 MiB in 30 ms are 140 MB/s per connection, and the kernel holds them.
LANE_WINDOW = 4 << 20
#: Small head reads: what they swallow of a body is copied.
LANE_READ = 16 << 10


def lane(link: Link) -> H2Link:
    """A connection for bodies, one stream at a time."""
    return H2Link(link, stream_window=LANE_WINDOW, connection_window=LANE_WINDOW, read=LANE_READ)


class H2Body(BodyLease):
    """A response body on a lane; made by `lend`."""

    def __init__(
        self, over: H2Link, stream: Stream, response: Response, stall: float, done: Callable[[H2Link], None]
    ) -> None:
        assert stream.head is not None
        super().__init__(response, stream.head.length)
        self._lane = over
        self._stream = stream
        self._stall = stall
        self._done = done

    @classmethod
    async def lend(
        cls, over: H2Link, stream: Stream, response: Response, stall: float, done: Callable[[H2Link], None]
    ) -> H2Body:
        """The lease, with an inlet when the length is known; nothing of ours may wait to be sent then."""
        body = cls(over, stream, response, stall, done)
        if body.length is not None and over.link.lendable:
            await over.flush(stall)
            body.inlet = body._make_inlet(body.length)
        return body

    def _make_inlet(self, length: int) -> Inlet:
        from fastcopy._native import Inlet

        over, stream = self._lane, self._stream
        if stream.ended:
            return Inlet.memory(bytes(stream.body))
        return Inlet.h2(
            over.link.lend(),
            stream.id,
            length,
            prefix=bytes(stream.body),
            frames=over.cutter.release(),
            stream_window=over.conn.streams[stream.id].inbound_flow_control_window,
            connection_window=over.conn.inbound_flow_control_window,
            max_frame=MAX_FRAME,
        )

    async def read_some(self) -> bytes:
        if self.inlet is not None:
            raise Bug("this body is lent; read it through its inlet")
        stream = self._stream
        await self._lane.until(stream, lambda: stream.ended or stream.body, self._stall)
        piece = bytes(stream.body)
        stream.body.clear()
        return piece

    async def settle(self, report: Report | None = None) -> None:
        complete = self.inlet.remaining == 0 if self.inlet is not None else self._stream.ended
        if not complete:
            self.close()
            return
        if self.inlet is not None and not self._stream.ended:
            self._reconcile(self.inlet)
            await self._lane.flush(self._stall)
        self._lane.forget(self._stream)
        self._over(whole=True)
        self._done(self._lane)

    def _reconcile(self, inlet: Inlet) -> None:
        """Grant what was consumed and not yet granted: then the window is again what python-h2 believes it to be."""
        over = self._lane
        over.link.reclaim()
        owed = inlet.consumed - inlet.granted[1]
        with suppress(h2.exceptions.ProtocolError):
            over.conn.reset_stream(self._stream.id, frames.CANCEL)
        reset = over.conn.data_to_send()
        over.feed_silently(inlet.replay)
        over.queue((b"" if inlet.ended else reset) + (frames.window_update(owed) if owed > 0 else b""))

    def close(self) -> None:
        self._over()
        self._lane.link.reclaim()
        self._lane.close()


class SharedBody(BodyLease):
    """A response body on a connection that carries other streams too: read from the loop, never lent."""

    def __init__(self, over: H2Link, stream: Stream, response: Response, stall: float) -> None:
        assert stream.head is not None
        super().__init__(response, stream.head.length)
        self._over_h2, self._stream, self._stall = over, stream, stall

    async def read_some(self) -> bytes:
        stream = self._stream
        await self._over_h2.until(stream, lambda: stream.ended or stream.body, self._stall)
        return self._over_h2.take(stream)

    async def settle(self, report: Report | None = None) -> None:
        self._end(whole=self._stream.ended and not self._stream.body)

    def close(self) -> None:
        self._end(whole=False)

    def _end(self, *, whole: bool) -> None:
        self._over(whole=whole)
        self._over_h2.forget(self._stream)


class H2Upload(UploadLease):
    """A request body on a lane."""

    def __init__(
        self,
        over: H2Link,
        stream: Stream,
        length: int | None,
        *,
        patience: float,
        stall: float,
        finish: Callable[[H2Link, Stream, bool], Awaitable[Response]],
    ) -> None:
        self._lane = over
        self._stream = stream
        self._length = length
        self._patience = patience
        self._stall = stall
        self._finish = finish
        self._outlet: Outlet | None = None
        self._ended = False

    @property
    def outlet(self) -> Outlet | None:
        from fastcopy._native import Outlet

        over, number = self._lane, self._stream.id
        if self._length == 0:
            return Outlet.null()  # the end of the stream is all there is to send; `finish` does
        if self._outlet is None and self._length is not None and over.link.lendable:
            self._outlet = Outlet.h2(
                over.link.lend(),
                number,
                stream_window=over.conn.streams[number].outbound_flow_control_window,
                connection_window=over.conn.outbound_flow_control_window,
                max_frame=over.conn.max_outbound_frame_size,
                initial_window=over.conn.remote_settings.initial_window_size,
                frames=over.cutter.release(),
            )
        return self._outlet

    async def send(self, data: bytes) -> None:
        with suppress(LinkLost):  # `finish` reports it
            await self._lane.send(self._stream, data, self._stall, end=False)

    async def finish(self, report: Report | None = None) -> Response:
        try:
            complete = await self._end()
            response = await self._answer(complete)
            self._over(whole=200 <= response.status < 300)
            return response
        except BaseException:
            self.close()
            raise

    async def _end(self) -> bool:
        """Bring python-h2's books up to date and end the body; whether all of it was sent."""
        if self._outlet is not None:
            self._reconcile(self._outlet)
            return bool(self._outlet.ended)
        with suppress(LinkLost):
            await self._lane.send(self._stream, b"", self._stall, end=True)
        return self._stream.failure is None

    def _reconcile(self, outlet: Outlet) -> None:
        over, number = self._lane, self._stream.id
        over.link.reclaim()
        over.conn.outbound_flow_control_window -= outlet.sent
        over.conn.streams[number].outbound_flow_control_window -= outlet.sent
        if outlet.ended:
            over.conn.end_stream(number)
        over.feed_silently(outlet.replay)
        over.feed(outlet.answer)

    async def _answer(self, complete: bool) -> Response:
        over, stream = self._lane, self._stream
        try:
            await over.until(stream, lambda: stream.head is not None, self._patience if complete else LAST_WORDS)
        except FastcopyError as error:
            if complete:
                raise
            raise LinkLost(f"{over.link.origin} broke off an upload") from error
        return await self._finish(over, stream, complete)

    def close(self) -> None:
        self._over()
        self._lane.link.reclaim()
        self._lane.close()
