"""The harness's own small registry client, on the standard library: push fixtures, check results.

It depends on nothing it measures.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from benchmarks.images import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    Image,
    Stored,
    config_of,
    digest_of,
    index_of,
    inflated_digest,
    manifest_of,
)

#: By which a server that counts or limits knows the harness.
AGENT = "fastcopy-benchmarks"


class Stream(Protocol):
    """A blob whose digest is known after its last byte."""

    def __iter__(self) -> Iterator[bytes]: ...
    def stored(self) -> Stored:
        """What went by."""


class RegistryError(Exception):
    """A registry answered something else than was asked for."""


class Client:
    """One kept-alive connection to one registry."""

    def __init__(self, host: str, context: ssl.SSLContext | None = None) -> None:
        name, port = host.rsplit(":", 1)
        if context:
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                name, int(port), context=context, timeout=300
            )
        else:
            self._http = http.client.HTTPConnection(name, int(port), timeout=300)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send one request, return the answer and its body; header names take _ for -."""
        fields = {"User-Agent": AGENT} | {name.replace("_", "-"): value for name, value in headers.items()}
        self._http.request(method, path, body=body, headers=fields)
        answer = self._http.getresponse()
        return answer, answer.read()

    def expect(
        self, status: int, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Like `ask`; raises RegistryError unless the status is *status*."""
        answer, content = self.ask(method, path, body, **headers)
        if answer.status != status:
            place = path.partition("?")[0]
            raise RegistryError(f"{method} {place} answered {answer.status}: {content[:200]!r}")
        return answer, content

    def push_stream(self, repository: str, stream: Stream) -> Stored:
        """Upload a blob whose digest is known only after its last byte."""
        opened, _ = self.expect(202, "POST", f"/v2/{repository}/blobs/uploads/")
        place = _path(opened.headers["Location"])
        sent, _ = self.expect(202, "PATCH", place, stream, Content_Type="application/octet-stream")
        stored = stream.stored()
        self.expect(201, "PUT", _with_digest(_path(sent.headers["Location"]), stored.digest))
        return stored

    def push_bytes(self, repository: str, raw: bytes) -> None:
        """Upload a small blob."""
        opened, _ = self.expect(202, "POST", f"/v2/{repository}/blobs/uploads/")
        self.expect(201, "PUT", _with_digest(_path(opened.headers["Location"]), digest_of(raw)), raw)

    def mount(self, repository: str, digest: str, source: str) -> None:
        """Make a blob of repository *source* appear in *repository*."""
        self.expect(201, "POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}")

    def push_image(self, image: Image, layers: tuple[Stored, ...], *, by_digest: bool = False) -> bytes:
        """Upload config and manifest over layers that are there; return the manifest."""
        config = config_of(image, layers)
        manifest = manifest_of(config, layers)
        self.push_bytes(image.repository, config)
        name = digest_of(manifest) if by_digest else image.tag
        self.put_manifest(image.repository, name, manifest, MANIFEST_TYPE)
        return manifest

    def push_index(self, image: Image, manifests: tuple[bytes, ...]) -> bytes:
        """Upload the index over manifests that are there; return it."""
        index = index_of(image, manifests)
        self.put_manifest(image.repository, image.tag, index, INDEX_TYPE)
        return index

    def put_manifest(self, repository: str, name: str, raw: bytes, media_type: str) -> None:
        """Upload a manifest under a tag or its digest."""
        self.expect(201, "PUT", f"/v2/{repository}/manifests/{name}", raw, Content_Type=media_type)

    def delete(self, repository: str, kind: str, digest: str) -> None:
        """Remove a manifest with all its tags, or a blob, from one repository."""
        self.expect(202, "DELETE", f"/v2/{repository}/{kind}/{digest}")

    def check_image(self, image: Image, manifest: bytes, known: set[tuple[str, str]]) -> None:
        """Raise RegistryError unless the tag is *manifest* and all it names is there, in the right size.

        *known* holds (repository, digest) pairs found before, and is added to.
        """
        if self._manifest(image.repository, image.tag) != manifest:
            raise RegistryError(f"{image.repository}:{image.tag} is not the source's manifest")
        for entry in json.loads(manifest).get("manifests", []):
            self._check_blobs(image.repository, self._manifest(image.repository, entry["digest"]), known)
        if not image.members:
            self._check_blobs(image.repository, manifest, known)

    def check_recompressed(self, image: Image, manifest: bytes, compression: str) -> int:
        """Raise RegistryError unless the tag is *manifest*'s image with *compression*; return the bytes of its layers.

        Every layer is fetched, inflated and held against the diff ID of the config.
        """
        found = json.loads(self._manifest(image.repository, image.tag))
        wanted = json.loads(self.blob(image.repository, json.loads(manifest)["config"]["digest"]))
        got = json.loads(self.blob(image.repository, found["config"]["digest"]))
        if got["rootfs"] != wanted["rootfs"]:
            raise RegistryError(f"{image.repository}:{image.tag} has other diff IDs than its source")
        for layer, diff_id in zip(found["layers"], wanted["rootfs"]["diff_ids"], strict=True):
            inside = inflated_digest(self.blob(image.repository, layer["digest"]), compression)
            if inside != diff_id or not layer["mediaType"].endswith(compression):
                raise RegistryError(f"layer {layer['digest']} ({layer['mediaType']}) is not {diff_id}")
        return sum(layer["size"] for layer in found["layers"])

    def blob(self, repository: str, digest: str) -> bytes:
        """Return a blob."""
        return self.expect(200, "GET", f"/v2/{repository}/blobs/{digest}")[1]

    def _manifest(self, repository: str, name: str) -> bytes:
        accept = f"{MANIFEST_TYPE}, {INDEX_TYPE}, application/vnd.docker.distribution.manifest.v2+json"
        return self.expect(200, "GET", f"/v2/{repository}/manifests/{name}", Accept=accept)[1]

    def _check_blobs(self, repository: str, manifest: bytes, known: set[tuple[str, str]]) -> None:
        content = json.loads(manifest)
        for part in [content["config"], *content["layers"]]:
            key = (repository, part["digest"])
            if key not in known:
                self._check_blob(*key, part["size"])
                known.add(key)

    def _check_blob(self, repository: str, digest: str, size: int) -> None:
        answer, _ = self.expect(200, "HEAD", f"/v2/{repository}/blobs/{digest}")
        if int(answer.headers["Content-Length"]) != size:
            raise RegistryError(f"{repository}@{digest} has {answer.headers['Content-Length']} bytes, not {size}")


def _path(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _with_digest(path: str, digest: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}digest={digest}"
