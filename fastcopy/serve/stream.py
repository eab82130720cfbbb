"""One HTTP/2 request: what arrived of its body, and whether it may be answered.

Owns the stream's inbound window. Refuses to know frames and sockets: the conversation puts bytes in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio

from fastcopy.serve.content import Spool
from fastcopy.serve.message import BodyLost

#: Bytes a client may send ahead of us. One stream may use 4 MiB: at 30 ms RTT that is 130 MB/s (64 KiB: 2 MB/s).
WINDOW = 4 << 20
#: Credit is given back once this much is consumed: one WINDOW_UPDATE per several frames.
GRANT = 1 << 20


class Stream:
    """The body of one request, as the handler reads it."""

    def __init__(
        self, number: int, length: int | None, stall: float, grant: Callable[[int, int], Awaitable[None]]
    ) -> None:
        self.id = number
        self.length = length
        self.received = 0  #: read by the handler
        self.ended = False
        self.reset = False
        self.room = trio.Event()  #: the peer gave credit, or is gone
        self._credit = WINDOW
        self._owed = 0
        self._news = trio.Event()
        self._parts: deque[tuple[bytes, int]] = deque()
        self._stall = stall
        self._grant = grant

    def add(self, data: bytes, flow: int, *, ends: bool) -> bool:
        """DATA arrived; False when it is more than its window."""
        self._credit -= flow
        self._parts.append((data, flow))
        self.ended = self.ended or ends
        self._news.set()
        return self._credit >= 0

    def finish(self, *, reset: bool) -> None:
        """The end of the stream without DATA, a reset, or the end of the connection."""
        self.ended, self.reset = True, self.reset or reset
        self._news.set()
        if reset:
            self.room.set()

    async def read(self, max_bytes: int) -> bytes:
        """Some bytes, b"" at the end; raises BodyLost."""
        while await self._has_more():
            data, flow = self._parts.popleft()
            if len(data) > max_bytes:
                self._parts.appendleft((data[max_bytes:], flow - max_bytes))
                data, flow = data[:max_bytes], max_bytes
            await self._consume(len(data), flow)
            if data:  # an empty DATA frame is not the end
                return data
        return b""

    async def _has_more(self) -> bool:
        while not self._parts:
            if self.reset or (self.ended and self.length is not None and self.received < self.length):
                raise BodyLost
            if self.ended:
                return False
            await self._wait_for_news()
        return True

    async def _consume(self, count: int, flow: int) -> None:
        self.received += count
        self._owed += flow
        if self.length is not None and self.received > self.length:
            raise BodyLost
        if self._owed >= GRANT and not self.ended:
            self._credit += self._owed
            await self._grant(self.id, self.give_back())
        else:
            await trio.lowlevel.checkpoint()

    async def pour(self, spool: Spool) -> None:
        """Everything into an upload, in the loop: other streams share the connection."""
        while data := await self.read(GRANT):
            spool.write(data)

    async def _wait_for_news(self) -> None:
        self._news = trio.Event()
        with trio.move_on_after(self._stall) as scope:
            await self._news.wait()
        if scope.cancelled_caught:
            raise BodyLost

    async def wait_for_room(self) -> None:
        """Until the peer gives credit; raises BodyLost."""
        self.room = trio.Event()
        with trio.move_on_after(self._stall) as scope:
            await self.room.wait()
        if scope.cancelled_caught or self.reset:
            raise BodyLost

    def give_back(self) -> int:
        """Flow-controlled bytes consumed since the last time."""
        owed, self._owed = self._owed, 0
        return owed

    def abandon(self) -> int:
        """All bytes nobody has given back yet: the connection's window must have them again."""
        owed = self.give_back() + sum(flow for _, flow in self._parts)
        self._parts.clear()
        return owed
