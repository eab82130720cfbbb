"""Conversion and recompression into places on disk, read back by eyes of our own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import run
from tests.copy import world
from tests.copy.world import DOCKER, OCI, OCI_LAYER, Pair
from tests.recode import images
from tests.recode.images import TARS


def copied(pair: Pair, made: world.Made, target: str, *more: str) -> None:
    """Copy by the command line to a place on disk."""
    ran = run("copy", *pair.source.skopeo_flags("src-"), *more, made.ref, target)
    assert ran.code == 0, ran.err


def layers(manifest: dict[str, Any], blobs: Path) -> list[bytes]:
    """The uncompressed layers, each held against its digest."""
    found = []
    for entry in manifest["layers"]:
        data = (blobs / entry["digest"].partition(":")[2]).read_bytes()
        assert entry["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert entry["size"] == len(data)
        found.append(images.inflated(data, entry["mediaType"]))
    return found


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_a_layout_gets_oci_manifests(pair: Pair, tmp_path: Path, compression: str) -> None:
    """Docker's image is converted because the place takes nothing else, its layers recompressed because asked."""
    made = images.image(pair.source, docker=True)
    more = [f"--dest-compress-format={compression}"] if compression else []
    copied(pair, made, f"oci:{tmp_path}/layout:1", *more)
    blobs = tmp_path / "layout/blobs/sha256"
    (entry,) = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    manifest = json.loads((blobs / entry["digest"].partition(":")[2]).read_text())
    suffix = compression or "gzip"
    assert entry["mediaType"] == OCI
    assert [each["mediaType"] for each in manifest["layers"]] == [OCI_LAYER.replace("gzip", suffix)] * 2
    assert layers(manifest, blobs) == list(TARS)


def test_a_directory_is_decompressed_and_compressed_when_asked(pair: Pair, tmp_path: Path) -> None:
    """--dest-decompress names the layers by their uncompressed digests, --dest-compress undoes it."""
    made = images.image(pair.source, docker=True)
    copied(pair, made, f"dir:{tmp_path}/plain", "--dest-decompress")
    manifest = json.loads((tmp_path / "plain/manifest.json").read_text())
    assert [each["digest"] for each in manifest["layers"]] == [world.digest_of(each) for each in TARS]
    assert layers(manifest, tmp_path / "plain") == list(TARS)
    ran = run("copy", "--dest-compress", f"dir:{tmp_path}/plain", f"dir:{tmp_path}/packed")
    assert ran.code == 0, ran.err
    again = json.loads((tmp_path / "packed/manifest.json").read_text())
    assert again["mediaType"] == DOCKER
    assert all(each["mediaType"].endswith("gzip") for each in again["layers"])
    assert layers(again, tmp_path / "packed") == list(TARS)


def test_a_directory_keeps_what_it_is_given(pair: Pair, tmp_path: Path) -> None:
    """Without those flags nothing changes."""
    made = images.image(pair.source, docker=True)
    copied(pair, made, f"dir:{tmp_path}/image")
    assert (tmp_path / "image/manifest.json").read_bytes() == made.raw
