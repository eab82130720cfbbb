"""tarball: as a source."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastcopy.errors import FastcopyError, Unsupported
from tests.places import made


def _files(tmp_path: Path) -> str:
    """A plain and a gzip archive, with dates of their own."""
    for n, name in enumerate(("a.tar", "b.tar.gz")):
        data = made.tar_of("x", bytes(1000 * (n + 1)))
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith("gz") else data)
        os.utime(path, ns=(10**18 + n, 1_700_000_000_123_000_000 + n * 10**9))
    return f"tarball:{tmp_path}/a.tar:{tmp_path}/b.tar.gz"


def test_archives_become_the_layers_of_an_image(tmp_path: Path) -> None:
    """Bytes as they are, types by their compression, diff IDs of what is inside."""
    made.copy(_files(tmp_path), f"dir:{tmp_path}/d")
    found = made.read_dir(tmp_path / "d")
    layers = json.loads(found["manifest.json"])["layers"]
    assert [each["mediaType"].rpartition(".")[2] for each in layers] == ["tar", "tar+gzip"]
    config = json.loads(found[json.loads(found["manifest.json"])["config"]["digest"].removeprefix("sha256:")])
    plain = [(tmp_path / "a.tar").read_bytes(), gzip.decompress((tmp_path / "b.tar.gz").read_bytes())]
    assert config["rootfs"]["diff_ids"] == [made.digest_of(each) for each in plain]


@pytest.mark.real("skopeo")
def test_the_image_is_the_one_that_skopeo_makes(tmp_path: Path) -> None:
    """The very bytes of manifest, config and layers."""
    source = _files(tmp_path)
    made.copy(source, f"dir:{tmp_path}/ours")
    words = ["skopeo", "--insecure-policy", "copy", "-q", source, f"dir:{tmp_path}/theirs"]
    subprocess.run(words, check=True, timeout=100, env=os.environ | {"TZ": "UTC"})
    assert made.read_dir(tmp_path / "ours") == made.read_dir(tmp_path / "theirs")


def test_what_cannot_be_a_layer_is_refused(tmp_path: Path) -> None:
    """Missing files, damaged gzip and other compressions: one line each."""
    (tmp_path / "x.xz").write_bytes(lzma.compress(b"x"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(1000))[:-100])
    for name, words, kind in (
        (f"{tmp_path}/none", "no such file", FastcopyError),
        (f"{tmp_path}/x.xz", "compressed with xz", Unsupported),
        (f"{tmp_path}/cut.gz", "too early", FastcopyError),
    ):
        with pytest.raises(kind, match=words):
            made.copy(f"tarball:{name}", f"dir:{tmp_path}/d")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("how", ["pipe", "file"])
def test_standard_input_is_a_layer(tmp_path: Path, how: str, pack: Callable[[bytes], bytes]) -> None:
    """`tarball:-` reads to the end, whatever standard input is, and keeps no file."""
    layer = pack(made.tar_of("x", os.urandom(3_000_000)))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "in").write_bytes(layer)
    program = [sys.executable, "-m", "fastcopy", "--insecure-policy", "--tmpdir", str(tmp_path / "tmp"), "copy", "-q"]
    with open(tmp_path / "in", "rb") as file:
        given: dict[str, Any] = {"input": layer} if how == "pipe" else {"stdin": file}
        subprocess.run([*program, "tarball:-", f"dir:{tmp_path}/d"], check=True, timeout=100, **given)
    found = made.read_dir(tmp_path / "d")
    assert found[made.digest_of(layer).removeprefix("sha256:")] == layer
    assert not list((tmp_path / "tmp").iterdir())
