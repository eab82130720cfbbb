"""Damaged layouts, directories and archives: one clear line each, and never anything but a FastcopyError."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy.errors import FastcopyError
from fastcopy.transports import _layout, _tar
from fastcopy.transports.docker_archive import parse_items
from tests.places import made

Damage = Callable[[Path], None]


def _write(name: str, data: bytes) -> Damage:
    def damage(path: Path) -> None:
        (path / name).write_bytes(data)

    return damage


def _index(*entries: object) -> Damage:
    return _write("index.json", json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode())


def _fifo(path: Path) -> None:
    (path / "index.json").unlink()
    os.mkfifo(path / "index.json")


DAMAGED_LAYOUTS: dict[str, tuple[Damage, str]] = {
    "no index": (lambda path: (path / "index.json").unlink(), "index.json: no such file or directory"),
    "no mark": (lambda path: (path / "oci-layout").unlink(), "oci-layout: no such file or directory"),
    "another version": (
        _write("oci-layout", b'{"imageLayoutVersion":"2.0.0"}'),
        "unsupported imageLayoutVersion '2.0.0'",
    ),
    "index is no JSON": (_write("index.json", b"{"), "is not JSON"),
    "index is a list": (_write("index.json", b"[]"), "is not a JSON object"),
    "entries are an object": (_write("index.json", b'{"manifests":{}}'), "manifests is not a list of descriptors"),
    "entry without digest": (_index({"size": 1}), "an entry without a digest"),
    "digest that climbs": (_index({"digest": "sha256:../../../etc/passwd"}), "invalid or unsupported digest"),
    "impossible size": (_index({"digest": made.digest_of(b""), "size": "1"}), "impossible size"),
    "annotations are a list": (_index({"digest": made.digest_of(b""), "annotations": ["x"]}), "annotations"),
    "key twice": (_write("index.json", b'{"manifests":[],"manifests":[]}'), "twice"),
    "manifest missing": (_index({"digest": made.digest_of(b"?"), "size": 1}), "no such file or directory"),
    "index is a pipe": (_fifo, "not a regular file"),
}


@pytest.mark.parametrize("damage", DAMAGED_LAYOUTS)
def test_a_damaged_layout_is_named_in_one_line(damage: str, tmp_path: Path) -> None:
    """The error names the source and what is wrong with it."""
    made.layout(tmp_path / "o", {"": made.image()})
    spoil, words = DAMAGED_LAYOUTS[damage]
    spoil(tmp_path / "o")
    with pytest.raises(FastcopyError) as caught:
        made.copy(f"oci:{tmp_path}/o", f"dir:{tmp_path}/d")
    assert str(caught.value).startswith(f"initializing source oci:{tmp_path}/o: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["shorter", "longer", "other", "missing"])
def test_a_damaged_blob_reaches_nothing(change: str, tmp_path: Path) -> None:
    """Of a blob with a wrong size or wrong bytes nothing is left at the destination."""
    it = made.image()
    made.directory(tmp_path / "a", it)
    digest = max(it.blobs, key=lambda each: len(it.blobs[each]))
    path = tmp_path / "a" / digest.removeprefix("sha256:")
    data = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes({"shorter": data[:-1], "longer": data + b"x", "other": bytes(len(data))}[change])
    with pytest.raises(FastcopyError) as caught:
        made.copy(f"dir:{tmp_path}/a", f"oci:{tmp_path}/o:1")
    assert caught.value.side == "source"
    assert not (tmp_path / "o/index.json").exists()
    assert not (tmp_path / "o/blobs" / digest.replace(":", "/")).exists()
    assert not list((tmp_path / "o").rglob(".fastcopy-*"))


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member.tobuf(tarfile.GNU_FORMAT)


END = bytes(1024)
DAMAGED_ARCHIVES = {
    "empty": (b"", "unexpected EOF"),
    "half a header": (_member("x")[:300], "unexpected EOF"),
    "body cut short": (_member("x", size=4096) + bytes(100), "unexpected EOF"),
    "absolute name": (_member("/etc/passwd") + END, "leads out of the archive"),
    "climbing name": (_member("a/../../x") + END, "leads out of the archive"),
    "climbing link": (_member("a/x", tarfile.SYMTYPE, "../../x") + END, "leads out of the archive"),
    "device": (_member("x", tarfile.BLKTYPE) + END, "is no file, directory or link"),
    "name twice": (_member("x") + _member("./x") + END, "twice"),
    "no tar": (b"hello world " * 100, "invalid tar header"),
    "no manifest": (_member("x") + END, "manifest.json not found in the archive"),
    "bad gzip": (gzip.compress(os.urandom(5000))[:-3000], "too early"),
}


@pytest.mark.parametrize("damage", DAMAGED_ARCHIVES)
def test_a_damaged_archive_is_named_in_one_line(damage: str, tmp_path: Path) -> None:
    """The error names the archive and what is wrong with it."""
    data, words = DAMAGED_ARCHIVES[damage]
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(FastcopyError) as caught:
        made.copy(f"docker-archive:{tmp_path}/a.tar", f"dir:{tmp_path}/d")
    assert str(caught.value).startswith(f"initializing source docker-archive:{tmp_path}/a.tar: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_in_a_circle_end() -> None:
    """Two links to each other are refused when one of them is asked for."""
    data = _member("a", tarfile.SYMTYPE, "b") + _member("b", tarfile.SYMTYPE, "a") + END
    with pytest.raises(FastcopyError, match="too many links"):
        _indexed(data).find("a")


def _indexed(data: bytes) -> _tar.TarIndex:
    return _tar.index(lambda size, at: data[at : at + size], len(data))


NAMES = st.from_regex(r"[a-zé][a-zé0-9]{0,60}(/[a-z0-9]{1,90}){0,3}", fullmatch=True)


FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=1200), max_size=5), st.sampled_from(FORMATS))
def test_every_tar_that_python_writes_is_indexed(files: dict[str, bytes], kind: int) -> None:
    """ustar, GNU and pax: names of any length lead to the bytes that were put in."""
    out = io.BytesIO()
    written = {}
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            with contextlib.suppress(ValueError):  # ustar has no room for some names
                tar.addfile(member, io.BytesIO(data))
                written[name] = data
    raw = out.getvalue()
    index = _indexed(raw)
    for name, data in written.items():
        found = index.find(name)
        assert found is not None
        assert raw[found.offset : found.offset + found.size] == data


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_to_a_tar_causes_anything_but_a_refusal(data: st.DataObject) -> None:
    """Bytes changed at random, or cut: an index whose members lie inside the file, or BadArchive."""
    raw = bytearray(_member("a" * 150) + _member("b/c", tarfile.SYMTYPE, "../x") + _member("x") + END)
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(FastcopyError):
        found = _indexed(cut).find("x")
        assert found is None or found.offset + found.size <= len(cut)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(made.digest_of(b"")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["manifests", "digest", "size", "annotations", "Config", "RepoTags", "Layers"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(_JSON)
def test_any_json_is_an_index_or_refused(document: object) -> None:
    """Neither index.json nor manifest.json of an archive can make the parsers stumble."""
    raw = json.dumps(document).encode()
    with contextlib.suppress(FastcopyError):
        entries = _layout.parse(raw, "index.json")["manifests"]
        assert all(_layout.descriptor(each, "index.json").digest for each in entries)
    with contextlib.suppress(FastcopyError):
        assert all(isinstance(each.config, str) for each in parse_items(raw))
