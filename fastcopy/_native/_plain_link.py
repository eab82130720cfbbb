"""The plain twin's byte streams, its stop signal and its internal fault. Mirrors csrc/base.c."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket as sockets
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastcopy._native._types import Why

_DONTWAIT = getattr(sockets, "MSG_DONTWAIT", 0)
_NOSIGNAL = getattr(sockets, "MSG_NOSIGNAL", 0)


class Fault(Exception):
    """Which end failed and how; never leaves the twin."""

    def __init__(self, why: Why, text: str, err: int = 0) -> None:
        super().__init__(why, text, err)
        self.why, self.text, self.err = why, text[:119], err

    @classmethod
    def of(cls, why: Why, error: OSError) -> Fault:
        """The fault that *error* is; libssl's own numbers are not the system's."""
        err = 0 if isinstance(error, ssl.SSLError) else error.errno or 0
        return cls(why, error.strerror or str(error), err)

    def bare(self) -> Fault:
        """Itself without the frames it came through: kept with them it would keep every signal's descriptors open."""
        self.__context__ = None
        return self.with_traceback(None)


class Signal:
    """A flag that poll() can see."""

    def __init__(self) -> None:
        self.on = False
        self.fd, self._wr = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wr, False)

    def set(self) -> None:
        """Raise it; any thread, idempotent."""
        self.on = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._wr, b"!")

    def clear(self) -> None:
        """Lower it."""
        self.on = False
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def __del__(self) -> None:
        if hasattr(self, "_wr"):
            os.close(self.fd)
            os.close(self._wr)


class Link:
    """A lent socket: one attempt at a time, never blocking."""

    def __init__(self, sock: sockets.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.read_want: int = select.POLLIN
        self.write_want: int = select.POLLOUT
        if self.fd < 0:
            raise ValueError("the socket is closed")
        if self.tls and sock.gettimeout() != 0:
            raise ValueError("a lent SSLSocket must be non-blocking")
        if isinstance(sock, ssl.SSLSocket) and sock.version() is None:
            raise ValueError("the SSLSocket has no TLS connection")

    def read(self, into: memoryview) -> int | None:
        """Bytes read, 0 at the end of the stream, None for not now; OSError."""
        self.read_want = select.POLLIN
        try:
            return self.sock.recv_into(into) if self.tls else self.sock.recv_into(into, 0, _DONTWAIT)
        except ssl.SSLWantWriteError:
            self.read_want = select.POLLOUT
        except (ssl.SSLWantReadError, BlockingIOError, InterruptedError):
            pass
        return None

    def write(self, data: memoryview | bytes | bytearray) -> int | None:
        """Bytes written, None for not now; OSError. After None the same bytes must be offered again."""
        self.write_want = select.POLLOUT
        try:
            return self.sock.send(data) if self.tls else self.sock.send(data, _DONTWAIT | _NOSIGNAL)
        except ssl.SSLWantReadError:
            self.write_want = select.POLLIN
        except (ssl.SSLWantWriteError, BlockingIOError, InterruptedError):
            pass
        return None


@contextlib.contextmanager
def pipe_safe() -> Iterator[None]:
    """Block SIGPIPE in this thread, where the process does not ignore it as CPython does."""
    if signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    was_pending = signal.SIGPIPE in signal.sigpending()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if not was_pending and signal.SIGPIPE in signal.sigpending():
            signal.sigwait({signal.SIGPIPE})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
