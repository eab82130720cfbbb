"""One measured run of one client, through the launcher.

Owns: the environment a client sees (empty state, one trusted authority, nothing of the user's) and
what is read off it afterwards. Refuses to know: what the client does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.native import build

REPOSITORY = Path(__file__).resolve().parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
XDG = {
    "XDG_CONFIG_HOME": "config",
    "XDG_CACHE_HOME": "cache",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
    "XDG_RUNTIME_DIR": "run",
}


@dataclass(frozen=True)
class Sample:
    """What one run cost.

    `wall`, `user`, `system`: seconds from exec to exit, of all the client's processes. `peak_mib`: the
    largest resident size, in MiB; for several processes the largest sum seen (sampled every 25 ms).
    `source_cpu`, `destination_cpu`: CPU seconds of the two registries meanwhile. `other_cpu`: CPU seconds
    the machine spent on anything else (other people's work, stolen time): the noise of this sample.
    `requests` the registries saw, by method, and `source_bytes`, the blobs' bytes the source sent: where counted.
    `unique_bytes`: those of all blobs that had to arrive, each once.
    `stored_bytes`: the layers at the destination, where they were recompressed.
    """

    wall: float
    user: float
    system: float
    peak_mib: float
    source_cpu: float = 0.0
    destination_cpu: float = 0.0
    other_cpu: float = 0.0
    requests: Mapping[str, int] | None = None
    source_bytes: int | None = None
    unique_bytes: int = 0
    stored_bytes: int = 0

    @property
    def cpu(self) -> float:
        """Client CPU, user and system."""
        return self.user + self.system

    @property
    def parallelism(self) -> float:
        """Client CPU over wall: how many cores the client kept busy."""
        return self.cpu / self.wall

    @property
    def registry_cpu(self) -> float:
        """CPU of both registries."""
        return self.source_cpu + self.destination_cpu


class RunFailedError(Exception):
    """A client did not do its job; the text says what it said last."""


@dataclass(frozen=True)
class Command:
    """A client's command line and where it runs."""

    argv: Sequence[str]
    chroot: Path | None = None
    environment: Mapping[str, str] | None = None
    private: Sequence[str] = ()  # directories it writes outside of HOME, to be given empty


def environment(state: Path, authority: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Create the state directories under *state* and return the only variables a client gets."""
    variables = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": str(state / "home"), "TMPDIR": str(state / "tmp")}
    variables |= {name: str(state / leaf) for name, leaf in XDG.items()}
    variables |= {"SSL_CERT_FILE": str(authority), **(extra or {})}
    for name in ("HOME", "TMPDIR", *XDG):
        Path(variables[name]).mkdir(parents=True, exist_ok=True, mode=0o700)
    return variables


def launcher(chroot: Path | None, binds: Sequence[str] = ()) -> list[str]:
    """Return the launcher's command line up to its own options; *binds* are FROM:TO pairs."""
    line = [str(build("launch"))]
    if chroot:
        line += ["-C", str(chroot)]
    for pair in binds:
        line += ["-b", pair]
    return line


def _binds(command: Command, state: Path) -> list[str]:
    pairs = []
    for number, place in enumerate(command.private):
        inside = state / f"private-{number}"
        inside.mkdir(parents=True, exist_ok=True)
        pairs.append(f"{inside}:{place}")
    return pairs


def run(command: Command, state: Path, authority: Path, limit: float) -> Sample:
    """Run *command* to its end with its state in *state*; *limit* is in seconds.

    Raises RunFailedError for an exit code other than 0, for running too long and for leaving processes.
    """
    variables = environment(state, authority, command.environment)
    report, log = state / "measurement.json", state / "output.txt"
    line = launcher(command.chroot, _binds(command, state))
    line += ["-D", "/" if command.chroot else str(REPOSITORY), "-t", str(limit), "-o", str(report), "--"]
    report.unlink(missing_ok=True)
    code = _call([*line, *command.argv], variables, log)
    if code or not report.exists():
        raise RunFailedError(f"the launcher failed ({code}): {_last_words(log)}")
    return _judge(json.loads(report.read_text()), log)


def _call(line: Sequence[str], variables: Mapping[str, str], log: Path) -> int:
    """Run the launcher; when interrupted, let it end its client before leaving."""
    with log.open("wb") as output:
        process = subprocess.Popen(line, env=variables, stdout=output, stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait(10)
            raise


def _judge(found: dict[str, float], log: Path) -> Sample:
    if found["timed_out"]:
        raise RunFailedError(f"stopped after {found['wall']:.0f} s: {_last_words(log)}")
    if found["status"]:
        raise RunFailedError(f"exit code {found['status']:.0f}: {_last_words(log)}")
    if found["strays"]:
        raise RunFailedError(f"left {found['strays']:.0f} processes behind")
    peak = max(found["max_rss_kib"], found["sum_rss_kib"]) / 1024
    return Sample(found["wall"], found["user"], found["sys"], peak)


def _last_words(log: Path) -> str:
    """Return the last complaints of a client, or what it said last when it named nothing an error."""
    lines = log.read_text(errors="replace").strip().splitlines()
    complaints = [line for line in lines if re.search(r"\b(fatal|error|panic)\b", line, re.IGNORECASE)]
    return " | ".join((complaints or lines)[-3:])[-600:] or "(no output)"


def cpu_of(pid: int) -> float:
    """Return the CPU seconds a running process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_cpu() -> float:
    """Return the CPU seconds the whole machine has used or was robbed of (steal) since its start."""
    fields = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
