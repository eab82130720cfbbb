"""Round trips through every pair of places, and the real tools as readers and writers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastcopy import api
from fastcopy.errors import FastcopyError, Unsupported
from fastcopy.options import CopyOptions, HostOptions, Options
from tests.copy.world import assert_blobs, named
from tests.copy.world import image as pushed
from tests.places import made
from tests.registries import Registry

#: Places that keep an OCI image byte for byte; {} is a directory of the test's own.
EXACT = ("dir:{}/d", "oci:{}/o:v1", "oci-archive:{}/o.tar:v1", "docker://{host}/matrix/{repo}:1")
PAIRS = [(source, destination) for source in EXACT for destination in EXACT]


def _place(pattern: str, base: Path, host: str) -> str:
    """The pattern as the name of a place that nobody else uses."""
    base.mkdir(exist_ok=True)
    repo = hashlib.sha256(str(base).encode()).hexdigest()[:12]
    return pattern.replace("{}", str(base)).format(host=host, repo=repo)


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_an_image_survives_every_pair_of_places(
    source: str, destination: str, tmp_path: Path, embedded_plain: Registry
) -> None:
    """From a directory through two places and back: the files are the same, byte for byte."""
    made.directory(tmp_path / "start", made.image())
    first = _place(source, tmp_path / "one", embedded_plain.host)
    second = _place(destination, tmp_path / "two", embedded_plain.host)
    for one, other in ((f"dir:{tmp_path}/start", first), (first, second), (second, f"dir:{tmp_path}/end")):
        made.copy(one, other)
    assert made.read_dir(tmp_path / "end") == made.read_dir(tmp_path / "start")


def test_a_registry_takes_what_an_archive_had(tmp_path: Path, embedded_plain: Registry) -> None:
    """docker-archive: to docker:// gives an image with the archive's config; its layers inflate to the archive's."""
    it = made.image()
    path = made.tar(tmp_path / "a.tar", made.saved([(["it:1"], it)]))
    target = embedded_plain.ref("from/archive", "1")
    made.copy(f"docker-archive:{path}", target)
    options = Options(run=made.HASTY, source=HostOptions(tls_verify=False))
    found = api.inspect(target, options, tags=False)
    assert found.config == it.config
    made.copy(target, f"docker-archive:{tmp_path}/b.tar:it:1")
    assert api.inspect(f"docker-archive:{tmp_path}/b.tar:it:1", options).config == it.config


def test_a_registrys_image_is_complete_in_a_layout_and_back(tmp_path: Path, embedded_plain: Registry) -> None:
    """docker:// to oci: and to docker:// again."""
    it = pushed(embedded_plain)
    made.copy(it.ref, f"oci:{tmp_path}/o:1")
    made.copy(f"oci:{tmp_path}/o:1", embedded_plain.ref("matrix/again", "1"))
    assert named(embedded_plain, "matrix/again") == it.digest
    assert_blobs(embedded_plain, "matrix/again", it)


def _skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", "--insecure-policy", *words], check=True, capture_output=True, timeout=100).stdout


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("pattern", ["dir:{}/d", "oci:{}/o:v1", "oci-archive:{}/o.tar:v1"])
def test_skopeo_reads_what_is_written_here(pattern: str, tmp_path: Path) -> None:
    """skopeo copies it into a directory that is equal to the beginning."""
    made.directory(tmp_path / "start", made.image())
    place = _place(pattern, tmp_path / "one", "")
    made.copy(f"dir:{tmp_path}/start", place)
    _skopeo("copy", "-q", place, f"dir:{tmp_path}/end")
    assert made.read_dir(tmp_path / "end") == made.read_dir(tmp_path / "start")


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("pattern", ["dir:{}/d", "oci:{}/o:v1", "oci-archive:{}/o.tar:v1"])
def test_what_skopeo_writes_is_read_here(pattern: str, tmp_path: Path) -> None:
    """The other way round."""
    made.directory(tmp_path / "start", made.image())
    place = _place(pattern, tmp_path / "one", "")
    _skopeo("copy", "-q", f"dir:{tmp_path}/start", place)
    made.copy(place, f"dir:{tmp_path}/end")
    assert made.read_dir(tmp_path / "end") == made.read_dir(tmp_path / "start")


@pytest.mark.real("skopeo")
def test_docker_archives_are_the_same_images_to_both_tools(tmp_path: Path) -> None:
    """Config, layers and tags of an archive written here are what skopeo reads, and the other way round."""
    it = made.image()
    made.directory(tmp_path / "start", it)
    made.copy(f"dir:{tmp_path}/start", f"docker-archive:{tmp_path}/ours.tar:it:1", additional_tags=("it:2",))
    ours = f"docker-archive:{tmp_path}/ours.tar:it:2"
    layers = json.loads(_skopeo("inspect", ours))["Layers"]
    assert layers == [made.digest_of(each) for each in it.tars]
    tags = json.loads(_skopeo("list-tags", f"docker-archive:{tmp_path}/ours.tar"))["Tags"]
    assert tags == ["docker.io/library/it:1", "docker.io/library/it:2"]
    _skopeo("copy", "-q", f"dir:{tmp_path}/start", f"docker-archive:{tmp_path}/theirs.tar:it:1")
    options = Options(run=made.HASTY)
    theirs = api.inspect(f"docker-archive:{tmp_path}/theirs.tar:it:1", options)
    assert theirs.config == api.inspect(ours, options).config
    made.copy(f"docker-archive:{tmp_path}/theirs.tar", f"dir:{tmp_path}/end")
    for layer in it.tars:
        assert (tmp_path / "end" / made.digest_of(layer).removeprefix("sha256:")).read_bytes() == layer


def test_an_archive_with_images_is_not_modified(tmp_path: Path) -> None:
    """docker-archive: refuses a file that is not empty, in skopeo's words, and leaves nothing beside it."""
    made.directory(tmp_path / "start", made.image())
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.tar").write_bytes(b"something")
    with pytest.raises(Unsupported, match="docker-archive doesn't support modifying existing images"):
        made.copy(f"dir:{tmp_path}/start", f"docker-archive:{tmp_path}/a/x.tar:it:1")
    assert made.read_dir(tmp_path / "a") == {"x.tar": b"something"}


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_a_failed_archive_leaves_no_file(kind: str, tmp_path: Path) -> None:
    """Wrong bytes at the source: neither the archive nor a temporary file is there afterwards."""
    it = made.image()
    made.directory(tmp_path / "start", it)
    large = max(it.blobs, key=lambda each: len(it.blobs[each]))
    (tmp_path / "start" / large.removeprefix("sha256:")).write_bytes(bytes(len(it.blobs[large])))
    (tmp_path / "a").mkdir()
    with pytest.raises(FastcopyError):
        made.copy(f"dir:{tmp_path}/start", f"{kind}:{tmp_path}/a/x.tar:it")
    assert not list((tmp_path / "a").iterdir())


def test_a_layers_compression_is_kept_where_both_sides_allow(tmp_path: Path) -> None:
    """--dest-oci-accept-uncompressed-layers keeps the archive's tars as they are."""
    it = made.image()
    path = made.tar(tmp_path / "a.tar", made.saved([(["it:1"], it)]))
    side = HostOptions()
    options = Options(CopyOptions(accept_uncompressed=True), made.HASTY, side, side)
    api.copy(f"docker-archive:{path}", f"oci:{tmp_path}/o:1", options)
    for layer in it.tars:
        assert (tmp_path / "o/blobs" / made.digest_of(layer).replace(":", "/")).read_bytes() == layer


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_an_archive_goes_to_standard_output(kind: str, into: str, tmp_path: Path) -> None:
    """/dev/stdout may be a pipe or a file; the link of that name stays what it is."""
    made.directory(tmp_path / "start", made.image())
    before = os.readlink("/dev/stdout")
    program = [sys.executable, "-m", "fastcopy", "--insecure-policy", "copy", "-q", f"dir:{tmp_path}/start"]
    with open(tmp_path / "out.tar", "wb") as out:
        ran = subprocess.run(
            [*program, f"{kind}:/dev/stdout:it"],
            check=True,
            stdout=subprocess.PIPE if into == "pipe" else out,
            stderr=subprocess.PIPE,
            timeout=100,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        out.write(ran.stdout or b"")
    assert os.readlink("/dev/stdout") == before
    assert b"the archive is made under /var/tmp (--tmpdir) first" in ran.stderr
    api.inspect(f"{kind}:{tmp_path}/out.tar:it", Options(run=made.HASTY))
