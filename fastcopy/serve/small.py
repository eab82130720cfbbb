"""A few documents behind one address: the front end of the registry, without a registry.

Owns a listener and a bounded number of connections. Refuses to know what the documents say.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping

import trio

from fastcopy.errors import BadConfig, CannotConnect
from fastcopy.serve import h1
from fastcopy.serve.link import Link
from fastcopy.serve.message import Body, Head, Reply

Document = Callable[[], Reply]
#: Whoever scrapes opens one or two connections; a port scan shall not cost descriptors that bodies need.
_MOST = 16
_STALL, _IDLE = 5.0, 30.0


@contextlib.asynccontextmanager
async def answering(listen: str, documents: Mapping[str, Document]) -> AsyncIterator[str]:
    """Serve *documents* (path to what makes one) at *listen* until the block ends; yields ``host:port``.

    ``:8080`` is this machine only; everywhere has to be said: ``0.0.0.0:8080``. Raises BadConfig, CannotConnect.
    """
    host, port = _address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_MOST)
    except OSError as error:
        raise CannotConnect(f"cannot listen on {listen}: {error.strerror}", side="us") from error
    with listener:
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_accept, listener, documents)
            yield "{}:{}".format(*listener.getsockname()[:2])
            nursery.cancel_scope.cancel()


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise BadConfig(f"an address is [HOST]:PORT, not {listen!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


async def _accept(listener: socket.socket, documents: Mapping[str, Document]) -> None:
    room = trio.CapacityLimiter(_MOST)

    async def answer(head: Head, body: Body) -> Reply:
        if head.path not in documents:
            return Reply(404, [("Content-Type", "text/plain")], b"not found\n")
        if head.method not in ("GET", "HEAD"):
            return Reply(405, [("Allow", "GET, HEAD"), ("Content-Type", "text/plain")], b"read only\n")
        return documents[head.path]()

    async def converse(sock: socket.socket) -> None:
        sock.setblocking(False)
        link = Link(sock, _STALL)
        try:
            await h1.Conversation(link, answer, lambda record: None, _IDLE).run()
        finally:
            link.close()
            room.release_on_behalf_of(sock)

    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except OSError:
                await trio.sleep(0.05)
                continue
            await room.acquire_on_behalf_of(sock)
            nursery.start_soon(converse, sock)
