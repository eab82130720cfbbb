"""The client over HTTP/1.1 against a scripted server: exchanges, reuse, faults, redirects."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from fastcopy.errors import CannotConnect, LinkLost, NoSuchHost, ProtocolBroken, Stalled, TlsRefused
from fastcopy.http.client import Client
from fastcopy.http.wire import Origin, Request, Url
from fastcopy.options import Credentials, RunOptions
from tests.http.support import Peer, access, client_for, get, make_certificate, serving


async def test_exchanges_share_one_connection() -> None:
    """A link that h11 calls reusable serves the next request too."""

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            await peer.answer(200, head.split()[1].encode())

    async with serving(handler) as server, client_for(server) as client:
        bodies = [(await client.request(get(server, f"/{n}"))).body for n in range(3)]
    assert (bodies, server.connections) == ([b"/0", b"/1", b"/2"], 1)


async def test_the_request_head_says_what_it_must() -> None:
    """Host, User-Agent, the caller's fields, and a Content-Length for verbs that carry a body; nothing encodes."""
    heads: list[str] = []

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            heads.append(head.lower())
            await peer.answer(202)

    async with serving(handler) as server, client_for(server) as client:
        await client.request(Request("POST", server.url("/v2/a/blobs/uploads/"), (("accept", "x/y"),)))
        await client.request(Request("POST", server.url("/v2/a/blobs/uploads/"), (("content-length", "0"),)))
        await client.request(get(server))
    assert heads[0].startswith("post /v2/a/blobs/uploads/ http/1.1")
    for line in (f"host: 127.0.0.1:{server.port}", "user-agent: fastcopy-test", "accept: x/y", "content-length: 0"):
        assert line in heads[0].splitlines()
    assert heads[1].count("content-length") == 1
    assert "content-length" not in heads[2]
    assert "accept-encoding" not in "".join(heads)


async def test_connection_close_is_believed() -> None:
    """After Connection: close the next request dials anew."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(200, b"", "Connection: close")

    async with serving(handler) as server, client_for(server) as client:
        await client.request(get(server))
        await client.request(get(server))
    assert server.connections == 2


async def test_a_link_closed_while_idle_is_noticed_before_use() -> None:
    """A server that closes an idle link costs a dial, not an error."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(200, b"ok")

    async with serving(handler) as server, client_for(server) as client:
        await client.request(get(server))
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.request(get(server))).body == b"ok"
    assert server.connections == 2


async def test_a_reused_link_that_breaks_before_the_answer_is_replaced_once() -> None:
    """The keep-alive race is repaired at once, on a new connection."""
    seen = 0

    async def handler(peer: Peer) -> None:
        nonlocal seen
        while await peer.head():
            seen += 1
            if seen == 2:
                return
            await peer.answer(200, b"ok")

    async with serving(handler) as server, client_for(server) as client:
        await client.request(get(server))
        assert (await client.request(get(server))).body == b"ok"
    assert (seen, server.connections) == (3, 2)


@pytest.mark.parametrize("request_of", [{"method": "PATCH"}, {"repeatable": False}])
async def test_a_request_that_must_not_be_repeated_is_not(request_of: dict[str, object]) -> None:
    """What appends, or was declared unrepeatable, is sent once."""
    seen = 0

    async def handler(peer: Peer) -> None:
        nonlocal seen
        while await peer.head():
            seen += 1
            if seen == 2:
                return
            await peer.answer(200, b"ok")

    async with serving(handler) as server, client_for(server) as client:
        await client.request(get(server))
        with pytest.raises(LinkLost):
            await client.request(replace(get(server), **request_of))  # type: ignore[arg-type]
    assert seen == 2


async def test_a_fresh_link_that_breaks_is_an_error() -> None:
    """Nothing is repeated when the connection was new: the scheduler decides."""

    async def handler(peer: Peer) -> None:
        await peer.head()

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(LinkLost, match="before it answered"):
            await client.request(get(server))
    assert server.connections == 1


async def test_a_broken_answer_on_a_reused_link_is_an_error() -> None:
    """Once a byte of the answer arrived, the request is not repeated."""
    seen = 0

    async def handler(peer: Peer) -> None:
        nonlocal seen
        while await peer.head():
            seen += 1
            if seen == 2:
                await peer.say("HTTP/1.1 20")
                return
            await peer.answer(200)

    async with serving(handler) as server, client_for(server) as client:
        await client.request(get(server))
        with pytest.raises(LinkLost):
            await client.request(get(server))
    assert seen == 2


async def test_interim_answers_are_skipped() -> None:
    """100 and 103 are not the answer, however they are cut into packets."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHT")
        await peer.say("TP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with serving(handler) as server, client_for(server) as client:
        assert (await client.request(get(server))).body == b"ok"


async def test_interim_answers_without_end_are_a_flood() -> None:
    """A server may not keep us waiting with interim answers for ever."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await trio.sleep_forever()

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(ProtocolBroken, match="interim"):
            await client.request(get(server))


async def test_a_head_that_never_ends_is_refused() -> None:
    """More than 64 KiB of head is an attack."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\n")
        while True:
            await peer.say("X: " + "y" * 8000 + "\r\n")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(ProtocolBroken):
            await client.request(get(server))


async def test_a_presigned_location_of_many_kilobytes_is_followed() -> None:
    """Long Location headers are normal at storage providers."""

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            if head.startswith("GET /v2/ "):
                await peer.answer(307, b"", "Location: /blob?sig=" + "s" * 40_000)
            else:
                await peer.answer(200, str(len(head.splitlines()[0])).encode())

    async with serving(handler) as server, client_for(server) as client:
        response = await client.request(get(server))
    assert int(response.body) > 40_000
    assert response.url == server.url("/blob?sig=" + "s" * 40_000)


async def test_chunked_bodies_are_read() -> None:
    """A chunked answer is read whole and the link lives on."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await peer.say("5;x=y\r\ndefgh\r\n0\r\nTrailer: t\r\n\r\n")

    async with serving(handler) as server, client_for(server) as client:
        assert (await client.request(get(server))).body == b"abcdefgh"
        assert (await client.request(get(server))).body == b"abcdefgh"
    assert server.connections == 1


async def test_a_chunked_body_that_is_cut_is_an_error() -> None:
    """EOF inside a chunked body is not its end."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(LinkLost, match="middle of a body"):
            await client.request(get(server))


async def test_a_body_without_length_ends_with_the_connection() -> None:
    """HTTP/1.0 style answers are read to the end; such a link is not kept."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\n\r\nall of it")

    async with serving(handler) as server, client_for(server) as client:
        assert (await client.request(get(server))).body == b"all of it"
        await client.request(get(server))
    assert server.connections == 2


async def test_a_truncated_body_is_an_error() -> None:
    """Fewer bytes than Content-Length promises is a lost link, never a short body."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(LinkLost, match="middle of a body"):
            await client.request(get(server))


@pytest.mark.parametrize("framing", ["Content-Length: 11", "Transfer-Encoding: chunked"])
async def test_a_body_over_the_limit_is_refused(framing: str) -> None:
    """A 200 whose body is longer than the request allows is an error, whatever the framing."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        body = "b\r\nhello world\r\n0\r\n\r\n" if "chunked" in framing else "hello world"
        await peer.say(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(ProtocolBroken, match="more than the 10 bytes"):
            await client.request(get(server, limit=10))


async def test_long_error_bodies_are_cut() -> None:
    """Of an error page 64 KiB are read, and the connection is given up."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(502, b"x" * 100_000)

    async with serving(handler) as server, client_for(server) as client:
        response = await client.request(get(server))
        await client.request(get(server))
    assert (response.status, len(response.body), server.connections) == (502, 65536, 2)


async def test_bytes_after_the_body_end_the_link() -> None:
    """A server that says more than it announced is not trusted with another request."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n")
        await trio.sleep_forever()

    async with serving(handler) as server, client_for(server) as client:
        await client.request(get(server))
        await client.request(get(server))
    assert server.connections == 2


async def test_content_encoding_is_left_alone() -> None:
    """Blobs are opaque; nothing is decoded."""
    packed = gzip.compress(b"layer")

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(200, packed, "Content-Encoding: gzip")

    async with serving(handler) as server, client_for(server) as client:
        assert (await client.request(get(server))).body == packed


async def test_a_request_body_is_sent_and_an_early_refusal_is_read() -> None:
    """A server may answer 413 and close while the body is still on its way."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(413, b"too much", "Connection: close")
        await peer.body(1 << 20)

    async with serving(handler) as server, client_for(server) as client:
        request = Request("PUT", server.url("/v2/a/manifests/t"), body=b"m" * (4 << 20))
        response = await client.request(request)
    assert (response.status, response.body) == (413, b"too much")


async def test_a_whole_body_arrives(tmp_path: Path) -> None:
    """Four MiB over TLS, byte for byte."""
    certificate = make_certificate(tmp_path)
    body = bytes(range(256)) * (16 << 10)

    async def handler(peer: Peer) -> None:
        head = await peer.head()
        assert f"content-length: {len(body)}" in head.lower()
        await peer.answer(201, b"same" if await peer.body(len(body)) == body else b"other")

    async with serving(handler, certificate.server()) as server, client_for(server, ca=certificate.cert) as client:
        response = await client.request(Request("PUT", server.url("/x"), body=body))
    assert response.body == b"same"


async def test_a_slow_head_is_a_stall() -> None:
    """The head has Request.patience seconds in all, however slowly it drips."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\n")
        while True:
            await trio.sleep(0.01)
            await peer.say("X: y\r\n")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(Stalled, match=r"GET http://127.0.0.1:\d+/v2/"):
            await client.request(get(server, patience=0.05))


async def test_a_body_that_stops_is_a_stall() -> None:
    """No byte during `stall` seconds ends the wait for a body."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await trio.sleep_forever()

    async with serving(handler) as server, client_for(server, run=RunOptions(stall=0.05)) as client:
        with pytest.raises(Stalled):
            await client.request(get(server))


async def test_errors_and_traces_hide_capabilities() -> None:
    """Query values that may be secrets and credentials never reach a text."""
    lines: list[str] = []

    async def handler(peer: Peer) -> None:
        while "good" in await peer.head():
            await peer.answer(200)
        await peer.say("nonsense\r\n\r\n")

    async with serving(handler) as server, client_for(server, trace=lines.append) as client:
        await client.request(get(server, "/good?sig=hush&digest=d", headers=(("authorization", "Basic hush"),)))
        with pytest.raises(ProtocolBroken) as caught:
            await client.request(get(server, "/bad?sig=hush"))
    assert "hush" not in str(caught.value) + "".join(lines)
    assert "/good?sig=REDACTED&digest=d -> 200" in lines[0]


async def test_nobody_there() -> None:
    """A refused connection and an unknown host have errors of their own."""

    async def handler(peer: Peer) -> None:
        raise AssertionError

    async with serving(handler) as server, client_for(server) as client:
        origin = Origin("http", "127.0.0.1", 1)
        with pytest.raises(CannotConnect, match=r"127\.0\.0\.1:1: connection refused"):
            await client.request(Request("GET", Url(origin, "/")))
        with pytest.raises(NoSuchHost, match=r"nowhere\.invalid"):
            await client.request(Request("GET", Url(Origin("http", "nowhere.invalid", 80), "/")))


async def test_https_verifies_the_certificate(tmp_path: Path) -> None:
    """An unknown authority and a wrong name are refused, and say so."""
    certificate = make_certificate(tmp_path)
    other = make_certificate(tmp_path / "..", "elsewhere.example")

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(200, b"secret")

    async with serving(handler, certificate.server()) as server, client_for(server) as client:
        with pytest.raises(TlsRefused, match="certificate"):
            await client.request(get(server))
    async with serving(handler, other.server()) as server, client_for(server, ca=other.cert) as client:
        with pytest.raises(TlsRefused, match="certificate"):
            await client.request(get(server))
    async with serving(handler, certificate.server()) as server, client_for(server, ca=certificate.cert) as client:
        assert (await client.request(get(server))).body == b"secret"


async def test_plain_http_behind_https_is_named(tmp_path: Path) -> None:
    """The commonest mistake has skopeo's words."""

    async def handler(peer: Peer) -> None:
        await peer.stream.receive_some(65536)
        await peer.say("HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(TlsRefused, match="server gave HTTP response to HTTPS client"):
            await client.request(Request("GET", Url(Origin("https", "127.0.0.1", server.port), "/")))


async def test_insecure_falls_back_to_plain_http_once() -> None:
    """--tls-verify=false: HTTPS is tried first, plain HTTP after, and the finding is remembered."""
    hellos = 0

    async def handler(peer: Peer) -> None:
        nonlocal hellos
        data = await peer.stream.receive_some(65536)
        if data.startswith(b"\x16"):
            hellos += 1
            await peer.say("HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        peer.buffer += data
        while await peer.head():
            await peer.answer(200, b"plain")

    async with serving(handler) as server:
        api = Origin("https", "127.0.0.1", server.port)
        async with Client(access(api, insecure=True), run=RunOptions()) as client:
            responses = [await client.request(Request("GET", Url(api, "/"))) for _ in range(3)]
    assert [r.body for r in responses] == [b"plain"] * 3
    assert responses[0].url == Url(Origin("http", "127.0.0.1", server.port), "/")
    assert (hellos, server.connections) == (1, 2)


async def test_sessions_are_resumed(tmp_path: Path) -> None:
    """A second connection to the same host resumes the TLS session of the first."""
    certificate = make_certificate(tmp_path)

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(200, b"", "Connection: close")

    async with serving(handler, certificate.server()) as server, client_for(server, ca=certificate.cert) as client:
        await client.request(get(server))
        await client.request(get(server))
    assert server.resumed == 1


async def test_tls_links_are_reused(tmp_path: Path) -> None:
    """Session tickets that arrive late do not make a TLS link look dead."""
    certificate = make_certificate(tmp_path)

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.answer(200, b"x" * 100_000)

    async with serving(handler, certificate.server()) as server, client_for(server, ca=certificate.cert) as client:
        for _ in range(3):
            assert len((await client.request(get(server))).body) == 100_000
    assert server.connections == 1


async def test_credentials_stay_at_home() -> None:
    """A redirect to another origin carries no Authorization, though the same request at home does."""
    seen: dict[str, str] = {}

    async def storage(peer: Peer) -> None:
        seen["storage"] = (await peer.head()).lower()
        await peer.answer(200, b"blob")

    async with serving(storage) as elsewhere:

        async def registry(peer: Peer) -> None:
            while head := await peer.head():
                seen["registry"] = head.lower()
                if "authorization" not in seen["registry"]:
                    await peer.answer(401, b"", 'WWW-Authenticate: Basic realm="r"')
                else:
                    await peer.answer(307, b"", f"Location: {elsewhere.url('/blob?sig=1')}")

        async with (
            serving(registry) as server,
            client_for(server, insecure=True, given=Credentials("me", "secret")) as client,
        ):
            response = await client.request(get(server, "/v2/a/blobs/x", scopes=("repository:a:pull",)))
    assert response.body == b"blob"
    assert "authorization: basic" in seen["registry"]
    assert "authorization" not in seen["storage"]
    assert response.url == elsewhere.url("/blob?sig=1")


async def test_redirects_have_an_end() -> None:
    """A loop of redirects is an error, not a loop."""
    seen = 0

    async def handler(peer: Peer) -> None:
        nonlocal seen
        while await peer.head():
            seen += 1
            await peer.answer(302, b"", "Location: /again")

    async with serving(handler) as server, client_for(server) as client:
        with pytest.raises(ProtocolBroken, match="redirects"):
            await client.request(get(server))
    assert seen == 6


async def test_cancelling_leaves_no_link_in_the_pool() -> None:
    """A request that was cancelled half-way closes its connection."""
    gone = trio.Event()

    async def handler(peer: Peer) -> None:
        await peer.head()
        if await peer.head() == "":
            gone.set()

    async with serving(handler) as server, client_for(server) as client:
        with trio.move_on_after(0.05):
            await client.request(get(server))
        assert len(client._reach.pool) == 0
        with trio.fail_after(2):
            await gone.wait()
