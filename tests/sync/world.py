"""Lists for sync tests, a way to run them, and what the registries saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.support import Ran, run
from tests.copy.world import Made, flags, image
from tests.registries import Registry


@dataclass(frozen=True)
class Place:
    """A directory for a test's files, and the two registries of its runs."""

    files: Path
    source: Registry
    destination: Registry

    def file(self, text: str, name: str = "images.txt") -> str:
        """The path of a new file with *text*."""
        path = self.files / name
        path.write_text(text)
        return str(path)

    def sync(self, *words: str, inp: str = "", program: str = "fastcopy") -> Ran:
        """``fastcopy sync …`` with the flags of both registries; attempts follow each other quickly."""
        known = [*flags(self.source, self.destination), "--retry-delay=10ms"]
        return run("sync", *known, *words, inp=inp, program=program)

    def listed(self, lines: Iterable[str], *words: str, base: str, to: str) -> Ran:
        """A list, from below *base* of the source to below *to* of the destination."""
        path = self.file("".join(f"{line}\n" for line in lines))
        ends = ["--from", f"{self.source.host}/{base}", "--to", f"{self.destination.host}/{to}"]
        return self.sync("--list", path, *ends, *words)

    def images(self, base: str, count: int, *, shared: Sequence[bytes] = (), tag: str = "1") -> list[Made]:
        """*count* small images below *base*, each with a layer of its own and the *shared* ones."""
        return [
            image(self.source, f"{base}/i{n}", tag, layers=[*shared, f"{base} {n} {tag}".encode() * 500])
            for n in range(count)
        ]

    def report(self, name: str = "report.json") -> Any:
        """The JSON that --report wrote."""
        return json.loads((self.files / name).read_text())


def moved(registry: Registry, method: str, below: str = "") -> Counter[str]:
    """How often each blob was answered with 200 (GET) or 201 (PUT), by digest, in repositories below *below*."""
    wanted = {"GET": (200, 206), "PUT": (201,)}[method]
    found: Counter[str] = Counter()
    for seen, target, status in registry.requests():
        if seen != method or "/blobs/" not in target or status not in wanted or not target.startswith(f"/v2/{below}"):
            continue
        mark = "digest=" if method == "PUT" else "/blobs/"
        found[target.rpartition(mark)[2].partition("&")[0].replace("%3A", ":")] += 1
    return found


def log_lines(ran: Ran) -> list[str]:
    """The log without its times."""
    return [line.partition('" ')[2] for line in ran.err.splitlines() if line.startswith("time=")]
