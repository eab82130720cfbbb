"""How fastcopy, its peers and the floor are called: one table of tools, defaults and tuned.

Owns: command lines, nothing else. Certificates are verified by all of them (SSL_CERT_FILE names the
authority); for plain HTTP each is told so in its own words.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.images import Image
from benchmarks.measure import Command

PEER_FAMILIES = ("skopeo", "crane", "oras", "regctl")
CONTAINERS_CACHE = "/var/lib/containers/cache"  # root's blob-info cache; HOME does not move it


@dataclass(frozen=True)
class Job:
    """What is to be copied: *images* from one host:port to another. *files* is the client's directory."""

    source: str
    destination: str
    tls: bool
    images: Sequence[Image]
    files: Path
    second: str = ""  #: another destination, where the scenario has two
    names: tuple[str, str] | None = None  #: source and destination with their transports, where one is no registry

    def pairs(self) -> list[tuple[str, str]]:
        """Return (source, destination) references without a scheme."""
        names = [f"{image.repository}:{image.tag}" for image in self.images]
        return [(f"{self.source}/{name}", f"{self.destination}/{name}") for name in names]

    def note(self, name: str, text: str) -> str:
        """Write a file for the client and return its path."""
        path = self.files / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Program:
    """A program that was found: how to start it, and the chroot it lives in."""

    start: tuple[str, ...]
    chroot: Path | None = None


@dataclass(frozen=True)
class Tool:
    """One row of the tables. *verifies*: it hashes what it copies, as fastcopy does; *copies*: it copies at all."""

    name: str
    family: str
    arguments: Callable[[Job, Program], list[str]]
    verifies: bool = True
    copies: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    private: tuple[str, ...] = ()

    def command(self, job: Job, program: Program) -> Command:
        """Return the command that does *job*."""
        return Command(self.arguments(job, program), program.chroot, self.environment, self.private)


def _verify(job: Job) -> str:
    return str(job.tls).lower()


def _floor(job: Job, program: Program) -> list[str]:
    scheme, image = "https" if job.tls else "http", job.images[0]
    ends = [f"{scheme}://{job.source}", f"{scheme}://{job.destination}"]
    return [*program.start, *ends, image.repository, image.tag]


def _skopeo_copy(job: Job, program: Program) -> list[str]:
    flags = [f"--src-tls-verify={_verify(job)}", f"--dest-tls-verify={_verify(job)}"]
    return [*program.start, "--insecure-policy", "copy", *flags]


def _docker(pair: tuple[str, str]) -> list[str]:
    return [f"docker://{reference}" for reference in pair]


def _skopeo(job: Job, program: Program) -> list[str]:
    return [*_skopeo_copy(job, program), *_docker(job.pairs()[0])]


def _crane_copy(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", *([] if job.tls else ["--insecure"])]


def _crane(job: Job, program: Program) -> list[str]:
    return [*_crane_copy(job, program), *job.pairs()[0]]


def _oras(job: Job, program: Program) -> list[str]:
    plain = str(not job.tls).lower()
    return [*program.start, "cp", f"--from-plain-http={plain}", f"--to-plain-http={plain}", *job.pairs()[0]]


def _regctl(job: Job, program: Program) -> list[str]:
    plain = [] if job.tls else [f"--host=reg={host},tls=disabled" for host in (job.source, job.destination)]
    return [*program.start, *plain, "image", "copy", *job.pairs()[0]]


def _fastcopy_flags(job: Job) -> list[str]:
    return [f"--src-tls-verify={_verify(job)}", f"--dest-tls-verify={_verify(job)}"]


def _fastcopy(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", *_fastcopy_flags(job), *_docker(job.pairs()[0])]


def _fastcopy_h1(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", "--http", "1.1", *_fastcopy_flags(job), *_docker(job.pairs()[0])]


def _fastcopy_h2(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", "--http", "2", *_fastcopy_flags(job), *_docker(job.pairs()[0])]


def _fastcopy_all(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", "--all", *_fastcopy_flags(job), *_docker(job.pairs()[0])]


def _skopeo_all(job: Job, program: Program) -> list[str]:
    return [*_skopeo_copy(job, program), "--all", *_docker(job.pairs()[0])]


def _fastcopy_local(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", *_fastcopy_flags(job), *(job.names or _docker(job.pairs()[0]))]


def _skopeo_local(job: Job, program: Program) -> list[str]:
    return [*_skopeo_copy(job, program), *(job.names or _docker(job.pairs()[0]))]


ZSTD = ("--dest-compress-format", "zstd", "--dest-compress-level", "3")


def _fastcopy_zstd(job: Job, program: Program) -> list[str]:
    return [*program.start, "copy", *ZSTD, *_fastcopy_flags(job), *_docker(job.pairs()[0])]


def _skopeo_zstd(job: Job, program: Program) -> list[str]:
    return [*_skopeo_copy(job, program), *ZSTD, *_docker(job.pairs()[0])]


def _fastcopy_two(job: Job, program: Program) -> list[str]:
    """One rule with two destinations, in the native configuration."""
    image = job.images[0]
    text = f"""\
fastcopy: 1
images:
  - from: {job.source}/{image.repository}
    tags: [{image.tag}]
    to: ["{job.destination}/{image.repository}", "{job.second}/{image.repository}"]
"""
    return [*program.start, "sync", "--config", job.note("two.yaml", text), *_fastcopy_flags(job)]


def _twice(one: Callable[[Job, Program], list[str]], parallel: int) -> Callable[[Job, Program], list[str]]:
    """Run a copier once per destination, *parallel* at a time."""

    def arguments(job: Job, program: Program) -> list[str]:
        source, target = one(job, program)[-2:]
        other = target.replace(job.destination, job.second)
        line = job.note("two.txt", f"{source} {target}\n{source} {other}\n")
        return ["xargs", "-a", line, "-P", str(parallel), "-n", "2", *one(job, program)[:-2]]

    return arguments


def _fastcopy_sync(job: Job, program: Program) -> list[str]:
    return [*program.start, "sync", *_listed(job)]


def _fastcopy_plan(job: Job, program: Program) -> list[str]:
    return [*program.start, "plan", *_listed(job)]


def _listed(job: Job) -> list[str]:
    prefix = job.images[0].repository.rpartition("/")[0]
    lines = "".join(f"{image.repository.removeprefix(prefix + '/')}:{image.tag}\n" for image in job.images)
    ends = ["--from", f"{job.source}/{prefix}", "--to", f"{job.destination}/{prefix}"]
    return ["--list", job.note("images.txt", lines), *ends, *_fastcopy_flags(job)]


def _skopeo_sync(job: Job, program: Program) -> list[str]:
    prefix = job.images[0].repository.rpartition("/")[0]
    tags: dict[str, list[str]] = {}
    for image in job.images:
        tags.setdefault(image.repository, []).append(image.tag)
    lines = [f'"{job.source}":', f"  tls-verify: {_verify(job)}", "  images:"]
    lines += [f"    {repository}: [{', '.join(names)}]" for repository, names in tags.items()]
    listed = job.note("sync.yaml", "\n".join(lines) + "\n")
    flags = ["--src", "yaml", "--dest", "docker", f"--dest-tls-verify={_verify(job)}"]
    return [*program.start, "--insecure-policy", "sync", *flags, listed, f"{job.destination}/{prefix}"]


def _many(copy: Callable[[Job, Program], list[str]], scheme: str) -> Callable[[Job, Program], list[str]]:
    """Run one process per image, 32 at a time: what people do when a tool copies one image at a time."""

    def arguments(job: Job, program: Program) -> list[str]:
        lines = "".join(f"{scheme}{source} {scheme}{target}\n" for source, target in job.pairs())
        return ["xargs", "-a", job.note("pairs.txt", lines), "-P", "32", "-n", "2", *copy(job, program)]

    return arguments


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("floor", "floor", _floor),
        Tool("fastcopy", "fastcopy", _fastcopy),
        Tool("fastcopy-h1", "fastcopy", _fastcopy_h1),
        Tool("fastcopy-h2", "fastcopy", _fastcopy_h2),
        Tool("fastcopy-sslsocket", "fastcopy", _fastcopy, environment={"FASTCOPY_TLS": "sslsocket"}),
        Tool("fastcopy-pure", "fastcopy", _fastcopy, environment={"FASTCOPY_PURE": "1"}),
        Tool("fastcopy-all", "fastcopy", _fastcopy_all),
        Tool("fastcopy-zstd", "fastcopy", _fastcopy_zstd),
        Tool("fastcopy-local", "fastcopy", _fastcopy_local),
        Tool("fastcopy-two", "fastcopy", _fastcopy_two),
        Tool("fastcopy-sync", "fastcopy", _fastcopy_sync),
        Tool("fastcopy-plan", "fastcopy", _fastcopy_plan, copies=False),
        Tool("skopeo", "skopeo", _skopeo, private=(CONTAINERS_CACHE,)),
        Tool("skopeo-all", "skopeo", _skopeo_all, private=(CONTAINERS_CACHE,)),
        Tool("skopeo-zstd", "skopeo", _skopeo_zstd, private=(CONTAINERS_CACHE,)),
        Tool("skopeo-local", "skopeo", _skopeo_local, private=(CONTAINERS_CACHE,)),
        Tool("skopeo-two", "skopeo", _twice(_skopeo, 2), private=(CONTAINERS_CACHE,)),
        Tool("skopeo-sync", "skopeo", _skopeo_sync, private=(CONTAINERS_CACHE,)),
        Tool("skopeo-x32", "skopeo", _many(_skopeo_copy, "docker://"), private=(CONTAINERS_CACHE,)),
        Tool("crane", "crane", _crane),
        Tool("crane-two", "crane", _twice(_crane, 2)),
        Tool("crane-x32", "crane", _many(_crane_copy, "")),
        Tool("oras", "oras", _oras, verifies=False),
        Tool("regctl", "regctl", _regctl),
    )
}


def find_peer(family: str, chroot: Path | None) -> Program | None:
    """Look for a peer in the chroot first (the newer one), then on PATH."""
    if chroot:
        for directory in ("usr/local/bin", "usr/bin", "bin"):
            if (chroot / directory / family).exists():
                return Program((family,), chroot)
    found = shutil.which(family)
    return Program((found,)) if found else None
