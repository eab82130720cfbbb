"""Images with real layers: tars, compressed in a known way, promised by their config."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from typing import Any

import pyzstd

from tests.copy import world
from tests.copy.world import ACCEPT, Made
from tests.registries import Registry


def tar(name: str, size: int) -> bytes:
    """A tar of one file of *size* bytes, half of them random."""
    data = random.Random(name).randbytes(size // 2) + name.encode() * (size // 2 // len(name))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


#: One layer below what stays in the loop, one of several blocks.
TARS = (tar("small", 20_000), tar("large", 3_000_000))
HISTORY = [
    {"created": "2024-01-01T00:00:00Z", "created_by": "ADD small"},
    {"created": "2024-01-01T00:00:01Z", "created_by": "ENV x=y", "empty_layer": True},
    {"created": "2024-01-01T00:00:02Z", "created_by": "ADD large"},
]


def config(*tars: bytes, **more: Any) -> dict[str, Any]:
    """What an image config promises of *tars*."""
    diff_ids = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in tars]
    described = {
        "created": "2024-01-01T00:00:02Z",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": HISTORY,
        "container": "only Docker's",
    }
    return described | more


def image(registry: Registry, tars: tuple[bytes, ...] = TARS, **more: Any) -> Made:
    """An image of gzipped *tars*; *more* as for `world.image`."""
    settings: dict[str, Any] = {"layers": [gzip.compress(each, mtime=0) for each in tars], "config": config(*tars)}
    return world.image(registry, **(settings | more))


def manifest(registry: Registry, repo: str, reference: str = "1") -> tuple[dict[str, Any], str]:
    """The manifest (or index) as *registry* serves it, and its type."""
    with registry.client() as probe:
        found = probe.request("GET", f"/v2/{repo}/manifests/{reference}", headers={"Accept": ACCEPT})
    assert found.status == 200, found
    return json.loads(found.body), found.headers["content-type"]


def blob(registry: Registry, repo: str, digest: str) -> bytes:
    """A blob, held against its digest."""
    with registry.client() as probe:
        found = probe.request("GET", f"/v2/{repo}/blobs/{digest}")
    assert found.status == 200, digest
    assert world.digest_of(found.body) == digest
    return found.body


def inflated(data: bytes, media_type: str) -> bytes:
    """A layer uncompressed by the library of its *media_type*, never by ours."""
    if media_type.endswith("zstd"):
        return pyzstd.decompress(data)
    return gzip.decompress(data) if media_type.endswith("gzip") else data


def layers(registry: Registry, repo: str, reference: str = "1") -> list[bytes]:
    """The uncompressed layers of an image."""
    found, _ = manifest(registry, repo, reference)
    return [inflated(blob(registry, repo, each["digest"]), each["mediaType"]) for each in found["layers"]]
