"""The client over HTTP/2: multiplexing, flow control, GOAWAY and resets, and the way back to HTTP/1.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h2.settings
import pytest
import trio

from fastcopy.errors import LinkLost, ProtocolBroken, Stalled, TooManyRequests
from fastcopy.http.link import Unprocessed
from fastcopy.http.wire import Request
from fastcopy.options import RunOptions
from tests.http.h2_peer import Asked, H2Peer, speaks_h2
from tests.http.support import Certificate, Peer, client_for, get, make_certificate, serving

BODY = bytes(range(256)) * 4096


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """The server's certificate."""
    return make_certificate(tmp_path)


async def echo(asked: Asked) -> None:
    """Answers with path and body."""
    await asked.ended.wait()
    await asked.answer(200, asked.path.encode() + bytes(asked.body))


async def test_prior_knowledge_over_plain_http() -> None:
    """`--http 2` on plain HTTP starts with the preface, and works where the server knows it."""
    async with serving(speaks_h2(echo)) as server, client_for(server, http="2") as client:
        responses = [await client.request(get(server, f"/{n}")) for n in range(3)]
    assert [(r.body, r.http) for r in responses] == [(b"/0", "2"), (b"/1", "2"), (b"/2", "2")]
    assert server.connections == 1


async def test_prior_knowledge_refused_is_a_clear_error() -> None:
    """A plain HTTP/1.1 server is named as what it is."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(400)

    async with serving(handler) as server, client_for(server, http="2") as client:
        with pytest.raises(ProtocolBroken, match="does not speak HTTP/2 without TLS"):
            await client.request(get(server))


async def test_many_requests_share_one_connection(certificate: Certificate) -> None:
    """A hundred concurrent requests are answered out of order on one connection."""
    waiting: list[Asked] = []

    async def script(asked: Asked) -> None:
        waiting.append(asked)
        if len(waiting) == 90:
            for each in reversed(waiting):
                await each.answer(200, each.path.encode())

    answers: dict[int, bytes] = {}
    tls = certificate.server("h2")
    async with serving(speaks_h2(script), tls) as server, client_for(server, ca=certificate.cert, http="2") as client:

        async def ask(number: int) -> None:
            answers[number] = (await client.request(get(server, f"/{number}"))).body

        async with trio.open_nursery() as nursery:
            for number in range(90):
                nursery.start_soon(ask, number)
    assert answers == {n: f"/{n}".encode() for n in range(90)}
    assert server.connections == 1


async def test_more_streams_than_allowed_open_another_connection() -> None:
    """The server's SETTINGS_MAX_CONCURRENT_STREAMS is respected; nothing queues."""
    settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    go = trio.Event()

    async def script(asked: Asked) -> None:
        await go.wait()
        await asked.answer(200, b"ok")

    async with serving(speaks_h2(script, settings), None) as server, client_for(server, http="2") as client:
        await_first = trio.Event()

        async def first() -> None:
            await client.request(get(server, "/first"))
            await_first.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked(0.02)
            for _ in range(4):
                nursery.start_soon(client.request, get(server))
                await trio.testing.wait_all_tasks_blocked(0.02)
            go.set()
    assert server.connections == 3


async def test_auto_uses_h2_only_when_several_wait(certificate: Certificate) -> None:
    """One request at a time stays on HTTP/1.1; a crowd goes to one HTTP/2 connection."""
    kinds: list[str] = []

    async def handler(peer: Peer) -> None:
        if peer.alpn == "h2":
            await H2Peer(peer, echo).serve()
            return
        while await peer.head():
            await trio.sleep(0.02)
            await peer.answer(200, b"1.1")

    tls = certificate.server("h2", "http/1.1")
    async with serving(handler, tls) as server, client_for(server, ca=certificate.cert) as client:

        async def ask() -> None:
            kinds.append((await client.request(get(server))).http)

        await ask()
        await ask()
        assert (kinds, server.connections) == (["1.1", "1.1"], 1)
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask)
    assert kinds.count("2") >= 20
    assert server.connections <= 6


async def test_auto_remembers_that_h2_is_not_offered(certificate: Certificate) -> None:
    """Where ALPN says http/1.1 the connection is used for it, and h2 is not asked for again."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await trio.sleep(0.02)
            await peer.answer(200)

    tls = certificate.server("http/1.1")
    async with serving(handler, tls) as server, client_for(server, ca=certificate.cert) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(client.request, get(server))
        assert server.connections == 12
        assert client._multiplex._refused == {server.origin}


async def test_large_bodies_respect_the_windows() -> None:
    """A 4 MiB body goes out in pieces the server's 64 KiB window allows, and comes back through ours."""
    big = BODY * 4
    async with serving(speaks_h2(echo)) as server, client_for(server, http="2") as client:
        response = await client.request(Request("PUT", server.url("/"), body=big, limit=8 << 20))
    assert response.body == b"/" + big


async def test_an_early_answer_ends_the_body() -> None:
    """413 with RST_STREAM(NO_ERROR) is an answer; the connection serves the next request."""

    async def script(asked: Asked) -> None:
        if asked.headers[":method"] == "PUT":
            await asked.answer(413, b"too much")
            await asked.reset(0)
        else:
            await asked.answer(200)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        response = await client.request(Request("PUT", server.url("/"), body=BODY * 4))
        assert (response.status, response.body) == (413, b"too much")
        assert (await client.request(get(server))).status == 200
    assert server.connections == 1


async def test_refused_streams_are_sent_again_whatever_the_verb() -> None:
    """REFUSED_STREAM means unprocessed: even a PATCH is repeated at once."""
    seen: list[str] = []

    async def script(asked: Asked) -> None:
        seen.append(asked.headers[":method"])
        if len(seen) == 1:
            await asked.reset(7)
        else:
            await asked.answer(202)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        assert (await client.request(Request("PATCH", server.url("/")))).status == 202
    assert seen == ["PATCH", "PATCH"]


async def test_a_server_that_always_refuses_is_left_to_the_scheduler() -> None:
    """After a few refusals the error goes up."""

    async def script(asked: Asked) -> None:
        await asked.reset(7)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        with pytest.raises(Unprocessed):
            await client.request(get(server))


async def test_goaway_lets_older_streams_end() -> None:
    """Streams up to the last one are answered after GOAWAY; later ones go to a new connection."""
    connections: list[H2Peer] = []
    held: list[Asked] = []

    async def script(asked: Asked) -> None:
        if asked.peer not in connections:
            connections.append(asked.peer)
        if asked.peer is not connections[0]:
            await asked.answer(200, b"new")
        elif asked.number == 1:
            held.append(asked)
        else:
            await asked.peer.goaway(1)
            await held[0].answer(200, b"old")

    answers: list[bytes] = []
    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:

        async def ask() -> None:
            answers.append((await client.request(get(server))).body)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.02)
            nursery.start_soon(ask)
    assert sorted(answers) == [b"new", b"old"]


async def test_goaway_while_idle_is_seen_before_the_next_request() -> None:
    """A graceful shutdown between requests costs a dial."""

    async def script(asked: Asked) -> None:
        await asked.answer(200)
        await asked.peer.goaway(2**31 - 1)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        await client.request(get(server))
        await trio.testing.wait_all_tasks_blocked(0.02)
        await client.request(get(server))
    assert server.connections == 2


async def test_enhance_your_calm_is_a_limit() -> None:
    """GOAWAY(ENHANCE_YOUR_CALM) is for the scheduler's brakes, not for an immediate repeat."""

    async def script(asked: Asked) -> None:
        await asked.peer.goaway(0, 11)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        with pytest.raises(TooManyRequests):
            await client.request(get(server))


async def test_a_reset_in_the_middle_is_a_lost_link() -> None:
    """INTERNAL_ERROR after the head is not repeated."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, b"half", end=False)
        await asked.reset(2)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        with pytest.raises(LinkLost, match="INTERNAL_ERROR"):
            await client.request(get(server))


@pytest.mark.parametrize("how", ["reset", "status"])
async def test_a_server_that_wants_http11_gets_it(certificate: Certificate, how: str) -> None:
    """HTTP_1_1_REQUIRED and 421 lead to HTTP/1.1, once and for all."""

    async def script(asked: Asked) -> None:
        if how == "reset":
            await asked.reset(13)
        else:
            await asked.answer(421)

    async def handler(peer: Peer) -> None:
        if peer.alpn == "h2":
            await H2Peer(peer, script).serve()
            return
        while await peer.head():
            await peer.answer(200, b"1.1")

    tls = certificate.server("h2", "http/1.1")
    async with serving(handler, tls) as server, client_for(server, ca=certificate.cert, http="2") as client:
        responses = [await client.request(get(server)) for _ in range(2)]
    assert [r.body for r in responses] == [b"1.1", b"1.1"]
    assert server.connections == 2


async def test_a_broken_h2_front_is_left_for_http11(certificate: Certificate) -> None:
    """A server that negotiates h2 and does not speak it is used over HTTP/1.1 in auto mode."""

    async def handler(peer: Peer) -> None:
        if peer.alpn == "h2":
            await peer.say(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")
            await trio.sleep_forever()
        while await peer.head():
            await peer.answer(200, b"1.1")

    tls = certificate.server("h2", "http/1.1")
    async with serving(handler, tls) as server, client_for(server, ca=certificate.cert) as client:
        client._multiplex._in_flight[server.origin] = 9
        assert (await client.request(get(server))).body == b"1.1"


async def test_a_stalled_stream_does_not_stall_the_others() -> None:
    """One stream's limit passes; another, answered meanwhile, is well; the connection is kept."""

    async def script(asked: Asked) -> None:
        if asked.path == "/slow":
            await trio.sleep_forever()
        await asked.answer(200, b"fast")

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:

        async def slow() -> None:
            with pytest.raises(Stalled, match="/slow"):
                await client.request(get(server, "/slow", patience=0.1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert (await client.request(get(server, "/fast"))).body == b"fast"
        assert (await client.request(get(server, "/fast"))).body == b"fast"
    assert server.connections == 1


async def test_a_cancelled_leader_hands_the_reading_on() -> None:
    """Whoever reads for all may be cancelled; the others still get their answers."""
    release = trio.Event()

    async def script(asked: Asked) -> None:
        if asked.path == "/kept":
            await release.wait()
            await asked.answer(200, b"kept")

    scope = trio.CancelScope()
    async with (
        serving(speaks_h2(script)) as server,
        client_for(server, http="2") as client,
        trio.open_nursery() as nursery,
    ):

        async def leader() -> None:
            with scope:
                await client.request(get(server, "/cancelled"))

        async def follower() -> None:
            assert (await client.request(get(server, "/kept"))).body == b"kept"

        nursery.start_soon(leader)
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.start_soon(follower)
        await trio.testing.wait_all_tasks_blocked(0.02)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.02)
        release.set()
    assert server.connections == 1


async def test_pings_are_answered_by_the_next_request() -> None:
    """A PING that arrived while idle is acknowledged as soon as anybody looks."""
    acked = trio.Event()

    async def script(asked: Asked) -> None:
        await asked.answer(200)
        if asked.number == 1:
            await asked.peer.raw(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00pingpong")
        else:
            acked.set()

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        await client.request(get(server))
        await trio.testing.wait_all_tasks_blocked(0.02)
        await client.request(get(server))
        await acked.wait()
    assert server.connections == 1


async def test_a_body_over_the_limit_is_refused() -> None:
    """The limit of the request holds over HTTP/2 too."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, b"hello world")

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        with pytest.raises(ProtocolBroken, match="more than the 10 bytes"):
            await client.request(get(server, limit=10))


async def test_interim_answers_are_skipped() -> None:
    """103 is not the answer."""

    async def script(asked: Asked) -> None:
        asked.peer.conn.send_headers(asked.id, [(":status", "103")])
        await asked.answer(200, b"ok")

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        assert (await client.request(get(server))).body == b"ok"


async def test_head_requests_have_no_body() -> None:
    """The Content-Length of a HEAD answer is a fact about the blob."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, b"", content_length="123456")

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        response = await client.request(Request("HEAD", server.url("/")))
    assert (response.body, response.headers.integer("content-length")) == (b"", 123456)


async def test_a_lost_connection_fails_every_request_on_it() -> None:
    """EOF is a lost link for all who wait, each with an error of its own."""
    seen: list[Asked] = []

    async def script(asked: Asked) -> None:
        seen.append(asked)
        if len(seen) == 2:
            await asked.peer.stream.aclose()

    errors: list[BaseException] = []
    async with serving(speaks_h2(script)) as server, client_for(server, http="2", run=RunOptions(stall=5)) as client:

        async def ask() -> None:
            try:
                await client.request(Request("PATCH", server.url("/")))
            except LinkLost as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.02)
            nursery.start_soon(ask)
    assert len(errors) == 2
    assert errors[0] is not errors[1]


def test_the_cutter_finds_frames_however_they_are_cut() -> None:
    """Whole frames come out in order, GOAWAY apart, the rest stays."""
    from fastcopy.http.h2_frames import Cutter, GoAway

    data = b"\x00\x00\x02\x00\x00\x00\x00\x00\x01ab"
    goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02"
    wire = data + goaway + data + data[:10]
    for size in range(1, len(wire) + 1):
        cutter, whole, leaving = Cutter(), b"", list[Any]()
        for at in range(0, len(wire), size):
            frames, goaways = cutter.feed(wire[at : at + size])
            whole += frames
            leaving += goaways
        assert (whole, leaving, cutter.release()) == (data + data, [GoAway(5, 2)], data[:10])


async def test_keep_alive_off_leads_to_h2(certificate: Certificate) -> None:
    """Where every HTTP/1.1 answer costs its connection, one HTTP/2 connection serves all further requests."""
    kinds: list[str] = []

    async def handler(peer: Peer) -> None:
        if peer.alpn == "h2":
            await H2Peer(peer, echo).serve()
            return
        await peer.head()
        await peer.answer(200, b"", "Connection: close")

    tls = certificate.server("h2", "http/1.1")
    async with serving(handler, tls) as server, client_for(server, ca=certificate.cert) as client:
        for _ in range(6):
            kinds.append((await client.request(get(server))).http)
    assert kinds == ["1.1", "1.1", "2", "2", "2", "2"]
    assert server.connections == 3
