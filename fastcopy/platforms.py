"""Which instance of a multi-platform image is meant: containers/image's rules as pure functions.

Owns the order of acceptable platforms and the choice from an index. Refuses to know what an instance contains;
os.version and os.features are ignored, as containers/image ignores them. `host` is the only function that asks the
machine.
"""

from __future__ import annotations

import platform as machine
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from fastcopy import media
from fastcopy.descriptor import Descriptor, Platform
from fastcopy.errors import NotThere
from fastcopy.manifest import Manifest

#: Variants of an architecture, most capable first: a machine runs its own and those after it.
COMPATIBLE: Final = {"arm": ("v8", "v7", "v6", "v5"), "arm64": ("v8",)}
#: An instance so annotated needs zstd; containers/image prefers it.
ZSTD_ANNOTATION: Final = "io.github.containers.compression.zstd"
#: uname's machine names in Go's words (GOARCH).
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "i386": "386",
    "i686": "386",
    "ppc64le": "ppc64le",
    "ppc64": "ppc64",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
    "mips64": "mips64le" if sys.byteorder == "little" else "mips64",
}
#: /proc/cpuinfo's "CPU architecture" as a variant.
_ARM_VARIANTS: Final = {
    "8": "v8",
    "aarch64": "v8",
    **dict.fromkeys(("7", "7m", "?(12)", "?(13)", "?(14)", "?(15)", "?(16)", "?(17)"), "v7"),
    **dict.fromkeys(("6", "6tej"), "v6"),
    **dict.fromkeys(("5", "5t", "5te", "5tej"), "v5"),
}


class NoSuchPlatform(NotThere):
    """The index has no instance for the wanted platform; skopeo exits with 1 here."""

    slug, exit_code = "no-such-platform", 1


@cache
def host() -> Platform:
    """The machine's platform in Go's words; the variant is filled in for arm only."""
    name = machine.machine().lower()
    architecture = "arm" if name.startswith("armv") else _ARCHITECTURES.get(name, name)
    system = "windows" if sys.platform == "win32" else sys.platform
    if architecture not in COMPATIBLE:
        return Platform(system, architecture)
    if system != "linux":
        return Platform(system, architecture, COMPATIBLE[architecture][0] if architecture == "arm64" else "v7")
    try:
        return Platform(system, architecture, arm_variant(Path("/proc/cpuinfo").read_text(errors="replace")))
    except OSError:
        return Platform(system, architecture)


def arm_variant(cpuinfo: str) -> str:
    """The variant that Linux's /proc/cpuinfo tells of; "" when it tells none."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip().lower())
    found = _ARM_VARIANTS.get(fields.get("cpu architecture", ""), "")
    # A Raspberry Pi Zero says 7 and is 6: its kernel names the model by what it is compatible with.
    return "v6" if found == "v7" and fields.get("model name", "").startswith("armv6-compatible") else found


def wanted(
    os: str = "", architecture: str = "", variant: str = "", *, here: Platform | None = None
) -> tuple[Platform, ...]:
    """Acceptable platforms, best first, from the overrides (empty: as *here*, by default this machine).

    The machine's variant counts only where the architecture is not overridden.
    """
    here = here or host()
    variant = variant or ("" if architecture else here.variant)
    os, architecture = os or here.os, architecture or here.architecture
    return tuple(Platform(os, architecture, each) for each in _variants(architecture, variant))


def choose(index: Manifest, acceptable: Sequence[Platform]) -> Descriptor:
    """The instance of *index* for the first of *acceptable* (from `wanted`) it has; raises NoSuchPlatform.

    Among equals an OCI index prefers zstd; its entries without a platform come last.
    """
    ranked = [
        (rank, not _is_zstd(child), position, child)
        for position, child in enumerate(index.children)
        if (rank := _rank(index, child, acceptable)) is not None
    ]
    if ranked:
        return min(ranked, key=lambda entry: entry[:3])[3]
    kind = "manifest list" if index.media_type == media.DOCKER_LIST else "image index"
    first = acceptable[0]
    raise NoSuchPlatform(
        f'no image found in {kind} for architecture "{first.architecture}", variant "{first.variant}", OS "{first.os}"'
    )


def select(index: Manifest, platforms: Sequence[Platform]) -> tuple[Descriptor, ...]:
    """Every instance of *index* with the OS and architecture of one of *platforms*, in the index's order.

    A platform without a variant takes all variants. Raises NoSuchPlatform when one of them is not there.
    """
    for asked in platforms:
        if not any(_matches(child.platform, asked) for child in index.children):
            raise NoSuchPlatform(f"no instances found for platform {asked}")
    return tuple(c for c in index.children if any(_matches(c.platform, asked) for asked in platforms))


def _variants(architecture: str, variant: str) -> tuple[str, ...]:
    known = COMPATIBLE.get(architecture, ())
    if not variant:
        return ("", *known)
    return (*known[known.index(variant) :], "") if variant in known else (variant, "")


def _rank(index: Manifest, child: Descriptor, acceptable: Sequence[Platform]) -> int | None:
    """Position of the child's platform in *acceptable*; None when it is not acceptable."""
    if child.platform is None:
        return len(acceptable) if index.media_type == media.OCI_INDEX else None
    return acceptable.index(child.platform) if child.platform in acceptable else None


def _is_zstd(child: Descriptor) -> bool:
    return (child.annotations or {}).get(ZSTD_ANNOTATION) == "true"


def _matches(found: Platform | None, asked: Platform) -> bool:
    if found is None or (found.os, found.architecture) != (asked.os, asked.architecture):
        return False
    return not asked.variant or found.variant == asked.variant
