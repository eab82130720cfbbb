"""The instance chosen from an index is the one containers/image chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastcopy import media
from fastcopy.descriptor import Digest, Platform
from fastcopy.errors import NotThere
from fastcopy.manifest import Manifest
from fastcopy.platforms import ZSTD_ANNOTATION, NoSuchPlatform, arm_variant, choose, host, select, wanted
from tests.values.support import config, index_of, oci_image, skopeo, write_dir

HERE = Platform("linux", "amd64")


def build(*entries: str, kind: str = media.OCI_INDEX) -> Manifest:
    """An index of "os/arch[/variant]" entries; "" has no platform, a trailing "+zstd" is annotated."""
    children: list[tuple[bytes, str, dict[str, Any]]] = []
    for number, entry in enumerate(entries):
        name, _, zstd = entry.partition("+")
        parts = dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False)) if name else {}
        fields: dict[str, Any] = {"platform": parts} if name else {}
        fields |= {"annotations": {ZSTD_ANNOTATION: "true"}} if zstd else {}
        children.append((str(number).encode(), media.OCI_MANIFEST, fields))
    return Manifest.parse(index_of(kind, *children))


def chosen(index: Manifest, **overrides: str) -> int:
    """Which entry is chosen."""
    return index.children.index(choose(index, wanted(**overrides, here=HERE)))


@pytest.mark.parametrize(
    ("overrides", "platforms"),
    [
        ({}, ["linux/amd64"]),
        ({"architecture": "arm"}, ["linux/arm", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ({"architecture": "arm", "variant": "v7"}, ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5", "linux/arm"]),
        ({"architecture": "arm64"}, ["linux/arm64", "linux/arm64/v8"]),
        ({"variant": "v3"}, ["linux/amd64/v3", "linux/amd64"]),
        ({"os": "windows"}, ["windows/amd64"]),
    ],
)
def test_acceptable_platforms_go_from_most_capable_to_plain(overrides: dict[str, str], platforms: list[str]) -> None:
    """A variant accepts those below it and none; no variant accepts none first."""
    assert [str(each) for each in wanted(**overrides, here=HERE)] == platforms


def test_the_machines_variant_counts_only_for_its_own_architecture() -> None:
    """--override-arch arm on an arm v6 machine forgets v6."""
    here = Platform("linux", "arm", "v6")
    assert wanted(here=here)[0].variant == "v6"
    assert wanted(architecture="arm", here=here)[0].variant == ""


def test_the_best_platform_wins_over_position() -> None:
    """v7 wanted: v7, then v6, then v5, then none, wherever they stand."""
    index = build("linux/arm", "linux/arm/v5", "linux/arm/v7", "linux/arm/v6")
    assert chosen(index, architecture="arm", variant="v7") == 2
    assert chosen(index, architecture="arm", variant="v6") == 3
    assert chosen(index, architecture="arm") == 0


def test_zstd_is_preferred_among_equals_only() -> None:
    """zstd beats position, never the platform; entries without a platform come last."""
    assert chosen(build("", "linux/amd64", "linux/amd64+zstd")) == 2
    assert chosen(build("+zstd", "linux/amd64")) == 1
    assert chosen(build("linux/arm64", "", "+zstd")) == 2
    assert chosen(build("linux/arm64/v8+zstd", "linux/arm64"), architecture="arm64") == 1


def test_a_docker_list_knows_no_entries_without_platform() -> None:
    """They match nothing, as an empty platform does in Docker's lists."""
    with pytest.raises(NotThere, match="no image found in manifest list"):
        choose(build("", kind=media.DOCKER_LIST), wanted(here=HERE))


def test_a_platform_that_is_not_there_is_refused_in_skopeos_words() -> None:
    """Scripts match on the text; skopeo exits with 1."""
    with pytest.raises(NoSuchPlatform) as caught:
        choose(build("linux/amd64"), wanted(architecture="s390x", here=HERE))
    assert caught.value.message == 'no image found in image index for architecture "s390x", variant "", OS "linux"'
    assert caught.value.exit_code == 1


def test_a_list_of_platforms_takes_all_their_variants_in_order() -> None:
    """--multi-arch os/arch,os/arch."""
    index = build("linux/arm/v7", "linux/amd64", "linux/arm64", "linux/arm/v6", "windows/amd64")
    asked = [Platform("linux", "amd64"), Platform("linux", "arm")]
    assert [index.children.index(child) for child in select(index, asked)] == [0, 1, 3]
    with pytest.raises(NoSuchPlatform, match="no instances found for platform linux/s390x"):
        select(index, [*asked, Platform("linux", "s390x")])


@pytest.mark.parametrize(
    ("cpuinfo", "variant"),
    [
        ("CPU architecture: 8\n", "v8"),
        ("Cpu Architecture\t: 7\nmodel name : ARMv7 Processor\n", "v7"),
        ("model name : ARMv6-compatible processor rev 7\nCPU architecture: 7\n", "v6"),
        ("CPU architecture: 5TE\n", "v5"),
        ("processor : 0\n", ""),
    ],
)
def test_linux_tells_the_variant_of_an_arm(cpuinfo: str, variant: str) -> None:
    """The kernel's words, with its exception for the Raspberry Pi Zero."""
    assert arm_variant(cpuinfo) == variant


def test_the_host_speaks_go() -> None:
    """GOOS and GOARCH, not uname's names."""
    assert host().os in ("linux", "darwin", "windows", "freebsd")
    assert host().architecture not in ("x86_64", "aarch64")


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("overrides", [{}, {"architecture": "arm"}, {"architecture": "arm", "variant": "v6"}])
def test_skopeo_chooses_the_same(tmp_path: Path, overrides: dict[str, str]) -> None:
    """The same index in a dir: layout, asked with the same overrides."""
    names = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/amd64", "linux/arm64"]
    images = [oci_image(config(architecture=name.replace("/", "-"))) for name in names]
    platforms = [dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False)) for name in names]
    entries = [(raw, media.OCI_MANIFEST, {"platform": each}) for (raw, _), each in zip(images, platforms, strict=True)]
    index = index_of(media.OCI_INDEX, *entries)
    layout = write_dir(
        tmp_path / "i", index, [blob for _, blobs in images for blob in blobs], [raw for raw, _ in images]
    )
    flags = [f"--override-{name.replace('architecture', 'arch')}={value}" for name, value in overrides.items()]
    printed = json.loads(skopeo(*flags, "inspect", f"dir:{layout}"))
    mine = choose(Manifest.parse(index), wanted(**overrides))
    assert printed["Architecture"].replace("-", "/") == str(mine.platform)
    assert printed["Digest"] == Digest.of(index)
