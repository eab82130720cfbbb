"""An image with everything that a file system and a layer can have, and the tools that read and write storages."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.places import made

FILE, DIRECTORY, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
Member = tuple[str, bytes, bytes, dict[str, Any]]


def tar(members: Sequence[Member]) -> bytes:
    """A layer of members: name, type, content, and further fields of the header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, data, more in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1_500_000_000
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


BASE: list[Member] = [
    ("etc/", DIRECTORY, b"", {"mode": 0o755, "mtime": 1_000_000_000.5}),
    ("etc/hello", FILE, b"hello\n", {"mode": 0o644, "uid": 5, "gid": 6}),
    ("etc/link", LINK, b"", {"linkname": "hello"}),
    ("etc/away", LINK, b"", {"linkname": "/etc/passwd"}),
    ("etc/hard", HARD, b"", {"linkname": "etc/hello"}),
    ("sticky/", DIRECTORY, b"", {"mode": 0o1777}),
    ("zero", FILE, b"", {}),
    ("large", FILE, random.Random(1).randbytes(2_000_001), {"mode": 0o4755}),
    ("secret", FILE, b"xyz", {"mode": 0}),
    ("pipe", tarfile.FIFOTYPE, b"", {}),
    ("marked", FILE, b"x", {"pax_headers": {"SCHILY.xattr.user.colour": "blue"}}),
    ("d/a", FILE, b"a", {}),
    ("d/b", FILE, b"b", {}),
    ("usr/bin/", DIRECTORY, b"", {"mode": 0o755}),
    ("bin", LINK, b"", {"linkname": "usr/bin"}),
    ("bin/tool", FILE, b"#!/bin/sh\n", {"mode": 0o755}),
    ("ünï/" + "n" * 120, FILE, b"long", {}),
]
UPPER: list[Member] = [
    ("etc/.wh.hello", FILE, b"", {}),
    ("d/.wh..wh..opq", FILE, b"", {}),
    ("d/c", FILE, b"ccc", {}),
    ("pipe", FILE, b"now a file", {}),
    ("sticky/new", FILE, b"n", {}),
]


def image(*layers: Sequence[Member], command: Sequence[str] = ("/hello",)) -> made.Image:
    """An OCI image of gzip layers with *layers*; BASE and UPPER when none are given."""
    tars = tuple(tar(layer) for layer in layers or (BASE, UPPER))
    packed = [gzip.compress(each, mtime=0) for each in tars]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {"Cmd": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [made.digest_of(each) for each in tars]},
            "history": [{"created": "2020-01-01T00:00:00Z", "created_by": str(n)} for n, _ in enumerate(tars)],
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": made.OCI,
        "config": _entry("application/vnd.oci.image.config.v1+json", config),
        "layers": [_entry("application/vnd.oci.image.layer.v1.tar+gzip", each) for each in packed],
    }
    blobs = {made.digest_of(data): data for data in (config, *packed)}
    return made.Image(json.dumps(manifest).encode(), made.OCI, blobs, config, tars)


def _entry(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": made.digest_of(data), "size": len(data)}


@dataclass(frozen=True)
class Storage:
    """A storage of the test's own."""

    driver: str
    base: Path

    @property
    def root(self) -> Path:
        return self.base / "root"

    def ref(self, name: str) -> str:
        """``containers-storage:[driver@root+run]name``."""
        return f"containers-storage:[{self.driver}@{self.root}+{self.base}/run]{name}"

    def podman(self, *words: str) -> str:
        """What podman says about it."""
        where = ["--root", str(self.root), "--runroot", f"{self.base}/run", "--storage-driver", self.driver]
        return run("podman", *where, *words).decode()


def unmount(root: Path) -> None:
    """What podman and skopeo leave mounted below *root*: overlay's home, onto itself."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{root}/"):
            run("umount", line.split()[1])


def run(*words: str) -> bytes:
    """The output of a program that has to succeed."""
    done = subprocess.run(words, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (words, done.stderr.decode(errors="replace"))
    return done.stdout


def skopeo(*words: str) -> bytes:
    """What skopeo says."""
    return run("skopeo", "--insecure-policy", *words)


def truly_typed(raw: bytes) -> bytes:
    """A manifest of skopeo's about uncompressed layers that it calls compressed, with their true types."""
    return raw.replace(b".tar+gzip", b".tar").replace(b".tar.gzip", b".tar")
