"""Bodies on loan over HTTP/1.1: what the pump gets, and what becomes of the link afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio

from fastcopy._native import Hasher, Inlet, Outlet, Pump, Report, Why
from fastcopy.errors import Bug, LinkLost, Stalled
from fastcopy.http.link import LinkBusy
from fastcopy.http.wire import Request
from fastcopy.options import RunOptions
from tests.http.support import Certificate, Peer, Server, client_for, get, make_certificate, serving

BODY = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(params=["plain", "tls"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Certificate | None:
    """None for plain HTTP, else the server's certificate."""
    return make_certificate(tmp_path) if request.param == "tls" else None


def context_of(certificate: Certificate | None) -> dict[str, object]:
    """The server's arguments for *certificate*."""
    return {"tls": certificate.server()} if certificate else {}


async def pump(inlet: Inlet, outlet: Outlet, length: int, hasher: Hasher | None = None) -> Report:
    """Move *length* bytes in a thread, as the engine does."""
    moved = Pump([outlet], length, hasher=hasher, stall=5)
    return await trio.to_thread.run_sync(moved.run, inlet)


async def test_a_body_is_pumped_and_the_link_lives_on(certificate: Certificate | None) -> None:
    """The prefix that the head read swallowed and the rest of the socket make exactly the body."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.answer(200, BODY)

    ca = certificate.cert if certificate else None
    async with serving(handler, **context_of(certificate)) as server, client_for(server, ca=ca) as client:  # type: ignore[arg-type]
        for _ in range(3):
            lease = await client.open_body(get(server, "/blob"))
            hasher = Hasher("sha256")
            assert lease.inlet is not None
            assert lease.length == len(BODY)
            report = await pump(lease.inlet, Outlet.null(), len(BODY), hasher)
            await lease.settle(report)

            assert report.why is Why.DONE
            assert hasher.hexdigest() == hashlib.sha256(BODY).hexdigest()
    assert server.connections == 1


async def test_an_unfinished_body_costs_the_link() -> None:
    """A body that was not read to its end leaves nothing in the pool."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.answer(200, BODY)

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_body(get(server))
        await lease.settle(None)
        lease.close()
        assert len(client._reach.pool) == 0


async def test_a_lent_link_is_exclusive() -> None:
    """The loop may not touch a link that a pump holds."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(200, BODY)

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_body(get(server))
        with pytest.raises(LinkBusy):
            await lease._exchange.link.send_all(b"x", 1)  # type: ignore[attr-defined]
        with pytest.raises(Bug):
            await lease.read_some()
        lease.close()


async def test_a_small_body_may_be_all_prefix() -> None:
    """A body that came with its head is handed over without touching the socket again."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.answer(206, b"tiny")

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_body(get(server))
        assert lease.inlet is not None
        await lease.settle(await pump(lease.inlet, Outlet.null(), 4))
        assert len(client._reach.pool) == 1


async def test_an_error_status_is_read_and_not_lent() -> None:
    """Anything but 200 and 206 comes back whole, and the link is free again."""

    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.answer(404, b'{"errors":[]}')

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_body(get(server))
        assert (lease.response.status, lease.response.body, lease.inlet) == (404, b'{"errors":[]}', None)
        assert len(client._reach.pool) == 1


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_a_body_without_length_is_read_in_the_loop(framing: str) -> None:
    """Chunked and length-less bodies cannot be lent; they come in pieces."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        if framing == "chunked":
            await peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n")
        else:
            await peer.say("HTTP/1.1 200 OK\r\n\r\nabcdefg")

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_body(get(server))
        assert (lease.inlet, lease.length) == (None, None)
        body = b""
        while piece := await lease.read_some():
            body += piece
        await lease.settle(None)
        kept = len(client._reach.pool)
    assert (body, kept) == (b"abcdefg", 1 if framing == "chunked" else 0)


async def test_a_redirected_body_names_its_final_url() -> None:
    """Ranges can go straight to where the body came from."""

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            if "/v2/" in head:
                await peer.answer(307, b"", "Location: /signed?x=1")
            else:
                await peer.answer(200, b"blob")

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_body(get(server))
        assert lease.final_url == server.url("/signed?x=1")
        lease.close()


def put(server: Server, **more: object) -> Request:
    """A closing PUT."""
    return Request("PUT", server.url("/v2/a/blobs/uploads/1?digest=d"), **more)  # type: ignore[arg-type]


async def test_an_upload_is_pumped_and_answered(certificate: Certificate | None) -> None:
    """The head promises the length, the pump sends it, the answer is read, the link lives on."""

    async def handler(peer: Peer) -> None:
        while head := await peer.head():
            assert f"content-length: {len(BODY)}" in head.lower()
            same = await peer.body(len(BODY)) == BODY
            await peer.answer(201 if same else 400, b"done")

    ca = certificate.cert if certificate else None
    async with serving(handler, **context_of(certificate)) as server, client_for(server, ca=ca) as client:  # type: ignore[arg-type]
        for _ in range(2):
            lease = await client.open_upload(put(server), len(BODY))
            assert lease.outlet is not None
            report = await pump(Inlet.memory(BODY), lease.outlet, len(BODY))
            response = await lease.finish(report)
            assert (report.why, response.status, response.body) == (Why.DONE, 201, b"done")
    assert server.connections == 1


async def test_an_early_answer_ends_an_upload(certificate: Certificate | None) -> None:
    """A 413 in the middle of the body is the answer, and the link is not used again."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.body(1000)
        await peer.answer(413, b"too much", "Connection: close")
        await trio.sleep_forever()

    ca = certificate.cert if certificate else None
    async with serving(handler, **context_of(certificate)) as server, client_for(server, ca=ca) as client:  # type: ignore[arg-type]
        big = BODY * 32
        lease = await client.open_upload(put(server), len(big))
        assert lease.outlet is not None
        report = await pump(Inlet.memory(big), lease.outlet, len(big))
        response = await lease.finish(report)
        assert (report.why, response.status, response.body) == (Why.ANSWERED, 413, b"too much")
        assert len(client._reach.pool) == 0


async def test_an_upload_that_is_cut_says_so() -> None:
    """A destination that closes without a word is a lost link."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.body(1000)

    async with serving(handler) as server, client_for(server) as client:
        big = BODY * 32
        lease = await client.open_upload(put(server), len(big))
        assert lease.outlet is not None
        report = await pump(Inlet.memory(big), lease.outlet, len(big))
        with pytest.raises(LinkLost):
            await lease.finish(report)
    assert report.why is Why.SINK_LOST


async def test_the_last_words_of_a_reset_upload_are_heard() -> None:
    """A server that answers 507 and closes with unread data may reset; the answer is used if it arrived."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(507, b"full", "Connection: close")

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_upload(put(server), 6)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await lease.send(b"abc")
        await lease.send(b"def")
        assert (await lease.finish()).status == 507


async def test_small_uploads_go_through_the_loop() -> None:
    """`send` carries bodies that are not worth a thread."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.answer(201, await peer.body(6))

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_upload(put(server), 6)
        await lease.send(b"abc")
        await lease.send(b"def")
        assert (await lease.finish()).body == b"abcdef"
        assert len(client._reach.pool) == 1


async def test_an_upload_of_unknown_length_is_chunked() -> None:
    """Without a length there is nothing to lend; the loop sends chunks."""

    async def handler(peer: Peer) -> None:
        assert "transfer-encoding: chunked" in (await peer.head()).lower()
        await peer.answer(201, await peer.body(len("3\r\nabc\r\n0\r\n\r\n")))

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_upload(put(server), None)
        assert lease.outlet is None
        await lease.send(b"abc")
        assert (await lease.finish()).body == b"3\r\nabc\r\n0\r\n\r\n"


async def test_an_empty_upload_is_an_upload() -> None:
    """Zero bytes are a body too: the empty layer."""

    async def handler(peer: Peer) -> None:
        assert "content-length: 0" in (await peer.head()).lower()
        await peer.answer(201)

    async with serving(handler) as server, client_for(server) as client:
        lease = await client.open_upload(put(server), 0)
        assert lease.outlet is not None
        report = await pump(Inlet.memory(b""), lease.outlet, 0)
        assert (await lease.finish(report)).status == 201


async def test_the_closing_put_has_its_own_patience() -> None:
    """The answer to an upload is waited for as long as the request says, not longer."""

    async def handler(peer: Peer) -> None:
        await peer.head()
        await peer.body(3)
        await trio.sleep_forever()

    async with serving(handler) as server, client_for(server, run=RunOptions(stall=30)) as client:
        lease = await client.open_upload(put(server, patience=0.05), 3)
        await lease.send(b"abc")
        with pytest.raises(Stalled):
            await lease.finish()
        assert len(client._reach.pool) == 0
