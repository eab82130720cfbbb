"""One connection, driven by trio's readiness calls, that can be lent to the native pump.

Law 1: the socket is a plain non-blocking ``socket.socket`` or an ``ssl.SSLSocket`` over one (socket BIO), so that the
very same object can be read and written by a worker thread while it is lent.
Law 2: every wait here has a deadline given by the caller; nothing here decides how long, or what a byte means.

A lent link is exclusive: touching it from the loop meanwhile is a bug of ours, not something to wait for.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from fastcopy.errors import Bug, LinkLost, Stalled

if TYPE_CHECKING:
    from fastcopy.http.wire import Origin

#: CPython's SSL_write takes the whole buffer or nothing; pieces keep progress visible to the stall limit.
SEND_PIECE = 64 << 10
_WANT_READ = (BlockingIOError, ssl.SSLWantReadError)


class LinkBusy(Bug):
    """A link was used by the loop while a pump held it."""

    slug = "link-busy"


class Unprocessed(LinkLost):
    """The server has not looked at the request (REFUSED_STREAM, GOAWAY below it): any verb may be repeated at once."""


class WantsHttp1(LinkLost):
    """The server wants this request over HTTP/1.1 (HTTP_1_1_REQUIRED); it has not acted on it."""


class Link:
    """A connected socket to *origin*; made by ``dial``, never directly.

    `alpn` is what TLS negotiated ("" without TLS), `peer` the address that was dialled, `forward` is true when the
    other end is an HTTP proxy that wants absolute-form targets; `lendable` tells whether a pump may hold the socket.
    """

    lendable = True

    def __init__(self, sock: socket.socket | ssl.SSLSocket, origin: Origin, *, alpn: str = "", peer: str = "") -> None:
        self.sock = sock
        self.origin = origin
        self.alpn = alpn
        self.peer = peer
        self.key: object = None  #: under which the pool keeps it; set by whoever dialled
        self.forward = False
        self.proxy_authorization = ""
        self.uses = 0  #: exchanges that ended well on this link
        self.idle_since = 0.0
        self.took = 0.0  #: seconds that connecting took, proxy and TLS included
        self.on_close: Callable[[Link], None] | None = None
        self._fd = sock.fileno()
        self._lent = False
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "lent" if self._lent else "open"
        return f"<{type(self).__name__} {self.origin} {state} alpn={self.alpn or '-'} uses={self.uses}>"

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def is_fresh(self) -> bool:
        """No exchange has ended on this link yet: a failure cannot be a keep-alive race."""
        return self.uses == 0

    async def receive_some(self, max_bytes: int, deadline: float) -> bytes:
        """Up to *max_bytes*; empty when the peer closed. *deadline* is on trio's clock. Raises LinkLost, Stalled."""
        self._check()
        while True:
            try:
                return self.sock.recv(max_bytes)
            except _WANT_READ:
                await self._wait(trio.lowlevel.wait_readable, deadline)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable, deadline)
            except OSError as error:
                raise lost(self.origin, error) from None

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """What is there already; None when nothing is, empty when the peer closed. Raises LinkLost."""
        self._check()
        try:
            return self.sock.recv(max_bytes)
        except (*_WANT_READ, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            raise lost(self.origin, error) from None

    async def send_all(self, data: bytes | bytearray | memoryview, patience: float) -> None:
        """Send everything; *patience* is the longest wait without progress, in seconds. Raises LinkLost, Stalled."""
        sent = self.send_nowait(data)
        if sent == len(data):
            return
        with memoryview(data) as view:
            while sent < len(view):
                await self.wait_writable(trio.current_time() + patience)
                sent += self.send_nowait(view[sent:])

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes at once; returns how many bytes it took. Raises LinkLost."""
        self._check()
        sent = 0
        with memoryview(data) as view:
            while sent < len(view):
                try:
                    sent += self.sock.send(view[sent : sent + SEND_PIECE])
                except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    break
                except OSError as error:
                    raise lost(self.origin, error) from None
        return sent

    async def wait_readable(self, deadline: float) -> None:
        """Return when a read would not block; raises Stalled at *deadline*."""
        await self._wait(trio.lowlevel.wait_readable, deadline)

    async def wait_writable(self, deadline: float) -> None:
        """Return when a write would not block; raises Stalled at *deadline*."""
        await self._wait(trio.lowlevel.wait_writable, deadline)

    async def _wait(self, ready: Callable[[int], Awaitable[None]], deadline: float) -> None:
        with trio.CancelScope(deadline=deadline) as scope:
            try:
                await ready(self._fd)
            except trio.ClosedResourceError:
                raise LinkLost(f"connection to {self.origin} was closed") from None
            return
        if scope.cancelled_caught:
            raise Stalled(f"{self.origin} did not move a byte within the time allowed")

    def looks_dead(self) -> bool:
        """An idle link that has something to read was closed, or the server speaks out of turn: not to be used."""
        if self._closed:
            return True
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.recv(1)  # takes in TLS 1.3 session tickets, which are not an answer
            else:
                self.sock.recv(1, socket.MSG_PEEK)
        except _WANT_READ:
            return False
        except OSError:
            return True
        return True

    def seems_alive(self) -> bool:
        """Whether the other side still holds the connection, without taking anything in: also while it is in use."""
        try:
            return not self._closed and bool(socket.socket.recv(self.sock, 1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def lend(self) -> socket.socket | ssl.SSLSocket:
        """Hand the raw socket to a pump; exclusive until `reclaim`. Raises LinkBusy."""
        self._check()
        self._lent = True
        return self.sock

    def reclaim(self) -> None:
        """The pump has returned; the loop owns the socket again."""
        self._lent = False

    def close(self) -> None:
        """Close at once, without ceremony (no TLS close_notify: lengths are always verified). Idempotent."""
        if self._closed:
            return
        self._closed = True
        trio.lowlevel.notify_closing(self._fd)
        with contextlib.suppress(OSError):
            self.sock.close()
        if self.on_close is not None:
            self.on_close(self)

    def _check(self) -> None:
        if self._lent:
            raise LinkBusy(f"the link to {self.origin} is lent to a pump")
        if self._closed:
            raise LinkLost(f"connection to {self.origin} is closed")


def lost(origin: Origin, error: OSError) -> LinkLost:
    """The LinkLost for an OSError of an established connection."""
    if isinstance(error, ssl.SSLError):
        return LinkLost(f"TLS connection to {origin} broke: {error.reason or type(error).__name__}")
    return LinkLost(f"connection to {origin} was lost: {error.strerror or type(error).__name__}")
