"""Changes to a storage, each whole or not at all: a layer takes its place, an image gets its record or goes. Blocking.

Everything here is called with the locks held. Records keep what other programs wrote into them. A layer is first noted
as incomplete: whoever finds it so after a crash removes it (containers/storage does).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fastcopy.descriptor import Digest
from fastcopy.errors import LocalError, NotThere
from fastcopy.transports._local import Room, explained
from fastcopy.transports.storage import BadStorage, records
from fastcopy.transports.storage.locks import Held
from fastcopy.transports.storage.records import Image
from fastcopy.transports.storage.store import Shelf, Store

_LINK_LENGTH: Final = 26
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_COMPRESSIONS: Final = {"none": 0, "bzip2": 1, "gzip": 2, "xz": 3, "zstd": 4}


def now() -> str:
    """The time as Go writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def prepare(shelf: Shelf) -> None:
    """Make the directories of a storage that has none yet; nobody but root may look into its layers."""
    names = [f"{shelf.driver}-{kind}" for kind in ("images", "layers", "containers")]
    names += ["overlay", "overlay/l"] if shelf.driver == "overlay" else ["vfs", "vfs/dir"]
    with explained("mkdir", shelf.root):
        os.makedirs(os.path.dirname(shelf.root), 0o755, exist_ok=True)
        for path in (shelf.root, *(os.path.join(shelf.root, name) for name in names)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)


def save(directory: str, name: str, data: bytes) -> None:
    """Replace a file, readable for root alone."""
    room = Room(directory)
    try:
        temporary, fd = room.temporary()
        try:
            with explained("write", room.shown(name)):
                os.fchmod(fd, 0o600)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            room.publish(temporary, fd, name)
        except BaseException:
            room.remove(temporary)
            raise
        finally:
            os.close(fd)
    finally:
        room.close()


def _save_records(directory: str, name: str, found: list[dict[str, Any]], lock: Held) -> None:
    lock.record_write()
    save(directory, name, json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode())


def layer_record(layer_id: str, parent: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A layer as layers.json has it; *facts* are those of its tar."""
    record = {"id": layer_id, "parent": parent, "created": now(), **facts}
    return {key: value for key, value in record.items() if value not in ("", None)}


def facts_of(compressed: str, compressed_size: int, unpacked: Any) -> dict[str, Any]:
    """The fields of a record that say how the layer's tar came (`unpack.Unpacked`)."""
    compression = _COMPRESSIONS.get(unpacked.compression, 0)
    return {
        "compressed-diff-digest": compressed,
        "compressed-size": compressed_size,
        "diff-digest": unpacked.diff_id,
        "diff-size": unpacked.size,
        **({"compression": compression} if compression else {}),
        "uidset": unpacked.uids,
        "gidset": unpacked.gids,
    }


def publish_layer(shelf: Shelf, record: dict[str, Any], staged: str, split: str, lock: Held) -> None:
    """Give the directory *staged* and the tar-split file *split* to the storage as a layer.

    Raises BadStorage when the parent has gone, or a layer of the same ID was never completed.
    """
    directory, layer_id = shelf.path("layers"), record["id"]
    present = _present(shelf, "layers")
    if any(each["id"] == layer_id for each in present):
        if shelf.layers[layer_id].incomplete:
            raise BadStorage(f"layer {layer_id} was never completed; any podman command that changes images removes it")
        return
    marked = {**record, "flags": {"incomplete": True}}
    _save_records(directory, "layers.json", [*present, marked], lock)
    try:
        with explained("rename", staged):
            shutil.move(split, shelf.path("layers", layer_id + ".tar-split.gz"))
            target = _home(shelf, layer_id)
            if os.path.lexists(target):  # what a crash left; no record knows it
                shutil.rmtree(target)
            os.rename(staged, target)
            if shelf.driver == "overlay":
                _link(shelf, layer_id)
    except BaseException:
        _forget(shelf, layer_id)
        _save_records(directory, "layers.json", present, lock)
        raise
    _save_records(directory, "layers.json", [*present, record], lock)


def _present(shelf: Shelf, kind: str) -> list[dict[str, Any]]:
    """The records as they are now, read again under the lock."""
    shelf.load()
    found = shelf.layers if kind == "layers" else shelf.images
    volatile = _volatile(shelf) if kind == "layers" else set()
    return [dict(each.record) for each in found.values() if each.id not in volatile]


def _volatile(shelf: Shelf) -> set[str]:
    path = shelf.path("layers", "volatile-layers.json")
    if not os.path.lexists(path):
        return set()
    with open(path, "rb") as file:
        return {each["id"] for each in records.records(file.read(), path)}


def _home(shelf: Shelf, layer_id: str) -> str:
    """The driver's directory of a layer."""
    return os.path.join(shelf.root, "overlay" if shelf.driver == "overlay" else "vfs/dir", layer_id)


def _link(shelf: Shelf, layer_id: str) -> None:
    """The short name by which overlay mounts name a layer."""
    with open(os.path.join(_home(shelf, layer_id), "link"), encoding="ascii") as file:
        os.symlink(f"../{layer_id}/diff", os.path.join(shelf.root, "overlay", "l", file.read()))


def overlay_files(staged: str, parent: str) -> None:
    """What overlay has beside a layer's ``diff``; *parent* is the directory of the layer below, "" for a base."""
    name = "".join(secrets.choice(_LETTERS) for _ in range(_LINK_LENGTH))
    _write(os.path.join(staged, "link"), name)
    for each in ("work", "merged", *(() if parent else ("empty",))):
        os.mkdir(os.path.join(staged, each), 0o700)
    if parent:
        lower = ["l/" + _read(os.path.join(parent, "link"))]
        with contextlib.suppress(FileNotFoundError):
            lower.append(_read(os.path.join(parent, "lower")))
        _write(os.path.join(staged, "lower"), ":".join(lower))


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _forget(shelf: Shelf, layer_id: str) -> None:
    """Remove the files of a layer."""
    home = _home(shelf, layer_id)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(shelf.root, "overlay", "l", _read(os.path.join(home, "link"))))
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(shelf.path("layers", layer_id), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(shelf.path("layers", layer_id + ".tar-split.gz"))


@dataclass(frozen=True, slots=True)
class NewImage:
    """What an image's record says, and its items of data by key."""

    items: Mapping[str, bytes]
    names: tuple[str, ...]
    created: str


def publish_image(store: Store, image_id: str, top: str, new: NewImage, lock: Held) -> None:
    """Record an image whose uppermost layer is *top*. A name that another image had moves.

    Raises BadStorage when *top* has gone, LocalError when the ID is another image's.
    """
    store.reload()
    shelf, layer = store.shelves[0], store.layer(top)
    present = _present(shelf, "images")
    if top and (layer is None or layer.incomplete):
        raise BadStorage(f"layer {top} was removed while image {image_id} was written")
    record = next((each for each in present if each["id"] == image_id), None)
    if record is None:
        record = {"id": image_id, "layer": top, "metadata": "{}", "created": new.created}
        present.append(record)
    elif (record.get("layer") or "") != top:
        raise LocalError(f"image with ID {json.dumps(image_id)} already exists, but uses a different top layer")
    names = list(new.names)
    for each in present:
        each["names"] = [name for name in each.get("names") or [] if name not in names]
    record["names"] = names + record["names"]
    record["names-history"] = names + [name for name in record.get("names-history") or [] if name not in names]
    _add_items(shelf, record, new.items)
    ordered = [{key: value for key, value in each.items() if value not in ([], "")} for each in present]
    _save_records(shelf.path("images"), "images.json", ordered, lock)


def _add_items(shelf: Shelf, record: dict[str, Any], items: Mapping[str, bytes]) -> None:
    directory = shelf.path("images", record["id"])
    os.makedirs(directory, 0o700, exist_ok=True)
    names, sizes = list(record.get("big-data-names") or []), dict(record.get("big-data-sizes") or {})
    digests = dict(record.get("big-data-digests") or {})
    for key, data in items.items():
        save(directory, records.big_data_file(key), data)
        names += [] if key in names else [key]
        sizes[key], digests[key] = len(data), str(Digest.of(data))
    record |= {"big-data-names": names, "big-data-sizes": sizes, "big-data-digests": digests}
    record["digest"] = digests.get(records.MANIFEST, record.get("digest", ""))


def remove_image(store: Store, image: Image, used: Callable[[str], str], layers: Held, images: Held) -> None:
    """Remove an image and the layers that nothing else needs; *used* names the container that has an image or layer.

    Raises LocalError for an image in use, NotThere when it has gone meanwhile.
    """
    shelf = store.shelves[0]
    present = _present(shelf, "images")
    if image.id not in shelf.images:
        raise NotThere(f"image {image.id} is not in the storage any more")
    if container := used(image.id):
        raise LocalError(f"image used by {container}: image is in use by a container")
    gone = _unneeded(shelf, image, used)
    _save_records(shelf.path("images"), "images.json", [each for each in present if each["id"] != image.id], images)
    shutil.rmtree(shelf.path("images", image.id), ignore_errors=True)
    kept = _present(shelf, "layers")
    marked = [each | {"flags": {**(each.get("flags") or {}), "incomplete": True}} if each["id"] in gone else each
              for each in kept]  # fmt: skip
    if gone:
        _save_records(shelf.path("layers"), "layers.json", marked, layers)
        for layer_id in gone:
            _forget(shelf, layer_id)
        _save_records(shelf.path("layers"), "layers.json", [each for each in kept if each["id"] not in gone], layers)


def _unneeded(shelf: Shelf, image: Image, used: Callable[[str], str]) -> list[str]:
    """The layers of an image from the top down to the first that another image, layer or container needs."""
    tops = {each.top for each in shelf.images.values() if each.id != image.id}
    tops |= {
        top for each in shelf.images.values() if each.id != image.id for top in each.record.get("mapped-layers") or []
    }
    gone = [str(each) for each in image.record.get("mapped-layers") or [] if each in shelf.layers]
    layer = image.top
    while layer in shelf.layers and layer not in tops and not used(layer):
        children = {each.id for each in shelf.layers.values() if each.parent == layer} - set(gone)
        if children:
            break
        gone.append(layer)
        layer = shelf.layers[layer].parent
    return gone
