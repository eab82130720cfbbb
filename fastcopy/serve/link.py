"""One accepted connection: TLS handshake, bytes in, bytes out, files out. The only room here with sockets.

The socket is non-blocking and real (a socket or an SSLSocket over it), so that it can be lent to the native pump in a
worker thread and taken back.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct

import trio

from fastcopy.serve.message import BodyLost

#: One sendfile(2) call; a socket's buffer takes 2.5 MiB at most, so this only bounds the time without a checkpoint.
_FILE_BLOCK = 1 << 20
_READ = 64 * 1024


class Link:
    """An accepted socket. Raises BodyLost when the peer is gone or silent for `stall` seconds."""

    def __init__(self, sock: socket.socket | ssl.SSLSocket, stall: float) -> None:
        self.sock = sock
        self.stall = stall
        self.alpn = ""
        self.bytes_out = 0
        self._returned = b""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return isinstance(self.sock, ssl.SSLSocket)

    async def handshake(self, context: ssl.SSLContext) -> None:
        """Become a TLS connection; raises OSError (ssl.SSLError included) or trio.TooSlowError."""
        self.sock = context.wrap_socket(
            self.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        with trio.fail_after(self.stall):
            while True:
                try:
                    self.sock.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(self.sock)
                except ssl.SSLWantWriteError:
                    await trio.lowlevel.wait_writable(self.sock)
        self.alpn = self.sock.selected_alpn_protocol() or ""

    async def receive(self, max_bytes: int = _READ, patience: float | None = None) -> bytes:
        """Some bytes, b"" at the end; raises BodyLost."""
        await trio.lowlevel.checkpoint()
        if self._returned:
            data, self._returned = self._returned[:max_bytes], self._returned[max_bytes:]
            return data
        deadline = trio.current_time() + (patience or self.stall)
        while True:
            try:
                return self.sock.recv(max_bytes)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait(trio.lowlevel.wait_readable, deadline)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable, deadline)
            except OSError as error:
                raise BodyLost from error

    async def receive_exactly(self, count: int) -> bytes:
        """So many bytes; raises BodyLost."""
        data = b""
        while len(data) < count:
            more = await self.receive(count - len(data))
            if not more:
                raise BodyLost
            data += more
        return data

    async def receive_into(self, buffer: memoryview, patience: float | None = None) -> int:
        """As much as there is, into a buffer; 0 at the end. Raises BodyLost."""
        await trio.lowlevel.checkpoint()
        if self._returned:
            data = await self.receive(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        deadline = trio.current_time() + (patience or self.stall)
        while True:
            try:
                return self._receive_now(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._wait(trio.lowlevel.wait_readable, deadline)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable, deadline)
            except OSError as error:
                raise BodyLost from error

    def _receive_now(self, buffer: memoryview) -> int:
        """OpenSSL gives one record (16 KiB) at a time: take those that are there in one go."""
        got = self.sock.recv_into(buffer)
        while self.tls and 0 < got < len(buffer):
            try:
                more = self.sock.recv_into(buffer[got:])
            except OSError:  # nothing yet, or an error that the next call meets again
                break
            if not more:
                break
            got += more
        return got

    async def send(self, data: bytes | memoryview) -> None:
        """All of it; raises BodyLost."""
        view = memoryview(data)
        while view:
            done = await self._send_some(view)
            self.bytes_out += done
            view = view[done:]

    async def _send_some(self, view: memoryview) -> int:
        deadline = trio.current_time() + self.stall
        while True:
            try:
                return self.sock.send(view)
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._wait(trio.lowlevel.wait_writable, deadline)
            except ssl.SSLWantReadError:
                await self._wait(trio.lowlevel.wait_readable, deadline)
            except OSError as error:
                raise BodyLost from error

    async def send_file(self, fd: int, start: int, length: int) -> None:
        """A part of a file by sendfile(2) (never on TLS); raises BodyLost."""
        end = start + length
        while start < end:
            await trio.lowlevel.checkpoint()
            done = await self._send_file_some(fd, start, min(_FILE_BLOCK, end - start))
            if done == 0:  # the file is shorter than its descriptor says
                raise BodyLost
            self.bytes_out += done
            start += done

    async def _send_file_some(self, fd: int, start: int, count: int) -> int:
        deadline = trio.current_time() + self.stall
        while True:
            try:
                return os.sendfile(self.sock.fileno(), fd, start, count)
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_writable, deadline)
            except OSError as error:
                raise BodyLost from error

    async def _wait(self, wait: object, deadline: float) -> None:
        with trio.move_on_at(deadline) as scope:
            await wait(self.sock)  # type: ignore[operator]
        if scope.cancelled_caught:
            raise BodyLost

    async def linger(self, limit: int, seconds: float) -> None:
        """Half-close and swallow what the peer still sends, so that a reset does not destroy our last answer."""
        with trio.move_on_after(seconds):
            try:
                self._end_writing()
                while limit > 0 and (data := await self.receive()):
                    limit -= len(data)
            except (BodyLost, OSError):
                return

    def _end_writing(self) -> None:
        """Say that nothing more comes (close_notify on TLS); what is still read afterwards is not decrypted."""
        if isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.sock.unwrap()
        self.sock.shutdown(socket.SHUT_WR)

    def unread(self, data: bytes) -> None:
        """Give bytes back that the next receive() shall return."""
        self._returned = data + self._returned

    def abort(self) -> None:
        """Close with a reset: the peer must not take what it has for a complete answer."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close; idempotent."""
        with contextlib.suppress(OSError):
            self.sock.close()
