"""A running server: the listener, its connections, its log.

Owns the nursery. Refuses to know what is served.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import trio

from fastcopy.errors import CannotConnect
from fastcopy.serve import h1
from fastcopy.serve.config import ServeConfig
from fastcopy.serve.link import Link
from fastcopy.serve.message import Body, Handler, Head, Record, Reply
from fastcopy.serve.registry import Registry
from fastcopy.serve.store import Store

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
    connections: int = 0  #: accepted so far
    handshakes_failed: int = 0

    @property
    def host(self) -> str:
        """``host:port`` as a reference spells it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """``http(s)://host:port``."""
        return f"{'https' if self.config.secure else 'http'}://{self.host}"

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
        with _listening(config) as listener:
            address = listener.getsockname()[:2]
            server = Running(config, address, Registry(config, store))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_accept, server, listener, _handler(server), _tls(config))
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
    if config.directory is None:
        return Store()
    raise NotImplementedError


def _handler(server: Running) -> Handler:
    """The registry, behind the middleware where there is one."""
    middleware, answer = server.config.middleware, server.registry.answer
    if middleware is None:
        return answer

    async def wrapped(head: Head, body: Body) -> Reply:
        return await middleware(head, body, answer)

    return wrapped


def _tls(config: ServeConfig) -> ssl.SSLContext | None:
    if not config.secure:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert config.tls_cert is not None
    context.load_cert_chain(config.tls_cert, config.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


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
                sock, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    await trio.sleep(0.05)  # let running connections end first
                continue
            server.connections += 1
            nursery.start_soon(_connection, server, sock, handler, tls)


async def _connection(server: Running, sock: socket.socket, handler: Handler, tls: ssl.SSLContext | None) -> None:
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link = Link(sock, server.config.stall)
    try:
        if tls is not None and not await _shake_hands(server, link, tls):
            return
        await h1.Conversation(link, handler, server.log.append, server.config.idle).run()
    finally:
        link.close()


async def _shake_hands(server: Running, link: Link, tls: ssl.SSLContext) -> bool:
    try:
        await link.handshake(tls)
    except (OSError, trio.TooSlowError):
        server.handshakes_failed += 1
        return False
    return True
