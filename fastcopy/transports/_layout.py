"""The index of an OCI image layout: finding, entering and removing references (image-spec image-layout.md).

The first half is pure; the second reads, changes and replaces ``index.json`` by `layoutfile`, so that several writers
lose no entry.
Refuses to know what manifests say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastcopy import layoutfile, media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, ManifestUnknown, Unsupported
from fastcopy.layoutfile import INDEX, MARK, MARK_TEXT, REF_NAME, encoded
from fastcopy.transports._local import Room, explained

__all__ = ["INDEX", "MARK", "MARK_TEXT", "REF_NAME", "encoded"]
#: An entry has about 300 bytes: room for 200 000 images in one layout.
MAX_INDEX: Final = 64 << 20

Document = dict[str, Any]


def empty() -> Document:
    """An index without entries."""
    return {"schemaVersion": 2, "manifests": []}


def parse(raw: bytes, shown: str) -> Document:
    """A decoded index whose ``manifests`` is a list of objects with valid digests; raises BadManifest."""
    document = strictjson.load_object(raw, limit=MAX_INDEX, what=shown)
    entries = document.setdefault("manifests", [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise BadManifest(f"{shown} is not an OCI image index: manifests is not a list of descriptors")
    for entry in entries:
        descriptor(entry, shown)
    return document


def check_mark(raw: bytes, shown: str) -> None:
    """Raise unless *raw* (``oci-layout``) declares a version that we know."""
    version = strictjson.load_object(raw, limit=1 << 16, what=shown).get("imageLayoutVersion")
    if not isinstance(version, str) or version.partition(".")[0] != "1":
        raise Unsupported(f"{shown} has the unsupported imageLayoutVersion {str(version)[:40]!r}")


def descriptor(entry: Document, shown: str) -> Descriptor:
    """The descriptor of one entry; raises BadManifest."""
    digest, size, media_type = entry.get("digest"), entry.get("size", -1), entry.get("mediaType") or ""
    if not isinstance(digest, str) or not isinstance(media_type, str):
        raise BadManifest(f"{shown} has an entry without a digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < -1:
        raise BadManifest(f"{shown} has an entry with an impossible size")
    if not isinstance(entry.get("annotations") or {}, dict):
        raise BadManifest(f"{shown} has an entry whose annotations are not an object")
    try:
        return Descriptor(Digest(digest), size, media_type)
    except BadManifest as error:
        raise BadManifest(f"{shown} has an entry with an {error.message}") from None


def ref_name(entry: Document) -> str | None:
    """The reference name of an entry; None when it has none."""
    name = (entry.get("annotations") or {}).get(REF_NAME)
    return name if isinstance(name, str) else None


def find(document: Document, name: str, index: int, digest: Digest | None) -> Document:
    """The entry that a reference names, by containers/image's rules; raises ManifestUnknown, Unsupported."""
    entries: list[Document] = document["manifests"]
    if index >= 0:
        if index >= len(entries):
            raise ManifestUnknown(f"index {index} is too large, only {len(entries)} entries available")
        return entries[index]
    if digest:
        found = [each for each in entries if each["digest"] == digest]
    elif name:
        known = media.MANIFESTS - media.SCHEMA1_TYPES
        found = [each for each in entries if ref_name(each) == name and each.get("mediaType") in known]
    elif len(entries) != 1:
        raise Unsupported("more than one image in oci, choose an image")
    else:
        found = entries
    if not found:
        raise ManifestUnknown(f'no descriptor found for reference "{digest or name}"')
    return found[0]


def entered(document: Document, what: Descriptor, name: str) -> Document:
    """*document* with *what* under *name*; who had the name stays, unnamed (containers/image's rules)."""
    new: Document = {"mediaType": what.media_type, "digest": str(what.digest), "size": what.size}
    if name:
        new["annotations"] = {REF_NAME: name}
    entries = [_unnamed(each) if name and ref_name(each) == name else each for each in document["manifests"]]
    same = [at for at, each in enumerate(entries) if each["digest"] == what.digest and not ref_name(each)]
    if same:
        gone = set(same[1:])
        entries = [new if at == same[0] else each for at, each in enumerate(entries) if at not in gone]
    elif not any(each["digest"] == what.digest for each in entries) or name:
        entries.append(new)
    return {**document, "manifests": entries}


def _unnamed(entry: Document) -> Document:
    rest = {key: value for key, value in entry["annotations"].items() if key != REF_NAME}
    bare = {key: value for key, value in entry.items() if key != "annotations"}
    return {**bare, "annotations": rest} if rest else bare


def without(document: Document, entry: Document) -> Document:
    """*document* without one entry."""
    return {**document, "manifests": [each for each in document["manifests"] if each is not entry]}


def load(room: Room) -> Document:
    """The index as it is now, an empty one when there is none; raises BadManifest, LocalError."""
    raw = room.read(INDEX, MAX_INDEX)
    return empty() if raw is None else parse(raw, room.shown(INDEX))


def change(room: Room, changed: Callable[[Document], Document]) -> Document:
    """Replace the index by what *changed* makes of it, under the lock; the new document."""
    with explained("write", room.shown(INDEX)), layoutfile.locked(room.fd):
        if room.read(MARK, 1 << 16) is None:
            layoutfile.replace(room.fd, MARK, MARK_TEXT)
        document = changed(load(room))
        layoutfile.replace(room.fd, INDEX, encoded(document))
    return document
