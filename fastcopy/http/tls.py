"""TLS on a link: contexts, the handshake on a non-blocking socket BIO, and what its failures mean.

Law 1: certificate logic is CPython's ``ssl`` (OpenSSL); nothing here weakens or repeats it.
Law 2: one context per identity. Loading a system trust store costs tens of milliseconds, so ALPN, which is copied
from the context when a connection object is made, is set just before each wrap instead of in contexts of its own.
"""

from __future__ import annotations

import functools
import socket
import ssl
from dataclasses import dataclass, field

import trio

from fastcopy.errors import LinkError, LinkLost, Stalled, TlsRefused
from fastcopy.http.link import Link

#: Words of OpenSSL's reasons for a peer that did not answer with a TLS record.
_NOT_TLS = ("WRONG_VERSION", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")


@dataclass(frozen=True, slots=True)
class TlsSetup:
    """A context and the sessions it has seen, by host."""

    context: ssl.SSLContext
    sessions: dict[str, ssl.SSLSession] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    @functools.cache
    def default() -> TlsSetup:
        """The system's trust store, nothing else: for proxies and strangers."""
        return TlsSetup(ssl.create_default_context())

    def remember(self, link: Link) -> None:
        """Keep the session of *link* for the next connection to the same host (RFC 8446 2.2)."""
        if isinstance(link.sock, ssl.SSLSocket) and link.sock.session is not None and link.sock.session.has_ticket:
            self.sessions[str(link.origin)] = link.sock.session

    def wrap(self, link: Link, name: str, alpn: tuple[str, ...]) -> ssl.SSLSocket:
        """An SSLSocket over *link*'s socket, not yet shaken hands."""
        if alpn:
            self.context.set_alpn_protocols(list(alpn))
        session = self.sessions.get(str(link.origin))
        return self.context.wrap_socket(
            link.sock, server_hostname=name, do_handshake_on_connect=False, suppress_ragged_eofs=True, session=session
        )


async def handshake(link: Link, tls: TlsSetup, alpn: tuple[str, ...], timeout: float, name: str = "") -> Link:
    """The TLS link over *link*; closes it and raises TlsRefused, LinkLost or Stalled when that fails."""
    name = name or link.origin.host
    try:
        with trio.move_on_after(timeout):
            if isinstance(link.sock, ssl.SSLSocket):
                from fastcopy.http.tunnel import TunnelLink

                return await TunnelLink.over(link, tls.context, name, alpn)
            return await _shake(link, tls, alpn, name)
        raise Stalled(f"TLS handshake with {name} did not end within {timeout:g} seconds")
    except BaseException:
        link.close()
        raise


async def _shake(link: Link, tls: TlsSetup, alpn: tuple[str, ...], name: str) -> Link:
    try:
        sock = tls.wrap(link, name, alpn)
    except (ssl.SSLError, ValueError, OSError) as error:
        _close_what_ssl_made(error)
        raise refused(error, name) from None
    secured = Link(sock, link.origin, peer=link.peer)
    secured.proxy_authorization = link.proxy_authorization
    try:
        await _drive(sock, name)
    except BaseException:
        secured.close()
        raise
    secured.alpn = sock.selected_alpn_protocol() or ""
    return secured


def _close_what_ssl_made(error: BaseException) -> None:
    """Of a connection that was reset already ssl takes the socket over, raises, and leaves it open to be collected."""
    step = error.__traceback__
    while step is not None:
        made = step.tb_frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()
        step = step.tb_next


async def _drive(sock: ssl.SSLSocket, name: str) -> None:
    answered = False
    while True:
        try:
            sock.do_handshake()
            return
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
            if not answered and peek(sock).startswith(b"HTTP/"):
                raise _plain_http(name) from None
            answered = True
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        except OSError as error:
            raise refused(error, name) from None


def peek(sock: ssl.SSLSocket) -> bytes:
    """The first raw bytes that wait on the socket under *sock*."""
    try:
        return socket.socket.recv(sock, 5, socket.MSG_PEEK)
    except OSError:
        return b""


def _plain_http(name: str) -> TlsRefused:
    return TlsRefused(
        f"{name}: http: server gave HTTP response to HTTPS client",
        hint="the registry speaks plain HTTP; --tls-verify=false allows that",
    )


def refused(error: Exception, name: str) -> LinkError:
    """The error of our tree for a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message or error.reason
        return TlsRefused(f"{name}: tls: failed to verify certificate: x509: {reason}")
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return LinkLost(f"{name} closed the connection during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or type(error).__name__
        if any(word in reason for word in _NOT_TLS):
            return TlsRefused(f"{name}: http: server gave HTTP response to HTTPS client", hint="no TLS on this port")
        return TlsRefused(f"{name}: TLS handshake failed: {reason.lower().replace('_', ' ')}")
    if isinstance(error, OSError) and error.strerror:
        return LinkLost(f"connection to {name} was lost during the TLS handshake: {error.strerror}")
    return TlsRefused(f"{name}: TLS handshake failed: {error}")
