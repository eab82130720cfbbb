"""The table of what is measured: images, world, tools, and what fastcopy must reach.

Pure data. Sizes are bytes, rates bytes per second, times seconds; targets hold in one run, beside the
others, and never against absolute numbers of another machine unless they say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.changes import CHANGES
from benchmarks.images import Image, Layer
from benchmarks.trees import Tree

MIB = 1 << 20
GIB = 1 << 30

BEST_PEER = "best peer"
BEST_VERIFYING = "best verifying peer"


@dataclass(frozen=True)
class Target:
    """*metric* of *subject* must be at most *factor* times that of *against*, plus *plus*.

    Without *against*, *plus* is the limit itself; with *at_least* the limit is a lower one.
    """

    metric: str
    against: str | None = None
    factor: float = 1.0
    plus: float = 0.0
    subject: str = "fastcopy"
    at_least: bool = False


@dataclass(frozen=True)
class Scenario:
    """One comparison. *passes* after the first run in the same world, with the state the first left.

    A pass that is named like one of `changes.CHANGES` comes after that change.
    """

    name: str
    title: str
    images: tuple[Image, ...]
    tools: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    tls: bool = False
    delay_ms: float = 0.0
    source_rate: float | None = None
    cheap_source: bool = False
    cheap_sink: bool = False
    passes: tuple[str, ...] = ("",)
    patient: tuple[str, ...] = ()  #: the tools that stay for the passes that are changes; none named: all
    two: bool = False  #: a second destination
    recompressed: str = ""  #: layers have to arrive in this compression
    limit_rate: float = 0.0  #: the destination refuses requests beyond so many per second
    difficult: tuple[str, ...] | None = None  #: the source is the embedded registry with these flags
    source_place: str = ""  #: "oci" or "docker-archive" instead of the registry
    destination_place: str = ""
    pass_targets: tuple[tuple[Target, ...], ...] = ()
    count_requests: bool = False
    limit: float = 600.0

    def row(self, number: int) -> str:
        """Name pass *number* as it appears in reports."""
        return f"{self.name}-{self.passes[number]}" if self.passes[number] else self.name

    def passes_of(self, tool: str) -> tuple[str, ...]:
        """The passes *tool* goes through: the impatient leave before the first change."""
        if not self.patient or tool in self.patient:
            return self.passes
        return tuple(name for name in self.passes if name not in CHANGES)

    def targets_of(self, number: int) -> tuple[Target, ...]:
        """Return what pass *number* must reach; memory is limited everywhere."""
        own = self.targets if number == 0 else self.pass_targets[number - 1]
        ours = [name for name in self.tools if name.startswith("fastcopy")]
        return (*own, *(Target("peak_mib", plus=150.0, subject=name) for name in ours))


PLATFORMS = ("386", "amd64", "arm", "arm64", "mips64le", "ppc64le", "riscv64", "s390x")
PEERS = ("skopeo", "crane", "oras", "regctl")
ALL = ("floor", "fastcopy", *PEERS)
VARIANTS = ("fastcopy-sslsocket", "fastcopy-pure")

ONE_LAYER = (Image("bench/one", "v1", (Layer(1, GIB),)),)
FIVE_LAYERS = (Image("bench/five", "v1", (Layer(1, GIB), *(Layer(10 + number, 256 * MIB) for number in range(4)))),)
SMALL = (Image("bench/small", "v1", (Layer(20, 3 * MIB), Layer(21, 64 * 1024), Layer(22, 2048))),)


CHOOSE = (Image("bench/choose", "v1", tuple(Layer(4000 + number, 1_000_000) for number in range(40))),)
REAL = (
    Image(
        "bench/real",
        "v1",
        (
            Tree("/usr/lib", 0, 700 * MIB),
            Tree("/usr/lib", 700 * MIB, 300 * MIB),
            Tree("/usr/lib", 1000 * MIB, 300 * MIB),
            Tree("/usr/share", 0, 236 * MIB),
        ),
    ),
)


def fleet(
    repositories: int = 50,
    tags: int = 4,
    families: int = 5,
    base_sizes: tuple[int, ...] = (9_000_000, 5_000_000, 1_600_000),
    own_size: int = 1_260_000,
    last_size: int = 140_000,
) -> tuple[Image, ...]:
    """Return images over shared bases: 200 images, 265 layers, 169 MB unique, 3.4 GB logical.

    Every image has the three layers of one base (15.6 MB), one of its repository (1.26 MB) and one of
    its own (0.14 MB).
    """
    images = []
    for number in range(repositories):
        family = number % families
        base = tuple(Layer(1000 + 3 * family + at, size) for at, size in enumerate(base_sizes))
        own = Layer(2000 + number, own_size)
        for tag in range(tags):
            last = Layer(10_000 + number * tags + tag, last_size)
            images.append(Image(f"fleet/app-{number:02d}", f"v{tag + 1}", (*base, own, last)))
    return tuple(images)


def index(platforms: int = 8) -> Image:
    """Return an image of *platforms* instances with three layers each, none shared, as real ones have it."""
    sizes = (30_000_000, 15_000_000, 4_500_000)
    members = tuple(
        Image("bench/index", "", tuple(Layer(3000 + 3 * number + at, size) for at, size in enumerate(sizes)), name)
        for number, name in enumerate(PLATFORMS[:platforms])
    )
    return Image("bench/index", "v1", (), members=members)


def _cpu_floor() -> Target:
    return Target("cpu", "floor", 1.2, 0.3)


def _ahead(against: str) -> tuple[Target, ...]:
    return (Target("cpu", against, 0.9), Target("wall", against))


H2_TARGETS = (
    Target("cpu", "fastcopy", 1.5, subject="fastcopy-h2"),
    Target("wall", "crane", subject="fastcopy-h2"),
)

LOCAL = ("fastcopy-local", "skopeo-local")
LOCAL_TARGETS = tuple(Target(metric, "skopeo-local", subject="fastcopy-local") for metric in ("wall", "cpu"))

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "one-plain",
            "one 1 GiB layer, plain HTTP",
            ONE_LAYER,
            ("floor", "fastcopy", "fastcopy-pure", *PEERS),
            (_cpu_floor(), Target("wall", BEST_VERIFYING, plus=0.2)),
        ),
        Scenario(
            "one-tls",
            "one 1 GiB layer, TLS",
            ONE_LAYER,
            ("floor", "fastcopy", "fastcopy-h2", *VARIANTS, *PEERS),
            (_cpu_floor(), Target("wall", "skopeo"), *H2_TARGETS),
            tls=True,
        ),
        Scenario("five-plain", "2 GiB in five layers, plain HTTP", FIVE_LAYERS, ALL, _ahead(BEST_VERIFYING)),
        Scenario("five-tls", "2 GiB in five layers, TLS", FIVE_LAYERS, ALL, _ahead(BEST_PEER), tls=True),
        Scenario(
            "small-tls",
            "one small image (3 MiB in three layers), TLS",
            SMALL,
            ("floor", "fastcopy", *VARIANTS, *PEERS),
            (Target("wall", plus=0.35),),
            tls=True,
        ),
        Scenario(
            "scaling",
            "2 GiB in five layers, from a cheap server into a cheap sink, plain HTTP",
            FIVE_LAYERS,
            ("floor", "fastcopy", "skopeo", "crane"),
            (Target("parallelism", plus=1.5, at_least=True),),
            cheap_source=True,
            cheap_sink=True,
        ),
        Scenario(
            "scaling-registry",
            "2 GiB in five layers, from docker-registry into a cheap sink, plain HTTP",
            FIVE_LAYERS,
            ("floor", "fastcopy", "skopeo", "crane"),
            (Target("parallelism", plus=1.5, at_least=True),),
            cheap_sink=True,
        ),
        Scenario(
            "capped-tls",
            "one 1 GiB layer, TLS, 30 ms round trip, source limited to 20 MB/s per connection",
            ONE_LAYER,
            ("fastcopy", "skopeo", "crane"),
            (Target("wall", plus=6.0),),
            tls=True,
            delay_ms=15,
            source_rate=20e6,
        ),
        Scenario(
            "fleet",
            "200 images (50 repositories, 265 layers, 169 MB unique, 3.4 GB logical), TLS, 30 ms round trip",
            fleet(),
            ("fastcopy-sync", "skopeo-sync", "skopeo-x32", "crane-x32"),
            (Target("wall", plus=5.0, subject="fastcopy-sync"),),
            tls=True,
            delay_ms=15,
            passes=("", "again", "moved", "lost"),
            pass_targets=((Target("wall", plus=1.2, subject="fastcopy-sync"),), (), ()),
            patient=("fastcopy-sync",),
            count_requests=True,
            limit=900,
        ),
        Scenario(
            "index-tls",
            "an index of 8 platforms (24 layers, 396 MB), TLS, 30 ms round trip",
            (index(),),
            ("fastcopy-all", "skopeo-all", "crane"),
            (Target("wall", BEST_PEER, subject="fastcopy-all"), Target("cpu", BEST_PEER, subject="fastcopy-all")),
            tls=True,
            delay_ms=15,
            count_requests=True,
        ),
        Scenario(
            "two-plain",
            "2 GiB in five layers into two destinations, plain HTTP",
            FIVE_LAYERS,
            ("fastcopy-two", "skopeo-two", "crane-two"),
            (Target("wall", BEST_PEER, subject="fastcopy-two"), Target("cpu", BEST_PEER, 0.6, subject="fastcopy-two")),
            two=True,
            count_requests=True,
        ),
        Scenario(
            "recompress",
            "gzip to zstd level 3, 1.5 GiB of this machine's files in four layers, plain HTTP",
            REAL,
            ("fastcopy-zstd", "skopeo-zstd"),
            (
                Target("cpu", "skopeo-zstd", 0.75, subject="fastcopy-zstd"),
                Target("wall", "skopeo-zstd", 0.8, subject="fastcopy-zstd"),
                Target("stored_bytes", "skopeo-zstd", 1.02, subject="fastcopy-zstd"),
            ),
            recompressed="zstd",
        ),
        Scenario(
            "to-oci",
            "2 GiB in five layers, from docker-registry into an OCI layout",
            FIVE_LAYERS,
            LOCAL,
            LOCAL_TARGETS,
            destination_place="oci",
        ),
        Scenario(
            "from-oci",
            "2 GiB in five layers, from an OCI layout into docker-registry",
            FIVE_LAYERS,
            LOCAL,
            LOCAL_TARGETS,
            source_place="oci",
        ),
        Scenario(
            "to-archive",
            "1.5 GiB of files in four layers, from docker-registry into a docker archive (uncompressed)",
            REAL,
            LOCAL,
            LOCAL_TARGETS,
            destination_place="docker-archive",
        ),
        Scenario(
            "from-archive",
            "1.5 GiB of files in four layers, from a docker archive into docker-registry (compressed to gzip)",
            REAL,
            LOCAL,
            LOCAL_TARGETS,
            source_place="docker-archive",
            recompressed="gzip",
        ),
        Scenario(
            "limited",
            "40 small images into a registry that answers 429 beyond 10 requests per second",
            fleet(10, 4, 2, base_sizes=(100_000, 50_000, 16_000), own_size=120_000, last_size=15_000),
            ("fastcopy-sync", "skopeo-x32"),
            count_requests=True,
            limit_rate=10.0,
            limit=300,
        ),
        *(
            Scenario(
                f"choose-{name}",
                f"40 layers of 1 MB, TLS, 30 ms round trip, from a registry that {what}",
                CHOOSE,
                ("fastcopy", "fastcopy-h1", "fastcopy-h2"),
                (Target("wall", "fastcopy-h1", 1.1), Target("wall", "fastcopy-h2", 1.1)),
                tls=True,
                delay_ms=15,
                difficult=flags,
            )
            for name, what, flags in (
                ("closing", "closes each HTTP/1.1 connection after its answer", ("--close-connections",)),
                ("few", "allows two connections per client", ("--max-connections", "2")),
                ("easy", "makes no difficulties", ()),
            )
        ),
        Scenario(
            "many",
            "2,000 small images (500 repositories, 2,515 layers, 90 MB unique, 602 MB logical), plain HTTP",
            fleet(500, 4, 5, base_sizes=(100_000, 50_000, 16_000), own_size=120_000, last_size=15_000),
            ("fastcopy-sync", "fastcopy-plan"),
            (Target("peak_mib", plus=150.0, subject="fastcopy-plan"),),
            passes=("", "again"),
            pass_targets=((),),
            count_requests=True,
            limit=900,
        ),
    )
}

GROUPS: dict[str, Sequence[str]] = {
    "bytes": ("one-plain", "one-tls", "five-plain", "five-tls"),
    "image": ("one-plain", "one-tls", "five-plain", "five-tls", "small-tls", "scaling"),
    "bulk": ("fleet", "capped-tls", "index-tls", "two-plain", "many", "limited"),
    "choose": ("choose-closing", "choose-few", "choose-easy"),
    "local": ("to-oci", "from-oci", "to-archive", "from-archive"),
    "all": tuple(SCENARIOS),
}
