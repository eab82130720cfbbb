"""The plain twin's ends: inlets and outlets over Python's own sockets and files. Mirrors csrc/inlet.c, outlet.c.

Law 1: an end borrows its socket; it never closes one.
Law 2: one attempt never blocks: bytes, or None for "not now", or `Fault`.
"""

from __future__ import annotations

import contextlib
import errno as codes
import os
import select
import socket as sockets
import time
from typing import TYPE_CHECKING

from fastcopy._native._plain_h2 import H2Reader, H2Writer
from fastcopy._native._plain_link import Fault, Link, Signal, pipe_safe
from fastcopy._native._types import PumpError, Why

if TYPE_CHECKING:
    from typing_extensions import Buffer

TLS = "sslsocket"
_ANSWER_LIMIT = 64 << 10


class Inlet:
    """One end to read from, made by a factory; one thread at a time."""

    _length: int
    _done: int
    _prefix: memoryview
    _link: Link | None
    _file: tuple[int, int] | None
    _h2: H2Reader | None
    _stop: Signal
    _busy: bool
    _fresh: bool

    def __init__(self) -> None:
        raise TypeError("an Inlet is made by Inlet.socket, .file, .memory or .h2")

    @classmethod
    def _new(cls, length: int, prefix: Buffer = b"") -> Inlet:
        self = cls.__new__(cls)
        if length < 0:
            raise ValueError("length must not be negative")
        self._length = length
        self._done = 0
        self._prefix = memoryview(prefix).cast("B")
        if len(self._prefix) > length:
            raise ValueError("prefix is longer than length")
        self._link = self._file = self._h2 = None
        self._stop = Signal()
        self._busy = False
        self._fresh = True
        return self

    @classmethod
    def socket(cls, sock: sockets.socket, length: int, prefix: Buffer = b"") -> Inlet:
        """A body of *length* bytes, the first of them in *prefix*, the rest to come from *sock*."""
        self = cls._new(length, prefix)
        self._link = Link(sock)
        return self

    @classmethod
    def file(cls, fd: int, length: int, offset: int = 0) -> Inlet:
        """*length* bytes of a file from *offset* on, read with pread."""
        self = cls._new(length)
        if offset < 0:
            raise ValueError("offset must not be negative")
        self._file = (fd, offset)
        return self

    @classmethod
    def memory(cls, data: Buffer) -> Inlet:
        """The bytes of *data*."""
        with memoryview(data) as view:
            return cls._new(view.nbytes, data)

    @classmethod
    def h2(
        cls,
        sock: sockets.socket,
        stream_id: int,
        length: int,
        *,
        prefix: Buffer = b"",
        frames: bytes = b"",
        stream_window: int,
        connection_window: int,
        max_frame: int,
    ) -> Inlet:
        """The DATA of one lent HTTP/2 stream."""
        self = cls.socket(sock, length, prefix)
        assert self._link is not None
        self._h2 = H2Reader(self._link, stream_id, frames, (stream_window, connection_window), max_frame)
        return self

    def _begin(self) -> None:
        if self._busy:
            raise RuntimeError("this Inlet is in use by another thread")
        self._busy = True

    def _read(self, into: memoryview) -> int | None:
        """Bytes read (> 0), 0 when the length is reached, None for not now; raises Fault."""
        into = into[: self._length - self._done]
        if not into:
            return 0
        self._fresh = True
        got = self._read_kind(into)
        self._done += got or 0
        return got

    def _read_kind(self, into: memoryview) -> int | None:
        if self._prefix:
            taken = self._prefix[: len(into)]
            into[: len(taken)] = taken
            self._prefix = self._prefix[len(taken) :]
            return len(taken)
        if self._file:
            return self._read_file(*self._file, into)
        if self._h2:
            return self._h2.read(into, self._length - self._done)
        if self._link is None:
            raise Fault(Why.SOURCE_LOST, "the memory is shorter than stated")
        return self._read_socket(self._link, into)

    def _read_socket(self, link: Link, into: memoryview) -> int | None:
        try:
            got = link.read(into)
        except OSError as error:
            raise Fault.of(Why.SOURCE_LOST, error) from None
        if got == 0:
            raise Fault(Why.SOURCE_LOST, "the source closed the connection before the end of the body")
        self._fresh = link.tls or got == len(into)
        return got

    def _read_file(self, fd: int, offset: int, into: memoryview) -> int:
        try:
            got = os.preadv(fd, [into], offset)
        except OSError as error:
            raise Fault.of(Why.SOURCE_LOST, error) from None
        if not got:
            raise Fault(Why.SOURCE_LOST, "the file is shorter than stated")
        self._file = (fd, offset + got)
        return got

    def _settle(self) -> bool:
        """True when nothing is owed to the peer any more; raises Fault."""
        return self._h2.settle() if self._h2 else True

    def _fd(self) -> int | None:
        return self._link.fd if self._link else None

    def _want(self) -> int:
        assert self._link is not None
        owing = self._link.write_want if self._h2 and self._h2.tx else 0
        return self._link.read_want | owing

    def _wait(self, since: float, stall: float) -> None:
        """Sleep until there may be bytes; raises Fault with STOPPED or SOURCE_STALLED."""
        left = stall - (time.monotonic() - since)
        if left <= 0 and not self._stop.on:
            raise Fault(Why.SOURCE_STALLED, "the source sent nothing in time")
        poll = select.poll()
        poll.register(self._stop.fd, select.POLLIN)
        if self._link:
            poll.register(self._link.fd, self._want())
        if not self._stop.on:
            poll.poll(max(0.0, left) * 1000 + 1)
        if self._stop.on:
            raise Fault(Why.STOPPED, "stopped")

    def read_into(self, buffer: Buffer, *, stall: float = 60.0) -> int:
        """Wait for at least one byte, then take what is there; 0 when the length is reached.

        Raises PumpError (SOURCE_LOST, SOURCE_STALLED, STOPPED, FRAME).
        """
        if not stall > 0:
            raise ValueError("a time limit must be positive")
        self._begin()
        try:
            with memoryview(buffer) as view, pipe_safe():
                return self._fetch(view.cast("B"), stall)
        except Fault as fault:
            raise PumpError(fault.why, fault.text, fault.err) from None
        finally:
            self._busy = False

    def _fetch(self, view: memoryview, stall: float) -> int:
        since, done = time.monotonic(), 0
        while done < len(view) and self._done < self._length:
            try:
                got = self._read(view[done:])
            except Fault:
                if done:
                    break
                raise
            if got is None and done:
                break
            if got is None:
                self._wait(since, stall)
            done += got or 0
        if self._done == self._length:
            with contextlib.suppress(Fault):
                self._settle()
        return done

    def stop(self) -> None:
        """End whoever reads from this inlet, and nobody else; any thread, idempotent."""
        self._stop.set()

    @property
    def remaining(self) -> int:
        """Bytes of the length not read yet."""
        return self._length - self._done

    @property
    def replay(self) -> bytes:
        """HTTP/2: every frame that was not body, in order, and what came after the body."""
        return self._h2.replayed() if self._h2 else b""

    @property
    def consumed(self) -> int:
        """HTTP/2: flow-controlled bytes of the stream received, padding included."""
        return self._h2.consumed if self._h2 else 0

    @property
    def granted(self) -> tuple[int, int]:
        """HTTP/2: window increments sent, (stream, connection)."""
        return (self._h2.granted[0], self._h2.granted[1]) if self._h2 else (0, 0)

    @property
    def ended(self) -> bool:
        """HTTP/2: END_STREAM was seen."""
        return self._h2.ended if self._h2 else False


class Outlet:
    """One end to write to, made by a factory; belongs to one pump at a time."""

    sent: int
    _answer: bytearray
    _link: Link | None
    _file: tuple[int, int] | None
    _h2: H2Writer | None
    _fault: Fault | None
    _listen: bool
    _pos: int
    _unlooked: int
    _since: float | None
    _held: float
    _clean: bool

    def __init__(self) -> None:
        raise TypeError("an Outlet is made by Outlet.socket, .file, .null or .h2")

    @classmethod
    def _new(cls) -> Outlet:
        self = cls.__new__(cls)
        self.sent = 0
        self._answer = bytearray()
        self._link = self._file = self._h2 = self._fault = None
        self._listen = False
        self._attach()
        return self

    def _attach(self) -> None:
        """What a pump keeps about this outlet starts anew."""
        self._pos = self._unlooked = 0
        self._since = None
        self._held = 0.0
        self._clean = True

    @classmethod
    def socket(cls, sock: sockets.socket) -> Outlet:
        """A body written to a socket as it is; an early answer is looked for meanwhile."""
        self = cls._new()
        self._link = Link(sock)
        return self

    @classmethod
    def file(cls, fd: int, offset: int = 0) -> Outlet:
        """A file from *offset* on, written with pwrite."""
        if offset < 0:
            raise ValueError("offset must not be negative")
        self = cls._new()
        self._file = (fd, offset)
        return self

    @classmethod
    def null(cls) -> Outlet:
        """Counts and discards."""
        return cls._new()

    @classmethod
    def h2(
        cls,
        sock: sockets.socket,
        stream_id: int,
        *,
        stream_window: int,
        connection_window: int,
        max_frame: int,
        initial_window: int,
        frames: bytes = b"",
    ) -> Outlet:
        """DATA frames of one lent HTTP/2 stream."""
        self = cls.socket(sock)
        assert self._link is not None
        windows = (stream_window, connection_window, initial_window)
        self._h2 = H2Writer(self._link, stream_id, frames, windows, max_frame)
        self._listen = bool(frames)
        return self

    def _write(self, data: memoryview, fin: bool) -> int | None:
        """Body bytes taken, None for not now; raises Fault."""
        put: int | None = len(data)
        if self._h2:
            put = self._guarded(data, fin)
        elif self._file and data:
            put = self._write_file(*self._file, data)
        elif self._link and data:
            put = self._guarded(data, fin)
        self.sent += put or 0
        return put

    def _write_file(self, fd: int, offset: int, data: memoryview) -> int:
        try:
            put = os.pwrite(fd, data, offset)
        except OSError as error:
            full = error.errno in (codes.ENOSPC, codes.EDQUOT)
            raise Fault.of(Why.SINK_FULL if full else Why.SINK_LOST, error) from None
        self._file = (fd, offset + put)
        return put

    def _guarded(self, data: memoryview, fin: bool) -> int | None:
        """A peer that refuses a body answers and closes: the answer says more than the broken pipe."""
        assert self._link is not None
        try:
            return self._h2.write(data, fin) if self._h2 else self._link.write(data)
        except OSError as error:
            raise self._heard_instead(error) from None

    def _heard_instead(self, error: OSError) -> Fault:
        try:
            self._hear()
        except Fault as heard:
            if heard.why is Why.ANSWERED:
                return heard
        return Fault.of(Why.SINK_LOST, error)

    def _settle(self, fin: bool) -> bool:
        """True when what was taken has left, and with *fin* the end of the body too; raises Fault."""
        if not self._h2:
            return True
        try:
            return self._h2.settle(fin)
        except OSError as error:
            raise self._heard_instead(error) from None

    def _hear(self) -> None:
        """Look for an early answer; raises Fault with ANSWERED or SINK_LOST."""
        self._listen = False
        self._unlooked = 0
        try:
            if self._h2:
                self._h2.listen(self._answer)
            elif self._link:
                self._hear_plain(self._link)
        except OSError as error:
            raise Fault.of(Why.SINK_LOST, error) from None

    def _hear_plain(self, link: Link) -> None:
        some = memoryview(bytearray(4096))
        try:
            while len(self._answer) < _ANSWER_LIMIT and (got := link.read(some)) is not None:
                if got == 0:
                    raise Fault(Why.SINK_LOST, "the destination closed the connection")
                self._answer += some[:got]
        except (OSError, Fault):
            if not self._answer:
                raise
        if self._answer:
            raise Fault(Why.ANSWERED, "the destination answered before the end of the body")

    def _fd(self) -> int | None:
        return self._link.fd if self._link else None

    def _want(self) -> int:
        assert self._link is not None
        return self._link.write_want if not self._h2 or self._h2.can_write() else 0

    @property
    def answer(self) -> bytes:
        """What the destination sent before the body was complete (HTTP/2: raw frames)."""
        unread = self._h2.unread() if self._h2 and self._answer else b""
        return bytes(self._answer) + unread

    @property
    def failed(self) -> Why | None:
        """Why this outlet was given up, None while it is in use."""
        return self._fault.why if self._fault else None

    @property
    def detail(self) -> str:
        """Words to `failed`."""
        return self._fault.text if self._fault else ""

    @property
    def replay(self) -> bytes:
        """HTTP/2: frames received meanwhile that the owner's codec must still see, in order."""
        if not self._h2:
            return b""
        return bytes(self._h2.replay) + (b"" if self._answer else self._h2.unread())

    @property
    def ended(self) -> bool:
        """HTTP/2: END_STREAM was written."""
        return self._h2.ended if self._h2 else False

    @property
    def windows(self) -> tuple[int, int]:
        """HTTP/2: what may still be sent, (stream, connection)."""
        return (self._h2.windows[0], self._h2.windows[1]) if self._h2 else (0, 0)
