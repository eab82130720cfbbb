"""CONNECT: a tunnel through an HTTP proxy (RFC 9110 9.3.6).

Law: this file knows one request and its answer; which proxy applies to which URL is decided elsewhere, per hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import trio

from fastcopy.errors import CannotConnect, LinkLost, NeedsLogin, ProtocolBroken

if TYPE_CHECKING:
    from fastcopy.http.link import Link
    from fastcopy.http.wire import Proxy

HEAD_READ = 4096


async def open_tunnel(link: Link, proxy: Proxy, timeout: float) -> Link:
    """Ask the proxy at the other end of *link* for a tunnel to the link's origin; closes the link on failure.

    Raises NeedsLogin (407), CannotConnect (any other refusal), LinkLost, Stalled.
    """
    try:
        deadline = trio.current_time() + timeout
        conn = h11.Connection(h11.CLIENT)
        data = conn.send(_connect(link, proxy)) or b""
        await link.send_all(data + (conn.send(h11.EndOfMessage()) or b""), timeout)
        status = await _answer(conn, link, deadline)
        if not 200 <= status < 300:
            raise _denied(link, proxy, status)
        if conn.trailing_data[0]:
            raise ProtocolBroken(f"proxy {proxy.origin} sent data before the tunnel was used")
    except BaseException:
        link.close()
        raise
    return link


def _connect(link: Link, proxy: Proxy) -> h11.Request:
    host = f"[{link.origin.host}]" if ":" in link.origin.host else link.origin.host
    authority = f"{host}:{link.origin.port}"
    headers = [("host", authority)]
    if proxy.authorization:
        headers.append(("proxy-authorization", proxy.authorization))
    return h11.Request(method="CONNECT", target=authority, headers=headers)


async def _answer(conn: h11.Connection, link: Link, deadline: float) -> int:
    while True:
        try:
            event = conn.next_event()
        except h11.RemoteProtocolError as error:
            raise ProtocolBroken(f"the proxy does not speak HTTP: {error}") from None
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            data = await link.receive_some(HEAD_READ, deadline)
            if not data:
                raise LinkLost("the proxy closed the connection instead of opening a tunnel")
            conn.receive_data(data)


def _denied(link: Link, proxy: Proxy, status: int) -> CannotConnect | NeedsLogin:
    if status == 407:
        return NeedsLogin(f"proxy {proxy.origin} wants credentials (407)")
    return CannotConnect(f"proxy {proxy.origin} refused a tunnel to {link.origin}: HTTP {status}")
