"""The Docker Engine API, as much as an image needs: ``GET /images/get`` and ``POST /images/load``.

Over a unix socket, TCP, or TCP with TLS; one connection per request. Paths carry no API version, so the daemon's own
version answers. Refuses to know what the archives mean.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import trio

from fastcopy.errors import Again, BadConfig, BadName, CannotConnect, FastcopyError, LinkLost, PeerError, Stalled
from fastcopy.http.dial import dial
from fastcopy.http.h1 import Exchange
from fastcopy.http.lease import H1Upload
from fastcopy.http.link import Link
from fastcopy.http.tls import TlsSetup
from fastcopy.http.wire import Origin, Response
from fastcopy.threads import in_thread

if TYPE_CHECKING:
    from fastcopy._native import Outlet, Report

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
#: Seconds without a byte: a daemon prepares an archive, or unpacks one, for minutes before it says anything.
PATIENCE: Final = 900.0
#: Progress and errors of a load are a few lines; an error body is one.
_MAX_ANSWER: Final = 4 << 20
_PLAIN: Final = ("http",)


class NoDaemon(CannotConnect):
    """Nobody listens at a unix socket; waiting does not start a daemon."""

    again = Again.NEVER


@dataclass(frozen=True, slots=True)
class _UnixOrigin(Origin):
    """A unix socket as messages show it."""

    path: str = ""

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where the daemon listens and how it is trusted. *tls* is None for unix sockets and ``http://``."""

    origin: Origin
    tls: TlsSetup | None = None
    connect_timeout: float = 30.0

    @staticmethod
    def at(host: str, cert_dir: Path | None, *, verify: bool, connect_timeout: float = 30.0) -> Daemon:
        """The daemon at *host* (``unix://PATH``, ``http://HOST:PORT``, and with TLS ``tcp://HOST:PORT``).

        *cert_dir* has ``ca.pem``, ``cert.pem`` and ``key.pem``. Raises BadName, BadConfig.
        """
        scheme, separator, rest = (host or DEFAULT_HOST).partition("://")
        if not separator or not rest:
            raise BadName(f"unable to parse docker host `{host}`")
        if scheme == "unix":
            return Daemon(_UnixOrigin("http", "docker", 80, rest), None, connect_timeout)
        plain = scheme in _PLAIN
        tls = None if plain else TlsSetup(_context(cert_dir, verify=verify))
        return Daemon(_origin("http" if plain else "https", rest, host), tls, connect_timeout)

    async def connect(self) -> Exchange:
        """A new connection; raises LinkError."""
        if isinstance(self.origin, _UnixOrigin):
            return Exchange(await _connect_unix(self.origin, self.connect_timeout))
        link = await dial(self.origin, self.tls, timeout=self.connect_timeout, alpn=("http/1.1",) if self.tls else ())
        return Exchange(link)

    @asynccontextmanager
    async def exchange(self) -> AsyncIterator[Exchange]:
        """A connection that is closed at the end."""
        exchange = await self.connect()
        try:
            yield exchange
        finally:
            exchange.drop()

    async def save(self, exchange: Exchange, name: str) -> None:
        """Ask for the archive of image *name*; its body follows on *exchange*. Raises PeerError, LinkError."""
        target = f"/images/get?names={quote(name, safe='')}"
        await exchange.send("GET", target, [("host", self.origin.netloc), ("connection", "close")], None, PATIENCE)
        await exchange.receive_head(PATIENCE)
        if exchange.head.status != 200:
            raise refusal(await _response(exchange), "loading image from docker engine")

    async def load(self, fd: int, size: int) -> None:
        """Hand over the *size* bytes of an archive in file *fd*; raises PeerError, LinkError."""
        async with self.exchange() as exchange:
            headers = [
                ("host", self.origin.netloc),
                ("connection", "close"),
                ("content-type", "application/x-tar"),
                ("content-length", str(size)),
            ]
            await exchange.send_head("POST", "/images/load?quiet=1", headers, PATIENCE)
            lease = H1Upload(exchange, size, patience=PATIENCE, stall=PATIENCE, finish=_response)
            outlet = lease.outlet
            report: Report | None = None
            if outlet is not None:
                report = await _pumped(outlet, fd, size)
            else:
                await _sent(lease, fd)
            answer = await lease.finish(report)
        if not 200 <= answer.status < 300:
            raise refusal(answer, "starting a load operation in docker engine")
        for message in _messages(answer.body):
            raise PeerError(f"docker engine reported: {json.dumps(message)}")


def _origin(scheme: str, rest: str, host: str) -> Origin:
    try:
        parts = urlsplit(f"//{rest}")
        if not parts.hostname or parts.port is None:
            raise ValueError
    except ValueError:
        raise BadName(f"unable to parse docker host `{host}`: it needs a host and a port") from None
    return Origin(scheme, parts.hostname, parts.port)


def _context(cert_dir: Path | None, *, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if cert_dir is not None:
            context.load_verify_locations(cert_dir / "ca.pem")
            context.load_cert_chain(cert_dir / "cert.pem", cert_dir / "key.pem", password=_no_password)
    except (OSError, ValueError) as error:
        reason = "not a certificate and key" if isinstance(error, ssl.SSLError) else str(error)
        raise BadConfig(f"{cert_dir} (ca.pem, cert.pem, key.pem): {reason}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    raise ValueError("a key with a password is not supported")


async def _connect_unix(origin: _UnixOrigin, timeout: float) -> Link:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with trio.move_on_after(timeout) as waiting:
            while True:
                try:
                    sock.connect(origin.path)
                    return Link(sock, origin)
                except BlockingIOError:  # the backlog is full; a unix socket has no other way to say when it is not
                    await trio.sleep(0.05)
        assert waiting.cancelled_caught
        raise Stalled(f"no connection to {origin} within {timeout:g} seconds")
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise NoDaemon(f"Cannot connect to the Docker daemon at {origin}. Is it running? ({reason})") from None
    except BaseException:
        sock.close()
        raise


async def _pumped(outlet: Outlet, fd: int, size: int) -> Report:
    from fastcopy._native import Inlet, Pump

    pump = Pump([outlet], size, slab=1 << 20, stall=PATIENCE)
    return await in_thread(lambda: pump.run(Inlet.file(fd, size)), pump.stop)


async def _sent(lease: H1Upload, fd: int) -> None:
    """The same from the loop, for connections that cannot be lent."""
    at = 0
    while data := await trio.to_thread.run_sync(os.pread, fd, 1 << 20, at):
        await lease.send(data)
        at += len(data)


async def _response(exchange: Exchange) -> Response:
    body = await exchange.read_body(_MAX_ANSWER, PATIENCE)
    return Response(exchange.head.status, exchange.head.headers, body)


def refusal(answer: Response, doing: str) -> FastcopyError:
    """What a daemon said instead of doing it, as one line."""
    text = answer.body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
        text = str(document["message"])
    except (ValueError, KeyError, TypeError):
        text = text or f"status {answer.status}"
    line = " ".join(text.split())[:500]
    return PeerError(f"{doing}: Error response from daemon: {line}", status=answer.status)


def _messages(body: bytes) -> list[str]:
    """The errors among the JSON messages of a load, whose status was 200 before it began."""
    found: list[str] = []
    decoder, text = json.JSONDecoder(), body.decode("utf-8", "replace").lstrip()
    while text:
        try:
            document, end = decoder.raw_decode(text)
        except ValueError:
            raise LinkLost("parsing docker load progress: it is not JSON") from None
        detail = document.get("errorDetail") if isinstance(document, dict) else None
        if isinstance(detail, dict):
            found.append(" ".join(str(detail.get("message", "")).split())[:500])
        text = text[end:].lstrip()
    return found
