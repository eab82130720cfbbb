"""Compiles the C programs of this directory on demand.

Owns: which source needs which libraries, and the cache of binaries. Refuses to know: what they measure.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "benchmarks"
FLAGS = ["-O2", "-Wall", "-Wextra", "-std=gnu11"]
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "launch": ("launch/launch.c", []),
    "relay": ("relay/relay.c", []),
    "sink": ("floor/sink.c", ["-pthread"]),
    "floor": ("floor/floor.c", ["-lssl", "-lcrypto"]),
}


class CannotBuildError(Exception):
    """A C program cannot be compiled here; the text says what is missing."""


def build(name: str) -> Path:
    """Return the binary of program *name*, compiling it if its source or flags changed.

    Raises CannotBuildError where there is no compiler or a header (libssl-dev) is missing.
    """
    source, libraries = PROGRAMS[name]
    text = (HERE / source).read_bytes()
    key = hashlib.sha256(text + repr([FLAGS, libraries]).encode()).hexdigest()[:12]
    binary = CACHE / f"{name}-{key}"
    if not binary.exists():
        _compile(HERE / source, binary, libraries)
    return binary


def _compile(source: Path, binary: Path, libraries: list[str]) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CannotBuildError(f"no C compiler for {source.name}")
    CACHE.mkdir(parents=True, exist_ok=True)
    draft = binary.with_suffix(".new")
    done = subprocess.run(
        [compiler, *FLAGS, str(source), "-o", str(draft), *libraries],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotBuildError(f"{source.name}: {_first_error(done.stderr)}")
    draft.replace(binary)


def _first_error(text: str) -> str:
    errors = [line for line in text.splitlines() if "error" in line]
    return (errors or text.splitlines() or ["the compiler said nothing"])[0]
