"""Docker manifest schema 1, read only: layers, history, and the payload that its digest covers.

Owns the JWS wrapping ("prettyjws": the document with a `signatures` key, whose protected headers tell where the
payload ends) and the rules for v1 layer IDs. Refuses to know whether a signature is genuine: nobody has checked these
since 2016, and keys come with the document. Source: docker image manifest v2 schema 1.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastcopy import strictjson
from fastcopy.descriptor import Digest
from fastcopy.errors import BadManifest

#: Limit of a manifest in bytes (docker/distribution's and containers/image's).
MAX_MANIFEST: Final = 4 << 20
_LAYER_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class V1Layer:
    """One entry of fsLayers with its history entry, decoded (`compat`) and as written (`raw`)."""

    digest: Digest
    compat: Mapping[str, Any]
    raw: str

    @property
    def id(self) -> str:
        """The v1 layer ID."""
        return _text(self.compat, "id")

    @property
    def parent(self) -> str:
        """The v1 ID of the layer below."""
        return _text(self.compat, "parent")

    @property
    def empty(self) -> bool:
        """Whether the entry changed the configuration only; its blob is an empty gzipped tar."""
        return self.compat.get("throwaway") is True


@dataclass(frozen=True, slots=True)
class Schema1:
    """A schema 1 manifest; `layers` base first, those named twice under one ID kept apart in `dropped`."""

    name: str
    tag: str
    architecture: str
    layers: tuple[V1Layer, ...]
    dropped: tuple[V1Layer, ...] = ()

    @property
    def top(self) -> V1Layer:
        """The layer whose history entry carries the image's configuration."""
        return self.layers[-1]


def payload(raw: bytes, document: Mapping[str, Any] | None = None) -> bytes:
    """The bytes a schema 1 digest covers: *raw* without signatures; *raw* itself when it has none.

    *document* is *raw* decoded, when the caller has it. Raises BadManifest, also when the signed bytes say something
    else than the document around them.
    """
    if document is None:
        document = strictjson.load_object(raw, limit=MAX_MANIFEST, what="manifest")
    signatures = document.get("signatures")
    if signatures is None:
        return raw
    if not isinstance(signatures, list) or not signatures:
        raise BadManifest("schema 1 manifest has no usable signatures")
    ends = {_payload_end(signature) for signature in signatures}
    if len(ends) != 1:
        raise BadManifest("schema 1 signatures disagree about the payload")
    length, tail = ends.pop()
    if not 0 < length <= len(raw):
        raise BadManifest("schema 1 signature: invalid format length")
    signed = raw[:length] + tail
    rest = {key: value for key, value in document.items() if key != "signatures"}
    if strictjson.load_object(signed, limit=MAX_MANIFEST, what="signed payload") != rest:
        raise BadManifest("schema 1 manifest differs from its signed payload")
    return signed


def read(document: Mapping[str, Any]) -> Schema1:
    """Read a decoded schema 1 manifest; raises BadManifest with containers/image's texts."""
    if document.get("schemaVersion") != 1:
        raise BadManifest(f"unsupported schema version {document.get('schemaVersion')}")
    entries = _entries(document)
    _check_ids(entries)
    kept, dropped = _without_repeats(entries)
    return Schema1(
        _text(document, "name"), _text(document, "tag"), _text(document, "architecture"), tuple(kept), tuple(dropped)
    )


def _payload_end(signature: Any) -> tuple[int, bytes]:
    """(formatLength, formatTail) of one signature's protected header."""
    if not isinstance(signature, dict):
        raise BadManifest("schema 1 signature is not an object")
    header = strictjson.load_object(
        _base64url(_text(signature, "protected")), limit=MAX_MANIFEST, what="schema 1 protected header"
    )
    length = header.get("formatLength")
    if not isinstance(length, int) or isinstance(length, bool):
        raise BadManifest("schema 1 signature: missing format length")
    return length, _base64url(_text(header, "formatTail"))


def _base64url(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise BadManifest("schema 1 signature is not base64url") from None


def _entries(document: Mapping[str, Any]) -> list[V1Layer]:
    """fsLayers zipped with history, base first (the document lists the top first)."""
    layers, history = _list(document, "fsLayers"), _list(document, "history")
    if len(layers) != len(history):
        raise BadManifest("length of history not equal to number of layers")
    if not layers:
        raise BadManifest("no FSLayers in manifest")
    pairs = reversed(list(zip(layers, history, strict=True)))
    return [_entry(layer, entry, number) for number, (layer, entry) in enumerate(pairs)]


def _entry(layer: Mapping[str, Any], history: Mapping[str, Any], number: int) -> V1Layer:
    raw = _text(history, "v1Compatibility")
    compat = strictjson.load_object(raw.encode(), limit=MAX_MANIFEST, what=f"v2s1 history entry {number}")
    return V1Layer(Digest(_text(layer, "blobSum")), compat, raw)


def _check_ids(entries: list[V1Layer]) -> None:
    """IDs are hexadecimal, the base has no parent, and an ID comes back only next to itself."""
    for entry in entries:
        if not _LAYER_ID.fullmatch(entry.id):
            raise BadManifest(f'image ID "{entry.id[:80]}" is invalid')
    if entries[0].parent:
        raise BadManifest("Invalid parent ID in the base layer of the image")
    seen: set[str] = set()
    last = ""
    for entry in reversed(entries):
        if entry.id != last and entry.id in seen:
            raise BadManifest(f"ID {entry.id} appears multiple times in manifest")
        seen.add(last := entry.id)


def _without_repeats(entries: list[V1Layer]) -> tuple[list[V1Layer], list[V1Layer]]:
    """Keep the lowest of neighbours with equal IDs; every other entry must name the one below as its parent."""
    kept, dropped = [entries[0]], []
    for entry in entries[1:]:
        below = kept[-1]
        if entry.id == below.id:
            dropped.append(entry)
        elif entry.parent != below.id:
            raise BadManifest(f'Invalid parent ID. Expected {below.id}, got "{entry.parent[:80]}"')
        else:
            kept.append(entry)
    return kept, dropped


def _list(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadManifest(f"schema 1 field {key} is not a list of objects")
    return value


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadManifest(f"schema 1 field {key} is not a string")
    return value
