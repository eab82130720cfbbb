"""Peers for the pump's tests: threads that send, collect or sit still at the other end of a real socket."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

WAIT = 30.0


class Thread:
    """A call on its own thread; `result` waits for it and re-raises what it raised."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self._call, self._args = call, args
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call(*self._args)
        except BaseException as error:
            self._error = error

    def alive(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "the call did not end"
        if self._error:
            raise self._error
        return self._value


def collect(sock: socket.socket, limit: int = 1 << 40) -> bytes:
    """Everything up to the end of the stream, or *limit* bytes."""
    got = bytearray()
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while len(got) < limit and (some := sock.recv(min(1 << 16, limit - len(got)))):
            got += some
    return bytes(got)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far.settimeout(WAIT)
    near.setblocking(False)
    return near, far


def tls_pair(
    client: ssl.SSLContext, server: ssl.SSLContext, alpn: str | None = None
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Near end non-blocking after its handshake, far end blocking."""
    near, far = tcp_pair()
    near.settimeout(WAIT)
    accepting = Thread(lambda: server.wrap_socket(far, server_side=True))
    lent = client.wrap_socket(near, server_hostname="127.0.0.1")
    peer: ssl.SSLSocket = accepting.result()
    lent.setblocking(False)
    return lent, peer


def certificate() -> tuple[bytes, bytes]:
    """A self-signed certificate for 127.0.0.1 and its key, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    )
    cert = builder.sign(key, hashes.SHA256())
    return (
        cert.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
