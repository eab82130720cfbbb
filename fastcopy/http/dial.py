"""From an origin to a connected Link: names, addresses, happy eyeballs, proxy tunnel, TLS.

Law 1: the address that is checked is the address that is dialled (a name checked and resolved twice is how
server-side request forgery filters are bypassed).
Law 2: each phase has its own limit, and the error names the phase.
"""

from __future__ import annotations

import ipaddress
import os
import random
import socket
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import trio

from fastcopy.errors import CannotConnect, LinkError, NoSuchHost, ProtocolBroken, Stalled
from fastcopy.http.link import Link
from fastcopy.http.proxy import open_tunnel
from fastcopy.http.tls import TlsSetup, handshake

if TYPE_CHECKING:
    from fastcopy.http.wire import Origin, Proxy

#: RFC 8305 5: a further address is tried when the one before has not answered after this many seconds.
ATTEMPT_DELAY = 0.25
Address = tuple[int, Any]  #: address family and socket address


def anywhere(address: str) -> bool:
    """The address policy of a registry the user named: no address is refused."""
    del address
    return True


def public_only(address: str) -> bool:
    """The address policy of places a public registry points at: nothing private, loopback or link-local."""
    return not is_private(address)


def is_private(address: str) -> bool:
    """Whether *address* is not a public unicast address (IPv4-mapped, NAT64 and 6to4 forms are looked into)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _embedded(ip)
    return not ip.is_global or ip.is_multicast or (inner is not None and not inner.is_global)


def _embedded(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour


async def dial(
    origin: Origin,
    tls: TlsSetup | None,
    *,
    proxy: Proxy | None = None,
    timeout: float = 30.0,
    alpn: tuple[str, ...] = (),
    allow: Callable[[str], bool] = anywhere,
) -> Link:
    """A connected link; *tls* is required for https origins.

    Raises NoSuchHost, CannotConnect, TlsRefused, Stalled; ProtocolBroken when *allow* refuses every address.
    *timeout* is the limit of each phase (connecting, proxy, TLS) in seconds.
    """
    if proxy is not None:
        link = await _through(proxy, origin, timeout, allow)
    else:
        sock, peer = await _connect(origin.host, origin.port, str(origin), timeout, allow)
        link = Link(sock, origin, peer=peer)
    if origin.scheme == "http":
        return link
    assert tls is not None
    return await handshake(link, tls, alpn, timeout)


async def _through(proxy: Proxy, origin: Origin, timeout: float, allow: Callable[[str], bool]) -> Link:
    """A link to *origin* by way of an HTTP proxy; only address literals can be checked, the proxy resolves names."""
    if _is_literal(origin.host) and not allow(origin.host):
        raise _refused(origin.host)
    where = f"proxy {proxy.origin}"
    sock, _ = await _connect(proxy.origin.host, proxy.origin.port, where, timeout, anywhere)
    link = Link(sock, origin)
    if proxy.origin.scheme == "https":
        link = await handshake(link, TlsSetup.default(), ("http/1.1",), timeout, name=proxy.origin.host)
    link.proxy_authorization = proxy.authorization
    if origin.scheme == "http":
        link.forward = True
        return link
    return await open_tunnel(link, proxy, timeout)


async def _connect(
    host: str, port: int, where: str, timeout: float, allow: Callable[[str], bool]
) -> tuple[socket.socket, str]:
    with trio.move_on_after(timeout):
        found = await _resolve(host, port)
        addresses = [address for address in found if allow(str(address[1][0]))]
        if not addresses:
            raise _refused(host)
        sock = await _race(addresses, where)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock, str(sock.getpeername()[0])
        except OSError as error:  # reset before it was used
            sock.close()
            raise _cannot(where, [error]) from None
    raise Stalled(f"no connection to {where} within {timeout:g} seconds")


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid host name"
        raise NoSuchHost(f"no such host {host}: {reason}") from None
    return spread([(family, address) for family, _, _, _, address in found])


def spread(addresses: list[Address]) -> list[Address]:
    """Families alternating (RFC 8305 4), shuffled within a family: links spread over a host's front-ends."""
    first = addresses[0][0] if addresses else 0
    preferred = [each for each in addresses if each[0] == first]
    other = [each for each in addresses if each[0] != first]
    random.shuffle(preferred)
    random.shuffle(other)
    return [each for pair in zip_longest(preferred, other) for each in pair if each is not None]


async def _race(addresses: list[Address], where: str) -> socket.socket:
    if len(addresses) == 1:
        try:
            return await _attempt(addresses[0])
        except OSError as error:
            raise _cannot(where, [error]) from None
    return await _Race(addresses, where).run()


class _Race:
    """Happy eyeballs: attempts start ATTEMPT_DELAY apart, or at once when the one before failed."""

    def __init__(self, addresses: Iterable[Address], where: str) -> None:
        self.addresses = addresses
        self.where = where
        self.failures: list[OSError] = []
        self.winner: socket.socket | None = None

    async def run(self) -> socket.socket:
        try:
            async with trio.open_nursery() as nursery:
                for address in self.addresses:
                    failed = trio.Event()
                    nursery.start_soon(self._try, address, failed, nursery.cancel_scope)
                    with trio.move_on_after(ATTEMPT_DELAY):
                        await failed.wait()
        except BaseException:
            if self.winner is not None:
                self.winner.close()
            raise
        if self.winner is None:
            raise _cannot(self.where, self.failures)
        return self.winner

    async def _try(self, address: Address, failed: trio.Event, scope: trio.CancelScope) -> None:
        try:
            sock = await _attempt(address)
        except OSError as error:
            self.failures.append(error)
            failed.set()
            return
        if self.winner is not None:
            sock.close()
            return
        self.winner = sock
        scope.cancel()


async def _attempt(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(where)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _cannot(where: str, failures: list[OSError]) -> LinkError:
    reasons = sorted({(failure.strerror or type(failure).__name__).lower() for failure in failures})
    return CannotConnect(f"cannot connect to {where}: {', '.join(reasons)}")


def _refused(host: str) -> ProtocolBroken:
    return ProtocolBroken(f"a public registry points at {host}, which is a private address; not followed")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
