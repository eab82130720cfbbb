"""What one metadata request costs the client: CPU of this process per HEAD on warm links, by road and crowd.

The server is another process that answers every HEAD alike; only the client's user and system time is counted.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import ssl
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import trio

from benchmarks import certificates
from benchmarks.certificates import Certificates
from benchmarks.micro.head import ANSWER
from fastcopy.http.certs import CertFiles
from fastcopy.http.client import Client
from fastcopy.http.hosts import HostAccess
from fastcopy.http.wire import Origin, Request, Url
from fastcopy.options import HttpVersion, RunOptions

REQUESTS = 3000
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
TOKEN = "Bearer " + "x" * 900


async def _serve_h1(stream: trio.abc.Stream) -> None:
    seen = b""
    while data := await stream.receive_some(65536):
        seen += data
        count = seen.count(b"\r\n\r\n")
        if count:
            seen = seen.rpartition(b"\r\n\r\n")[2]
            await stream.send_all(ANSWER * count)


async def _serve_h2(stream: trio.abc.Stream) -> None:
    import h2.config
    import h2.connection
    import h2.events

    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    conn.initiate_connection()
    await stream.send_all(conn.data_to_send())
    fields = [(b":status", b"200"), (b"content-length", b"0"), (b"docker-content-digest", b"sha256:" + b"a" * 64)]
    while data := await stream.receive_some(65536):
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                conn.send_headers(event.stream_id, fields, end_stream=True)
        await stream.send_all(conn.data_to_send())


async def _handle(context: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        if context is None:
            await _serve_h1(stream)
            return
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await secured.do_handshake()
        await (_serve_h2 if secured.selected_alpn_protocol() == "h2" else _serve_h1)(secured)


def _server(ready: Connection, files: Certificates | None) -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ready.send(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(functools.partial(_handle, context), listeners)

    context = None
    if files is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.chain, files.key)
        context.set_alpn_protocols(["h2", "http/1.1"])
    trio.run(main)


async def _ask(client: Client, url: Url, crowd: int) -> float:
    """CPU seconds per request, *crowd* at a time."""
    request = Request("HEAD", url, (("accept", ACCEPT), ("authorization", TOKEN)))

    async def one(count: int) -> None:
        for _ in range(count):
            await client.request(request)

    async def all_of_them(count: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(crowd):
                nursery.start_soon(one, count)

    await all_of_them(20)
    started = time.process_time()
    await all_of_them(REQUESTS // crowd)
    return (time.process_time() - started) / (REQUESTS // crowd * crowd)


def _measure(http: HttpVersion, crowd: int, files: Certificates | None) -> float:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_server, args=(theirs, files), daemon=True)
    server.start()
    try:
        api = Origin("https" if files else "http", "127.0.0.1", ours.recv())
        trust = CertFiles((files.authority,) if files else ())
        access = HostAccess(api.netloc, api, certs=trust, user_agent="bench", http=http)

        async def main() -> float:
            async with Client(access, run=RunOptions()) as client:
                return min([await _ask(client, Url(api, "/v2/app/manifests/1"), crowd) for _ in range(3)])

        return trio.run(main)
    finally:
        server.terminate()
        server.join()


def measure() -> list[tuple[str, str]]:
    """Return (name, value) lines."""
    with tempfile.TemporaryDirectory() as place:
        files = certificates.make(Path(place))
        rows: list[tuple[str, HttpVersion, int, Certificates | None]] = [
            ("HEAD, HTTP/1.1, one at a time", "1.1", 1, None),
            ("HEAD, HTTP/1.1, 32 at a time", "1.1", 32, None),
            ("HEAD, HTTP/1.1 TLS, one at a time", "1.1", 1, files),
            ("HEAD, HTTP/1.1 TLS, 32 at a time", "1.1", 32, files),
            ("HEAD, HTTP/2 TLS, one at a time", "2", 1, files),
            ("HEAD, HTTP/2 TLS, 32 at a time", "2", 32, files),
        ]
        return [
            (f"{name}: client CPU", f"{_measure(http, crowd, tls) * 1e6:.0f} us") for name, http, crowd, tls in rows
        ]


if __name__ == "__main__":
    for line in measure():
        print(*line, sep=": ")
