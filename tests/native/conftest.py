"""Both backends behind one name, and both kinds of wire."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from native_peers import certificate, tcp_pair, tls_pair

from fastcopy._native import _plain, _plain_digest, _plain_ends
from fastcopy._native._types import Counters, PumpError, Report, Why

VALUES = {"Why": Why, "Report": Report, "Counters": Counters, "PumpError": PumpError}


def plain_backend() -> SimpleNamespace:
    """The twin."""
    return SimpleNamespace(
        name="plain",
        Hasher=_plain_digest.Hasher,
        Inlet=_plain_ends.Inlet,
        Outlet=_plain_ends.Outlet,
        Pump=_plain.Pump,
        Rate=_plain.Rate,
        **VALUES,
    )


def native_backend() -> SimpleNamespace:
    """The extensions; the test is skipped where they are not built and not demanded."""
    if os.environ.get("FASTCOPY_PURE") == "1":
        pytest.skip("FASTCOPY_PURE=1 asks for the plain twin alone")
    try:
        digest = importlib.import_module("fastcopy._native.digest")
        pump = importlib.import_module("fastcopy._native.pump")
    except ImportError:
        if os.environ.get("FASTCOPY_REQUIRE_NATIVE") == "1":
            raise
        pytest.skip("the native extensions are not built")
    return SimpleNamespace(
        name="native",
        Hasher=digest.Hasher,
        Inlet=pump.Inlet,
        Outlet=pump.Outlet,
        Pump=pump.Pump,
        Rate=pump.Rate,
        module=pump,
        digest=digest,
        **VALUES,
    )


@pytest.fixture(params=["native", "plain"])
def backend(request: pytest.FixtureRequest) -> SimpleNamespace:
    """One of the two backends."""
    return native_backend() if request.param == "native" else plain_backend()


@pytest.fixture(params=["native-plain", "native-tls", "native-sslsocket", "twin-plain", "twin-tls"])
def road(request: pytest.FixtureRequest, contexts: Any) -> Iterator[SimpleNamespace]:
    """A backend and a kind of wire; `road.pair()` gives the lent end and the peer's end."""
    which, wire = request.param.split("-")
    backend = native_backend() if which == "native" else plain_backend()
    if wire == "sslsocket":
        backend.module.force_sslsocket(True)
    with contextlib.ExitStack() as stack:

        def pair() -> tuple[Any, Any]:
            near, far = tcp_pair() if wire == "plain" else tls_pair(*contexts)
            stack.callback(near.close)
            stack.callback(far.close)
            return near, far

        backend.pair, backend.wire = pair, wire
        yield backend
    if wire == "sslsocket":
        backend.module.force_sslsocket(False)


@pytest.fixture
def pair() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Plain TCP pairs that are closed afterwards."""
    with contextlib.ExitStack() as stack:

        def make() -> tuple[socket.socket, socket.socket]:
            near, far = tcp_pair()
            stack.callback(near.close)
            stack.callback(far.close)
            return near, far

        yield make


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Client and server contexts around one fresh certificate; the client verifies."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = certificate()
    (folder / "cert.pem").write_bytes(cert)
    (folder / "key.pem").write_bytes(key)
    client = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return client, server
