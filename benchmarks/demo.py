"""`make demo`: an image set copied between two embedded registries, shown live and proven by digest.

Owns: the set of images, the two registries and the proof. Refuses to know how a copy works: it runs `fastcopy sync`
as anybody would, and reads the destination back with http.client, so that fastcopy is not its own witness.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.images import LAYER_TYPE, Layer, LayerStream, Stored, digest_of

HOME = Path(__file__).resolve().parent.parent / ".demo"
PLATFORMS = ("amd64", "arm64")
MIB = 1 << 20
#: Sizes in MiB of the layers of each image, for each platform; layers of one name are one blob, shared by its images.
IMAGES: dict[str, dict[str, int]] = {
    "team/base": {"base": 96},
    "team/web": {"base": 96, "runtime": 40, "web": 12},
    "team/worker": {"base": 96, "runtime": 40, "worker": 12},
}
TAG = "1.0"
OCI = "application/vnd.oci.image"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass
class Layout:
    """An OCI image layout being written (image-spec image-layout.md); `unique` counts each blob's bytes once."""

    root: Path
    unique: int = 0
    logical: int = 0
    tags: dict[str, str] = field(default_factory=dict)  #: repository -> digest of its index
    _entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def blobs(self) -> Path:
        """Where content lies."""
        return self.root / "blobs" / "sha256"

    def layer(self, layer: Layer) -> Stored:
        """Write a layer; its digest becomes its name."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        stream, passing = LayerStream(layer), self.root / "layer"
        with passing.open("wb") as file:
            for piece in stream:
                file.write(piece)
        stored = stream.stored()
        passing.rename(self.blobs / stored.digest.removeprefix("sha256:"))
        self.unique += stored.size
        return stored

    def document(self, value: Mapping[str, Any], media_type: str) -> dict[str, Any]:
        """Write a JSON document; returns its descriptor."""
        raw = json.dumps(value).encode()
        digest = digest_of(raw)
        (self.blobs / digest.removeprefix("sha256:")).write_bytes(raw)
        return {"mediaType": media_type, "digest": digest, "size": len(raw)}

    def image(self, architecture: str, layers: Sequence[Stored]) -> dict[str, Any]:
        """Write config and manifest of one platform; returns the descriptor for an index."""
        diff_ids = [layer.diff_id for layer in layers]
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        platform = {"architecture": architecture, "os": "linux"}
        config = self.document({**platform, "config": {}, "rootfs": rootfs}, f"{OCI}.config.v1+json")
        described = [{"mediaType": LAYER_TYPE, "digest": each.digest, "size": each.size} for each in layers]
        self.logical += sum(layer.size for layer in layers)
        media_type = f"{OCI}.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": described}
        return {**self.document(manifest, media_type), "platform": platform}

    def index(self, repository: str, children: Sequence[Mapping[str, Any]]) -> None:
        """Write the index of a repository's tag."""
        media_type = f"{OCI}.index.v1+json"
        top = self.document({"schemaVersion": 2, "mediaType": media_type, "manifests": list(children)}, media_type)
        self.tags[repository] = top["digest"]
        self._entries.append({**top, "annotations": {REF_NAME: f"{repository}:{TAG}"}})

    def close(self) -> None:
        """Write what makes a directory a layout."""
        (self.root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self._entries}))


def make_images(root: Path, images: Mapping[str, Mapping[str, int]], unit: int = MIB) -> Layout:
    """Write *images* (layer sizes in *unit* bytes) for every platform; seeded, so always the same bytes."""
    layout = Layout(root)
    stored: dict[tuple[str, str], Stored] = {}
    for repository, sizes in images.items():
        for each in ((name, arch, size) for arch in PLATFORMS for name, size in sizes.items()):
            name, arch, size = each
            if (name, arch) not in stored:
                seed = int.from_bytes(hashlib.sha256(f"{name} {arch}".encode()).digest()[:4])
                stored[name, arch] = layout.layer(Layer(seed, size * unit))
        children = [layout.image(arch, [stored[name, arch] for name in sizes]) for arch in PLATFORMS]
        layout.index(repository, children)
    layout.close()
    return layout


@dataclass
class Proof:
    """Reads a registry back and hashes everything; raises SystemExit at the first byte that is not as it should be."""

    host: str
    manifests: int = 0
    blobs: int = 0
    size: int = 0  #: bytes hashed

    def check(self, tags: Mapping[str, str]) -> None:
        """Every repository's tag, and everything below it."""
        link = http.client.HTTPConnection(self.host, timeout=60)
        with contextlib.closing(link):
            for repository, digest in tags.items():
                self._manifest(link, repository, TAG, digest)

    def _manifest(self, link: http.client.HTTPConnection, repository: str, reference: str, digest: str) -> None:
        raw = b"".join(self._get(link, f"/v2/{repository}/manifests/{reference}"))
        _must(digest_of(raw) == digest, f"{repository}:{reference} is {digest_of(raw)}, should be {digest}")
        self.manifests += 1
        document = json.loads(raw)
        for child in document.get("manifests", ()):
            self._manifest(link, repository, child["digest"], child["digest"])
        for blob in (document["config"], *document["layers"]) if "layers" in document else ():
            self._blob(link, repository, blob)

    def _blob(self, link: http.client.HTTPConnection, repository: str, blob: Mapping[str, Any]) -> None:
        digest, size = hashlib.sha256(), 0
        for piece in self._get(link, f"/v2/{repository}/blobs/{blob['digest']}"):
            digest.update(piece)
            size += len(piece)
        right = f"sha256:{digest.hexdigest()}" == blob["digest"] and size == blob["size"]
        _must(right, f"{repository}: blob {blob['digest']} is not what its manifest says")
        self.blobs += 1
        self.size += size

    def _get(self, link: http.client.HTTPConnection, path: str) -> Iterator[bytes]:
        link.request("GET", path, headers={"Accept": f"{OCI}.index.v1+json, {OCI}.manifest.v1+json, */*"})
        answer = link.getresponse()
        _must(answer.status == 200, f"GET {path}: {answer.status}")
        while piece := answer.read(MIB):
            yield piece


def _must(condition: bool, complaint: str) -> None:
    if not condition:
        raise SystemExit(f"NOT PROVEN: {complaint}")


def sync(home: Path, source: str, destination: str, repositories: Sequence[str], *extra: str) -> dict[str, Any]:
    """Run `fastcopy sync --list` on this terminal; returns its report."""
    listed, report = home / "images.txt", home / "report.json"
    listed.write_text("".join(f"{repository}:{TAG}\n" for repository in repositories))
    where = ["--list", str(listed), "--from", source, "--to", f"{destination}/mirror"]
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false", "--all", "--report", str(report), *extra]
    command = [sys.executable, "-m", "fastcopy", "sync", *where, *plain]
    print("$ fastcopy sync", *where, *plain[:3], flush=True)
    ended = subprocess.run(command, check=False, env=_environment(home))
    if ended.returncode:
        raise SystemExit(f"fastcopy sync failed with exit code {ended.returncode}")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def _environment(home: Path) -> dict[str, str]:
    """The caller's, without what would make the demo depend on the machine: configuration, credentials, proxies."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}


@contextlib.contextmanager
def registries(home: Path) -> Iterator[tuple[str, str]]:
    """The hosts of two embedded registries: one over the layout at home/source, one over an empty one."""
    from fastcopy.serve import ServeConfig, start_in_thread

    def start(name: str, *, read_only: bool) -> Any:
        config = ServeConfig(directory=home / name, listen="127.0.0.1:0", read_only=read_only, durable=False)
        return start_in_thread(config)

    with start("source", read_only=True) as source, start("mirror", read_only=False) as mirror:
        yield source.server.host, mirror.server.host


@contextlib.contextmanager
def fresh(home: Path) -> Iterator[Path]:
    """An empty directory that is gone afterwards, however the demo ends."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def backend() -> str:
    """One line on which code moves the bytes."""
    from fastcopy._native import BACKEND, NATIVE

    if NATIVE:
        return f"backend: native ({BACKEND})"
    why = "as FASTCOPY_PURE demands" if os.environ.get("FASTCOPY_PURE") == "1" else "no C compiler"
    return f"backend: plain Python twin: {why} ({BACKEND})"


def mib(size: float) -> str:
    """*size* bytes as text."""
    return f"{size / MIB:,.0f} MiB"


def run(home: Path, images: Mapping[str, Mapping[str, int]] = IMAGES, unit: int = MIB) -> None:
    """The whole demonstration; raises SystemExit when anything is not as it should be."""
    print(backend())
    started = time.monotonic()
    layout = make_images(home / "source", images, unit)
    made = f"{len(images)} images x {len(PLATFORMS)} platforms, {mib(layout.logical)} of layers, {mib(layout.unique)}"
    print(f"made {made} of them unique, in {time.monotonic() - started:.1f} s")
    with registries(home) as (source, mirror):
        first = sync(home, source, mirror, list(images))
        proof = Proof(mirror)
        proof.check({f"mirror/{repository}": digest for repository, digest in layout.tags.items()})
        again = sync(home, source, mirror, list(images))
    _conclude(layout, first, proof, again)


def _conclude(layout: Layout, first: Mapping[str, Any], proof: Proof, again: Mapping[str, Any]) -> None:
    moved, seconds = first["bytes_copied"], first["seconds"]
    saved = f"{mib(layout.logical - moved)} not sent: shared layers were mounted or already there"
    print()
    print(f"proven     {proof.manifests} manifests and {proof.blobs} blobs ({mib(proof.size)}) read back and hashed")
    print(f"throughput {mib(moved)} in {seconds:.2f} s, {mib(moved / seconds)}/s, {first['requests']} requests")
    print(f"saved      {saved} ({first['blobs_mounted']} mounted, {first['blobs_reused']} there)")
    print(f"again      {again['requests']} requests, {again['bytes_copied']} bytes, {again['seconds']:.2f} s")
    _must(again["bytes_copied"] == 0, "the second run copied something")


def main() -> int:
    """`python -m benchmarks.demo`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with fresh(HOME):
            run(HOME)
    except KeyboardInterrupt:
        print("interrupted; everything is cleaned up", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
