"""Which machine this is, and which programs it measured.

Two measurements may be compared only when their `Machine` is the same. No host name is recorded.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What decides whether two measurements may stand in one table."""

    cpu: str
    cores: int
    memory_gib: int
    kernel: str
    identity: str  # a hash of the machine's id: the same model elsewhere is another machine


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def _identity() -> str:
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text:
            return hashlib.sha256(b"fastcopy benchmarks " + text.encode()).hexdigest()[:12]
    return "unknown"


def this_machine() -> Machine:
    """Describe the machine the harness runs on."""
    memory = _field("/proc/meminfo", "MemTotal").split()
    return Machine(
        cpu=_field("/proc/cpuinfo", "model name") or platform.processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(int(memory[0]) / 2**20) if memory else 0,
        kernel=platform.release(),
        identity=_identity(),
    )


def version_of(command: Sequence[str], cwd: Path | None = None) -> str:
    """Return the first line a program prints about its version, "" when it prints none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=cwd, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return " ".join(lines[0].split()) if lines and not done.returncode else ""
