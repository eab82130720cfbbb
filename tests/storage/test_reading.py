"""Reading a containers-storage that skopeo and podman wrote: the same bytes, the same names, the same answers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fastcopy import api
from fastcopy.errors import BadName, FastcopyError, ManifestUnknown, Unsupported
from fastcopy.options import CopyOptions, HostOptions, Options
from tests.places import made
from tests.registries import Registry
from tests.storage import rich

pytestmark = [pytest.mark.real("skopeo"), pytest.mark.slow]


def test_every_layer_is_the_tar_that_was_pulled(filled: rich.Storage, tmp_path: Path) -> None:
    """Links, whiteouts, devices, attributes and long names: the tar is made again byte for byte."""
    it = rich.image()
    made.copy(filled.ref("localhost/rich:v1"), f"dir:{tmp_path}/ours")
    files = made.read_dir(tmp_path / "ours")
    assert [files[made.digest_of(each).removeprefix("sha256:")] for each in it.tars] == list(it.tars)
    assert it.config in files.values()


def test_skopeo_copies_the_same(filled: rich.Storage, tmp_path: Path) -> None:
    """Equal files; the manifest differs only where skopeo calls uncompressed layers gzip."""
    source = filled.ref("localhost/rich:v1")
    made.copy(source, f"dir:{tmp_path}/ours")
    rich.skopeo("copy", "-q", source, f"dir:{tmp_path}/theirs")
    ours, theirs = made.read_dir(tmp_path / "ours"), made.read_dir(tmp_path / "theirs")
    theirs["manifest.json"] = rich.truly_typed(theirs["manifest.json"])
    assert ours == theirs


@pytest.mark.real("podman", "skopeo")
def test_an_image_that_podman_loaded_is_read(empty: rich.Storage, layout: Path, tmp_path: Path) -> None:
    """What `podman load` made of an archive, in Docker's format."""
    rich.skopeo("copy", "-q", f"oci:{layout}:v1", f"docker-archive:{tmp_path}/a.tar:localhost/loaded:v1")
    empty.podman("load", "-q", "-i", f"{tmp_path}/a.tar")
    made.copy(empty.ref("localhost/loaded:v1"), f"dir:{tmp_path}/ours")
    rich.skopeo("copy", "-q", empty.ref("localhost/loaded:v1"), f"dir:{tmp_path}/theirs")
    ours, theirs = made.read_dir(tmp_path / "ours"), made.read_dir(tmp_path / "theirs")
    theirs["manifest.json"] = rich.truly_typed(theirs["manifest.json"])
    assert ours == theirs


@pytest.mark.parametrize("flags", [[], ["--raw"], ["--config"]])
def test_inspect_says_what_skopeo_says(filled: rich.Storage, flags: list[str]) -> None:
    """The manifest as it was pulled, with its compressed layers."""
    import sys

    source = filled.ref("localhost/rich:v1")
    ours = rich.run(sys.executable, "-m", "fastcopy", "--insecure-policy", "inspect", *flags, source)
    theirs = rich.skopeo("inspect", *flags, source)
    if flags == ["--raw"]:
        assert ours == theirs == rich.image().raw
        return
    mine, other = json.loads(ours), json.loads(theirs)
    mine.pop("LayersData", None)  # skopeo since 1.10
    assert mine == other


def _names() -> list[str]:
    it = rich.image()
    config = made.digest_of(it.config).removeprefix("sha256:")
    return [
        "localhost/rich:v1",
        f"localhost/rich@{it.digest}",
        f"@{config}",
        f"localhost/rich:v1@{config}",
        config,
        config[:12],
        f"@{config[:12]}",
    ]


@pytest.mark.parametrize("name", _names())
def test_every_way_to_name_an_image_finds_it(filled: rich.Storage, name: str) -> None:
    """Names, digests, IDs and abbreviated IDs, as skopeo reads them."""
    found = api.inspect(filled.ref(name), Options(run=made.HASTY))
    assert found.top.digest == rich.image().digest
    assert rich.skopeo("inspect", "--raw", filled.ref(name)) == rich.image().raw


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("localhost/rich:v2", ManifestUnknown),
        ("localhost/other:v1", ManifestUnknown),
        (f"localhost/rich@sha256:{'0' * 64}", ManifestUnknown),
        ("@" + "0" * 64, ManifestUnknown),
        ("localhost/rich:v1@0000000", BadName),
    ],
)
def test_what_is_not_there_is_not_found(filled: rich.Storage, name: str, kind: type[FastcopyError]) -> None:
    """One line with the storage in it, and skopeo refuses too."""
    with pytest.raises(kind) as caught:
        api.inspect(filled.ref(name), Options(run=made.HASTY))
    assert "\n" not in str(caught.value)
    if kind is ManifestUnknown:
        assert "does not resolve to an image ID" in str(caught.value)
    refused = subprocess.run(["skopeo", "inspect", filled.ref(name)], capture_output=True, timeout=60, check=False)
    assert refused.returncode != 0


def test_a_registry_gets_gzip_layers(filled: rich.Storage, tmp_path: Path, embedded_plain: Registry) -> None:
    """The layers are compressed on the way; what they hold and the config stay."""
    target = embedded_plain.ref(f"storage/{filled.driver}", "1")
    made.copy(filled.ref("localhost/rich:v1"), target)
    options = Options(run=made.HASTY, source=HostOptions(tls_verify=False))
    found = api.inspect(target, options, tags=False)
    assert found.config == rich.image().config
    assert {layer.media_type for layer in found.manifest.layers} == {"application/vnd.oci.image.layer.v1.tar+gzip"}


def test_a_registry_that_has_the_layers_gets_the_manifest_that_was_pulled(
    filled: rich.Storage, layout: Path, embedded_plain: Registry
) -> None:
    """Nothing is compressed again, and the digest is the original one."""
    repository = f"storage/known-{filled.driver}"
    made.copy(f"oci:{layout}:v1", embedded_plain.ref(repository, "1"))
    report = made.copy(filled.ref("localhost/rich:v1"), embedded_plain.ref(repository, "2"))
    assert report.digest == rich.image().digest
    assert report.blobs_copied == 0


def test_digests_that_must_stay_cannot_be_kept(filled: rich.Storage, tmp_path: Path) -> None:
    """--preserve-digests: skopeo's words."""
    with pytest.raises(Unsupported, match="changing layer representation"):
        made.copy(filled.ref("localhost/rich:v1"), f"dir:{tmp_path}/d", preserve_digests=True)


def test_an_additional_store_is_read(filled: rich.Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """storage.conf names an empty storage and a filled one beside it."""
    conf = tmp_path / "storage.conf"
    conf.write_text(
        f'[storage]\ndriver = "{filled.driver}"\ngraphroot = "{tmp_path}/root"\nrunroot = "{tmp_path}/run"\n'
        f'[storage.options]\nadditionalimagestores = ["{filled.root}"]\n'
    )
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(conf))
    made.copy("containers-storage:localhost/rich:v1", f"oci:{tmp_path}/o:1", accept_uncompressed=True)
    assert made.read_index(tmp_path / "o")["1"]


def test_reading_changes_nothing(filled: rich.Storage, tmp_path: Path) -> None:
    """No lock file is touched, no record written: a storage may be read-only."""
    watched = [path for path in filled.root.rglob("*") if path.name.endswith((".json", ".lock"))]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in watched}
    made.copy(filled.ref("localhost/rich:v1"), f"dir:{tmp_path}/d")
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in watched}


def test_a_copy_from_storage_can_be_recompressed(filled: rich.Storage, tmp_path: Path) -> None:
    """zstd into a layout, and back to the same tars."""
    run = Options(CopyOptions(compression_format="zstd"), made.HASTY)
    api.copy(filled.ref("localhost/rich:v1"), f"oci:{tmp_path}/o:1", run)
    made.copy(f"oci:{tmp_path}/o:1", f"docker-archive:{tmp_path}/a.tar:x:1", format="v2s2")
    options = Options(run=made.HASTY)
    assert api.inspect(f"docker-archive:{tmp_path}/a.tar", options).config == rich.image().config
