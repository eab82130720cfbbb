"""Damaged storages: one clear line each, never anything but a FastcopyError, never a file from outside."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy.errors import FastcopyError
from fastcopy.options import HostOptions
from fastcopy.transports.storage import records, tarsplit
from fastcopy.transports.storage.tree import Tree
from tests.places import made
from tests.storage import rich

Damage = Callable[[rich.Storage], None]


def written(base: Path) -> rich.Storage:
    """A vfs storage with rich, made by hand: no program and no root needed."""
    storage, it = (
        rich.Storage("vfs", base),
        rich.image([("d/a", rich.FILE, b"a" * 300_000, {}), ("b", rich.FILE, b"b", {})]),
    )
    config, digest = made.digest_of(it.config), it.digest
    (tar,) = it.tars
    diff_id = made.digest_of(tar)
    layer = diff_id.removeprefix("sha256:")
    diff = storage.root / "vfs/dir" / layer
    (diff / "d").mkdir(parents=True)
    (diff / "d/a").write_bytes(b"a" * 300_000)
    (diff / "b").write_bytes(b"b")
    images, layers = storage.root / "vfs-images", storage.root / "vfs-layers"
    image_id = config.removeprefix("sha256:")
    (images / image_id).mkdir(parents=True)
    layers.mkdir()
    for key, data in ((config, it.config), (f"manifest-{digest}", it.raw), ("manifest", it.raw)):
        (images / image_id / records.big_data_file(key)).write_bytes(data)
    record = {"id": image_id, "names": ["localhost/x:1"], "layer": layer, "digest": digest,
              "big-data-digests": {"manifest": digest, f"manifest-{digest}": digest}}  # fmt: skip
    (images / "images.json").write_text(json.dumps([record]))
    (layers / "layers.json").write_text(json.dumps([{"id": layer, "diff-digest": diff_id, "diff-size": len(tar)}]))
    (layers / f"{layer}.tar-split.gz").write_bytes(gzip.compress(b"".join(split_of(tar))))
    return storage


def split_of(tar: bytes) -> list[bytes]:
    """The tar-split of a tar of d/a and b, by hand."""
    from base64 import b64encode

    head, body = tar[:512], 300_000
    after = 512 + body
    second = after + (-body % 512)
    lines = [
        {"type": 2, "payload": b64encode(head).decode(), "position": 0},
        {"type": 1, "name": "d/a", "size": body, "payload": "AAAAAAAAAAA=", "position": 1},
        {"type": 2, "payload": b64encode(tar[after : second + 512]).decode(), "position": 2},
        {"type": 1, "name": "b", "size": 1, "payload": "AAAAAAAAAAA=", "position": 3},
        {"type": 2, "payload": b64encode(tar[second + 513 :]).decode(), "position": 4},
    ]
    return [json.dumps(line).encode() + b"\n" for line in lines]


def _one(storage: rich.Storage, pattern: str) -> Path:
    (found,) = storage.root.glob(pattern)
    return found


def _write(pattern: str, data: bytes) -> Damage:
    return lambda storage: (_one(storage, pattern).write_bytes(data), None)[1]


def _remove(pattern: str) -> Damage:
    return lambda storage: _one(storage, pattern).unlink()


def _edit(pattern: str, **fields: Any) -> Damage:
    def damage(storage: rich.Storage) -> None:
        path = _one(storage, pattern)
        path.write_text(json.dumps([{**json.loads(path.read_text())[0], **fields}]))

    return damage


def _split(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    def damage(storage: rich.Storage) -> None:
        path = _one(storage, "vfs-layers/*.gz")
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join(change(lines))))

    return damage


def _link(storage: rich.Storage) -> None:
    secret = storage.base / "secret"
    secret.write_bytes(b"a" * 300_000)
    path = _one(storage, "vfs/dir/*/d/a")
    path.unlink()
    path.symlink_to(secret)


def _parent_link(storage: rich.Storage) -> None:
    outside = storage.base / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"a" * 300_000)
    path = _one(storage, "vfs/dir/*/d")
    shutil.rmtree(path)
    path.symlink_to(outside)


def _fifo(storage: rich.Storage) -> None:
    path = _one(storage, "vfs/dir/*/b")
    path.unlink()
    os.mkfifo(path)


def _no_manifest(storage: rich.Storage) -> None:
    for path in storage.root.glob("vfs-images/*/*"):
        if path.name.startswith(("manifest", "=bWFuaWZlc3Q")):
            path.unlink()


def _cut(storage: rich.Storage) -> None:
    path = _one(storage, "vfs-layers/*.gz")
    path.write_bytes(path.read_bytes()[:-20])


LAYERS, IMAGES = "vfs-layers/layers.json", "vfs-images/images.json"
DAMAGED: dict[str, tuple[Damage, str]] = {
    "truncated layers.json": (_write(LAYERS, b'[{"id":"a'), "layers.json is not JSON"),
    "truncated images.json": (_write(IMAGES, b"[{"), "images.json is not JSON"),
    "images.json is an object": (_write(IMAGES, b"{}"), "is not a list of objects"),
    "an ID that is a path": (_edit(LAYERS, id="../../x"), "has a record whose id is '../../x'"),
    "an image ID that is a path": (_edit(IMAGES, id="/etc"), "has a record whose id is '/etc'"),
    "a top layer that is a path": (_edit(IMAGES, layer="../x"), "is damaged"),
    "a digest that is none": (_edit(LAYERS, **{"diff-digest": "sha256:abc"}), "the digest of layer"),
    "no digest": (_edit(LAYERS, **{"diff-digest": ""}), "its uncompressed digest is unknown"),
    "no layer": (_write(LAYERS, b"[]"), "is not in the storage"),
    "no layers.json": (_remove(LAYERS), "is not in the storage"),
    "an incomplete layer": (_edit(LAYERS, flags={"incomplete": True}), "was never completed"),
    "no manifest": (_no_manifest, "its manifest is not in the storage"),
    "a manifest that is no JSON": (_write("vfs-images/*/manifest", b"{"), "manifest is not JSON"),
    "no config": (_remove("vfs-images/*/=c2hhMjU2*"), "is in the storage"),
    "another config": (_write("vfs-images/*/=c2hhMjU2*", b"{}"), "bytes, its descriptor says"),
    "no tar-split": (_remove("vfs-layers/*.gz"), "tar-split.gz is missing"),
    "tar-split is no gzip": (_write("vfs-layers/*.gz", b"hello"), "tar-split.gz is damaged"),
    "tar-split is cut off": (_cut, "is damaged"),
    "a line that is no JSON": (_split(lambda lines: [lines[0], b"hello\n", *lines[1:]]), "line 2 is damaged"),
    "a line of no type": (_split(lambda lines: [b'{"type":7,"payload":null}\n']), "line 1 is damaged"),
    "a line is missing": (_split(lambda lines: lines[:-1]), "bytes, its record says"),
    "a line too many": (_split(lambda lines: lines + lines[-1:]), "has more than the"),
    "a climbing name": (
        _split(lambda lines: [*lines[:3], lines[3].replace(b'"b"', b'"../../../../secret"'), lines[4]]),
        "no such file or directory",
    ),
    "a name without end": (_split(lambda lines: [*lines[:3], lines[3].replace(b'"b"', b'"d/.."')]), "leads out"),
    "a missing file": (_remove("vfs/dir/*/b"), "no such file or directory"),
    "a changed file": (_write("vfs/dir/*/b", b"c"), "Digest did not match"),
    "a longer file": (_write("vfs/dir/*/b", b"bb"), "has 2 bytes, not the 1 of its layer"),
    "a link out of the layer": (_link, "too many levels of symbolic links"),
    "a directory that is a link out": (_parent_link, "no such file or directory"),
    "a pipe instead of a file": (_fifo, "is not a regular file"),
    "no directory": (lambda storage: shutil.rmtree(_one(storage, "vfs/dir/*")), "no such file or directory"),
}  # fmt: skip


def test_the_storage_made_by_hand_is_whole(tmp_path: Path) -> None:
    """So that the damage below is what fails."""
    storage = written(tmp_path / "s")
    made.copy(storage.ref("localhost/x:1"), f"dir:{tmp_path}/d")
    assert len(made.read_dir(tmp_path / "d")) == 4


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_line(name: str, tmp_path: Path) -> None:
    """What is wrong, and where; the source is at fault."""
    damage, message = DAMAGED[name]
    storage = written(tmp_path / "s")
    damage(storage)
    with pytest.raises(FastcopyError) as caught:
        made.copy(storage.ref("localhost/x:1"), f"dir:{tmp_path}/d", hosts=HostOptions())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.side == "source"
    assert not (tmp_path / "d" / "manifest.json").exists()


def test_a_circle_of_layers_ends() -> None:
    """A layer that is its own ancestor is damage, not a loop."""
    layers = {"a": records.Layer("a", "b"), "b": records.Layer("b", "a")}
    with pytest.raises(FastcopyError, match="is its own ancestor"):
        records.chain("a", layers.get, "x")


def test_links_inside_a_layer_are_followed_as_after_chroot(tmp_path: Path) -> None:
    """Absolute ones too; the last component never."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_bytes(b"tool")
    (root / "bin").symlink_to("/usr/bin")
    (root / "up").symlink_to("../../../../..")
    (root / "loop").symlink_to("loop")
    (root / "last").symlink_to("usr/bin/tool")
    tree = Tree(str(root))
    try:
        for name in (b"bin/tool", b"up/usr/bin/tool", b"/bin/../bin/tool"):
            fd, size = tree.open_file(name)
            os.close(fd)
            assert size == 4
        for name in (b"loop/x", b"last", b"..", b"", b"usr/bin/..", b"bin"):
            with pytest.raises(FastcopyError):
                tree.open_file(name)
    finally:
        tree.close()


@given(st.binary(max_size=400))
def test_records_of_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """No exception but ours."""
    for read in (records.images, records.layers):
        with contextlib.suppress(FastcopyError):
            read(raw, "file")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = ("id", "parent", "names", "layer", "flags", "diff-digest", "diff-size", "digest", "big-data-digests")


@settings(max_examples=200)
@given(st.lists(st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=6), max_size=3))
def test_records_of_any_shape_are_read_or_refused(document: list[Any]) -> None:
    """Fields of every type in every place."""
    raw = json.dumps(document).encode()
    for read in (records.images, records.layers):
        with contextlib.suppress(FastcopyError):
            read(raw, "file")


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_lines_of_any_bytes_are_entries_or_refused(lines: list[bytes]) -> None:
    """tar-split of strangers."""
    with contextlib.suppress(FastcopyError):
        list(tarsplit.entries(lines, "file"))
