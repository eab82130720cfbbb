"""Seeded images of incompressible layers, made fast and streamed.

Owns: what the bytes are. A layer is a real gzip (stored, not deflated) of a real tar with one file of
seeded noise, so every peer accepts it as it is and no one can shrink it. Refuses to know: where they go.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from pyzstd import ZstdFile

    from benchmarks.trees import Tree

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
PIECE = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A layer to be: its seed and the size of the file inside, in bytes."""

    seed: int
    size: int


@dataclass(frozen=True)
class Image:
    """An image to be; with *members* it is an index over them, and has no layers of its own."""

    repository: str
    tag: str
    layers: tuple[Layer | Tree, ...]
    architecture: str = "amd64"
    members: tuple[Image, ...] = ()

    @property
    def all_layers(self) -> tuple[Layer | Tree, ...]:
        """Its layers and those of its members."""
        return self.layers + tuple(layer for member in self.members for layer in member.layers)


@dataclass(frozen=True)
class Stored:
    """A layer that was made: its blob's digest and size, and the digest of the tar inside."""

    digest: str
    size: int
    diff_id: str


def noise(seed: int, size: int) -> Iterator[bytes]:
    """Yield *size* seeded bytes: AES-CTR, some gigabytes a second."""
    key = hashlib.sha256(f"layer {seed}".encode()).digest()
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(PIECE)
    while size > 0:
        piece = stream.update(zeros[:size] if size < PIECE else zeros)
        yield piece
        size -= len(piece)


def tar_pieces(layer: Layer) -> Iterator[bytes]:
    """Yield the tar of a layer: one file, then the end-of-archive blocks."""
    entry = tarfile.TarInfo(f"srv/data-{layer.seed}")
    entry.size = layer.size
    yield entry.tobuf(tarfile.PAX_FORMAT)
    yield from noise(layer.seed, layer.size)
    yield bytes(-layer.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


class GzipStream:
    """A tar in gzip: iterate to get the blob; afterwards `stored()` tells what went by."""

    def __init__(self, tar: Iterator[bytes], level: int) -> None:
        self._pieces, self._level = tar, level
        self._blob = hashlib.sha256()
        self._tar = hashlib.sha256()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        squeeze = zlib.compressobj(self._level, wbits=31)
        for piece in self._pieces:
            self._tar.update(piece)
            yield from self._count(squeeze.compress(piece))
        yield from self._count(squeeze.flush())

    def _count(self, piece: bytes) -> Iterator[bytes]:
        if piece:
            self._blob.update(piece)
            self._size += len(piece)
            yield piece

    def stored(self) -> Stored:
        """Describe the blob that was iterated to its end."""
        return Stored(f"sha256:{self._blob.hexdigest()}", self._size, f"sha256:{self._tar.hexdigest()}")


class LayerStream(GzipStream):
    """The blob of a layer of noise: stored, not deflated."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(tar_pieces(layer), 0)


def digest_of(raw: bytes) -> str:
    """Return the sha256 digest of *raw* in its textual form."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _inflating(blob: bytes, compression: str) -> gzip.GzipFile | ZstdFile:
    if compression == "zstd":
        import pyzstd

        return pyzstd.ZstdFile(io.BytesIO(blob))
    return gzip.GzipFile(fileobj=io.BytesIO(blob))


def inflated(blob: bytes, compression: str) -> Iterator[bytes]:
    """Yield what *blob*, in gzip or zstd, holds."""
    return iter(partial(_inflating(blob, compression).read, PIECE), b"")


def inflated_digest(blob: bytes, compression: str) -> str:
    """Return the digest of what *blob*, in gzip or zstd, holds."""
    found = hashlib.sha256()
    for piece in inflated(blob, compression):
        found.update(piece)
    return f"sha256:{found.hexdigest()}"


def config_of(image: Image, layers: tuple[Stored, ...]) -> bytes:
    """Return the image's config; it names repository and tag, so each image has its own."""
    config = {
        "architecture": image.architecture,
        "os": "linux",
        "config": {"Labels": {"name": f"{image.repository}:{image.tag}"}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return json.dumps(config, indent=1).encode()


def manifest_of(config: bytes, layers: tuple[Stored, ...]) -> bytes:
    """Return the OCI manifest over *config* and *layers*."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER_TYPE, "digest": at.digest, "size": at.size} for at in layers],
    }
    return json.dumps(manifest, indent=1).encode()


def index_of(image: Image, manifests: tuple[bytes, ...]) -> bytes:
    """Return the OCI index over the manifests of *image*'s members."""
    entries = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": digest_of(raw),
            "size": len(raw),
            "platform": {"architecture": member.architecture, "os": "linux"},
        }
        for member, raw in zip(image.members, manifests, strict=True)
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}, indent=1).encode()


def as_file(pieces: Iterator[bytes]) -> bytes:
    """Join pieces; for small things only."""
    whole = io.BytesIO()
    for piece in pieces:
        whole.write(piece)
    return whole.getvalue()
