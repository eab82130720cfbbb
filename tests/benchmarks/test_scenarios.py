"""The scenarios, the images they are made of, and the command lines of the tools."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from benchmarks.images import Layer, LayerStream, noise
from benchmarks.peers import TOOLS, Job, Program, find_peer
from benchmarks.results import Table, judge
from benchmarks.scenarios import BEST_PEER, BEST_VERIFYING, GROUPS, SCENARIOS, SMALL, fleet


def test_every_scenario_names_tools_and_targets_that_exist() -> None:
    """A typing error in the table would silently drop a row or a target."""
    for scenario in SCENARIOS.values():
        assert set(scenario.tools) <= set(TOOLS)
        for number in range(len(scenario.passes)):
            for target in scenario.targets_of(number):
                assert target.subject in scenario.tools
                assert target.against in (None, BEST_PEER, BEST_VERIFYING, *scenario.tools)
                assert judge(Table("", "", targets=(target,)))[0].held is None
    assert all(name in SCENARIOS for members in GROUPS.values() for name in members)


def test_memory_is_limited_in_every_pass() -> None:
    """The memory row of the targets holds for any scenario."""
    for scenario in SCENARIOS.values():
        for number in range(len(scenario.passes)):
            assert any(target.metric == "peak_mib" for target in scenario.targets_of(number))


def test_the_fleet_has_the_published_shape() -> None:
    """200 images, 50 repositories, 265 layers, 169 MB unique, 3.4 GB logical."""
    images = fleet()
    layers = {layer for image in images for layer in image.layers}
    assert (len(images), len({image.repository for image in images}), len(layers)) == (200, 50, 265)
    assert round(sum(layer.size for layer in layers) / 1e6) == 169
    assert round(sum(layer.size for image in images for layer in image.layers) / 1e9, 1) == 3.4


@pytest.mark.parametrize("size", [0, 1, 511, 512, (1 << 20) + 3])
def test_a_layer_is_a_real_gzip_of_a_real_tar(size: int) -> None:
    """Peers look into layers: magic number, digests and sizes must be true."""
    stream = LayerStream(Layer(7, size))
    blob = b"".join(stream)
    stored, inside = stream.stored(), gzip.decompress(blob)
    assert stored.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert (stored.size, stored.diff_id) == (len(blob), f"sha256:{hashlib.sha256(inside).hexdigest()}")
    with tarfile.open(fileobj=io.BytesIO(inside)) as archive:
        content = archive.extractfile("srv/data-7")
        assert content is not None
        assert content.read() == b"".join(noise(7, size))


def test_noise_is_seeded_and_incompressible() -> None:
    """The same seed gives the same bytes; another gives others; gzip gains nothing."""
    one = b"".join(noise(1, 100_000))
    assert one == b"".join(noise(1, 100_000)) != b"".join(noise(2, 100_000))
    assert len(gzip.compress(one)) > len(one)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_is_told_where_from_where_to_and_to_verify(name: str, tls: bool, tmp_path: Path) -> None:
    """Certificates are verified by every tool; no command line may switch that off under TLS."""
    job = Job("127.0.0.1:1", "127.0.0.1:2", tls, fleet(2, 2), tmp_path)
    command = TOOLS[name].command(job, Program(("/x/tool",)))
    files = "".join(path.read_text() for path in tmp_path.iterdir())
    text = " ".join(command.argv) + files
    assert "127.0.0.1:1" in text
    assert "127.0.0.1:2" in text
    if tls:
        assert "tls-verify=false" not in text
        assert "--insecure " not in text
        assert "plain-http=true" not in text


def test_a_bulk_tool_gets_every_image(tmp_path: Path) -> None:
    """Lists hold all images, by the same names at both ends."""
    images = fleet(3, 2)
    job = Job("h:1", "h:2", True, images, tmp_path)
    TOOLS["crane-x32"].command(job, Program(("crane",)))
    lines = (tmp_path / "pairs.txt").read_text().splitlines()
    assert len(lines) == 6
    assert lines[0] == "h:1/fleet/app-00:v1 h:2/fleet/app-00:v1"
    TOOLS["fastcopy-sync"].command(job, Program(("fastcopy",)))
    assert (tmp_path / "images.txt").read_text().splitlines()[-1] == "app-02:v2"


def test_a_chroot_is_searched_first(tmp_path: Path) -> None:
    """The newer packages of the chroot win over what is on PATH."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/crane").touch()
    assert find_peer("crane", tmp_path) == Program(("crane",), tmp_path)
    assert find_peer("no-such-peer", tmp_path) is None


def test_the_small_image_is_small() -> None:
    """The small row measures starting, not moving."""
    assert sum(layer.size for layer in SMALL[0].layers) < 4 << 20
