"""A random fleet: registries with faults, images that share layers, a command that copies them, and an eye on tags."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fastcopy.http.wire import Headers
from fastcopy.serve import Behaviour
from fastcopy.serve.message import Body, Chunks, Handler, Head, Middleware, Reply
from fastcopy.serve.moving import pieces
from tests import faults as broken
from tests.copy.world import ACCEPT, DOCKER_LIST, OCI_INDEX, Made, digest_of, image
from tests.registries import Flavour, Registry, embedded_registry

#: Ranges and resumption begin at 64 MiB.
LARGE = (64 << 20) + 12_345
#: Sizes of layers: in the loop, by a pump, in more than one stretch.
SIZES = (2_000, 40_000, 300_000, 2_000_000, 9_000_000)
#: Bytes per second of one download, where the source is slow: more connections bring more.
SLOW_SOURCE = 24 << 20


class Witness:
    """Looks, each time a registry has accepted a manifest under a tag, whether everything below it is there."""

    def __init__(self) -> None:
        self.incomplete: list[str] = []
        self.seen = 0

    async def check(self, head: Head, reply: Reply, proceed: Handler) -> None:
        """*reply* is the registry's answer to the request *head*."""
        if head.method != "PUT" or "/manifests/" not in head.target or reply.status != 201:
            return
        repository, _, reference = head.path.removeprefix("/v2/").rpartition("/manifests/")
        if reference.startswith("sha256:"):
            return
        self.seen += 1
        for missing in await self._missing(head, proceed, repository, reference):
            self.incomplete.append(f"{repository}:{reference} without {missing}")

    async def _missing(self, head: Head, proceed: Handler, repository: str, reference: str) -> list[str]:
        raw = await _get(head, proceed, f"/v2/{repository}/manifests/{reference}")
        if raw is None:
            return [reference]
        manifest = json.loads(raw)
        missing: list[str] = []
        for child in manifest.get("manifests", ()):
            missing += await self._missing(head, proceed, repository, child["digest"])
        for blob in (manifest.get("config"), *manifest.get("layers", ())):
            if blob and await _get(head, proceed, f"/v2/{repository}/blobs/{blob['digest']}", "HEAD") is None:
                missing.append(blob["digest"])
        return missing


class _NoBody:
    length, received = 0, 0

    async def read(self, max_bytes: int) -> bytes:
        return b""

    async def pour(self, spool: object) -> None:
        return


async def _get(head: Head, proceed: Handler, target: str, method: str = "GET") -> bytes | None:
    kept = [(name, value) for name, value in head.headers if name in ("authorization", "host")]
    asked = Head(method, target, Headers([*kept, ("accept", ACCEPT)]), head.authority, head.scheme, head.http)
    reply = await proceed(asked, _NoBody())
    if reply.status != 200:
        return None
    if method == "HEAD":
        return b""
    async with contextlib.aclosing(pieces(reply.body)) as parts:
        return b"".join([bytes(part) async for part in parts])


@dataclass
class Station:
    """One registry of the fleet: its faults, its witness, and how many requests it has met."""

    faults: broken.Faults = field(default_factory=broken.Faults)
    witness: Witness = field(default_factory=Witness)
    met: threading.Event = field(default_factory=threading.Event)
    registry: Registry = field(init=False)

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        self.met.set()

        async def witnessed(head: Head, body: Body) -> Reply:
            reply = await proceed(head, body)
            await self.witness.check(head, reply, proceed)
            return reply

        return await self.faults(head, body, witnessed)


def slowed(rate: int) -> Middleware:
    """Each answer's body comes with at most *rate* bytes per second."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        if reply.length < 1 << 20:
            return reply

        async def source() -> AsyncGenerator[bytes, None]:
            async with contextlib.aclosing(pieces(reply.body)) as whole:
                async for piece in whole:
                    yield bytes(piece)
                    await trio.sleep(len(piece) / rate)

        return Reply(reply.status, reply.headers, Chunks(reply.length, source()))

    return fault


def lost_upload() -> Middleware:
    """The registry has forgotten the upload."""
    return broken.respond(404, "BLOB_UPLOAD_UNKNOWN")


def refused_mount() -> Middleware:
    """A POST that asks for a mount opens an upload, as if it had not asked."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        if "mount=" not in head.target:
            return await proceed(head, body)
        plain = Head(head.method, head.target.partition("?")[0], head.headers, head.authority, head.scheme, head.http)
        return await proceed(plain, body)

    return fault


def spoil(station: Station, dice: random.Random, count: int) -> list[str]:
    """Hang *count* random faults into *station*, each for a few requests; their names."""
    at = dice.choice((1, 1_000, 100_000, 1_500_000, 20 << 20))
    table: dict[str, tuple[Middleware, str, str]] = {
        "429": (broken.respond(429, "TOOMANYREQUESTS"), "", "/v2/."),
        "429-after": (broken.respond(429, "TOOMANYREQUESTS", retry_after=1), "", "/v2/."),
        "503": (broken.respond(503), "", "/v2/."),
        "503-after": (broken.respond(503, retry_after=1), "", "/v2/."),
        "502-page": (broken.respond(502, html=True), "", "/v2/."),
        "hang-up": (broken.hang_up(), "", "/v2/."),
        "answer-lost": (broken.answer_lost(), "PUT|POST|PATCH", "/v2/."),
        "drop-download": (broken.drop_download(at), "GET", "/blobs/"),
        "stall-download": (broken.stall_download(at, dice.choice((0.3, 4.0))), "GET", "/blobs/"),
        "short": (broken.resized(-1), "GET", "/blobs/"),
        "ignore-range": (broken.ignore_range(), "GET", "/blobs/"),
        "corrupt": (broken.corrupt(0), "GET", "/blobs/"),
        "drop-upload": (broken.drop_upload(at), "PUT|PATCH|POST", "/uploads/"),
        "stall-upload": (broken.stall_upload(at, dice.choice((0.3, 4.0))), "PUT|PATCH", "/uploads/"),
        "lost-upload": (lost_upload(), "PUT|PATCH|GET", "/uploads/."),
        "late": (broken.slow(0.3), "", "/v2/."),
        "no-mount": (refused_mount(), "POST", "/uploads/"),
    }
    names = dice.choices(sorted(table), k=count)
    for name in names:
        fault, method, path = table[name]
        station.faults.add(fault, method=method, path=path, times=dice.choice((1, 2, 4)), skip=dice.randrange(12))
    if dice.random() < 0.2:
        station.faults.add(broken.ConcurrencyLimit(dice.choice((1, 2, 4))), method="GET", path="/blobs/")
        names.append("few-GETs")
    if dice.random() < 0.15:
        station.faults.add(broken.RateLimit(dice.choice((10, 30))))
        names.append("rate")
    return names


@dataclass
class Fleet:
    """What one seed makes."""

    seed: int
    dice: random.Random
    files: Path
    stations: list[Station]
    flavour: Flavour
    made: list[Made] = field(default_factory=list)
    wanted: list[tuple[Made, int, str]] = field(default_factory=list)  #: image, station, repository
    words: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        """What a failure needs to be seen again."""
        return f"seed {self.seed}, {self.flavour}, {' '.join(self.words)}"

    def reset(self) -> None:
        """No faults but those that belong to the place."""
        for station in self.stations:
            station.faults.clear()
            station.met.clear()

    def slow_down(self) -> None:
        """Let the first registry send slowly, so that ranges are worth it."""
        self.stations[0].faults.add(slowed(SLOW_SOURCE), method="GET", path="/blobs/")


@contextlib.contextmanager
def fleet(base: Path, files: Path, seed: int) -> Iterator[Fleet]:
    """Registries, images and a command of *seed*; *base* is where certificates are kept."""
    dice = random.Random(seed)
    flavour: Flavour = dice.choice(("plain", "plain", "tls", "basic", "token"))
    with ExitStack() as stack:
        stations = [Station() for _ in range(dice.choice((2, 2, 3, 4)))]
        for station in stations:
            station.registry = stack.enter_context(
                embedded_registry(base, flavour, middleware=station, behaviour=_behaviour(dice, flavour))
            )
        found = Fleet(seed, dice, files, stations, flavour)
        _fill(found)
        _route(found)
        found.words = _words(found)
        yield found


def _behaviour(dice: random.Random, flavour: Flavour) -> Behaviour:
    return Behaviour(
        auth="token" if flavour == "token" else "basic",
        mounts=dice.random() < 0.8,
        check_references=dice.random() < 0.5,
        single_post=dice.random() < 0.5,
        chunked=dice.random() < 0.8,
        ranges=dice.random() < 0.85,
        global_blobs=dice.random() < 0.2,
        keep_alive=dice.random() < 0.85,
        connections=dice.choice((0, 0, 0, 6)),
        absolute_locations=dice.random() < 0.5,
    )


def _fill(it: Fleet) -> None:
    dice, source = it.dice, it.stations[0].registry
    shared = [dice.randbytes(dice.choice(SIZES)) for _ in range(4)]
    if dice.random() < 0.4:
        shared.append(dice.randbytes(LARGE))
    for number in range(dice.randint(2, 9)):
        layers = dice.sample(shared, dice.randint(1, len(shared)))
        own = dice.randbytes(dice.choice(SIZES[:4]))
        it.made.append(image(source, f"from/i{number}", "1", layers=[*layers, own], docker=dice.random() < 0.3))
    for number in range(dice.choice((0, 1, 2))):
        it.made.append(_index(source, f"from/l{number}", dice, shared[:4]))


def _index(source: Registry, repo: str, dice: random.Random, shared: list[bytes]) -> Made:
    """An index of which two images share everything but the config."""
    docker = dice.random() < 0.3
    layers = dice.sample(shared, 2)
    children = [
        image(source, repo, f"of-{name}", layers=layers, config={"architecture": name}, docker=docker)
        for name in ("amd64", "arm64")
    ]
    entries = [each.entry | {"platform": {"os": "linux", "architecture": str(n)}} for n, each in enumerate(children)]
    media_type = DOCKER_LIST if docker else OCI_INDEX
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    with source.client() as probe:
        assert probe.push_manifest(repo, "all", raw, media_type) == digest_of(raw)
    return Made(source, repo, "all", raw, media_type, {}, tuple(children))


def _route(it: Fleet) -> None:
    """Each image goes to some of the registries, now and then to another place of its own."""
    for number, made in enumerate(it.made):
        choices = range(0 if it.dice.random() < 0.15 else 1, len(it.stations))
        for at in it.dice.sample(choices, it.dice.randint(1, len(choices))):
            it.wanted.append((made, at, f"to/x{number % 3}/{number}"))
            if it.dice.random() < 0.2:
                it.wanted.append((made, at, f"to/again/{number}"))


def _words(it: Fleet) -> list[str]:
    dice = it.dice
    lines = [
        f"{made.ref}={it.stations[at].registry.ref(repo, made.tag)}".replace("docker://", "")
        for made, at, repo in it.wanted
    ]
    path = it.files / "images.txt"
    path.write_text("".join(f"{line}\n" for line in dice.sample(lines, len(lines))))
    one = it.stations[0].registry
    words = ["sync", "--list", str(path), "--all", "--journal", str(it.files / "journal"), "--stall-timeout=2s"]
    words += [*one.skopeo_flags("src-"), *one.skopeo_flags("dest-"), "--retry-delay=20ms"]
    words += [f"--memory={dice.choice(('1MiB', '4MiB', '96MiB', '96MiB'))}"]
    words += [f"--http={dice.choice(('auto', 'auto', '1.1', '2'))}"] if it.flavour != "plain" else []
    words += dice.choice(([], [], ["--fail-fast"]))
    words += dice.choice(([], [], ["--referrers", "--digest-tags"]))
    words += dice.choice(([], [], ["--bwlimit=60MiB/s"]))
    words += dice.choice(([], ["--drain"], ["--drain", "--drain-timeout=1s"]))
    words += dice.choice((["--progress=none"], ["--progress=plain"], ["--progress=json"]))
    return words
