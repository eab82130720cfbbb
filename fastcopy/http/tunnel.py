"""TLS inside TLS: the link to an origin behind an https:// proxy.

The inner TLS runs over memory BIOs in the loop; there is no socket that carries its plain bytes, so such a link
cannot be lent, and bodies take the loop's path.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from fastcopy.errors import Bug
from fastcopy.http.link import SEND_PIECE, Link, lost
from fastcopy.http.tls import refused

if TYPE_CHECKING:
    import socket

#: One TLS record and its overhead: what is worth reading at once from the outer link.
_OUTER_READ = 17 << 10


class TunnelLink(Link):
    """A Link whose bytes are wrapped by an `ssl.SSLObject` and carried by another Link."""

    lendable = False

    def __init__(self, outer: Link, context: ssl.SSLContext, name: str) -> None:
        super().__init__(outer.sock, outer.origin)
        self._outer = outer
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)

    @classmethod
    async def over(cls, outer: Link, context: ssl.SSLContext, name: str, alpn: tuple[str, ...]) -> TunnelLink:
        """Shake hands with *name* through *outer*; the caller limits the time and closes *outer* on failure."""
        if alpn:
            context.set_alpn_protocols(list(alpn))
        link = cls(outer, context, name)
        while True:
            try:
                link._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await link._flush(trio.current_effective_deadline() - trio.current_time())
                await link._feed(trio.current_effective_deadline())
            except ssl.SSLError as error:
                raise refused(error, name) from None
        await link._flush(trio.current_effective_deadline() - trio.current_time())
        link.alpn = link._tls.selected_alpn_protocol() or ""
        return link

    async def receive_some(self, max_bytes: int, deadline: float) -> bytes:
        while True:
            data = self._read(max_bytes)
            if data is not None:
                return data
            await self._feed(deadline)

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        data = self._read(max_bytes)
        if data is None:
            raw = self._outer.receive_nowait(_OUTER_READ)
            if raw is None:
                return None
            self._take(raw)
            data = self._read(max_bytes)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview, patience: float) -> None:
        with memoryview(data) as view:
            for start in range(0, len(view), SEND_PIECE):
                self._write(view[start : start + SEND_PIECE])
                await self._flush(patience)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Takes everything only when the outer link took all that waited before; never splits a record."""
        self._push()
        if self._held or not data:
            return 0
        with memoryview(data) as view:
            piece = view[:SEND_PIECE]
            self._write(piece)
            sent = len(piece)
        self._push()
        return sent

    def looks_dead(self) -> bool:
        return self._outer.closed or self.receive_nowait(1) is not None

    def lend(self) -> socket.socket:
        raise Bug("a link of TLS in TLS cannot be lent")

    def close(self) -> None:
        self._outer.close()
        self._closed = True

    _held = b""

    def _push(self) -> None:
        self._held += self._out.read()
        self._held = self._held[self._outer.send_nowait(self._held) :] if self._held else b""

    async def _flush(self, patience: float) -> None:
        held, self._held = self._held + self._out.read(), b""
        if held:
            await self._outer.send_all(held, patience)

    async def _feed(self, deadline: float) -> None:
        self._take(await self._outer.receive_some(_OUTER_READ, deadline))

    def _take(self, raw: bytes) -> None:
        if raw:
            self._in.write(raw)
        else:
            self._in.write_eof()

    def _read(self, max_bytes: int) -> bytes | None:
        try:
            return self._tls.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise lost(self.origin, error) from None

    def _write(self, piece: memoryview) -> None:
        try:
            self._tls.write(piece)
        except ssl.SSLError as error:
            raise lost(self.origin, error) from None
