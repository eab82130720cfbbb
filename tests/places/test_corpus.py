"""A corpus of damaged places on the command line: one clear line, the right exit code, nothing under a final name."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcopy.errors import FastcopyError
from fastcopy.manifest import MAX_ENTRIES, MAX_MANIFEST
from fastcopy.transports._layout import MAX_INDEX
from tests.cli.support import run
from tests.places import made

Files = dict[str, bytes]
Damage = Callable[[Path], None]

IT = made.image(sizes=(2_000, 300_000))
LAYER = max(IT.blobs, key=lambda each: len(IT.blobs[each]))
CONFIG = made.digest_of(IT.config)


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _grown(name: str, size: int) -> Damage:
    """A file of *size* bytes that takes no room on the disk."""
    return lambda path: os.truncate(path / name, size)


def _gone(name: str) -> Damage:
    return lambda path: (path / name).unlink()


def _put(name: str, data: bytes) -> Damage:
    def put(path: Path) -> None:
        (path / name).write_bytes(data)

    return put


def _instead(name: str, make: Callable[[Path], object]) -> Damage:
    """Something that is no regular file in the place of one."""

    def replaced(path: Path) -> None:
        (path / name).unlink()
        make(path / name)

    return replaced


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _away(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _entries(count: int) -> bytes:
    entry = IT.entry | {"annotations": {made.REF_NAME: "x"}}
    return json.dumps({"schemaVersion": 2, "manifests": [entry] * count}).encode()


def _manifest(**changed: object) -> made.Image:
    """The image with other fields in its manifest, which its index names rightly."""
    raw = json.dumps(json.loads(IT.raw) | changed).encode()
    return made.Image(raw, made.OCI, IT.blobs, IT.config, IT.tars)


_BAD_LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": LAYER, "size": 1}
LAYOUTS: dict[str, tuple[made.Image, Damage | None, str, int]] = {
    "an index beyond its limit": (IT, _grown("index.json", MAX_INDEX + 1), "more than the limit of", 1),
    "an index of one name 10 000 times": (IT, _put("index.json", _entries(10_000)), "choose an image", 1),
    "an index without images": (IT, _put("index.json", _entries(0)), "choose an image", 1),
    "a manifest beyond its limit": (IT, _grown(_blob(IT.digest), MAX_MANIFEST + 1), "bytes", 1),
    "a manifest that is cut off": (IT, _put(_blob(IT.digest), IT.raw[:-9]), "its descriptor says", 1),
    "a manifest of other bytes": (IT, _put(_blob(IT.digest), bytes(len(IT.raw))), "Digest did not match", 1),
    "a manifest that is a link out": (IT, _instead(_blob(IT.digest), _away), "passwd|descriptor says|did not match", 1),
    "a manifest that is a directory": (IT, _instead(_blob(IT.digest), os.mkdir), "not a regular file", 1),
    "a missing config": (IT, _gone(_blob(CONFIG)), "no such file", 1),
    "a config of other bytes": (IT, _put(_blob(CONFIG), bytes(len(IT.config))), "Digest did not match", 1),
    "a missing layer": (IT, _gone(_blob(LAYER)), "no such file", 1),
    "a layer that is cut off": (IT, _grown(_blob(LAYER), 1000), "its descriptor says", 1),
    "a layer that is a pipe": (IT, _instead(_blob(LAYER), _fifo), "not a regular file", 1),
    "a layer that is a link out": (IT, _instead(_blob(LAYER), _away), "its descriptor says", 1),
    "a layer that is a device": (
        IT,
        _instead(_blob(LAYER), lambda path: path.symlink_to("/dev/zero")),
        "not a regular file",
        1,
    ),
    "layers that are no list": (_manifest(layers={}), None, "layers", 1),
    "a layer whose digest climbs": (_manifest(layers=[_BAD_LAYER | {"digest": "sha256:../../x"}]), None, "digest", 1),
    "a layer of negative size": (_manifest(layers=[_BAD_LAYER | {"size": -5}]), None, "size", 1),
    "more layers than any image": (_manifest(layers=[_BAD_LAYER] * (MAX_ENTRIES + 1)), None, "limit", 1),
    "a layer of a wrong size": (_manifest(layers=[_BAD_LAYER]), None, "its descriptor says", 1),
}


def _refused(source: str, base: Path, words: str, code: int) -> None:
    """The copy fails with one line that says *words*, and nothing has a final name that could be taken for an image."""
    for kind, final in (("oci", "index.json"), ("dir", "manifest.json"), ("oci-archive", "")):
        target = base / f"to-{kind}"
        ran = run("--insecure-policy", "copy", "-q", source, f"{kind}:{target}")
        assert ran.code == code, ran.err
        lines = ran.err.rstrip("\n").split("\n")
        assert len(lines) == 1, ran.err
        assert "level=fatal" in lines[0]
        assert any(each in lines[0] for each in words.split("|")), lines[0]
        assert not (target / final).exists()
        left = [each for each in base.rglob(".fastcopy-*") if each.is_file()]
        assert not left


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_layout_becomes_nothing(name: str, tmp_path: Path) -> None:
    """oci: as the source."""
    it, spoil, words, code = LAYOUTS[name]
    made.layout(tmp_path / "o", {"": it})
    if spoil:
        spoil(tmp_path / "o")
    _refused(f"oci:{tmp_path}/o", tmp_path, words, code)


def test_a_name_that_a_layout_has_not_is_not_found(tmp_path: Path) -> None:
    """skopeo's exit code for it, from directory and archive."""
    made.layout(tmp_path / "o", {"v1": IT})
    made.tar(tmp_path / "o.tar", made.layout_files({"v1": IT}))
    for source in (f"oci:{tmp_path}/o:v2", f"oci-archive:{tmp_path}/o.tar:v2"):
        _refused(source, tmp_path, "no descriptor found for reference", 2)


DIRECTORIES: dict[str, tuple[Damage, str]] = {
    "no manifest": (_gone("manifest.json"), "no such file"),
    "a manifest that is no JSON": (_put("manifest.json", b"{"), "JSON"),
    "a manifest that is a list": (_put("manifest.json", b"[]"), "JSON object"),
    "an empty manifest": (_put("manifest.json", b""), "JSON"),
    "a manifest beyond its limit": (_grown("manifest.json", MAX_MANIFEST + 1), "limit"),
    "a manifest that is a pipe": (_instead("manifest.json", _fifo), "not a regular file"),
    "a missing layer": (_gone(LAYER[7:]), "no such file"),
    "a layer with other bytes": (_put(LAYER[7:], bytes(len(IT.blobs[LAYER]))), "Digest did not match"),
    "a layer that is a directory": (_instead(LAYER[7:], os.mkdir), "not a regular file"),
    "a missing config": (_gone(CONFIG[7:]), "no such file"),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_damaged_directory_becomes_nothing(name: str, tmp_path: Path) -> None:
    """dir: as the source."""
    spoil, words = DIRECTORIES[name]
    made.directory(tmp_path / "d", IT)
    spoil(tmp_path / "d")
    _refused(f"dir:{tmp_path}/d", tmp_path, words, 1)


def _saved(**changed: object) -> Files:
    """A docker archive whose only item has other fields."""
    files = made.saved([(["it:1"], IT)])
    item = json.loads(files["manifest.json"])[0] | changed
    return files | {"manifest.json": json.dumps([item]).encode()}


def _configured(config: object) -> Files:
    return _saved(Config="other.json") | {"other.json": json.dumps(config).encode()}


def _without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


_NAMES = json.loads(made.saved([(["it:1"], IT)])["manifest.json"])[0]
DOCKER_ARCHIVES: dict[str, tuple[Files, str]] = {
    "a list that is an object": (_saved() | {"manifest.json": b"{}"}, "not a list of images"),
    "a list without images": (_saved() | {"manifest.json": b"[]"}, "expected 1 item, got 0"),
    "an image without config": (_saved(Config=None), "without Config"),
    "a missing config": (_without(_saved(), _NAMES["Config"]), "not found in the archive"),
    "a config outside": (_saved(Config="/etc/passwd"), "not found in the archive"),
    "a config that climbs": (_saved(Config="../../etc/passwd"), "not found in the archive"),
    "a config that is a list": (_configured([]), "JSON object"),
    "a config without diff IDs": (_configured({"rootfs": {}}), "diff_ids"),
    "diff IDs that are none": (_configured({"rootfs": {"diff_ids": ["sha256:x", "y"]}}), "digest"),
    "fewer diff IDs than layers": (_configured({"rootfs": {"diff_ids": []}}), "inconsistent layer count"),
    "a missing layer": (_without(_saved(), _NAMES["Layers"][1]), "not found in the archive"),
    "layers that are numbers": (_saved(Layers=[1, 2]), "not a list of strings"),
    "a layer with other bytes": (_saved() | {_NAMES["Layers"][1]: bytes(301_056)}, "Digest did not match"),
}


@pytest.mark.parametrize("name", DOCKER_ARCHIVES)
def test_a_damaged_docker_archive_becomes_nothing(name: str, tmp_path: Path) -> None:
    """docker-archive: as the source."""
    files, words = DOCKER_ARCHIVES[name]
    made.tar(tmp_path / "a.tar", files)
    _refused(f"docker-archive:{tmp_path}/a.tar", tmp_path, words, 1)


def _header(name: str, kind: bytes, size: int, body: bytes = b"") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % 512)


OCI_ARCHIVES: dict[str, tuple[bytes | Files, str]] = {
    "no index": (_without(made.layout_files({"": IT}), "index.json"), "index.json not found"),
    "no mark": (_without(made.layout_files({"": IT}), "oci-layout"), "oci-layout not found"),
    "a missing manifest": (_without(made.layout_files({"": IT}), _blob(IT.digest)), "not found in the archive"),
    "a missing layer": (_without(made.layout_files({"": IT}), _blob(LAYER)), "not found in the archive"),
    "a member larger than the archive": (_header("index.json", tarfile.REGTYPE, 1 << 40), "unexpected EOF"),
    "a name longer than any": (_header("x", tarfile.GNUTYPE_LONGNAME, 1 << 30), "unexpected EOF"),
    "a sparse member": (_header("x", tarfile.GNUTYPE_SPARSE, 0) + bytes(1024), "no file, directory or link"),
    "a device": (_header("x", tarfile.CHRTYPE, 0) + bytes(1024), "no file, directory or link"),
    "a pipe": (_header("x", tarfile.FIFOTYPE, 0) + bytes(1024), "no file, directory or link"),
    "a negative size": (_header("x", tarfile.REGTYPE, 0)[:124] + b"-0000000001\0" + bytes(888), "invalid tar header"),
    "pax records without end": (_header("x", tarfile.XHDTYPE, 9, b"999 a=b\n"), "invalid pax record"),
    "bytes of a picture": (b"\x89PNG\r\n\x1a\n" + bytes(2048), "invalid tar header"),
}


@pytest.mark.parametrize("name", OCI_ARCHIVES)
def test_a_damaged_oci_archive_becomes_nothing(name: str, tmp_path: Path) -> None:
    """oci-archive: as the source."""
    content, words = OCI_ARCHIVES[name]
    if isinstance(content, bytes):
        (tmp_path / "a.tar").write_bytes(content)
    else:
        made.tar(tmp_path / "a.tar", content)
    _refused(f"oci-archive:{tmp_path}/a.tar", tmp_path, words, 1)


@pytest.mark.parametrize("spoil", [b"{", b"[]", b'{"manifests": 3}', b'{"manifests":[{"digest":"sha256:../x"}]}'])
def test_a_damaged_layout_is_not_written_over(spoil: bytes, tmp_path: Path) -> None:
    """oci: as the destination: an index that cannot be understood stays as it is."""
    made.directory(tmp_path / "d", IT)
    made.layout(tmp_path / "o", {"v0": IT})
    (tmp_path / "o/index.json").write_bytes(spoil)
    ran = run("--insecure-policy", "copy", "-q", f"dir:{tmp_path}/d", f"oci:{tmp_path}/o:v1")
    assert ran.code == 1
    assert len(ran.err.rstrip("\n").split("\n")) == 1
    assert f"{tmp_path}/o/index.json" in ran.err
    assert (tmp_path / "o/index.json").read_bytes() == spoil


def _archive(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _refusal(source: str, destination: str) -> str:
    """What a copy that fails says, "" when it succeeds."""
    try:
        made.copy(source, destination)
    except FastcopyError as error:
        return str(error)
    return ""


SMALL = made.image(sizes=(100,))
ARCHIVES = {
    "docker-archive": _archive(made.saved([(["it:1"], SMALL)])),
    "oci-archive": _archive(made.layout_files({"": SMALL})),
}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(ARCHIVES)), data=st.data())
def test_whatever_happens_to_an_archive_only_our_errors_escape(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    """Bytes changed anywhere, or the end cut off: the copy succeeds or is refused, and refused leaves nothing."""
    raw = bytearray(ARCHIVES[kind])
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=6)):
        raw[at] = data.draw(st.integers(0, 255))
    (tmp_path / "a.tar").write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    target = tmp_path / "out.tar"
    target.unlink(missing_ok=True)
    refused = _refusal(f"{kind}:{tmp_path}/a.tar", f"oci-archive:{target}")
    assert "\n" not in refused
    assert target.exists() != bool(refused)
    assert {each.name for each in tmp_path.iterdir()} <= {"a.tar", "out.tar"}


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([LAYER, CONFIG, made.OCI]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "subject", "artifactType"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(_FIELDS), _VALUE, max_size=4))
def test_manifests_of_any_shape_are_copied_or_refused(fields: dict[str, object], tmp_path: Path) -> None:
    """The file of a dir: image is a stranger's: fields of every type in every place."""
    path = tmp_path / "d"
    if not path.exists():
        made.directory(path, SMALL)
    (path / "manifest.json").write_bytes(json.dumps(json.loads(SMALL.raw) | fields).encode())
    with contextlib.suppress(FastcopyError):
        made.copy(f"dir:{path}", f"oci-archive:{tmp_path}/out.tar")
