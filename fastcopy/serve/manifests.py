"""What a registry must know of a manifest it is given: pure reading, bytes untouched.

Unknown types pass (image-spec: they MUST NOT stop a registry); ambiguity does not.
"""

from __future__ import annotations

import json
from typing import Any

from fastcopy import media
from fastcopy.descriptor import Digest
from fastcopy.serve.catalogue import Child, Entry
from fastcopy.serve.message import Refusal
from fastcopy.serve.routes import digest_of


def examine(raw: bytes, content_type: str, digest: Digest | None = None) -> Entry:
    """The entry of a manifest; raises Refusal 400 MANIFEST_INVALID or DIGEST_INVALID."""
    actual = Digest.of(raw, digest.algorithm if digest else "sha256")
    if digest is not None and digest != actual:
        raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    document = _document(raw)
    kind = _media_type(document, content_type)
    if kind in media.SCHEMA1_TYPES or document.get("schemaVersion") == 1:
        layers = [layer.get("blobSum", "") for layer in _objects(document, "fsLayers")]
        return Entry(actual, len(raw), kind, blobs=_digests(layers))
    config = _object(document, "config")
    return Entry(
        actual,
        len(raw),
        kind,
        artifact_type=_text(document, "artifactType") or _text(config, "mediaType"),
        annotations=_annotations(document),
        subject=_subject(document),
        blobs=_blobs(config, document),
        children=tuple(_child(item) for item in _objects(document, "manifests")),
    )


def _document(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refusal(400, "MANIFEST_INVALID", "manifest is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "MANIFEST_INVALID", "manifest is not a JSON object")
    if "manifests" in value and ("layers" in value or "fsLayers" in value):
        raise Refusal(400, "MANIFEST_INVALID", "manifest is both an image and an index (CVE-2021-41190)")
    return value


def _media_type(document: dict[str, Any], content_type: str) -> str:
    sent, inside = content_type.partition(";")[0].strip(), _text(document, "mediaType")
    if sent and inside and sent != inside:
        raise Refusal(400, "MANIFEST_INVALID", "mediaType and Content-Type disagree")
    if not (sent or inside):
        raise Refusal(400, "MANIFEST_INVALID", "manifest without a media type")
    return sent or inside


def _blobs(config: dict[str, Any], document: dict[str, Any]) -> tuple[Digest, ...]:
    """Config, layers and (artifact manifests) blobs; layers that live elsewhere are not ours to demand."""
    parts = [config] if config else []
    parts += _objects(document, "layers") + _objects(document, "blobs")
    ours = [part for part in parts if not (part.get("urls") and media.is_foreign(_text(part, "mediaType")))]
    return _digests([part.get("digest", "") for part in ours])


def _child(item: dict[str, Any]) -> Child:
    return Child(digest_of(str(item.get("digest", ""))), _text(item, "mediaType"))


def _subject(document: dict[str, Any]) -> Digest | None:
    subject = _object(document, "subject")
    return digest_of(str(subject.get("digest", ""))) if subject else None


def _annotations(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    found = _object(document, "annotations").items()
    return tuple((key, value) for key, value in found if isinstance(value, str))


def _digests(values: list[Any]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(digest_of(str(value)) for value in values))


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = [] if document.get(key) is None else document[key]  # null is absent, as Go's decoder reads it
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Refusal(400, "MANIFEST_INVALID", f"{key} must be a list of objects")
    return found


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = {} if document.get(key) is None else document[key]
    if not isinstance(found, dict):
        raise Refusal(400, "MANIFEST_INVALID", f"{key} must be an object")
    return found


def _text(document: dict[str, Any], key: str) -> str:
    found = document.get(key)
    return found if isinstance(found, str) else ""
