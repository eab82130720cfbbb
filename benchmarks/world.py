"""The world a client is measured in: registries on tmpfs, fixtures, relays, the cheap sink.

Owns: every process and file that is not the client's, and their end. Everything lives under one
directory on tmpfs and dies with the `World`. Refuses to know: which client runs and what is measured.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import certificates
from benchmarks.client import Client
from benchmarks.images import Image, Layer, LayerStream, Stored, digest_of
from benchmarks.measure import cpu_of, launcher
from benchmarks.native import build

START_LIMIT = 20.0
ZEROS = bytes(4 << 20)
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: {silent}}}}}
storage:
  filesystem: {{rootdirectory: {storage}, maxthreads: 200}}
  cache: {{blobdescriptor: inmemory}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
{tls}"""
TLS = """\
  tls: {{certificate: {chain}, key: {key}}}
"""


def free_port() -> int:
    """Return a TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Registry:
    """A running registry process."""

    port: int
    tls: bool
    process: subprocess.Popen[bytes]
    log: Path

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_of(self.process.pid)

    def requests(self) -> Counter[str]:
        """Count the requests it answered, by method (needs its access log)."""
        return Counter(re.findall(r'\] "([A-Z]+) /v2', self.log.read_text(errors="replace")))


@dataclass(frozen=True)
class Relay:
    """The port a client uses; *pid* where a relay stands between it and the registry."""

    port: int
    pid: int | None = None

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_of(self.pid) if self.pid else 0.0


@dataclass(frozen=True)
class Fixture:
    """An image at the source, with its manifest as pushed."""

    image: Image
    manifest: bytes


class World:
    """Start with `with World(...)`; leaving stops every process and removes every file."""

    def __init__(self, memory: Path, registry: str, chroot: Path | None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="fastcopy-bench-", dir=memory))
        self.root.chmod(0o755)
        self._registry, self._chroot = registry, chroot
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.certificates = certificates.make(self.root)
        self.trust = ssl.create_default_context(cafile=str(self.certificates.authority))
        self._sources: dict[bool, Registry] = {}
        self._made: dict[Layer, tuple[str, Stored]] = {}
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

    @contextmanager
    def registry(self, storage: Path, tls: bool, count: bool = False) -> Iterator[Registry]:
        """Run one docker-registry over *storage*; with *count* it keeps an access log."""
        storage.mkdir(exist_ok=True)
        port, log = free_port(), self.root / f"{storage.name}-{'tls' if tls else 'plain'}.log"
        secured = TLS.format(chain=self.certificates.chain, key=self.certificates.key) if tls else ""
        config = log.with_suffix(".yml")
        config.write_text(CONFIG.format(storage=storage, port=port, tls=secured, silent=str(not count).lower()))
        line = [*launcher(self._chroot), "-x", "--", self._registry, "serve", str(config)]
        with log.open("wb") as output, _running(line, output) as process:
            _wait_listening(port, process, log)
            yield Registry(port, tls, process, log)

    @contextmanager
    def fresh_destination(self, tls: bool, count: bool, room: int) -> Iterator[Registry]:
        """Run a registry over an empty storage that is removed afterwards; *room* bytes of it are warm."""
        storage = self.root / "destination"
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

    def _push(self, client: Client, image: Image) -> Fixture:
        layers = tuple(self._push_layer(client, image.repository, layer) for layer in image.layers)
        return Fixture(image, client.push_image(image, layers))

    def _push_layer(self, client: Client, repository: str, layer: Layer) -> Stored:
        if layer not in self._made:
            self._made[layer] = repository, client.push_stream(repository, LayerStream(layer))
        elsewhere, stored = self._made[layer]
        if elsewhere != repository:
            client.mount(repository, stored.digest, elsewhere)
        return stored

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

    @contextmanager
    def cheap(self, shelf: Path | None = None) -> Iterator[Registry]:
        """Run the cheap registry: a sink, and a server of *shelf* when given."""
        serve = ["--serve", str(shelf)] if shelf else []
        with _speaking([str(build("sink")), *serve]) as (process, port):
            yield Registry(port, False, process, Path())

    @contextmanager
    def relay(self, port: int, delay_ms: float, rate: float | None) -> Iterator[Relay]:
        """Run a relay towards *port*, if there is anything to shape."""
        if not delay_ms and not rate:
            yield Relay(port)
            return
        line = [str(build("relay")), "--connect", str(port), "--delay-ms", str(delay_ms)]
        with _speaking([*line, *(["--rate", str(rate)] if rate else [])]) as (process, near):
            yield Relay(near, process.pid)


def _point(shelf: Path, fixture: Fixture) -> None:
    link = shelf / f"tag-{fixture.image.tag}"
    link.unlink(missing_ok=True)
    link.symlink_to(digest_of(fixture.manifest).removeprefix("sha256:"))


@contextmanager
def _running(line: Sequence[str], output: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(line, stdout=output, stderr=output)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        _end(process)


@contextmanager
def _speaking(line: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a program that first prints its port."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def _wait_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_LIMIT
    while time.monotonic() < give_up and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"the registry did not start: {log.read_text(errors='replace')[-400:]}")


def sink_stats(client: Client) -> dict[str, int]:
    """Ask the cheap registry what arrived."""
    _, content = client.expect(200, "GET", "/sink/stats")
    found: dict[str, int] = json.loads(content)
    return found
