"""What the heads of one HTTP exchange cost: h11 for HTTP/1.1, hpack for HTTP/2."""

from __future__ import annotations

import h11
import hpack

from benchmarks.micro.clock import best_seconds

REQUEST = [
    ("host", "registry.example.com"),
    ("user-agent", "fastcopy"),
    ("accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"),
    ("authorization", "Bearer " + "x" * 900),
]
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: application/octet-stream\r\n"
    b"Docker-Content-Digest: sha256:" + b"a" * 64 + b"\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
    b'Etag: "sha256:' + b"a" * 64 + b'"\r\nX-Content-Type-Options: nosniff\r\n'
    b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n"
)


def _h11(count: int) -> None:
    for _ in range(count):
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="HEAD", target="/v2/app/blobs/sha256:" + "a" * 64, headers=REQUEST))
        client.send(h11.EndOfMessage())
        client.receive_data(ANSWER)
        while not isinstance(client.next_event(), h11.EndOfMessage):
            pass


def _hpack(count: int) -> None:
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    for _ in range(count):
        decoder.decode(encoder.encode(REQUEST))


def measure() -> list[tuple[str, str]]:
    """Return (name, value) lines."""
    return [
        ("h11: one request written, one answer's head read", f"{best_seconds(_h11) * 1e6:.0f} us"),
        ("hpack: one head encoded and decoded, table warm", f"{best_seconds(_hpack) * 1e6:.0f} us"),
    ]
