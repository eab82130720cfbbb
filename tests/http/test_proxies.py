"""Through proxies: CONNECT, absolute form, credentials of the proxy, TLS in TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from fastcopy.errors import Bug, CannotConnect, LinkLost, NeedsLogin, Stalled
from fastcopy.http import tls
from fastcopy.http.link import Link
from fastcopy.http.tls import TlsSetup
from fastcopy.http.wire import Origin, Proxy, Request, Url
from fastcopy.options import RunOptions
from tests.http.support import (
    Certificate,
    Peer,
    Server,
    client_for,
    get,
    make_certificate,
    serving,
)


@dataclass
class Tunnels:
    """A CONNECT proxy and what it was asked."""

    server: Server
    heads: list[str] = field(default_factory=list)

    def proxy(self, authorization: str = "") -> Proxy:
        return Proxy(self.server.origin, authorization)


@asynccontextmanager
async def proxying(certificate: Certificate | None = None, refuse: int = 0) -> AsyncIterator[Tunnels]:
    """A proxy for CONNECT and for absolute-form requests (those it answers itself)."""
    heads: list[str] = []

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            heads.append(head)
            method, target, _ = head.splitlines()[0].split()
            if refuse:
                await peer.answer(refuse, b"no")
            elif method == "CONNECT":
                host, _, port = target.rpartition(":")
                await peer.say("HTTP/1.1 200 Connection established\r\n\r\n")
                await relay(peer, await trio.open_tcp_stream(host, int(port)))
                return
            else:
                await peer.answer(200, f"proxied {target}".encode())

    async with serving(handler, certificate.server() if certificate else None) as server:
        yield Tunnels(server, heads)


async def relay(peer: Peer, upstream: trio.SocketStream) -> None:
    """Both directions until either side is done."""

    async def pipe(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(65536):
                await sink.send_all(data)
        finally:
            scope.cancel()

    async with upstream, trio.open_nursery() as nursery:
        await upstream.send_all(bytes(peer.buffer))
        nursery.start_soon(pipe, peer.stream, upstream, nursery.cancel_scope)
        nursery.start_soon(pipe, upstream, peer.stream, nursery.cancel_scope)


async def echo(peer: Peer) -> None:
    """Answers with what was asked, bodies included."""
    while head := await peer.head():
        length = next((int(line.split(":")[1]) for line in head.splitlines() if "content-length" in line.lower()), 0)
        await peer.answer(200, head.splitlines()[0].encode() + await peer.body(length))


async def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    """CONNECT names host and port; TLS and its verification are end to end; the tunnel is kept for the next request."""
    certificate = make_certificate(tmp_path)
    async with proxying() as tunnels, serving(echo, certificate.server()) as server:
        proxy = tunnels.proxy("Basic cHJveHk6cHc=")
        async with client_for(server, ca=certificate.cert, proxy=proxy) as client:
            for _ in range(2):
                assert (await client.request(get(server, "/x"))).body == b"GET /x HTTP/1.1"
    assert len(tunnels.heads) == 1
    assert tunnels.heads[0].splitlines()[0] == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    assert "proxy-authorization: Basic cHJveHk6cHc=" in tunnels.heads[0]


async def test_plain_http_uses_the_absolute_form() -> None:
    """An http registry is asked for by the proxy, in absolute form, with the proxy's credentials."""
    async with proxying() as tunnels:
        registry = Server(echo)
        registry.port = 5000
        async with client_for(registry, proxy=tunnels.proxy("Basic eDp5")) as client:
            response = await client.request(get(registry, "/v2/?n=1"))
    assert response.body == b"proxied http://127.0.0.1:5000/v2/?n=1"
    assert "proxy-authorization: Basic eDp5" in tunnels.heads[0]
    assert "host: 127.0.0.1:5000" in tunnels.heads[0]


async def test_the_proxy_never_sees_what_is_in_the_tunnel(tmp_path: Path) -> None:
    """Registry credentials do not appear in CONNECT, proxy credentials do not appear behind it."""
    certificate = make_certificate(tmp_path)
    seen: list[str] = []

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            seen.append(head.lower())
            await peer.answer(200)

    async with (
        proxying() as tunnels,
        serving(handler, certificate.server()) as server,
        client_for(server, ca=certificate.cert, proxy=tunnels.proxy("Basic cHJveHk6cHc=")) as client,
    ):
        await client.request(get(server, headers=(("authorization", "Bearer t"),)))
    assert "bearer" not in tunnels.heads[0].lower()
    assert "proxy-authorization" not in seen[0]


@pytest.mark.parametrize(("status", "kind"), [(407, NeedsLogin), (403, CannotConnect), (502, CannotConnect)])
async def test_a_refused_tunnel_is_the_proxys_fault(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    """407 asks for credentials, everything else is no way to the registry; the text names the proxy."""
    certificate = make_certificate(tmp_path)
    async with (
        proxying(refuse=status) as tunnels,
        serving(echo, certificate.server()) as server,
        client_for(server, ca=certificate.cert, proxy=tunnels.proxy("Basic c2VjcmV0")) as client,
    ):
        with pytest.raises(kind, match=f"proxy http://127.0.0.1:{tunnels.server.port}.*{status}") as caught:
            await client.request(get(server))
    assert "c2VjcmV0" not in str(caught.value)


async def test_a_silent_proxy_is_a_stall(tmp_path: Path) -> None:
    """The proxy's answer to CONNECT has the limit of connecting."""

    async def handler(peer: Peer) -> None:
        await trio.sleep_forever()

    async with serving(handler) as server:
        target = Url(Origin("https", "127.0.0.1", 9), "/")
        run = RunOptions(connect_timeout=0.05)
        async with client_for(server, proxy=Proxy(server.origin), run=run) as client:
            with pytest.raises(Stalled):
                await client.request(Request("GET", target))


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate that the machine's trust store contains."""
    certificate = make_certificate(tmp_path)
    setup = TlsSetup(ssl.create_default_context(cafile=str(certificate.cert)))
    monkeypatch.setattr(tls.TlsSetup, "default", staticmethod(lambda: setup))
    return certificate


async def test_tls_in_tls_carries_requests_and_bodies(trusted: Certificate) -> None:
    """Behind an https:// proxy everything works, in the loop: nothing can be lent."""
    body = bytes(range(256)) * 4096

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            if head.startswith("GET"):
                await peer.answer(200, body)
            else:
                await peer.answer(201, b"same" if await peer.body(len(body)) == body else b"other")

    async with (
        proxying(trusted) as tunnels,
        serving(handler, trusted.server()) as server,
        client_for(server, ca=trusted.cert, proxy=tunnels.proxy()) as client,
    ):
        assert (await client.request(get(server))).body == body
        lease = await client.open_body(get(server))
        assert (lease.inlet, lease.length) == (None, len(body))
        got = b""
        while piece := await lease.read_some():
            got += piece
        await lease.settle(None)
        assert got == body
        upload = await client.open_upload(Request("PUT", server.url("/u")), len(body))
        assert upload.outlet is None
        for at in range(0, len(body), 100_000):
            await upload.send(body[at : at + 100_000])
        assert (await upload.finish()).body == b"same"
        link = client._reach.pool.take(client._reach.key(server.origin, ("http/1.1",)), Link)
        assert link is not None
        with pytest.raises(Bug):
            link.lend()
        link.close()
    assert len(tunnels.heads) == 1


async def test_plain_http_through_an_https_proxy(trusted: Certificate) -> None:
    """The absolute form travels inside the proxy's TLS."""
    async with proxying(trusted) as tunnels:
        registry = Server(echo)
        registry.port = 5000
        async with client_for(registry, proxy=tunnels.proxy()) as client:
            assert (await client.request(get(registry, "/v2/"))).body == b"proxied http://127.0.0.1:5000/v2/"


async def test_a_proxy_that_closes_is_a_lost_link(tmp_path: Path) -> None:
    """EOF instead of an answer to CONNECT."""

    async def handler(peer: Peer) -> None:
        await peer.head()

    certificate = make_certificate(tmp_path)
    async with (
        serving(handler) as proxy,
        serving(echo, certificate.server()) as server,
        client_for(server, ca=certificate.cert, proxy=Proxy(proxy.origin)) as client,
    ):
        with pytest.raises(LinkLost, match="proxy"):
            await client.request(get(server))
