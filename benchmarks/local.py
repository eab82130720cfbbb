"""Places on disk (on tmpfs here): an OCI layout and a docker archive to read from, and the check of written ones.

Owns: the two formats as far as a benchmark needs them, on the standard library. Depends on nothing it measures.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from benchmarks.client import Client, RegistryError
from benchmarks.images import MANIFEST_TYPE, Image, digest_of, inflated

PIECE = 1 << 20
Blob = Callable[[str], bytes]


def blob_reader(client: Client, repository: str) -> Blob:
    """Return what fetches a blob of *repository* by its digest."""
    return lambda digest: client.blob(repository, digest)


def write_layout(root: Path, image: Image, manifest: bytes, blob: Blob) -> None:
    """Lay *image* out at *root*, under its tag."""
    content = json.loads(manifest)
    blobs = root / "blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / digest_of(manifest).removeprefix("sha256:")).write_bytes(manifest)
    for part in (content["config"], *content["layers"]):
        (blobs / part["digest"].removeprefix("sha256:")).write_bytes(blob(part["digest"]))
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": image.tag},
    }
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def check_layout(root: Path, image: Image, manifest: bytes) -> None:
    """Raise RegistryError unless the layout at *root* has the image: verbatim, and every blob as its name says."""
    entries = json.loads((root / "index.json").read_text())["manifests"]
    tags = {each.get("annotations", {}).get("org.opencontainers.image.ref.name"): each["digest"] for each in entries}
    if tags.get(image.tag) != digest_of(manifest):
        raise RegistryError(f"the layout has {tags}, not {digest_of(manifest)} as {image.tag}")
    content = json.loads(manifest)
    for part in ({"digest": digest_of(manifest)}, content["config"], *content["layers"]):
        with (root / "blobs/sha256" / part["digest"].removeprefix("sha256:")).open("rb") as stream:
            _must_be(stream, part["digest"])


def write_archive(path: Path, image: Image, manifest: bytes, blob: Blob) -> None:
    """Write *image* as `docker save` does, its layers uncompressed."""
    content = json.loads(manifest)
    config = blob(content["config"]["digest"])
    names = [f"{digest.removeprefix('sha256:')}.tar" for digest in json.loads(config)["rootfs"]["diff_ids"]]
    config_name = f"{digest_of(config).removeprefix('sha256:')}.json"
    described = [{"Config": config_name, "Layers": names, "RepoTags": [f"{image.repository}:{image.tag}"]}]
    scratch = path.with_suffix(".layer")
    with tarfile.open(path, "w") as archive:
        for name, part in zip(names, content["layers"], strict=True):
            with scratch.open("wb") as out:
                out.writelines(inflated(blob(part["digest"]), "gzip"))
            archive.add(scratch, name)
        for name, raw in ((config_name, config), ("manifest.json", json.dumps(described).encode())):
            scratch.write_bytes(raw)
            archive.add(scratch, name)
    scratch.unlink()


def check_archive(path: Path, image: Image, config: bytes) -> None:
    """Raise RegistryError unless the archive at *path* has the image with the layers of *config*."""
    with tarfile.open(path) as archive:
        described: dict[str, Any] = json.loads(_member(archive, "manifest.json").read())[0]
        wanted = json.loads(config)["rootfs"]["diff_ids"]
        if len(described["Layers"]) != len(wanted):
            raise RegistryError(f"{len(described['Layers'])} layers in the archive, not {len(wanted)}")
        for name, diff_id in zip(described["Layers"], wanted, strict=True):
            _must_be(_member(archive, name), diff_id)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise RegistryError(f"{name} is no file of the archive")
    return found


def _must_be(stream: IO[bytes], digest: str) -> None:
    found = hashlib.sha256()
    while piece := stream.read(PIECE):
        found.update(piece)
    if f"sha256:{found.hexdigest()}" != digest:
        raise RegistryError(f"{digest} has other bytes: sha256:{found.hexdigest()}")
