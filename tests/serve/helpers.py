"""What the tests of the embedded registry share."""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any

from fastcopy.serve.message import Refusal
from tests.registries import Probe, Registry

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
OCTETS = {"Content-Type": "application/octet-stream"}
#: Large enough for the native road (256 KiB) and for several slabs.
BIG = bytes(range(251)) * 5000


def refusal_of(call: Callable[[], object]) -> Refusal | None:
    """The refusal that a call ends in, or None."""
    try:
        call()
    except Refusal as refusal:
        return refusal
    return None


def sha(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of data."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def start(client: Probe, repo: str) -> str:
    """Open an upload; its location."""
    answer = client.request("POST", f"/v2/{repo}/blobs/uploads/")
    assert answer.status == 202
    return answer.headers["location"]


def closing(location: str, data: bytes, algorithm: str = "sha256") -> str:
    """The location of the closing PUT."""
    return f"{location}?digest={sha(data, algorithm)}"


def image(client: Probe, repo: str, tag: str = "v1", layer: bytes = b"layer", **more: Any) -> str:
    """Push an image of one layer; its digest."""
    config = {"mediaType": CONFIG, **client.push_blob(repo, b"{}")}
    layers = [{"mediaType": LAYER, **client.push_blob(repo, layer)}]
    manifest = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": layers, **more}
    return client.push_manifest(repo, tag, manifest, OCI)


def descriptor(client: Probe, repo: str, digest: str) -> dict[str, Any]:
    """The descriptor of a stored manifest."""
    answer = client.request("GET", f"/v2/{repo}/manifests/{digest}")
    return {"mediaType": answer.headers["content-type"], "digest": digest, "size": len(answer.body)}


def push_index(client: Probe, repo: str, tag: str, *digests: str) -> str:
    """Push an index of stored manifests; its digest."""
    children = [descriptor(client, repo, digest) for digest in digests]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    return client.push_manifest(repo, tag, json.dumps(index).encode(), INDEX)


class Wire:
    """A raw connection: says exactly what it is told, and reads what comes."""

    def __init__(self, registry: Registry) -> None:
        host, _, port = registry.host.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=20)
        if registry.certificates:
            context = ssl.create_default_context(cafile=registry.certificates.ca)
            self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, *lines: str, body: bytes = b"") -> None:
        """A head of these lines (Host is added), and a body."""
        head = "\r\n".join([lines[0], "Host: test", *lines[1:], "", ""])
        self.sock.sendall(head.encode() + body)

    def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, headers (lower case), body."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = 0 if head_only else int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return int(lines[0].split()[1]), headers, body

    def ended(self) -> bool:
        """Whether the server has closed, and said nothing more."""
        try:
            return self._buffer == b"" and self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError("the server closed the connection")
        self._buffer += data


_numbers = itertools.count()


def fresh_repo() -> str:
    """A repository nobody else uses."""
    return f"serve/r{next(_numbers)}"
