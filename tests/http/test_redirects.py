"""Where redirects may lead, and which addresses may be dialled for whom."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import FastcopyError, ProtocolBroken
from fastcopy.http import dial
from fastcopy.http.client import Client
from fastcopy.http.redirect import next_request, resolve_location
from fastcopy.http.wire import Headers, Origin, Request, Response, Url
from fastcopy.options import RunOptions
from tests.http.support import Peer, access, client_for, get, make_certificate, serving

HOME = Url.parse("https://registry.example/v2/a/blobs/x")


def answer(status: int, location: str) -> Response:
    """A redirect."""
    return Response(status, Headers([("location", location)]))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_gets_are_followed_anywhere_over_https(status: int) -> None:
    """All five statuses mean the same for GET; the signed query is kept to the letter."""
    onward = next_request(Request("GET", HOME), answer(status, "https://cdn.example/b?X-Sig=a%2Fb+c"))
    assert onward is not None
    assert str(onward.url) == "https://cdn.example/b?X-Sig=a%2Fb+c"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])
def test_https_never_becomes_http(method: str) -> None:
    """A downgrade is refused for every verb, and the text hides the query."""
    with pytest.raises(ProtocolBroken, match="plain HTTP") as caught:
        next_request(Request(method, HOME), answer(307, "http://cdn.example/b?sig=secret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("status", "location"), [(302, "/other"), (307, "https://elsewhere.example/")])
def test_other_verbs_stay(status: int, location: str) -> None:
    """A body is sent again only to the same origin, and only where the status keeps the verb."""
    with pytest.raises(ProtocolBroken, match="redirects a PUT"):
        next_request(Request("PUT", HOME, body=b"x"), answer(status, location))


def test_other_verbs_follow_at_home() -> None:
    """307 on the same origin keeps verb and body."""
    onward = next_request(Request("PUT", HOME, body=b"x"), answer(307, "/other"))
    assert onward is not None
    assert (onward.method, onward.body, onward.url.target) == ("PUT", b"x", "/other")


def test_what_is_not_to_be_followed_is_not() -> None:
    """A request may decline, a 304 is no redirect, and neither is a 307 without a target."""
    assert next_request(replace(Request("GET", HOME), follow=False), answer(307, "/x")) is None
    assert next_request(Request("GET", HOME), answer(304, "/x")) is None
    assert next_request(Request("GET", HOME), Response(307, Headers())) is None


def test_a_registry_that_calls_itself_http_is_upgraded() -> None:
    """Behind a TLS proxy that hides itself, Location says http:// of the same host."""
    base = Url.parse("https://registry.example/v2/")
    assert str(resolve_location(base, "http://registry.example/u?s=1")) == "https://registry.example/u?s=1"
    assert str(resolve_location(base, "http://registry.example:8080/u")) == "http://registry.example:8080/u"
    assert str(resolve_location(base, "http://other.example/u")) == "http://other.example/u"
    plain = Url.parse("http://registry.example:5000/v2/")
    assert str(resolve_location(plain, "http://registry.example:5000/u")) == "http://registry.example:5000/u"


@given(st.text(max_size=60))
def test_a_location_is_resolved_or_refused(text: str) -> None:
    """Whatever the server writes, the answer is a URL without surprises or one of our errors."""
    try:
        url = resolve_location(HOME, text)
    except FastcopyError:
        return
    assert url.origin.scheme in ("http", "https")
    assert not set(url.target) & set(" \r\n\\\x00")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0",
        "224.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_private_addresses_are_known_in_every_disguise(address: str) -> None:
    """Loopback, private, link-local, metadata services, and their IPv6 wrappings."""
    assert dial.is_private(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are_public(address: str) -> None:
    """What a public registry may point at."""
    assert not dial.is_private(address)


def test_addresses_alternate_between_families() -> None:
    """RFC 8305: the preferred family first, then turn and turn about."""
    found = [(10, (f"::{n}",)) for n in range(3)] + [(2, (f"1.1.1.{n}",)) for n in range(2)]
    spread = dial.spread(found)
    assert [family for family, _ in spread] == [10, 2, 10, 2, 10]
    assert sorted(map(str, spread)) == sorted(map(str, found))


class Here(trio.abc.HostnameResolver):
    """Every name is this machine."""

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def blob(peer: Peer) -> None:
    """Answers everything."""
    while await peer.head():
        await peer.answer(200, b"blob")


async def test_a_public_registry_may_not_point_inside() -> None:
    """The address is judged when it is dialled, so that a name cannot hide it."""
    async with serving(blob) as inside:

        async def registry(peer: Peer) -> None:
            while await peer.head():
                await peer.answer(307, b"", f"Location: http://localhost:{inside.port}/metadata")

        async with serving(registry) as server, client_for(server) as client:
            assert (await client.request(get(server))).body == b"blob"  # the registry is private itself
            client._reach._private = False
            client._reach.close()
            with pytest.raises(ProtocolBroken, match="private address"):
                await client.request(get(server))
    assert inside.connections == 1


async def test_a_registry_that_redirects_to_itself_may_be_anywhere() -> None:
    """The same host is never a stranger, whatever its address."""

    async def registry(peer: Peer) -> None:
        while head := await peer.head():
            if "/again" in head:
                await peer.answer(200, b"here")
            else:
                await peer.answer(307, b"", "Location: /again")

    async with serving(registry) as server, client_for(server) as client:
        await client.request(get(server))
        client._reach._private = False
        client._reach.close()
        assert (await client.request(get(server))).body == b"here"


async def test_strangers_are_verified_although_the_registry_is_not(tmp_path: Path) -> None:
    """--tls-verify=false is about the registry's host; a redirect elsewhere is verified."""
    certificate = make_certificate(tmp_path, "storage.example")
    trio.socket.set_custom_hostname_resolver(Here())
    async with serving(blob, certificate.server()) as storage:

        async def registry(peer: Peer) -> None:
            while await peer.head():
                await peer.answer(307, b"", f"Location: https://storage.example:{storage.port}/blob")

        async with serving(registry, certificate.server()) as server, client_for(server, insecure=True) as client:
            with pytest.raises(FastcopyError, match="certificate"):
                await client.request(get(server))


async def test_nobody_on_either_port_names_the_first() -> None:
    """When neither HTTPS nor HTTP is answered, the error is that of HTTPS."""
    api = Origin("https", "127.0.0.1", 1)
    async with Client(access(api, insecure=True), run=RunOptions()) as client:
        with pytest.raises(FastcopyError, match=r"cannot connect to https://127\.0\.0\.1:1"):
            await client.request(Request("GET", Url(api, "/v2/")))
