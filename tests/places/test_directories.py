"""dir: and oci: as sources and destinations."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from fastcopy import api
from fastcopy.errors import DigestMismatch, FastcopyError, ManifestUnknown, Unsupported
from fastcopy.options import HostOptions, Options
from tests.places import made


def test_an_image_crosses_between_directories_byte_for_byte(tmp_path: Path) -> None:
    """dir: to oci: and back gives the very files of the beginning, and nothing else."""
    it = made.image()
    made.directory(tmp_path / "a", it)
    report = made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:x/y:1")
    made.copy(f"oci:{tmp_path}/o:x/y:1", f"dir:{tmp_path}/b")
    assert report.digest == it.digest
    made.assert_layout_has(tmp_path / "o", it)
    assert made.read_index(tmp_path / "o") == {"x/y:1": it.digest}
    assert made.read_dir(tmp_path / "b") == made.read_dir(tmp_path / "a")


def test_an_index_keeps_its_instances_in_a_directory(tmp_path: Path) -> None:
    """--all into dir: writes <hex>.manifest.json for each instance; from there the same index comes back."""
    children = [made.image(1), made.image(2, arch="arm64")]
    entries = [each.entry | {"platform": {"os": "linux", "architecture": "amd64"}} for each in children]
    raw = json.dumps({"schemaVersion": 2, "mediaType": made.OCI_INDEX, "manifests": entries}).encode()
    top = made.Image(raw, made.OCI_INDEX, {k: v for each in children for k, v in each.blobs.items()})
    made.layout(tmp_path / "o", {"": top})
    for each in children:
        (tmp_path / "o/blobs" / each.digest.replace(":", "/")).write_bytes(each.raw)
    made.copy(f"oci:{tmp_path}/o", f"dir:{tmp_path}/d", multi_arch="all")
    found = made.read_dir(tmp_path / "d")
    assert found["manifest.json"] == raw
    for each in children:
        assert found[each.digest.removeprefix("sha256:") + ".manifest.json"] == each.raw
    made.copy(f"dir:{tmp_path}/d", f"oci:{tmp_path}/back:all", multi_arch="all")
    assert made.read_index(tmp_path / "back") == {"all": top.digest}
    for each in children:
        made.assert_layout_has(tmp_path / "back", each)


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """dir: refuses a directory that has no version file of an image, in skopeo's words."""
    made.directory(tmp_path / "a", made.image())
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis").write_text("precious")
    with pytest.raises(Unsupported, match="not a containers image directory, don't want to overwrite important data"):
        made.copy(f"dir:{tmp_path}/a", f"dir:{tmp_path}/home")
    assert made.read_dir(tmp_path / "home") == {"thesis": b"precious"}


def test_a_new_image_replaces_the_old_one_whole(tmp_path: Path) -> None:
    """After a copy over an older image a directory holds the new image's files only."""
    made.directory(tmp_path / "old", made.image(1))
    made.directory(tmp_path / "new", made.image(2))
    made.copy(f"dir:{tmp_path}/new", f"dir:{tmp_path}/old")
    assert made.read_dir(tmp_path / "old") == made.read_dir(tmp_path / "new")


def test_a_failed_copy_leaves_the_old_image_and_no_temporary_file(tmp_path: Path) -> None:
    """Wrong bytes at the source: the destination holds what it held before."""
    old, new = made.image(1), made.image(2)
    made.directory(tmp_path / "old", old)
    made.directory(tmp_path / "new", new)
    large = max(new.blobs, key=lambda each: len(new.blobs[each]))
    (tmp_path / "new" / large.removeprefix("sha256:")).write_bytes(bytes(len(new.blobs[large])))
    before = made.read_dir(tmp_path / "old")
    with pytest.raises(DigestMismatch):
        made.copy(f"dir:{tmp_path}/new", f"dir:{tmp_path}/old")
    after = made.read_dir(tmp_path / "old")
    assert before.items() <= after.items()
    assert large.removeprefix("sha256:") not in after
    assert not [name for name in after if name.startswith(".")]


def test_blobs_already_there_are_verified_not_trusted(tmp_path: Path) -> None:
    """A blob of the right name and size with wrong bytes is written anew; a right one is reused."""
    it = made.image()
    made.directory(tmp_path / "a", it)
    made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:1")
    assert made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:1").blobs_copied == 0
    digest = next(each for each, data in it.blobs.items() if len(data) > 300_000)
    (tmp_path / "o/blobs" / digest.replace(":", "/")).write_bytes(bytes(len(it.blobs[digest])))
    assert made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:2").blobs_copied == 1
    made.assert_layout_has(tmp_path / "o", it)


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    """A link in place of blobs/sha256 is refused, one in place of a blob is replaced."""
    it = made.image()
    made.directory(tmp_path / "a", it)
    (tmp_path / "victim").write_text("keep me")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "o/blobs").mkdir(parents=True)
    (tmp_path / "o/blobs/sha256").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FastcopyError, match=r"not a directory|symbolic"):
        made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:1")
    (tmp_path / "o/blobs/sha256").unlink()
    (tmp_path / "o/blobs/sha256").mkdir()
    digest = next(iter(it.blobs))
    (tmp_path / "o/blobs" / digest.replace(":", "/")).symlink_to(tmp_path / "victim")
    made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:1")
    assert (tmp_path / "victim").read_text() == "keep me"
    made.assert_layout_has(tmp_path / "o", it)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_names_move_and_nobody_else_loses_an_entry(tmp_path: Path) -> None:
    """The name goes to the new image; the old one stays, unnamed; other entries and fields stay as they are."""
    first, second, other = made.image(1), made.image(2), made.image(3)
    made.layout(tmp_path / "o", {"v1": first, "other": other}, annotations={"who": "me"})
    made.directory(tmp_path / "a", second)
    made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:v1")
    assert made.read_index(tmp_path / "o") == {"": first.digest, "other": other.digest, "v1": second.digest}
    assert json.loads((tmp_path / "o/index.json").read_bytes())["annotations"] == {"who": "me"}


def test_many_writers_lose_no_entry(tmp_path: Path) -> None:
    """Eight copies into one layout at once: eight names in the index."""
    images = [made.image(n, sizes=(2_000,)) for n in range(8)]
    for n, each in enumerate(images):
        made.directory(tmp_path / f"d{n}", each)
    errors: list[BaseException] = []

    def write(n: int) -> None:
        try:
            made.copy(f"dir:{tmp_path}/d{n}", f"oci:{tmp_path}/o:v{n}")
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert not errors
    assert made.read_index(tmp_path / "o") == {f"v{n}": each.digest for n, each in enumerate(images)}


def test_blobs_may_lie_in_a_shared_directory(tmp_path: Path) -> None:
    """--src/--dest-shared-blob-dir: the layout has the index only."""
    it = made.image()
    made.directory(tmp_path / "a", it)
    shared = HostOptions(shared_blob_dir=tmp_path / "pool")
    made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:1", hosts=shared)
    assert not list((tmp_path / "o").glob("blobs/*/*"))
    assert (tmp_path / "pool" / it.digest.replace(":", "/")).read_bytes() == it.raw
    made.copy(f"oci:{tmp_path}/o:1", f"dir:{tmp_path}/b", hosts=shared)
    assert made.read_dir(tmp_path / "b") == made.read_dir(tmp_path / "a")


def test_references_follow_skopeos_rules(tmp_path: Path) -> None:
    """By name, by position, by nothing when there is one; else skopeo's words."""
    first, second = made.image(1), made.image(2)
    made.layout(tmp_path / "o", {"a": first, "b": second})
    options = Options(run=made.HASTY)
    assert api.inspect(f"oci:{tmp_path}/o:b", options).top.digest == second.digest
    assert api.inspect(f"oci:{tmp_path}/o:@0", options).top.digest == first.digest
    with pytest.raises(ManifestUnknown, match='no descriptor found for reference "nope"'):
        api.inspect(f"oci:{tmp_path}/o:nope", options)
    with pytest.raises(ManifestUnknown, match="index 5 is too large, only 2 entries available"):
        api.inspect(f"oci:{tmp_path}/o:@5", options)
    with pytest.raises(Unsupported, match="more than one image in oci, choose an image"):
        api.inspect(f"oci:{tmp_path}/o", options)
    assert api.inspect(f"oci:{tmp_path}/o@{second.digest}", options).top.digest == second.digest
    with pytest.raises(ManifestUnknown, match='no descriptor found for reference "sha256:'):
        api.inspect(f"oci:{tmp_path}/o@{made.digest_of(b'')}", options)
    with pytest.raises(Unsupported, match="a digest names an image to read"):
        made.copy(f"oci:{tmp_path}/o:a", f"oci:{tmp_path}/o@{second.digest}")


def test_delete_removes_what_nobody_else_needs(tmp_path: Path) -> None:
    """The entry goes with its own blobs; those that another image shares stay."""
    first, second = made.image(1), made.image(1, arch="arm64")
    made.layout(tmp_path / "o", {"a": first, "b": second})
    api.delete(f"oci:{tmp_path}/o:a", Options(run=made.HASTY))
    assert made.read_index(tmp_path / "o") == {"b": second.digest}
    made.assert_layout_has(tmp_path / "o", second)
    left = {each.name for each in (tmp_path / "o/blobs/sha256").iterdir()}
    assert left == {each.removeprefix("sha256:") for each in (second.digest, *second.blobs)}
    with pytest.raises(ManifestUnknown):
        api.delete(f"oci:{tmp_path}/o:a", Options(run=made.HASTY))
