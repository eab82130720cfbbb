"""What the tests of the HTTP client share: a scripted server, certificates, and a client that needs no files."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fastcopy.http.certs import CertFiles
from fastcopy.http.client import Client
from fastcopy.http.hosts import HostAccess
from fastcopy.http.wire import Origin, Proxy, Request, Url
from fastcopy.options import Credentials, RunOptions

Handler = Callable[["Peer"], Awaitable[None]]


@dataclass
class Peer:
    """The server's end of one connection, with what has been received and not yet looked at."""

    stream: trio.abc.Stream
    buffer: bytearray = field(default_factory=bytearray)
    alpn: str = ""

    async def head(self) -> str:
        """The next request head, without its empty line; empty when the client has closed."""
        while b"\r\n\r\n" not in self.buffer:
            data = await self.stream.receive_some(65536)
            if not data:
                return ""
            self.buffer += data
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        return head.decode("latin-1")

    async def body(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self.buffer += await self.stream.receive_some(65536)
        body, self.buffer = bytes(self.buffer[:length]), self.buffer[length:]
        return body

    async def say(self, text: str | bytes) -> None:
        await self.stream.send_all(text.encode("latin-1") if isinstance(text, str) else text)

    async def answer(self, status: int = 200, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        await self.say("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


class Server:
    """A scripted server: each connection is given to the handler; connections and heads are counted."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.tls = tls
        self.port = 0
        self.connections = 0
        self.resumed = 0

    @property
    def origin(self) -> Origin:
        return Origin("https" if self.tls else "http", "127.0.0.1", self.port)

    def url(self, target: str = "/v2/") -> Url:
        return Url(self.origin, target)

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        wrapped: trio.abc.Stream = stream
        alpn = ""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            if self.tls is not None:
                secured = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
                await secured.do_handshake()
                self.resumed += bool(secured.session_reused)
                wrapped, alpn = secured, secured.selected_alpn_protocol() or ""
            async with stream:
                await self.handler(Peer(wrapped, alpn=alpn))


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A Server on a free port of 127.0.0.1 while the block runs."""
    server = Server(handler, tls)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server._serve, listeners)
        yield server
        nursery.cancel_scope.cancel()


def access(
    api: Origin, ca: Path | None = None, *, given: Credentials | None = None, proxy: Proxy | None = None, **more: Any
) -> HostAccess:
    """How a registry at *api* is reached, without looking at files or the environment."""
    return HostAccess(
        registry=api.netloc,
        api=api,
        certs=CertFiles((ca,) if ca else ()),
        credentials=lambda _repository: given,
        user_agent="fastcopy-test",
        proxy_for=lambda _url: proxy,
        **more,
    )


def client_for(
    server: Server,
    *,
    ca: Path | None = None,
    run: RunOptions | None = None,
    trace: Callable[[str], None] | None = None,
    **more: Any,
) -> Client:
    """A client of *server* that trusts *ca*."""
    run = run or RunOptions(stall=5, connect_timeout=5)
    return Client(access(server.origin, ca, **more), run=run, trace=trace)


def get(server: Server, target: str = "/v2/", **more: Any) -> Request:
    """A GET of *target* at *server*."""
    return Request("GET", server.url(target), **more)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 and localhost, in files."""

    cert: Path
    key: Path

    def server(self, *alpn: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.cert, self.key)
        made.set_alpn_protocols(list(alpn or ("http/1.1",)))
        return made


def make_certificate(directory: Path, *names: str) -> Certificate:
    """Write a certificate and its key under *directory*."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fastcopy test")])
    now = datetime.datetime.now(datetime.UTC)
    alternative: list[x509.GeneralName] = [x509.DNSName(each) for each in names or ("localhost",)]
    if not names:
        alternative.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(directory / "server.crt", directory / "server.key")
    files.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
