"""Blob bodies over HTTP/2: one stream per lane, the pump moves DATA, python-h2's books stay true."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import h2.settings
import pytest
import trio

from fastcopy._native import Hasher, Inlet, Outlet, Pump, Report, Why
from fastcopy.errors import LinkLost
from fastcopy.http.client import Client
from fastcopy.http.wire import Origin, Request, Url
from fastcopy.options import RunOptions
from tests.http.h2_peer import Asked, speaks_h2
from tests.http.support import Certificate, access, client_for, get, make_certificate, serving
from tests.registries import Registry

BODY = bytes(range(256)) * 4096 * 9  # 9 MiB: more than both windows of a lane


@pytest.fixture(params=["plain", "tls"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Certificate | None:
    """None for prior knowledge over plain HTTP, else the server's certificate."""
    return make_certificate(tmp_path) if request.param == "tls" else None


async def pump(inlet: Inlet, outlet: Outlet, length: int, hasher: Hasher | None = None) -> Report:
    """Move *length* bytes in a thread, as the engine does."""
    moved = Pump([outlet], length, hasher=hasher, stall=5)
    return await trio.to_thread.run_sync(moved.run, inlet)


def put(url: Url, **more: object) -> Request:
    """A closing PUT."""
    return Request("PUT", url, **more)  # type: ignore[arg-type]


async def test_bodies_follow_each_other_on_one_lane(certificate: Certificate | None) -> None:
    """Five bodies, each larger than our windows, one connection: the windows are given back to the last byte."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, end=False, content_length=str(len(BODY)))
        await asked.data(BODY, pad=7 if asked.number == 2 else None)

    tls = certificate.server("h2") if certificate else None
    ca = certificate.cert if certificate else None
    async with serving(speaks_h2(script), tls) as server, client_for(server, ca=ca, http="2") as client:
        for _ in range(5):
            lease = await client.open_body(get(server, "/blob"))
            hasher = Hasher("sha256")
            assert lease.inlet is not None
            report = await pump(lease.inlet, Outlet.null(), len(BODY), hasher)
            await lease.settle(report)
            assert (report.why, hasher.hexdigest()) == (Why.DONE, hashlib.sha256(BODY).hexdigest())
    assert server.connections == 1


@pytest.mark.parametrize("size", [0, 1, 5, 16384, 70_000])
async def test_bodies_of_every_size_leave_a_clean_lane(size: int) -> None:
    """Small bodies may come with the head, partly or whole."""
    body = secrets.token_bytes(size)

    async def script(asked: Asked) -> None:
        await asked.answer(200, body)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        for _ in range(3):
            lease = await client.open_body(get(server, "/blob"))
            hasher = Hasher("sha256")
            assert lease.inlet is not None
            await lease.settle(await pump(lease.inlet, Outlet.null(), size, hasher))
            assert hasher.hexdigest() == hashlib.sha256(body).hexdigest()
    assert server.connections == 1


async def test_a_body_without_length_is_read_in_the_loop() -> None:
    """No Content-Length, nothing to lend."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, end=False)
        await asked.data(BODY)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        lease = await client.open_body(get(server, "/blob"))
        assert lease.inlet is None
        got = b""
        while piece := await lease.read_some():
            got += piece
        await lease.settle(None)
        assert got == BODY
        lease = await client.open_body(get(server, "/blob"))
        lease.close()
    assert server.connections == 1


async def test_a_reset_body_costs_the_lane() -> None:
    """RST_STREAM in mid-body ends the pump; the lane is not used again."""

    async def script(asked: Asked) -> None:
        await asked.answer(200, end=False, content_length=str(len(BODY)))
        await asked.data(BODY[: 1 << 20], end=False)
        await asked.reset(2)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        lease = await client.open_body(get(server, "/blob"))
        assert lease.inlet is not None
        report = await pump(lease.inlet, Outlet.null(), len(BODY))
        await lease.settle(report)
        assert report.why in (Why.FRAME, Why.SOURCE_LOST)
        assert len(client._reach.pool) == 0


async def test_an_error_leaves_the_lane_usable() -> None:
    """A 404 is read whole and the lane serves the next body."""

    async def script(asked: Asked) -> None:
        await asked.answer(404, b"nothing here")

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        for _ in range(2):
            lease = await client.open_body(get(server, "/blob"))
            assert (lease.response.status, lease.response.body, lease.inlet) == (404, b"nothing here", None)
    assert server.connections == 1


async def digest_of(asked: Asked) -> None:
    """Answers a whole upload with the digest of what came."""
    await asked.ended.wait()
    await asked.answer(201, hashlib.sha256(asked.body).hexdigest().encode())


async def test_uploads_follow_each_other_on_one_lane(certificate: Certificate | None) -> None:
    """Five uploads through the server's 64 KiB windows, one connection."""
    tls = certificate.server("h2") if certificate else None
    ca = certificate.cert if certificate else None
    async with serving(speaks_h2(digest_of), tls) as server, client_for(server, ca=ca, http="2") as client:
        for _ in range(5):
            lease = await client.open_upload(put(server.url("/u")), len(BODY))
            assert lease.outlet is not None
            report = await pump(Inlet.memory(BODY), lease.outlet, len(BODY))
            response = await lease.finish(report)
            assert (report.why, response.status) == (Why.DONE, 201)
            assert response.body.decode() == hashlib.sha256(BODY).hexdigest()
    assert server.connections == 1


@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_uploads_of_every_size(size: int) -> None:
    """Empty, tiny and window-sized uploads, pumped and sent from the loop."""
    body = secrets.token_bytes(size)
    async with serving(speaks_h2(digest_of)) as server, client_for(server, http="2") as client:
        lease = await client.open_upload(put(server.url("/u")), size)
        assert lease.outlet is not None
        report = await pump(Inlet.memory(body), lease.outlet, size)
        pumped = await lease.finish(report)
        lease = await client.open_upload(put(server.url("/u")), size)
        if body:
            await lease.send(body)
        sent = await lease.finish()
    assert pumped.body == sent.body == hashlib.sha256(body).hexdigest().encode()
    assert server.connections == 1


async def test_settings_that_change_in_mid_upload_are_obeyed() -> None:
    """The window of the stream shrinks and grows with SETTINGS; the lane stays usable."""

    async def script(asked: Asked) -> None:
        if asked.number == 1:
            asked.peer.conn.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 200_000})
            await asked.peer.flush()
            asked.peer.conn.ping(b"12345678")
            await asked.peer.flush()
        await digest_of(asked)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        for _ in range(2):
            lease = await client.open_upload(put(server.url("/u")), len(BODY))
            assert lease.outlet is not None
            report = await pump(Inlet.memory(BODY), lease.outlet, len(BODY))
            assert (await lease.finish(report)).body.decode() == hashlib.sha256(BODY).hexdigest()
    assert server.connections == 1


async def test_an_early_answer_ends_an_upload(certificate: Certificate | None) -> None:
    """413 and RST_STREAM(NO_ERROR) in mid-body: the answer counts, the lane does not."""

    async def script(asked: Asked) -> None:
        await asked.answer(413, b"too much")
        await asked.reset(0)

    tls = certificate.server("h2") if certificate else None
    ca = certificate.cert if certificate else None
    async with serving(speaks_h2(script), tls) as server, client_for(server, ca=ca, http="2") as client:
        lease = await client.open_upload(put(server.url("/u")), len(BODY))
        assert lease.outlet is not None
        report = await pump(Inlet.memory(BODY), lease.outlet, len(BODY))
        response = await lease.finish(report)
        assert (report.why, response.status, response.body) == (Why.ANSWERED, 413, b"too much")
        assert len(client._reach.pool) == 0


async def test_an_upload_that_is_reset_says_so() -> None:
    """A destination that resets the stream without an answer is a lost link."""

    async def script(asked: Asked) -> None:
        await asked.reset(2)

    async with serving(speaks_h2(script)) as server, client_for(server, http="2") as client:
        lease = await client.open_upload(put(server.url("/u")), len(BODY))
        assert lease.outlet is not None
        report = await pump(Inlet.memory(BODY), lease.outlet, len(BODY))
        with pytest.raises(LinkLost):
            await lease.finish(report)


async def push(client: Client, api: Origin, body: bytes) -> str:
    """Push *body* as a blob of the repository t; its digest."""
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    scopes = ("repository:t:pull,push",)
    started = await client.request(Request("POST", Url(api, "/v2/t/blobs/uploads/"), scopes=scopes))
    assert started.status == 202
    location = Url(api, "/").join(started.headers.get("location")).with_query(digest=digest)
    lease = await client.open_upload(put(location, scopes=scopes), len(body))
    assert lease.outlet is not None
    report = await pump(Inlet.memory(body), lease.outlet, len(body))
    response = await lease.finish(report)
    assert (report.why, response.status) == (Why.DONE, 201)
    return digest


@pytest.mark.real("docker-registry")
@pytest.mark.parametrize("http", ["2", "auto", "1.1"])
async def test_docker_registry_takes_and_gives_blobs(docker_tls: Registry, http: str) -> None:
    """Push and pull 10 MiB three times against Debian's docker-registry over TLS."""
    assert docker_tls.certificates is not None
    host, _, port = docker_tls.host.partition(":")
    api = Origin("https", host, int(port))
    how = access(api, docker_tls.certificates.ca, http=http)
    async with Client(how, run=RunOptions(stall=10, connect_timeout=5)) as client:
        for _ in range(3):
            body = secrets.token_bytes(10 << 20)
            digest = await push(client, api, body)
            lease = await client.open_body(
                Request("GET", Url(api, f"/v2/t/blobs/{digest}"), scopes=("repository:t:pull",))
            )
            hasher = Hasher("sha256")
            assert lease.inlet is not None
            report = await pump(lease.inlet, Outlet.null(), len(body), hasher)
            await lease.settle(report)
            assert f"sha256:{hasher.hexdigest()}" == digest
            assert lease.response.http == ("2" if http == "2" else "1.1")
        assert len(client._reach.pool) == 1
