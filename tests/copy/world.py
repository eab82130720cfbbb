"""Images for copy tests, a way to copy them, and eyes of our own: fastcopy never judges itself here."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import fastcopy.api as api
from fastcopy.errors import FastcopyError
from fastcopy.events import CopyReport, Event
from fastcopy.options import CopyOptions, Credentials, HostOptions, Options, RunOptions
from tests.cli.support import Ran, run
from tests.faults import Faults
from tests.registries import Registry

OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ACCEPT = ", ".join((OCI, OCI_INDEX, DOCKER, DOCKER_LIST, "application/vnd.docker.distribution.manifest.v1+prettyjws"))

#: One small blob stays in the loop, one goes by the pump; together they exercise both roads.
SIZES = (3_000, 600_000)
_numbers = itertools.count()
_REQUEST = re.compile(r"/v2/(?P<name>.+)/(?P<kind>blobs/uploads|blobs|manifests|tags)/(?P<rest>.*)")


def fresh(prefix: str = "copy/r") -> str:
    """A repository that nobody else uses."""
    return f"{prefix}{next(_numbers)}"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of *data*."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def content(size: int, seed: object) -> bytes:
    """*size* bytes that no other seed has."""
    return random.Random(str(seed)).randbytes(size)


@dataclass(frozen=True)
class Made:
    """An image (or index) in a registry: what must arrive, byte for byte."""

    registry: Registry
    repo: str
    tag: str
    raw: bytes
    media_type: str
    blobs: dict[str, bytes] = field(repr=False)
    children: tuple[Made, ...] = ()

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.raw)

    @property
    def ref(self) -> str:
        """Its name, by tag where it has one."""
        return self.registry.ref(self.repo, self.tag or self.digest)

    @property
    def layer(self) -> str:
        """The digest of the largest blob."""
        return max(self.blobs, key=lambda each: len(self.blobs[each]))

    @property
    def entry(self) -> dict[str, Any]:
        """The descriptor of this manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.raw)}


def image(
    registry: Registry,
    repo: str = "",
    tag: str = "1",
    sizes: Sequence[int] = SIZES,
    *,
    docker: bool = False,
    layers: Sequence[bytes] | None = None,
    config: dict[str, Any] | None = None,
    change: dict[str, Any] | None = None,
) -> Made:
    """Push an image with layers of *sizes* (or these *layers*); *change* edits the manifest's top fields."""
    repo = repo or fresh()
    datas = list(layers) if layers is not None else [content(size, f"{repo}:{tag}:{n}") for n, size in enumerate(sizes)]
    kinds = (DOCKER, DOCKER_CONFIG, DOCKER_LAYER) if docker else (OCI, OCI_CONFIG, OCI_LAYER)
    described = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": []},
        "for": repo + tag,
    }
    raw_config = json.dumps(described | (config or {})).encode()
    with registry.client() as probe:
        manifest = {
            "schemaVersion": 2,
            "mediaType": kinds[0],
            "config": {"mediaType": kinds[1], **probe.push_blob(repo, raw_config)},
            "layers": [{"mediaType": kinds[2], **probe.push_blob(repo, data)} for data in datas],
        } | (change or {})
        raw = json.dumps(manifest).encode()
        probe.push_manifest(repo, tag, raw, str(manifest["mediaType"]))
    blobs = {digest_of(data): data for data in (raw_config, *datas)}
    return Made(registry, repo, tag, raw, str(manifest["mediaType"]), blobs)


def index(
    registry: Registry, repo: str = "", tag: str = "all", platforms: Sequence[str] = ("amd64", "arm64"), *,
    docker: bool = False, sizes: Sequence[int] = (2_000,),
) -> Made:  # fmt: skip
    """Push one image per platform (they share the first layer) and an index of them."""
    repo = repo or fresh()
    shared = content(300_000, repo)
    children = []
    for name in platforms:
        layers = [shared, *(content(size, f"{repo}{name}{n}") for n, size in enumerate(sizes))]
        config = {"architecture": name}
        children.append(image(registry, repo, f"of-{name}", layers=layers, config=config, docker=docker))
    entries = [
        each.entry | {"platform": {"os": "linux", "architecture": name}}
        for each, name in zip(children, platforms, strict=True)
    ]
    media_type = DOCKER_LIST if docker else OCI_INDEX
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    with registry.client() as probe:
        probe.push_manifest(repo, tag, raw, media_type)
    blobs = {digest: data for child in children for digest, data in child.blobs.items()}
    return Made(registry, repo, tag, raw, media_type, blobs, tuple(children))


# -- copying ----------------------------------------------------------------------------------------------------------


def access(registry: Registry, **more: Any) -> HostOptions:
    """How *registry* is reached."""
    credentials = Credentials(*registry.credentials) if registry.credentials else None
    cert_dir = registry.certificates.directory if registry.certificates else None
    found = HostOptions(credentials=credentials, cert_dir=cert_dir, tls_verify=None if registry.tls else False)
    return replace(found, **more)


@dataclass(frozen=True)
class Outcome:
    """What a copy came to: a report, or the one error; and the events on the way."""

    report: CopyReport | None
    error: FastcopyError | None
    events: list[Event] = field(repr=False)

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


#: Patience that no test waits for, impatience between attempts.
HASTY = RunOptions(retry_delay=0.01, stall=20.0)


def options(source: Registry, destination: Registry, *, run_options: RunOptions = HASTY, **more: Any) -> Options:
    """Options for a copy between two registries; *more* are fields of CopyOptions."""
    sides = {"source": access(source), "destination": access(destination)}
    return Options(**sides, copy=CopyOptions(**more), run=run_options)


def copy(made: Made, destination: Registry, repo: str, tag: str = "1", **more: Any) -> Outcome:
    """Copy by the Python API; *more* as for `options`, or ``options=`` whole."""
    chosen = more.pop("options", None) or options(made.registry, destination, **more)
    events: list[Event] = []
    try:
        report = api.copy(made.ref, destination.ref(repo, tag), chosen, on_event=events.append)
    except FastcopyError as error:
        return Outcome(None, error, events)
    return Outcome(report, None, events)


def flags(source: Registry, destination: Registry) -> list[str]:
    """The command line's flags for both sides."""
    return source.skopeo_flags("src-") + destination.skopeo_flags("dest-")


def cli(made: Made, destination: Registry, repo: str, tag: str = "1", *more: str) -> Ran:
    """Copy by the command line, in this process; attempts follow each other quickly."""
    words = [*flags(made.registry, destination), "--retry-delay=10ms", *more]
    return run("copy", *words, made.ref, destination.ref(repo, tag))


# -- looking ----------------------------------------------------------------------------------------------------------


def named(registry: Registry, repo: str, tag: str = "1") -> str:
    """The digest of what *tag* names, "" when it names nothing."""
    with registry.client() as probe:
        found = probe.request("GET", f"/v2/{repo}/manifests/{tag}", headers={"Accept": ACCEPT})
    assert found.status in (200, 404), found
    return digest_of(found.body) if found.status == 200 else ""


def assert_complete(registry: Registry, repo: str, made: Made, tag: str = "1") -> None:
    """*tag* names the very bytes of *made*, and every manifest and blob below it is there, byte for byte."""
    with registry.client() as probe:
        for reference in (tag, made.digest):
            found = probe.request("GET", f"/v2/{repo}/manifests/{reference}", headers={"Accept": ACCEPT})
            assert (found.status, found.body) == (200, made.raw), (reference, found.status)
            assert found.headers["content-type"] == made.media_type
    for child in made.children:
        assert_complete(registry, repo, child, child.digest)
    if not made.children:
        assert_blobs(registry, repo, made)


def assert_blobs(registry: Registry, repo: str, made: Made) -> None:
    """Every blob of *made* is in *repo*, byte for byte."""
    with registry.client() as probe:
        for digest, data in made.blobs.items():
            found = probe.request("GET", f"/v2/{repo}/blobs/{digest}")
            assert found.status == 200, digest
            assert found.body == data, digest


@dataclass(frozen=True)
class Seen:
    """One request about a repository, as the registry logged it."""

    method: str
    kind: str  #: "blobs/uploads", "blobs", "manifests" or "tags"
    rest: str
    status: int


def seen(registry: Registry, repo: str, method: str = "", kind: str = "", status: int = 0) -> list[Seen]:
    """The requests of a repository that fit."""
    return [
        each
        for each in _seen(registry, repo)
        if method in ("", each.method) and kind in ("", each.kind) and status in (0, each.status)
    ]


def _seen(registry: Registry, repo: str) -> Iterator[Seen]:
    for method, target, status in registry.requests():
        found = _REQUEST.search(target)
        if found and found["name"] == repo:
            yield Seen(method, found["kind"], found["rest"], status)


def uploads(registry: Registry, repo: str) -> int:
    """How many uploads were started in *repo*."""
    return len(seen(registry, repo, "POST", "blobs/uploads", 202))


def bytes_sent(registry: Registry, repo: str) -> int:
    """Bytes of bodies that the embedded *registry* sent as blobs of *repo*."""
    return sum(each.bytes_out for each in list(registry.server.log) if f"/{repo}/blobs/" in each.target)


def bytes_received(registry: Registry, repo: str) -> int:
    """Bytes of bodies that the embedded *registry* took for blobs of *repo*."""
    return sum(each.bytes_in for each in list(registry.server.log) if f"/{repo}/blobs/" in each.target)


@dataclass
class Pair:
    """A source and a destination whose every answer can be spoilt."""

    source: Registry
    destination: Registry
    at_source: Faults
    at_destination: Faults

    def image(self, **more: Any) -> Made:
        """An image at the source."""
        return image(self.source, **more)

    def copy(self, made: Made, repo: str, tag: str = "1", **more: Any) -> Outcome:
        """Copy by the API."""
        return copy(made, self.destination, repo, tag, **more)

    def cli(self, made: Made, repo: str, tag: str = "1", *more: str) -> Ran:
        """Copy by the command line."""
        return cli(made, self.destination, repo, tag, *more)

    def arrives(self, made: Made, **more: Any) -> Outcome:
        """Copy, and hold the result against the source."""
        repo = more.pop("repo", "") or fresh("copy/to")
        outcome = self.copy(made, repo, **more)
        if outcome.error is not None:
            raise outcome.error
        assert_complete(self.destination, repo, made)
        return outcome

    def fails(self, made: Made, *words: str, side: str, code: int = 1, repo: str = "") -> Ran:
        """The command line fails with one line that names *side* and says *words*; nothing gets the name."""
        repo = repo or fresh("copy/to")
        before = named(self.destination, repo)
        ran = self.cli(made, repo)
        assert_clear(ran, made, self.destination.ref(repo, "1"), *words, side=side, code=code)
        assert named(self.destination, repo) == before
        return ran


def assert_clear(ran: Ran, made: Made, destination: str, *words: str, side: str, code: int) -> None:
    """One fatal line with the name of the side at fault and *words*, and the exit code."""
    assert ran.code == code, ran.err
    fatal = [line for line in ran.err.splitlines() if "level=fatal" in line]
    assert len(fatal) == 1, ran.err
    assert "Traceback" not in ran.err
    blamed, other = (made.ref, destination) if side == "source" else (destination, made.ref)
    assert f"{side} {blamed}" in fatal[0], fatal[0]
    assert other not in fatal[0], fatal[0]
    for word in words:
        assert word in fatal[0], fatal[0]
