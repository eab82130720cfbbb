"""What parts of an upload cost beside one body: a layer of 1 GiB between two embedded registries, the ways in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.client import Client
from benchmarks.images import Image, Layer, LayerStream
from benchmarks.measure import REPOSITORY
from benchmarks.servers import free_port

IMAGE = Image("parts", "1", (Layer(1, 1 << 30),))
RUNS = 5
#: MiB of a part; 0: one PUT.
PARTS = (0, 16, 64, 256)
COPY = """\
import sys
from fastcopy.transports import _manners
part = int(sys.argv[1]) << 20
_manners.PART, _manners.RESUMED_MIN = part, 1 << 20 if part else 1 << 60
from fastcopy.cli import entry
sys.argv = ["fastcopy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *sys.argv[2:]]
entry()
"""


@contextmanager
def _registry() -> Iterator[str]:
    """An embedded registry in a process of its own, in memory; its host."""
    host = f"127.0.0.1:{free_port()}"
    line = [sys.executable, "-m", "fastcopy", "serve", "--listen", host]
    with TemporaryDirectory() as away, (Path(away) / "log").open("wb") as log:
        process = subprocess.Popen(line, cwd=REPOSITORY, stdout=log, stderr=log)
        try:
            _wait_for(host)
            yield host
        finally:
            process.kill()
            process.wait()


def _wait_for(host: str) -> None:
    for _ in range(500):
        try:
            with Client(host) as client:
                client.expect(200, "GET", "/v2/")
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the embedded registry did not start")


def _copied(source: str, part: int) -> tuple[float, float]:
    """Wall and CPU seconds of one copy into an empty registry in parts of *part* MiB."""
    with _registry() as destination:
        names = [f"docker://{host}/parts:1" for host in (source, destination)]
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", COPY, str(part), *names], cwd=REPOSITORY)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the copy in parts of {part} MiB ended with {process.returncode}")
        return time.monotonic() - started, used.ru_utime + used.ru_stime


def measure() -> list[tuple[str, str]]:
    """Medians, each way once per round."""
    with _registry() as source:
        with Client(source) as client:
            stored = client.push_stream(IMAGE.repository, LayerStream(Layer(1, 1 << 30)))
            client.push_image(IMAGE, (stored,))
        rounds = [[_copied(source, part) for part in PARTS] for _ in range(RUNS)]
    found = []
    for part, runs in zip(PARTS, zip(*rounds, strict=True), strict=True):
        wall, cpu = (statistics.median(each) for each in zip(*runs, strict=True))
        name = f"1 GiB in parts of {part} MiB" if part else "1 GiB in one PUT"
        found.append((f"{name}: wall, client CPU", f"{wall:.2f} s, {cpu:.2f} s"))
    return found
