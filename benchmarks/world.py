"""The world a client is measured in: the source and its fixtures, an empty destination, certificates.

Owns: every file that is not the client's, and its end. Everything lives under one
directory on tmpfs and dies with the `World`. Refuses to know: which client runs and what is measured.
"""

from __future__ import annotations

import json
import shutil
import ssl
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import certificates, local
from benchmarks.client import Client
from benchmarks.images import Image, Layer, LayerStream, Stored, digest_of
from benchmarks.peers import Program
from benchmarks.servers import Registry, docker_registry
from benchmarks.trees import Tree, TreeStream

ZEROS = bytes(4 << 20)


@dataclass(frozen=True)
class Fixture:
    """An image at the source, with its manifest as pushed; for an index, *members* are those that it lists."""

    image: Image
    manifest: bytes
    members: tuple[bytes, ...] = ()


def unique_bytes(fixtures: Iterable[Fixture]) -> int:
    """Return the sizes of all blobs of *fixtures*, each counted once."""
    found: dict[str, int] = {}
    for fixture in fixtures:
        for raw in fixture.members or (fixture.manifest,):
            content = json.loads(raw)
            found |= {part["digest"]: part["size"] for part in (content["config"], *content["layers"])}
    return sum(found.values())


class World:
    """Start with `with World(...)`; leaving stops every process and removes every file."""

    def __init__(self, memory: Path, registry: Program, python: str = sys.executable) -> None:
        self.python = python
        self.root = Path(tempfile.mkdtemp(prefix="fastcopy-bench-", dir=memory))
        self.root.chmod(0o755)
        self._program = registry
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.certificates = certificates.make(self.root)
        self.trust = ssl.create_default_context(cafile=str(self.certificates.authority))
        self._sources: dict[bool, Registry] = {}
        self._made: dict[Layer | Tree, tuple[str, Stored]] = {}
        self._fixtures: dict[Image, Fixture] = {}

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def source(self, tls: bool) -> Registry:
        """Return the source registry, plain or TLS; both serve the same storage."""
        if tls not in self._sources:
            self._sources[tls] = self._stack.enter_context(self.registry(self.root / "source", tls))
        return self._sources[tls]

    def registry(self, storage: Path, tls: bool, count: bool = False) -> AbstractContextManager[Registry]:
        """Run one docker-registry over *storage*; with *count* it keeps an access log."""
        storage.mkdir(exist_ok=True)
        return docker_registry(self._program, storage, self.certificates if tls else None, count)

    @contextmanager
    def fresh_destination(self, tls: bool, count: bool, room: int, name: str = "destination") -> Iterator[Registry]:
        """Run a registry over an empty storage that is removed afterwards; *room* bytes of it are warm."""
        storage = self.root / name
        shutil.rmtree(storage, ignore_errors=True)
        self._touch_memory(room)
        try:
            with self.registry(storage, tls, count) as registry:
                yield registry
        finally:
            shutil.rmtree(storage, ignore_errors=True)

    def _touch_memory(self, size: int) -> None:
        """Use and free as much tmpfs as a run will need.

        In a virtual machine the first touch of a page may cost the host a fault: 1 GiB written to cold
        memory was seen to cost the registry 5.6 s of CPU, to warm memory 1.6 s.
        """
        scratch = self.root / "scratch"
        with scratch.open("wb", buffering=0) as file:
            for _ in range(-(-size // len(ZEROS))):
                file.write(ZEROS)
        scratch.unlink()

    def client(self, registry: Registry) -> Client:
        """Open the harness's own client to a registry, past any relay."""
        return Client(f"127.0.0.1:{registry.port}", self.trust if registry.tls else None)

    def stock(self, images: Sequence[Image]) -> list[Fixture]:
        """Make sure the source holds *images*; each layer is made and pushed once."""
        missing = [image for image in images if image not in self._fixtures]
        if missing:
            with self.client(self.source(tls=False)) as client:
                for image in missing:
                    self._fixtures[image] = self._push(client, image)
        return [self._fixtures[image] for image in images]

    def push(self, image: Image) -> Fixture:
        """Put *image* under its tag at the source now, whatever the tag was."""
        with self.client(self.source(tls=False)) as client:
            return self._push(client, image)

    def _push(self, client: Client, image: Image) -> Fixture:
        if image.members:
            members = tuple(self._push_one(client, member, by_digest=True) for member in image.members)
            return Fixture(image, client.push_index(image, members), members)
        return Fixture(image, self._push_one(client, image))

    def _push_one(self, client: Client, image: Image, *, by_digest: bool = False) -> bytes:
        layers = tuple(self._push_layer(client, image.repository, layer) for layer in image.layers)
        return client.push_image(image, layers, by_digest=by_digest)

    def _push_layer(self, client: Client, repository: str, layer: Layer | Tree) -> Stored:
        if layer not in self._made:
            stream = TreeStream(layer) if isinstance(layer, Tree) else LayerStream(layer)
            self._made[layer] = repository, client.push_stream(repository, stream)
        elsewhere, stored = self._made[layer]
        if elsewhere != repository:
            client.mount(repository, stored.digest, elsewhere)
        return stored

    def place(self, kind: str, fixture: Fixture) -> Path:
        """Return an OCI layout or a docker archive with *fixture*, made once."""
        path = self.root / f"{kind}-{digest_of(fixture.manifest).removeprefix('sha256:')[:12]}"
        if not path.exists():
            with self.client(self.source(tls=False)) as client:
                make = local.write_layout if kind == "oci" else local.write_archive
                make(path, fixture.image, fixture.manifest, local.blob_reader(client, fixture.image.repository))
        return path

    def shelve(self, fixtures: Sequence[Fixture]) -> Path:
        """Lay out what the source stores as a directory the cheap server can send from."""
        shelf = self.root / "shelf"
        shelf.mkdir(exist_ok=True)
        for data in (self.root / "source/docker/registry/v2/blobs/sha256").glob("*/*/data"):
            link = shelf / data.parent.name
            if not link.is_symlink():
                link.symlink_to(data)
        for fixture in fixtures:
            _point(shelf, fixture)
        return shelf


def _point(shelf: Path, fixture: Fixture) -> None:
    link = shelf / f"tag-{fixture.image.tag}"
    link.unlink(missing_ok=True)
    link.symlink_to(digest_of(fixture.manifest).removeprefix("sha256:"))
