"""Small images as bytes, and `dir:` layouts of them for comparisons with skopeo."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastcopy import media
from fastcopy.convert._schema1 import EMPTY_LAYER
from fastcopy.descriptor import Digest


def tar(name: str, data: bytes) -> bytes:
    """A tar of one file, the same bytes every time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


LAYERS = [tar("a", b"x" * 100), tar("b", b"y" * 200)]
GZIPPED = [gzip.compress(layer, mtime=0) for layer in LAYERS]
DIFF_IDS = [Digest.of(layer) for layer in LAYERS]


def config(**extra: Any) -> dict[str, Any]:
    """A config with something of everything; without what skopeo's Go versions write differently."""
    return {
        "architecture": "arm64",
        "os": "linux",
        "os.version": "10<&>\u2028",
        "created": "2020-01-02T03:04:05.120000000+00:00",
        "author": "me <a&b>",
        "docker_version": "20.10.7",
        "container": "abc",
        "config": {
            "Hostname": "h",
            "User": "0",
            "AttachStdin": False,
            "Env": ["PATH=/x", "A=<b>&c"],
            "Cmd": ["/bin/sh", "-c", "é\u0001"],
            "Image": "sha256:1",
            "Volumes": {"/b": {}, "/a": {}},
            "Entrypoint": None,
            "Labels": {"z": "1", "a": "2<"},
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGTERM",
            "Shell": ["x"],
        },
        "history": [
            {"created": "2020-01-01T00:00:00Z", "created_by": "a"},
            {"created": "2020-01-01T00:00:00.5+02:00", "created_by": "e", "empty_layer": True, "comment": "c"},
            {"created": "2020-01-02T00:00:00Z", "created_by": "b"},
        ],
        "rootfs": {"type": "layers", "diff_ids": [str(each) for each in DIFF_IDS]},
        "unknown": 1.50,
    } | extra


def docker_image(found: dict[str, Any] | None = None, **extra: Any) -> tuple[bytes, list[bytes]]:
    """A schema 2 manifest and its blobs, config first."""
    raw = json.dumps(found or config(), indent=1).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": _pointer(raw, media.DOCKER_CONFIG),
        "layers": [_pointer(layer, media.DOCKER_LAYER + ".gzip") for layer in GZIPPED],
    } | extra
    return json.dumps(manifest, indent=3).encode(), [raw, *GZIPPED]


def oci_image(found: dict[str, Any] | None = None, **extra: Any) -> tuple[bytes, list[bytes]]:
    """An OCI manifest and its blobs, config first."""
    raw = json.dumps(found or config(), indent=1).encode()
    layers = [_pointer(layer, media.OCI_LAYER + "+gzip") | {"annotations": {"x": "y<"}} for layer in GZIPPED]
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": _pointer(raw, media.OCI_CONFIG),
        "layers": layers,
        "annotations": {"k": "v"},
    } | extra
    return json.dumps(manifest, indent=3).encode(), [raw, *GZIPPED]


def schema1_image(docker_version: str = "20.10.7") -> tuple[bytes, list[bytes]]:
    """An unsigned schema 1 manifest with an empty layer in the middle, and its blobs."""
    found = config(docker_version=docker_version)
    top = {key: value for key, value in found.items() if key not in ("history", "rootfs")}
    top |= {"id": "c" * 64, "parent": "b" * 64, "Size": 3}
    middle = {
        "id": "b" * 64,
        "parent": "a" * 64,
        "created": "2020-01-01T00:00:00.5+02:00",
        "container_config": {"Cmd": ["e", "f"]},
        "throwaway": True,
    }
    base = {"id": "a" * 64, "created": "2020-01-01T00:00:00Z", "container_config": {"Cmd": ["a"]}}
    blobs = [GZIPPED[1], EMPTY_LAYER, GZIPPED[0]]
    manifest = {
        "schemaVersion": 1,
        "name": "foo/bar",
        "tag": "t",
        "architecture": "arm64",
        "fsLayers": [{"blobSum": str(Digest.of(blob))} for blob in blobs],
        "history": [{"v1Compatibility": json.dumps(each, ensure_ascii=False)} for each in (top, middle, base)],
    }
    return json.dumps(manifest, indent=3).encode(), blobs


def index_of(media_type: str, *children: tuple[bytes, str, dict[str, Any]], **extra: Any) -> bytes:
    """An index or list of (manifest, media type, further descriptor fields)."""
    entries = [_pointer(raw, kind) | fields for raw, kind, fields in children]
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries} | extra, indent=2).encode()


def write_dir(path: Path, manifest: bytes, blobs: Iterable[bytes], children: Iterable[bytes] = ()) -> Path:
    """A `dir:` layout."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_bytes(manifest)
    for blob in blobs:
        (path / Digest.of(blob).hex).write_bytes(blob)
    for child in children:
        (path / f"{Digest.of(child).hex}.manifest.json").write_bytes(child)
    return path


def skopeo(*arguments: str | Path) -> str:
    """Run skopeo; returns its output, or its complaint (the message of its log line)."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 0:
        return done.stdout
    quoted = done.stderr.rpartition("msg=")[2].strip()
    return json.loads(quoted) if quoted.startswith('"') else quoted  # type: ignore[no-any-return]


def _pointer(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(data), "digest": str(Digest.of(data))}
