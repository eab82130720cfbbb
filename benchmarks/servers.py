"""Server processes: docker-registry, the relay, the cheap registry; each dies with its `with` block.

Owns: starting, waiting, ending, counting their CPU. Refuses to know: what they store and who calls.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.certificates import Certificates
from benchmarks.client import Client
from benchmarks.measure import REPOSITORY, cpu_of, launcher
from benchmarks.native import build
from benchmarks.peers import Program

START_LIMIT = 20.0
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

    def sent(self) -> int:
        """Bytes of blobs it sent (needs its access log)."""
        lines = re.findall(r'"GET /v2/\S+/blobs/\S+ \S+" 20[06] (\d+)', self.log.read_text(errors="replace"))
        return sum(map(int, lines))


@dataclass(frozen=True)
class Relay:
    """The port a client uses; *pid* where a relay stands between it and the registry."""

    port: int
    pid: int | None = None

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_of(self.pid) if self.pid else 0.0


@contextmanager
def docker_registry(
    program: Program, storage: Path, certificates: Certificates | None, count: bool = False
) -> Iterator[Registry]:
    """Run docker-registry over *storage*, with TLS where there are certificates; *count* keeps an access log."""
    port = free_port()
    log = storage.parent / f"{storage.name}-{port}.log"
    tls = TLS.format(chain=certificates.chain, key=certificates.key) if certificates else ""
    config = log.with_suffix(".yml")
    config.write_text(CONFIG.format(storage=storage, port=port, tls=tls, silent=str(not count).lower()))
    line = [*launcher(program.chroot), "-x", "--", *program.start, "serve", str(config)]
    with log.open("wb") as output, _running(line, output) as process:
        _wait_listening(port, process, log)
        yield Registry(port, certificates is not None, process, log)


@contextmanager
def cheap_registry(shelf: Path | None = None) -> Iterator[Registry]:
    """Run the cheap registry: a sink, and a server of *shelf* when given."""
    serve = ["--serve", str(shelf)] if shelf else []
    with _speaking([str(build("sink")), *serve]) as (process, port):
        yield Registry(port, False, process, Path())


class CountingRegistry(Registry):
    """A registry that tells itself what it was asked."""

    def requests(self) -> Counter[str]:
        """Count the requests it answered by method, and those it refused as "429"."""
        with Client(f"127.0.0.1:{self.port}") as client:
            return Counter(json.loads(client.expect(200, "GET", "/bench/requests")[1]))

    def sent(self) -> int:
        """It is only written to."""
        return 0


@contextmanager
def limited_registry(python: str, rate: float) -> Iterator[Registry]:
    """Run the embedded registry behind a limit of *rate* requests per second."""
    with _speaking([python, "-m", "benchmarks.limited", str(rate)], cwd=REPOSITORY) as (process, port):
        yield CountingRegistry(port, False, process, Path())


@contextmanager
def embedded_registry(
    python: str, layout: Path, repository: str, certificates: Certificates, flags: Sequence[str]
) -> Iterator[Registry]:
    """Run `fastcopy serve` over *layout* with TLS, and *flags* that make it difficult."""
    port = free_port()
    tls = ["--tls-cert", str(certificates.chain), "--tls-key", str(certificates.key)]
    place = ["--read-only", "--name", repository, "--listen", f"127.0.0.1:{port}", str(layout)]
    log = layout.parent / f"embedded-{port}.log"
    with (
        log.open("wb") as output,
        _running([python, "-m", "fastcopy", "serve", *tls, *flags, *place], output, cwd=REPOSITORY) as process,
    ):
        _wait_listening(port, process, log)
        yield Registry(port, True, process, log)


@contextmanager
def relay(port: int, delay_ms: float, rate: float | None) -> Iterator[Relay]:
    """Run a relay towards *port*, if there is anything to shape."""
    if not delay_ms and not rate:
        yield Relay(port)
        return
    line = [str(build("relay")), "--connect", str(port), "--delay-ms", str(delay_ms)]
    with _speaking([*line, *(["--rate", str(rate)] if rate else [])]) as (process, near):
        yield Relay(near, process.pid)


@contextmanager
def _running(line: Sequence[str], output: BinaryIO, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(line, stdout=output, stderr=output, cwd=cwd)
    try:
        yield process
    finally:
        _end(process)


@contextmanager
def _speaking(line: Sequence[str], cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a program that first prints its port."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE, cwd=cwd)
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
