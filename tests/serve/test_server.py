"""The server's life: starting, TLS of its own, ending, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from fastcopy.errors import BadConfig, CannotConnect
from fastcopy.serve import Account, ServeConfig, running, serve, start_in_thread
from fastcopy.serve.certificate import ensure_certificate
from tests.registries import FLAVOURS, Flavour, Registry, embedded_registry
from tests.serve.helpers import BIG, Wire, closing, image, sha, start

ANY = "127.0.0.1:0"


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


async def test_serve_tells_when_it_listens() -> None:
    """task_status.started gives the running server; cancelling ends it."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, ServeConfig(listen=ANY))
        with socket.create_connection(server.address, timeout=5):
            pass
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError):
        socket.create_connection(server.address, timeout=5).close()


async def test_a_taken_port_is_one_clear_error() -> None:
    """The address is named."""
    async with running(ServeConfig(listen=ANY)) as server:
        with pytest.raises(CannotConnect, match=f"cannot listen on {server.host}"):
            async with running(ServeConfig(listen=server.host)):
                pass


@pytest.mark.parametrize("listen", ["", "localhost", "127.0.0.1:http", "127.0.0.1:70000"])
def test_a_strange_address_is_refused(listen: str) -> None:
    """HOST:PORT is wanted."""
    with pytest.raises(BadConfig):
        start_in_thread(ServeConfig(listen=listen))


def test_an_ipv6_address_is_listened_on() -> None:
    """[::1]:port, and the host is spelled with brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with start_in_thread(ServeConfig(listen="[::1]:0")) as started:
        assert started.server.host.startswith("[::1]:")
        socket.create_connection(started.server.address[:2], timeout=5).close()


def working_threads() -> list[str]:
    """Names of the threads that do something; trio keeps idle workers for ten seconds."""
    return sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio thread"))


def speaks_tls(address: tuple[str, int], authority: Path) -> str:
    """Shake hands trusting this authority alone; the protocol agreed on."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = socket.create_connection(address, timeout=5)
    with context.wrap_socket(raw, server_hostname="localhost") as sock:
        return sock.selected_alpn_protocol() or ""


def test_tls_without_files_makes_an_authority_that_lasts(tmp_path: Path) -> None:
    """Next to the layout, the same after a restart, usable as --cert-dir, its key for us alone."""
    config = ServeConfig(directory=tmp_path / "layout", listen=ANY, tls=True)
    seen = []
    for _ in range(2):
        with start_in_thread(config) as started:
            assert started.server.authority == tmp_path / "layout.tls" / "ca.crt"
            assert speaks_tls(started.server.address, started.server.authority) == "h2"
            seen.append(started.server.authority.read_bytes())
    assert seen[0] == seen[1]
    assert [path.name for path in (tmp_path / "layout.tls").iterdir() if path.is_file()] == ["ca.crt"]
    key = tmp_path / "layout.tls" / "private" / "server.pem.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_tls_in_memory_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority is gone with the server."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with start_in_thread(ServeConfig(listen=ANY, tls=True)) as started:
        assert started.server.authority is not None
        assert speaks_tls(started.server.address, started.server.authority)
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_is_made_anew_for_another_address(tmp_path: Path) -> None:
    """A name that the old one lacks."""
    first = ensure_certificate(tmp_path, "127.0.0.1").certificate.read_bytes()
    assert ensure_certificate(tmp_path, "127.0.0.1").certificate.read_bytes() == first
    assert ensure_certificate(tmp_path, "registry.test").certificate.read_bytes() != first


def test_a_bad_certificate_file_is_one_clear_error(tmp_path: Path) -> None:
    """BadConfig names it."""
    (tmp_path / "cert.pem").write_text("not a certificate")
    with pytest.raises(BadConfig, match=r"cert\.pem"):
        start_in_thread(ServeConfig(listen=ANY, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "cert.pem"))


def test_a_failed_handshake_costs_nobody_else(embedded_tls: Registry) -> None:
    """Plain HTTP to a TLS port is counted, and others are served."""
    before = embedded_tls.server.handshakes_failed
    host, _, port = embedded_tls.host.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sock.recv(4096):
                pass
    assert embedded_tls.server.handshakes_failed == before + 1
    with embedded_tls.client() as client:
        assert client.request("GET", "/v2/").status == 200


@pytest.mark.parametrize("flavour", ["plain", "tls"])
@pytest.mark.parametrize("stored", [True, False])
def test_ending_in_mid_transfer_leaves_nothing(tmp_path: Path, flavour: Flavour, stored: bool) -> None:
    """No thread, no descriptor, and within moments: an upload, a download and an idle connection are cut."""
    settings: dict[str, Any] = {"directory": tmp_path / "layout"} if stored else {}
    with embedded_registry(tmp_path, flavour):  # certificates, caches, trio's worker threads
        pass
    threads, files = working_threads(), descriptors()
    wires = []
    with embedded_registry(tmp_path, flavour, **settings) as registry:
        with registry.client() as client:
            digest = client.push_blob("a", bytes(32 << 20))["digest"]
            location = start(client, "a")
        wires = [Wire(registry) for _ in range(3)]
        wires[0].say(f"PUT {closing(location, BIG)} HTTP/1.1", f"Content-Length: {len(BIG)}", body=BIG[:-1])
        wires[1].say(f"GET /v2/a/blobs/{digest} HTTP/1.1")
        wires[1].sock.recv(1)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    for wire in wires:
        wire.sock.close()
    assert working_threads() == threads
    assert descriptors() <= files


def test_stop_may_be_said_twice() -> None:
    """And after the end it means nothing."""
    started = start_in_thread(ServeConfig(listen=ANY))
    started.stop()
    started.stop()


def test_passwords_are_in_no_representation() -> None:
    """Of an account, or of the whole configuration."""
    config = ServeConfig(accounts=(Account("me", "very secret"),))
    assert "very secret" not in repr(config)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_log_tells_every_request_and_its_bytes(tmp_path: Path, flavour: Flavour) -> None:
    """Method, target, status, both directions; count() asks it."""
    with embedded_registry(tmp_path, flavour) as registry:
        with registry.client() as client:
            image(client, "a", "v1", BIG)
            client.request("GET", f"/v2/a/blobs/{sha(BIG)}")
        registry.settle()
        server = registry.server
        (put,) = [record for record in server.log if record.bytes_in == len(BIG)]
        assert (put.method, put.status, put.http) == ("PUT", 201, "1.1")
        (got,) = [record for record in server.log if record.bytes_out > len(BIG)]
        assert (got.method, got.target) == ("GET", f"/v2/a/blobs/{sha(BIG)}")
        assert server.count("PUT", "/manifests/", 201) == 1
        assert server.count("POST", "/blobs/uploads/") == 2
