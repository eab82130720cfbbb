"""Images in directories and archives, written by hand: fastcopy never judges itself here."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastcopy import api
from fastcopy.events import CopyReport
from fastcopy.options import CopyOptions, HostOptions, Options, RunOptions

OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
REF_NAME = "org.opencontainers.image.ref.name"


def digest_of(data: bytes) -> str:
    """The sha256 digest of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(name: str, data: bytes) -> bytes:
    """A layer with one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@dataclass(frozen=True)
class Image:
    """An image in memory: its manifest and every blob by digest; `tars` are its layers, not compressed."""

    raw: bytes
    media_type: str
    blobs: dict[str, bytes] = field(repr=False)
    config: bytes = b""
    tars: tuple[bytes, ...] = ()

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.raw)

    @property
    def entry(self) -> dict[str, Any]:
        """The descriptor of the manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.raw)}


def image(seed: int = 0, sizes: Sequence[int] = (3_000, 400_000), arch: str = "amd64") -> Image:
    """An OCI image; one of its layers stays in the loop, one goes by the pump."""
    tars = tuple(tar_of(f"file{n}", random.Random(f"{seed}.{n}").randbytes(size)) for n, size in enumerate(sizes))
    layers = [gzip.compress(each, mtime=0) for each in tars]
    config = json.dumps(
        {
            "architecture": arch,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in tars]},
        }
    ).encode()
    described = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest_of(data), "size": len(data)}
        for data in layers
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(config),
            "size": len(config),
        },
        "layers": described,
    }
    blobs = {digest_of(data): data for data in (config, *layers)}
    return Image(json.dumps(manifest).encode(), OCI, blobs, config, tars)


def layout(path: Path, named: dict[str, Image], **more: Any) -> Path:
    """An OCI layout at *path* with *named* images; *more* are further fields of index.json."""
    files = layout_files(named, **more)
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def layout_files(named: dict[str, Image], **more: Any) -> dict[str, bytes]:
    """The files of an OCI layout."""
    entries = [each.entry | ({"annotations": {REF_NAME: name}} if name else {}) for name, each in named.items()]
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": entries} | more).encode(),
    }
    for each in named.values():
        for digest, data in {each.digest: each.raw, **each.blobs}.items():
            files["blobs/" + digest.replace(":", "/")] = data
    return files


def directory(path: Path, it: Image) -> Path:
    """A dir: image at *path*."""
    path.mkdir(parents=True)
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_bytes(it.raw)
    for digest, data in it.blobs.items():
        (path / digest.removeprefix("sha256:")).write_bytes(data)
    return path


def tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """A tar archive of *files* and symbolic *links*."""
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            out.addfile(member)
    return path


def saved(named: Sequence[tuple[list[str], Image]]) -> dict[str, bytes]:
    """The files of a docker archive with images and their tags."""
    files: dict[str, bytes] = {}
    items = []
    for tags, each in named:
        config = digest_of(each.config).removeprefix("sha256:") + ".json"
        names = [digest_of(layer).removeprefix("sha256:") + ".tar" for layer in each.tars]
        files |= {config: each.config, **dict(zip(names, each.tars, strict=True))}
        items.append({"Config": config, "RepoTags": tags, "Layers": names})
    return files | {"manifest.json": json.dumps(items).encode()}


#: Patience that no test waits for.
HASTY = RunOptions(retry_delay=0.01, stall=20.0, insecure_policy=True)


def copy(source: str, destination: str, *, hosts: HostOptions | None = None, **more: Any) -> CopyReport:
    """Copy by the Python API; *more* are fields of CopyOptions."""
    side = hosts or HostOptions(tls_verify=False)
    return api.copy(source, destination, Options(CopyOptions(**more), HASTY, side, side))


def read_dir(path: Path) -> dict[str, bytes]:
    """Every file of a flat directory."""
    return {each.name: each.read_bytes() for each in path.iterdir()}


def read_index(path: Path) -> dict[str, str]:
    """What a layout's index.json names: name to digest."""
    entries = json.loads((path / "index.json").read_bytes())["manifests"]
    return {each.get("annotations", {}).get(REF_NAME, ""): each["digest"] for each in entries}


def assert_layout_has(path: Path, it: Image) -> None:
    """Every blob of *it* and its manifest are in the layout, byte for byte."""
    for digest, data in {it.digest: it.raw, **it.blobs}.items():
        assert (path / "blobs" / digest.replace(":", "/")).read_bytes() == data
