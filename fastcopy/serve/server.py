"""A running server: the listener, its connections, its log.

Owns the nursery. Refuses to know what is served.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fastcopy.errors import BadConfig, CannotConnect
from fastcopy.serve import h1
from fastcopy.serve.config import ServeConfig
from fastcopy.serve.identity import server_identity
from fastcopy.serve.link import Link
from fastcopy.serve.message import PREFACE, Body, BodyLost, Handler, Hangup, Head, Record, Reply
from fastcopy.serve.registry import Registry
from fastcopy.serve.store import Store

_LOG = logging.getLogger(__name__)
_BACKLOG = 1024
#: Requests remembered. Enough for any test; a server that runs for weeks must not grow.
_LOG_LENGTH = 200_000
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(eq=False)
class Running:
    """A server that answers: where, and what it was asked so far."""

    config: ServeConfig
    address: tuple[str, int]
    registry: Registry
    log: deque[Record] = field(default_factory=lambda: deque(maxlen=_LOG_LENGTH))
    authority: Path | None = None  #: what clients must trust, where we made the certificate
    connections: int = 0  #: accepted so far
    turned_away: int = 0  #: of these, reset because their address had too many
    open_from: Counter[str] = field(default_factory=Counter)  #: connections now, by address
    handshakes_failed: int = 0
    in_flight: int = 0  #: requests whose record is still to come: it follows the last byte of the answer
    bugs: list[Exception] = field(default_factory=list)  #: what no request may cause; each cost its connection

    @property
    def host(self) -> str:
        """``host:port`` as a reference spells it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """``http(s)://host:port``."""
        return f"{'https' if self.config.secure else 'http'}://{self.host}"

    def admits(self, peer: str) -> bool:
        """Whether address *peer* may have one connection more; counts it."""
        most = self.config.behaviour.connections
        if most and self.open_from[peer] >= most:
            self.turned_away += 1
            return False
        self.open_from[peer] += 1
        return True

    def note(self, record: Record) -> None:
        """Enter an answered request in the log."""
        self.log.append(record)
        self.in_flight -= 1

    def count(self, method: str = "", containing: str = "", status: int = 0) -> int:
        """How many logged requests fit all that is given."""
        return sum(
            (not method or record.method == method)
            and containing in record.target
            and (not status or record.status == status)
            for record in list(self.log)
        )


@contextlib.asynccontextmanager
async def running(config: ServeConfig) -> AsyncIterator[Running]:
    """A server on a port of its own until the block ends; every connection is closed then."""
    store = await _open_store(config)
    try:
        with _listening(config) as listener, server_identity(config) as identity:
            address = listener.getsockname()[:2]
            server = Running(config, address, Registry(config, store), authority=identity.authority)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_accept, server, listener, _handler(server), identity.context)
                yield server
                nursery.cancel_scope.cancel()
            server.registry.pushing.uploads.close()
    finally:
        store.close()


async def serve(config: ServeConfig, *, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled; `task_status.started` is given the Running server."""
    async with running(config) as server:
        task_status.started(server)
        await trio.sleep_forever()


async def _open_store(config: ServeConfig) -> Store:
    shared = config.behaviour.global_blobs
    if config.directory is None:
        return Store(shared=shared)
    from fastcopy.serve.layout import LayoutStore

    try:
        store = LayoutStore(
            config.directory, config.repository, durable=config.durable, read_only=config.read_only, shared=shared
        )
        await store.load()
    except OSError as error:
        raise BadConfig(f"cannot serve {config.directory}: {error.strerror}") from error
    return store


def _handler(server: Running) -> Handler:
    """The registry, behind the middleware where there is one; a bug costs one request, not the server."""
    middleware, answer = server.config.middleware, server.registry.answer

    async def guarded(head: Head, body: Body) -> Reply:
        server.in_flight += 1
        try:
            return await (answer(head, body) if middleware is None else middleware(head, body, answer))
        except (BodyLost, Hangup):
            raise
        except Exception as error:
            server.bugs.append(error)
            _LOG.exception("bug while answering %s %s", head.method, head.path)
            raise Hangup from error

    return guarded


@contextlib.contextmanager
def _listening(config: ServeConfig) -> Iterator[socket.socket]:
    host, port = config.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotConnect(f"cannot listen on {config.listen}: {error.strerror}", side="us") from error
    with listener:
        listener.setblocking(False)
        yield listener


async def _accept(server: Running, listener: socket.socket, handler: Handler, tls: ssl.SSLContext | None) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    await trio.sleep(0.05)  # let running connections end first
                continue
            server.connections += 1
            if not server.admits(peer[0]):
                _reset(sock)
                continue
            nursery.start_soon(_connection, server, sock, peer[0], handler, tls)


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def _connection(
    server: Running, sock: socket.socket, peer: str, handler: Handler, tls: ssl.SSLContext | None
) -> None:
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link = Link(sock, server.config.stall)
    try:
        if tls is not None and not await _shake_hands(server, link, tls):
            return
        await _converse(server, link, handler)
    except Exception as error:  # a bug of ours costs one connection, not the server
        server.bugs.append(error)
        _LOG.exception("bug while serving a connection")
    finally:
        link.close()
        server.open_from[peer] -= 1


async def _converse(server: Running, link: Link, handler: Handler) -> None:
    """Speak what was agreed on: ALPN, or prior knowledge, which HTTP/2's preface shows (RFC 9113 3.3)."""
    idle = server.config.idle
    if await _speaks_h2(server, link):
        from fastcopy.serve import h2  # 30 ms of imports that many servers never need

        await h2.Conversation(link, handler, server.note, idle).run()
    else:
        keep_alive = server.config.behaviour.keep_alive
        await h1.Conversation(link, handler, server.note, idle, keep_alive=keep_alive).run()


async def _speaks_h2(server: Running, link: Link) -> bool:
    if link.tls or not server.config.http2:
        return link.alpn == "h2"
    start = b""
    try:
        while len(start) < len(PREFACE) and PREFACE.startswith(start):
            more = await link.receive(4096, server.config.idle)
            start += more
            if not more:
                break
    except BodyLost:
        return False
    finally:
        link.unread(start)
    return start.startswith(PREFACE)


async def _shake_hands(server: Running, link: Link, tls: ssl.SSLContext) -> bool:
    try:
        await link.handshake(tls)
    except (OSError, trio.TooSlowError):
        server.handshakes_failed += 1
        return False
    return True
