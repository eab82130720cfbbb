"""Every place that skopeo knows, one of each kind per session, and what skopeo finds in it."""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from fastcopy.options import HostOptions
from tests.places import made
from tests.storage import rich

#: Places that keep an OCI image byte for byte.
EXACT = ("dir", "oci", "oci-archive", "docker")
#: Places that keep uncompressed layers, or make the manifest themselves.
LOSSY = ("docker-archive", "docker-daemon", "overlay", "vfs")
#: Destinations whose layers are compressed on the way when the source's are not: by another encoder than skopeo's.
COMPRESSING = ("oci", "oci-archive", "docker")
SOURCES = (*EXACT, *LOSSY, "tarball")
DESTINATIONS = (*EXACT, *LOSSY)
#: The second driver of containers-storage: need not meet everybody: `tests/storage` has it beside the first.
_OTHERS_OF_VFS = ("docker", "overlay", "vfs", "dir")
PAIRS = [
    (source, destination)
    for source, destination in itertools.product(SOURCES, DESTINATIONS)
    if "vfs" not in (source, destination) or {source, destination} <= {"vfs", *_OTHERS_OF_VFS}
]

_fresh = itertools.count()


@dataclass(frozen=True)
class World:
    """Where the places are: a directory, a registry, podman's service and two storages."""

    base: Path
    registry: str
    daemon: str
    overlay: rich.Storage
    vfs: rich.Storage

    @property
    def hosts(self) -> HostOptions:
        """How fastcopy reaches them."""
        return HostOptions(tls_verify=False, daemon_host=self.daemon)

    def place(self, kind: str) -> str:
        """The name of a place of that kind that nobody has used."""
        n = next(_fresh)
        path = self.base / f"{kind}-{n}"
        match kind:
            case "dir":
                return f"dir:{path}"
            case "oci" | "oci-archive":
                return f"{kind}:{path}:v{n}"
            case "docker":
                return f"docker://{self.registry}/matrix/place{n}:v{n}"
            case "docker-archive":
                return f"docker-archive:{path}:localhost/place{n}:v{n}"
            case "docker-daemon":
                return f"docker-daemon:localhost/place{n}:v{n}"
        storage: rich.Storage = getattr(self, kind)
        return storage.ref(f"localhost/place{n}:v{n}")

    def skopeo(self, source: str, destination: str) -> None:
        """Copy by skopeo."""
        flags = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        flags += [f"--{side}-daemon-host={self.daemon}" for side in ("src", "dest")]
        rich.skopeo("copy", "-q", *flags, source, destination)

    def fastcopy(self, source: str, destination: str) -> None:
        """Copy by fastcopy."""
        made.copy(source, destination, hosts=self.hosts)

    def exported(self, place: str) -> Path:
        """What skopeo reads there, as a directory."""
        if place.startswith("dir:"):
            return Path(place.removeprefix("dir:"))
        path = self.base / f"export-{next(_fresh)}"
        self.skopeo(place, f"dir:{path}")
        return path

    def start(self, kind: str) -> str:
        """A place of that kind with the image of the matrix, which skopeo brought there."""
        image = rich.image()
        if kind == "tarball":
            files = [self.base / f"layer{n}.tar" for n in range(len(image.tars))]
            for path, data in zip(files, image.tars, strict=True):
                path.write_bytes(data)
            return "tarball:" + ":".join(map(str, files))
        first = made.layout(self.base / f"start-{next(_fresh)}", {"v1": image})
        place = self.place(kind)
        self.skopeo(f"oci:{first}:v1", place)
        return place


def content(path: Path) -> tuple[str, bytes, list[str]]:
    """Of an exported image: the type of its manifest, its config, and the digests of its layers uncompressed."""
    manifest = json.loads((path / "manifest.json").read_bytes())

    def blob(entry: dict[str, str]) -> bytes:
        return (path / entry["digest"].removeprefix("sha256:")).read_bytes()

    layers = [blob(each) for each in manifest["layers"]]
    plain = [gzip.decompress(each) if each[:2] == b"\x1f\x8b" else each for each in layers]
    kind = manifest["config"]["mediaType"]
    return kind, blob(manifest["config"]), [made.digest_of(each) for each in plain]
