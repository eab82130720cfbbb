"""oci-archive: and docker-archive: as sources."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import pyzstd

from fastcopy import api
from fastcopy.errors import DigestMismatch, FastcopyError, ManifestUnknown, Unsupported
from fastcopy.options import Options
from tests.places import made

OPTIONS = Options(run=made.HASTY)


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress, lzma.compress])
def test_an_oci_archive_is_read_in_place_or_decompressed(tmp_path: Path, pack: object) -> None:
    """The image comes out byte for byte, whatever the archive is compressed with."""
    it = made.image()
    path = made.tar(tmp_path / "a.tar", made.layout_files({"v1": it}))
    if callable(pack):
        path.write_bytes(pack(path.read_bytes()))
    made.copy(f"oci-archive:{path}:v1", f"oci:{tmp_path}/o:v1")
    assert made.read_index(tmp_path / "o") == {"v1": it.digest}
    made.assert_layout_has(tmp_path / "o", it)


def test_a_docker_archive_becomes_an_image_with_the_same_config_and_layers(tmp_path: Path) -> None:
    """The layers are the tars inside, named by their diff IDs and labelled as not compressed."""
    it = made.image()
    path = made.tar(tmp_path / "a.tar", made.saved([(["docker.io/library/it:1"], it)]))
    made.copy(f"docker-archive:{path}:it:1", f"dir:{tmp_path}/d")
    found = made.read_dir(tmp_path / "d")
    manifest = json.loads(found["manifest.json"])
    assert manifest["config"]["digest"] == made.digest_of(it.config)
    assert [each["digest"] for each in manifest["layers"]] == [made.digest_of(each) for each in it.tars]
    assert {each["mediaType"] for each in manifest["layers"]} == {"application/vnd.docker.image.rootfs.diff.tar"}
    for layer in it.tars:
        assert found[made.digest_of(layer).removeprefix("sha256:")] == layer


def test_images_of_a_docker_archive_are_chosen_by_tag_or_position(tmp_path: Path) -> None:
    """name:tag, @N, or nothing when there is one; else the words of containers/image."""
    first, second = made.image(1), made.image(2)
    path = made.tar(
        tmp_path / "a.tar", made.saved([(["docker.io/library/it:1", "quay.io/a/b:2"], first), ([], second)])
    )
    config = api.inspect(f"docker-archive:{path}:quay.io/a/b:2", OPTIONS).config
    assert config == first.config
    assert api.inspect(f"docker-archive:{path}:@1", OPTIONS).config == second.config
    with pytest.raises(ManifestUnknown, match=r'Tag "docker.io/library/no:latest" not found'):
        api.inspect(f"docker-archive:{path}:no", OPTIONS)
    with pytest.raises(Unsupported, match=r"Unexpected tar manifest\.json: expected 1 item, got 2"):
        api.inspect(f"docker-archive:{path}", OPTIONS)
    assert api.list_tags(f"docker-archive:{path}", OPTIONS).tags == ["docker.io/library/it:1", "quay.io/a/b:2", "@1"]


def test_links_are_resolved_inside_the_archive_only(tmp_path: Path) -> None:
    """A layer may be a link to another member; one that leads out is refused."""
    it = made.image(sizes=(1_000,))
    files = made.saved([(["it:1"], it)])
    name = made.digest_of(it.tars[0]).removeprefix("sha256:") + ".tar"
    files["manifest.json"] = files["manifest.json"].replace(name.encode(), b"one/layer.tar")
    path = made.tar(tmp_path / "a.tar", files, {"one/layer.tar": f"../{name}"})
    assert api.inspect(f"docker-archive:{path}", OPTIONS).config == it.config
    path = made.tar(tmp_path / "b.tar", files, {"one/layer.tar": "../../etc/passwd"})
    with pytest.raises(FastcopyError, match="leads out of the archive"):
        api.inspect(f"docker-archive:{path}", OPTIONS)


def test_a_layer_with_other_bytes_than_its_diff_id_is_refused(tmp_path: Path) -> None:
    """The archive's own word is not taken for anything."""
    it = made.image()
    files = made.saved([(["it:1"], it)])
    name = made.digest_of(it.tars[1]).removeprefix("sha256:") + ".tar"
    files[name] = bytes(len(files[name]))
    path = made.tar(tmp_path / "a.tar", files)
    with pytest.raises(DigestMismatch):
        made.copy(f"docker-archive:{path}", f"dir:{tmp_path}/d")
    assert not (tmp_path / "d/manifest.json").exists()


def _packed(it: made.Image, pack: Callable[[bytes], bytes]) -> tuple[dict[str, bytes], list[bytes]]:
    """What docker save writes from containerd's images: a layout, compressed blobs, and manifest.json; its layers."""
    layers = [pack(each) for each in it.tars]
    names = [f"blobs/sha256/{made.digest_of(each)[7:]}" for each in layers]
    config = f"blobs/sha256/{made.digest_of(it.config)[7:]}"
    item = {"Config": config, "RepoTags": ["it:1"], "Layers": names}
    files = {"manifest.json": json.dumps([item]).encode(), config: it.config, "oci-layout": b"{}"}
    return files | dict(zip(names, layers, strict=True)), layers


@pytest.mark.parametrize(
    ("pack", "kind"),
    [
        (gzip.compress, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (pyzstd.compress, "application/vnd.oci.image.layer.v1.tar+zstd"),
    ],
)
def test_layers_compressed_inside_the_archive_keep_their_bytes(
    tmp_path: Path, pack: Callable[[bytes], bytes], kind: str
) -> None:
    """They are copied as they are, under their own digests and true types; the config is the archive's."""
    it = made.image()
    files, layers = _packed(it, pack)
    path = made.tar(tmp_path / "a.tar", files)
    made.copy(f"docker-archive:{path}:it:1", f"dir:{tmp_path}/d")
    found = made.read_dir(tmp_path / "d")
    manifest = json.loads(found["manifest.json"])
    assert manifest["config"]["digest"] == made.digest_of(it.config)
    assert [each["digest"] for each in manifest["layers"]] == [made.digest_of(each) for each in layers]
    assert {each["mediaType"] for each in manifest["layers"]} == {kind}
    for layer in layers:
        assert found[made.digest_of(layer).removeprefix("sha256:")] == layer


def test_layers_compressed_inside_the_archive_are_uncompressed_in_the_next(tmp_path: Path) -> None:
    """docker-archive: to docker-archive: gives the tars that the config names."""
    it = made.image()
    path = made.tar(tmp_path / "a.tar", _packed(it, gzip.compress)[0])
    made.copy(f"docker-archive:{path}", f"docker-archive:{tmp_path}/b.tar:it:1")
    with tarfile.open(tmp_path / "b.tar") as archive:
        names = {each.name for each in archive}
    assert {made.digest_of(each)[7:] + ".tar" for each in it.tars} <= names


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: gzip.compress(b"else"), "holds sha256:.*, the config says sha256:"),
        (lambda data: gzip.compress(data)[:-100], "too early"),
        (bz2.compress, "is compressed with bzip2 in the archive"),
    ],
)
def test_a_compressed_layer_that_is_not_the_configs_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[bytes], bytes], words: str
) -> None:
    """Other content, a stream that is cut off, and compressions that no registry knows."""
    path = made.tar(tmp_path / "a.tar", _packed(made.image(), spoil)[0])
    with pytest.raises(FastcopyError, match=f"layer blobs/sha256/[0-9a-f]+:? .*{words}|layer .* {words}"):
        made.copy(f"docker-archive:{path}", f"dir:{tmp_path}/d")
    assert not (tmp_path / "d/manifest.json").exists()
