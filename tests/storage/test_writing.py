"""Writing a containers-storage: podman and skopeo see what they would have written themselves."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

from fastcopy import api
from fastcopy.errors import FastcopyError, IntegrityError, LocalError, ManifestUnknown, Unsupported
from fastcopy.options import Options
from tests.places import made
from tests.storage import rich

pytestmark = [pytest.mark.real("podman", "skopeo"), pytest.mark.slow]


def _tree(root: Path) -> dict[str, Any]:
    """Everything about every file below *root* that an image decides."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        content: Any = None
        if stat.S_ISREG(info.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(info.st_mode):
            content = os.readlink(path)
        xattrs = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        times = None if stat.S_ISDIR(info.st_mode) or stat.S_ISCHR(info.st_mode) else info.st_mtime_ns
        facts = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, info.st_rdev, times)
        links = info.st_nlink if stat.S_ISREG(info.st_mode) else 0
        found[str(path.relative_to(root))] = (facts, links, content, xattrs)
    return found


def _diff(storage: rich.Storage, layer: str) -> Path:
    return storage.root / (f"overlay/{layer}/diff" if storage.driver == "overlay" else f"vfs/dir/{layer}")


def _layers(storage: rich.Storage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((storage.root / f"{storage.driver}-layers/layers.json").read_bytes())
    return found


def test_the_files_of_every_layer_are_those_that_skopeo_unpacks(
    empty: rich.Storage, layout: Path, tmp_path: Path
) -> None:
    """Content, owners, modes, times, links, devices and attributes; and the records, but for their own time."""
    theirs = rich.Storage(empty.driver, tmp_path / "theirs")
    try:
        rich.skopeo("copy", "-q", f"oci:{layout}:v1", theirs.ref("localhost/rich:v1"))
        made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
        mine, other = _layers(empty), _layers(theirs)
        for record in (*mine, *other):
            record.pop("created")
        assert mine == other
        for record in mine:
            assert _tree(_diff(empty, record["id"])) == _tree(_diff(theirs, record["id"]))
            assert _diff(empty, record["id"]).stat().st_mode == _diff(theirs, record["id"]).stat().st_mode
            split = f"{empty.driver}-layers/{record['id']}.tar-split.gz"
            lines = gzip.decompress((theirs.root / split).read_bytes()).splitlines()
            kept = [line for line in lines if b'"payload":""' not in line]  # they end with a segment of nothing
            assert gzip.decompress((empty.root / split).read_bytes()).splitlines() == kept
    finally:
        rich.unmount(theirs.root)


def test_skopeo_reads_back_what_was_written(empty: rich.Storage, layout: Path, tmp_path: Path) -> None:
    """The manifest verbatim, the layers with the digests of the config."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    assert rich.skopeo("inspect", "--raw", empty.ref("localhost/rich:v1")) == rich.image().raw
    rich.skopeo("copy", "-q", empty.ref("localhost/rich:v1"), f"dir:{tmp_path}/d")
    files = made.read_dir(tmp_path / "d")
    assert all(each in files.values() for each in rich.image().tars)


def test_podman_sees_the_image(empty: rich.Storage, layout: Path) -> None:
    """`podman images`, `podman image tree` and `podman inspect`."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    (listed,) = json.loads(empty.podman("images", "--format", "json"))
    assert listed["Names"] == ["localhost/rich:v1"]
    assert listed["Digest"] == rich.image().digest
    assert "Top Layer of: [localhost/rich:v1]" in empty.podman("image", "tree", "localhost/rich:v1")
    (found,) = json.loads(empty.podman("inspect", "localhost/rich:v1"))
    assert found["RootFS"]["Layers"] == [made.digest_of(each) for each in rich.image().tars]


def test_podman_mounts_the_image_with_its_whiteouts(empty: rich.Storage, layout: Path) -> None:
    """What the upper layer deleted is gone, what it made is there."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    try:
        root = Path(empty.podman("image", "mount", "localhost/rich:v1").strip())
    except AssertionError as error:
        pytest.skip(f"podman cannot mount here: {error}")
    try:
        assert not (root / "etc/hello").exists()
        assert (root / "etc/hard").read_bytes() == b"hello\n"
        assert sorted(os.listdir(root / "d")) == ["c"]
        assert (root / "pipe").read_bytes() == b"now a file"
        assert (root / "bin/tool").stat().st_mode & 0o777 == 0o755
    finally:
        empty.podman("image", "unmount", "localhost/rich:v1")


def test_a_second_image_shares_the_layers(empty: rich.Storage, tmp_path: Path) -> None:
    """The base is neither read nor unpacked again; a third copy changes nothing."""
    one, two = rich.image(rich.BASE), rich.image(rich.BASE, rich.UPPER)
    layout = made.layout(tmp_path / "l", {"one": one, "two": two})
    made.copy(f"oci:{layout}:one", empty.ref("localhost/one:1"))
    report = made.copy(f"oci:{layout}:two", empty.ref("localhost/two:1"))
    assert (report.blobs_copied, report.blobs_reused) == (2, 1)
    assert len(_layers(empty)) == 2
    again = made.copy(f"oci:{layout}:two", empty.ref("localhost/two:1"))
    assert again.blobs_copied == 0


def test_the_same_layer_on_another_base_is_made_from_the_storage(empty: rich.Storage, tmp_path: Path) -> None:
    """Its blob is not copied again: the tar comes from the layer that is there."""
    one, two = rich.image(rich.BASE, rich.UPPER), rich.image(rich.UPPER, rich.BASE)
    layout = made.layout(tmp_path / "l", {"one": one, "two": two})
    made.copy(f"oci:{layout}:one", empty.ref("localhost/one:1"))
    report = made.copy(f"oci:{layout}:two", empty.ref("localhost/two:1"))
    assert report.blobs_copied == 1
    rich.skopeo("copy", "-q", empty.ref("localhost/two:1"), f"dir:{tmp_path}/d")
    assert all(each in made.read_dir(tmp_path / "d").values() for each in two.tars)


def test_a_name_moves_to_the_new_image(empty: rich.Storage, layout: Path) -> None:
    """The old image stays without a name, as after `podman pull` of a tag that moved."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/app:1"))
    made.copy(f"oci:{layout}:v2", empty.ref("localhost/app:1"))
    listed = {each["Id"]: each.get("Names") for each in json.loads(empty.podman("images", "--format", "json"))}
    ids = {
        name: made.digest_of(it.config).removeprefix("sha256:")
        for name, it in (("v1", rich.image()), ("v2", made.image()))
    }
    assert listed == {ids["v2"]: ["localhost/app:1"], ids["v1"]: None} or listed[ids["v2"]] == ["localhost/app:1"]
    assert not listed.get(ids["v1"])


def test_deleting_takes_the_layers_along_that_nobody_needs(empty: rich.Storage, tmp_path: Path) -> None:
    """A shared base stays; podman agrees with what is left."""
    layout = made.layout(tmp_path / "l", {"one": rich.image(rich.BASE), "two": rich.image(rich.BASE, rich.UPPER)})
    for name in ("one", "two"):
        made.copy(f"oci:{layout}:{name}", empty.ref(f"localhost/{name}:1"))
    api.delete(empty.ref("localhost/two:1"), Options(run=made.HASTY))
    assert len(_layers(empty)) == 1
    (listed,) = json.loads(empty.podman("images", "--format", "json"))
    assert listed["Names"] == ["localhost/one:1"]
    api.delete(empty.ref("localhost/one:1"), Options(run=made.HASTY))
    assert _layers(empty) == []
    assert json.loads(empty.podman("images", "--format", "json")) == []
    with pytest.raises(ManifestUnknown):
        api.delete(empty.ref("localhost/one:1"), Options(run=made.HASTY))


def test_an_image_that_a_container_uses_is_not_deleted(empty: rich.Storage, layout: Path) -> None:
    """`podman create` is enough to protect it."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    try:
        empty.podman("create", "--network=none", "localhost/rich:v1")
    except AssertionError as error:
        pytest.skip(f"podman cannot create a container here: {error}")
    with pytest.raises(LocalError, match="in use by a container"):
        api.delete(empty.ref("localhost/rich:v1"), Options(run=made.HASTY))
    assert "localhost/rich" in empty.podman("images")


def test_podman_deletes_what_was_written(empty: rich.Storage, layout: Path) -> None:
    """And nothing is left of it."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    empty.podman("rmi", "localhost/rich:v1")
    assert _layers(empty) == []


def test_podman_writes_on_top_of_it(empty: rich.Storage, layout: Path, tmp_path: Path) -> None:
    """podman loads an image whose base fastcopy wrote, and uses that base."""
    base, both = rich.image(rich.BASE), rich.image(rich.BASE, rich.UPPER)
    two = made.layout(tmp_path / "two", {"base": base, "both": both})
    made.copy(f"oci:{two}:base", empty.ref("localhost/base:1"))
    rich.skopeo("copy", "-q", f"oci:{two}:both", f"docker-archive:{tmp_path}/a.tar:localhost/both:1")
    empty.podman("load", "-q", "-i", f"{tmp_path}/a.tar")
    assert len(_layers(empty)) == 2
    made.copy(empty.ref("localhost/both:1"), f"dir:{tmp_path}/d")
    assert all(each in made.read_dir(tmp_path / "d").values() for each in both.tars)


def test_several_writers_at_once_lose_nothing(empty: rich.Storage, tmp_path: Path) -> None:
    """fastcopy and skopeo, each with its own images, into one storage: every image is complete at the end."""
    images = {f"n{n}": made.image(seed=n, sizes=(2_000, 300_000)) for n in range(6)}
    layout = made.layout(tmp_path / "l", images)

    def write(name: str) -> None:
        source, target = f"oci:{layout}:{name}", empty.ref(f"localhost/{name}:1")
        ours = int(name[1:]) % 2
        words = [sys.executable, "-m", "fastcopy"] if ours else ["skopeo"]
        rich.run(*words, "--insecure-policy", "copy", "-q", source, target)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, images))
    for name, it in images.items():
        assert rich.skopeo("inspect", "--raw", empty.ref(f"localhost/{name}:1")) == it.raw
    assert len(_layers(empty)) == 12


def test_wrong_bytes_never_become_a_layer(empty: rich.Storage, tmp_path: Path) -> None:
    """A layer whose tar is not what the config says is the source's fault; the storage has no trace of it."""
    it = rich.image()
    config = json.loads(it.config)
    config["rootfs"]["diff_ids"][1] = "sha256:" + "1" * 64
    lying = _with_config(it, json.dumps(config).encode())
    layout = made.layout(tmp_path / "l", {"v1": lying})
    with pytest.raises(IntegrityError) as caught:
        made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    assert caught.value.side == "source"
    assert len(_layers(empty)) <= 1
    assert not [name for name in os.listdir(empty.root / empty.driver) if name.startswith("fastcopy-")]
    assert "localhost/rich" not in empty.podman("images")


def _with_config(it: made.Image, config: bytes) -> made.Image:
    manifest = json.loads(it.raw)
    manifest["config"] |= {"digest": made.digest_of(config), "size": len(config)}
    blobs = {digest: data for digest, data in it.blobs.items() if data != it.config} | {made.digest_of(config): config}
    return made.Image(json.dumps(manifest).encode(), it.media_type, blobs, config, it.tars)


ESCAPES: dict[str, list[rich.Member]] = {
    "a climbing name": [("../../evil", rich.FILE, b"x", {})],
    "a climbing link": [("x", rich.HARD, b"", {"linkname": "../../../etc/passwd"})],
    "a file twice": [("x", rich.FILE, b"1", {}), ("./x", rich.FILE, b"2", {})],
}


@pytest.mark.parametrize("name", ESCAPES)
def test_a_layer_that_leads_out_is_refused(name: str, empty: rich.Storage, tmp_path: Path) -> None:
    """One line, nothing written outside, no layer."""
    layout = made.layout(tmp_path / "l", {"v1": rich.image(ESCAPES[name])})
    with pytest.raises(FastcopyError) as caught:
        made.copy(f"oci:{layout}:v1", empty.ref("localhost/evil:1"))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("evil"))
    assert not (empty.root / f"{empty.driver}-layers/layers.json").exists() or _layers(empty) == []


def test_links_of_a_layer_stay_inside(empty: rich.Storage, tmp_path: Path) -> None:
    """A directory that is a link to / outside: files below it land in the layer, where they would after chroot."""
    outside = tmp_path / "outside"
    outside.mkdir()
    members: list[rich.Member] = [
        ("out", rich.LINK, b"", {"linkname": str(outside)}),
        ("out/evil", rich.FILE, b"x", {}),
        ("up", rich.LINK, b"", {"linkname": "../../../../.."}),
        ("up/evil2", rich.FILE, b"y", {}),
    ]
    layout = made.layout(tmp_path / "l", {"v1": rich.image(members)})
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/links:1"))
    assert list(outside.iterdir()) == []
    (record,) = _layers(empty)
    diff = _diff(empty, record["id"])
    assert (diff / str(outside).lstrip("/") / "evil").read_bytes() == b"x"
    assert (diff / "evil2").read_bytes() == b"y"
    made.copy(empty.ref("localhost/links:1"), f"dir:{tmp_path}/d")


def test_a_layer_that_a_crash_left_is_not_built_upon(empty: rich.Storage, layout: Path) -> None:
    """A record marked incomplete is refused in one line, and any podman command that writes removes it."""
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/rich:v1"))
    path = empty.root / f"{empty.driver}-layers/layers.json"
    found = _layers(empty)
    found[1]["flags"] = {"incomplete": True}
    path.write_text(json.dumps(found))
    with pytest.raises(FastcopyError, match="never completed"):
        made.copy(f"oci:{layout}:v1", empty.ref("localhost/again:v1"))


@pytest.mark.parametrize("name", ["overlay.mount_program=/usr/bin/fuse-overlayfs", "overlay.force_mask=0755"])
def test_options_that_change_the_format_are_refused(name: str, tmp_path: Path, layout: Path) -> None:
    """Native writing is not what such a storage needs; the way out is named."""
    target = f"containers-storage:[overlay@{tmp_path}/root+{tmp_path}/run:{name}]localhost/x:1"
    with pytest.raises(Unsupported, match="podman load"):
        made.copy(f"oci:{layout}:v1", target)
    assert not (tmp_path / "root").exists()


def test_a_name_with_another_digest_is_refused(empty: rich.Storage, layout: Path) -> None:
    """`name@digest` has to be the manifest's."""
    with pytest.raises(FastcopyError, match="does not match expected digest"):
        made.copy(f"oci:{layout}:v1", empty.ref(f"localhost/x@sha256:{'1' * 64}"))


def test_schema_2_images_are_written_too(empty: rich.Storage, layout: Path, tmp_path: Path) -> None:
    """Docker's format keeps its manifest."""
    rich.skopeo("copy", "-q", "--format=v2s2", f"oci:{layout}:v1", f"dir:{tmp_path}/docker")
    made.copy(f"dir:{tmp_path}/docker", empty.ref("localhost/docker:1"))
    raw = (tmp_path / "docker/manifest.json").read_bytes()
    assert rich.skopeo("inspect", "--raw", empty.ref("localhost/docker:1")) == raw


def test_a_killed_copy_leaves_a_storage_that_works(empty: rich.Storage, tmp_path: Path) -> None:
    """SIGKILL in mid-copy: podman and a second copy find nothing in their way."""
    layout = made.layout(tmp_path / "l", {"v1": made.image(sizes=(20_000_000, 20_000_000))})
    words = [sys.executable, "-m", "fastcopy", "--insecure-policy", "copy", "-q", f"oci:{layout}:v1"]
    with subprocess.Popen([*words, empty.ref("localhost/big:1")]) as process:
        while process.poll() is None and not list((empty.root / empty.driver).glob("fastcopy-*/*")):
            pass
        process.kill()
    (left,) = (empty.root / empty.driver).glob("fastcopy-*")
    os.utime(left, (0, 0))
    empty.podman("images")
    made.copy(f"oci:{layout}:v1", empty.ref("localhost/big:1"))
    assert "localhost/big" in empty.podman("images")
    assert not list((empty.root / empty.driver).glob("fastcopy-*"))


async def test_a_cancelled_copy_leaves_nothing_behind(empty: rich.Storage, tmp_path: Path) -> None:
    """Cancelled while it unpacks: no layer, no file, no descriptor, no thread that goes on."""
    it = rich.image([("large", rich.FILE, os.urandom(30_000_000), {})], rich.UPPER)
    layout = made.layout(tmp_path / "l", {"v1": it})
    descriptors = len(os.listdir("/proc/self/fd"))
    options = Options(run=made.HASTY)

    async def copy() -> None:
        await api.copy_async(f"oci:{layout}:v1", empty.ref("localhost/large:1"), options)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy)
        while not list((empty.root / empty.driver).glob("fastcopy-*/layer-*/layer")):
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert not list((empty.root / empty.driver).glob("fastcopy-*"))
    assert not (empty.root / f"{empty.driver}-images/images.json").exists()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # trio's own may have come
