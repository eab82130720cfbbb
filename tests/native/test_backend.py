"""Which backend runs, what decides it, and that a lent TLS socket is only touched through proven gates."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import native_backend
from native_peers import Thread, collect, tls_pair


def chosen(**environment: str) -> str:
    """BACKEND of a fresh interpreter."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FASTCOPY_")}
    code = "from fastcopy._native import BACKEND; print(BACKEND)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_twin_can_be_demanded() -> None:
    """FASTCOPY_PURE=1, whatever is built."""
    assert chosen(FASTCOPY_PURE="1").startswith("pump=plain, tls=sslsocket, sha256=")


def test_the_backend_is_named_and_tls_can_be_demanded() -> None:
    """FASTCOPY_TLS=sslsocket keeps the native pump and leaves TLS to SSLSocket."""
    native_backend()
    assert chosen().startswith("pump=native, tls=")
    assert chosen(FASTCOPY_TLS="sslsocket").startswith("pump=native, tls=sslsocket, ")


def test_the_package_imports_nothing_else_of_fastcopy() -> None:
    """A leaf: neither backend pulls in trio or another room."""
    code = (
        "import sys, fastcopy._native as n; "
        "print([m for m in sys.modules if m == 'trio' or (m.startswith('fastcopy.') and not m.startswith(n.__name__))])"
    )
    for pure in ("0", "1"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"FASTCOPY_PURE": pure, "FASTCOPY_REQUIRE_NATIVE": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("gate", ["version", "size", "library"])
def test_a_closed_gate_means_the_sslsocket_itself(contexts: Any, monkeypatch: pytest.MonkeyPatch, gate: str) -> None:
    """An unknown version, another object size or an unreachable libssl: no pointer is taken, the bytes still cross."""
    backend: SimpleNamespace = native_backend()
    pump = backend.module
    if gate == "library":
        monkeypatch.setattr("_ssl.__file__", "/nowhere/_ssl.so")
    else:
        sizes = {} if gate == "version" else {sys.version_info[:2]: (8,)}
        monkeypatch.setattr(pump, "KNOWN_SIZES", sizes)
    pump.force_sslsocket(False)
    try:
        assert not pump.uses_openssl()
        near, far = tls_pair(*contexts)
        with near, far:
            got = Thread(collect, far, 100_000)
            moving = backend.Pump([backend.Outlet.socket(near)], 100_000)
            assert moving.run(backend.Inlet.memory(b"x" * 100_000)).why is backend.Why.DONE
            assert got.result() == b"x" * 100_000
    finally:
        monkeypatch.undo()
        pump.force_sslsocket(False)
    assert pump.uses_openssl() == (pump.TLS == "native")


def test_session_tickets_are_not_an_answer(road: SimpleNamespace) -> None:
    """TLS 1.3 servers send them before anything else; an upload goes on."""
    if road.wire == "plain":
        pytest.skip("tickets are TLS")
    near, far = road.pair()
    assert near.version() == "TLSv1.3"
    data = os.urandom(2_000_000)
    got = Thread(collect, far, len(data))
    outlet = road.Outlet.socket(near)
    assert road.Pump([outlet], len(data), slab=16_384).run(road.Inlet.memory(data)).why is road.Why.DONE
    assert (got.result() == data, outlet.answer) == (True, b"")


def test_tls_1_2_works_as_well(road: SimpleNamespace, contexts: Any) -> None:
    """Older registries."""
    if road.wire == "plain":
        pytest.skip("about TLS")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    near, far = tls_pair(client, contexts[1])
    with near, far:
        data = os.urandom(500_000)
        got = Thread(collect, far, len(data))
        assert road.Pump([road.Outlet.socket(near)], len(data)).run(road.Inlet.memory(data)).why is road.Why.DONE
        assert got.result() == data


def test_a_broken_pipe_raises_no_signal(road: SimpleNamespace) -> None:
    """Also where the program has given SIGPIPE its deadly default back."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        near, far = road.pair()
        far.close()
        data = b"x" * 8_000_000
        report = road.Pump([road.Outlet.socket(near)], len(data)).run(road.Inlet.memory(data))
        assert report.why is road.Why.SINK_LOST
        assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert signal.SIGPIPE not in signal.sigpending()
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_nothing_is_left_open(backend: SimpleNamespace, pair: Any) -> None:
    """Stop signals go with their owners, after failures too and without the collector; the lent socket stays."""
    near, far = pair()
    far.close()
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            pump = backend.Pump([backend.Outlet.socket(near)], 8)
            assert pump.run(backend.Inlet.socket(near, 8)).why in (backend.Why.SINK_LOST, backend.Why.SOURCE_LOST)
        del pump
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
    assert near.fileno() >= 0
