"""What images.json and layers.json of a containers-storage say, and which image a name means; pure.

The fields are those of containers/storage's Go structs. An ID becomes part of a path, so its grammar is checked here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastcopy import strictjson
from fastcopy.descriptor import Digest, is_digest
from fastcopy.errors import BadManifest, BadName, ManifestUnknown
from fastcopy.names import DockerRef, StorageRef, parse_docker
from fastcopy.transports.storage import BadStorage

#: A record of a layer has about 600 bytes: this is room for 100 000 layers.
MAX_RECORDS: Final = 64 << 20
MANIFEST: Final = "manifest"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PLAIN = re.compile(r"[.0-9a-z]*")
#: Shorter texts are names, never abbreviated IDs (containers/image).
_SHORTEST_ID: Final = 3


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: *diff_id* is "" when nobody wrote it down; *size* is that of the uncompressed tar, -1 unknown."""

    id: str
    parent: str = ""
    diff_id: str = ""
    size: int = -1
    incomplete: bool = False
    record: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its names, its uppermost layer, and the digests of its manifests."""

    id: str
    names: tuple[str, ...] = ()
    top: str = ""
    digests: frozenset[str] = frozenset()
    record: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def big_data_file(key: str) -> str:
    """The file name of an item of data (``makeBigDataBaseName``)."""
    return key if _PLAIN.fullmatch(key) else "=" + base64.b64encode(key.encode()).decode()


def manifest_key(digest: str) -> str:
    """The item that holds the manifest with *digest*."""
    return f"{MANIFEST}-{digest}"


def records(raw: bytes, shown: str) -> list[dict[str, Any]]:
    """The objects of one of the files, as they are; raises BadStorage with *shown* for its path."""
    try:
        document = strictjson.load(raw, limit=MAX_RECORDS, what=shown) if raw else []
    except BadManifest as error:
        raise BadStorage(error.message) from None
    if document is None:
        document = []
    if not isinstance(document, list) or not all(isinstance(each, dict) for each in document):
        raise BadStorage(f"{shown} is not a list of objects")
    for each in document:
        if not isinstance(each.get("id"), str) or not _ID.fullmatch(each["id"]):
            raise BadStorage(f"{shown} has a record whose id is {str(each.get('id'))[:80]!r}")
    return document


def images(raw: bytes, shown: str) -> dict[str, Image]:
    """images.json by ID."""
    return {each["id"]: _image(each, shown) for each in records(raw, shown)}


def _image(record: dict[str, Any], shown: str) -> Image:
    names, digests = record.get("names") or [], record.get("big-data-digests") or {}
    top = record.get("layer") or ""
    if not _texts(names) or not isinstance(digests, dict) or not _is_id(top):
        raise BadStorage(f"{shown}: the record of image {record['id']} is damaged")
    kept = {str(value) for key, value in digests.items() if key.startswith(MANIFEST)}
    return Image(record["id"], tuple(names), top, frozenset(kept | {str(record.get("digest") or "")} - {""}), record)


def layers(raw: bytes, shown: str) -> dict[str, Layer]:
    """layers.json, or volatile-layers.json, by ID."""
    return {each["id"]: _layer(each, shown) for each in records(raw, shown)}


def _layer(record: dict[str, Any], shown: str) -> Layer:
    flags, parent = record.get("flags") or {}, record.get("parent") or ""
    size = record.get("diff-size", -1)
    if not isinstance(flags, dict) or not _is_id(parent) or type(size) is not int:
        raise BadStorage(f"{shown}: the record of layer {record['id']} is damaged")
    # A layer that was pulled in pieces has only the digest that the puller expected; it is verified as any other.
    diff_id = record.get("diff-digest") or flags.get("expected-layer-diffid") or ""
    if diff_id and not (isinstance(diff_id, str) and is_digest(diff_id)):
        raise BadStorage(f"{shown}: the digest of layer {record['id']} is {str(diff_id)[:80]!r}")
    return Layer(record["id"], parent, diff_id, size if diff_id else -1, bool(flags.get("incomplete")), record)


def _texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _is_id(found: Any) -> bool:
    return isinstance(found, str) and (not found or bool(_ID.fullmatch(found)))


def chain(top: str, find: Callable[[str], Layer | None], image: str) -> list[Layer]:
    """The layers of an image from its base to *top*; raises BadStorage for one that is missing, or a circle."""
    found: list[Layer] = []
    seen: set[str] = set()
    while top:
        layer = find(top)
        if layer is None or top in seen:
            why = "is its own ancestor" if layer else "is not in the storage"
            raise BadStorage(f"image {image}: its layer {top} {why}")
        if layer.incomplete:
            raise BadStorage(f"image {image}: its layer {top} was never completed")
        found.append(layer)
        seen.add(top)
        top = layer.parent
    return found[::-1]


def choose(found: Iterable[Image], ref: StorageRef, shown: str) -> Image:
    """The image that *ref* means, by containers/image's rules; raises ManifestUnknown, BadName.

    *shown* is the storage as messages name it.
    """
    listed = list(found)
    image, named = _by_id(listed, ref)
    if image is None and named is not None:
        image = _lookup(listed, str(named)) or _by_digest(listed, named)
    if image is None:
        what = str(named or "") + (f"@{ref.image_id}" if ref.image_id else "")
        raise ManifestUnknown(f'reference "{shown}{what}" does not resolve to an image ID')
    if named is not None and not _same_repository(image, named):
        raise ManifestUnknown(f'no image matching reference "{shown}{named}@{image.id}" found')
    return image


def _by_id(listed: list[Image], ref: StorageRef) -> tuple[Image | None, DockerRef | None]:
    """The image of an ID, whole or abbreviated, and what is left of the name."""
    text = ref.image_id
    if text:
        image = _lookup(listed, text)
        if len(text) < 64 and not (image and image.id.startswith(text)):
            raise BadName(f'"{text}" does not look like an image ID or digest: invalid reference')
        return image, ref.named
    if len(ref.text) >= _SHORTEST_ID and not set("@:") & set(ref.text):
        image = _lookup(listed, ref.text)
        if image and image.id.startswith(ref.text):
            return image, None
    return None, ref.named


def _lookup(listed: list[Image], text: str) -> Image | None:
    """By ID, by name, or by the one ID that begins so."""
    for image in listed:
        if image.id == text:
            return image
    for image in listed:
        if text in image.names:
            return image
    starting = {image.id: image for image in listed if image.id.startswith(text)}
    return next(iter(starting.values())) if len(starting) == 1 else None


def _by_digest(listed: list[Image], named: DockerRef) -> Image | None:
    if named.digest is None:
        return None
    return next((each for each in listed if named.digest in each.digests and _same_repository(each, named)), None)


def _same_repository(image: Image, named: DockerRef) -> bool:
    return any(_repository(name) == named.name for name in image.names)


def _repository(name: str) -> str:
    try:
        return parse_docker(name).name
    except BadName:
        return ""


def diff_id_of(layer: Layer) -> Digest:
    """The digest of a layer's tar; raises BadStorage when nobody wrote it down."""
    if not layer.diff_id:
        raise BadStorage(f"layer {layer.id}: its uncompressed digest is unknown")
    return Digest(layer.diff_id)
