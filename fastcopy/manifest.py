"""Manifests: raw bytes read once into a frozen value; the bytes are kept and never written anew.

Law 1: `raw` is what was fetched, byte for byte; whoever needs other bytes asks `convert`.
Law 2: a document that two readers could take for two things is refused here (CVE-2021-41190): fields of several
formats, keys twice or differing in case only, a body that contradicts its Content-Type.
Refuses to know where the bytes came from. Sources: image-spec manifest.md, image-index.md, descriptor.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

from fastcopy import media, schema1, strictjson
from fastcopy.descriptor import Descriptor, Digest, Platform
from fastcopy.errors import BadManifest, DigestMismatch, Unsupported

Kind = Literal["index", "image", "schema1"]

#: Limit of a manifest in bytes (docker/distribution's and containers/image's).
MAX_MANIFEST: Final = schema1.MAX_MANIFEST
#: Layers or children of one manifest; 4 MiB hold about 28 000 of the shortest descriptors, real images have < 130.
MAX_ENTRIES: Final = 10_000
#: Content types that say nothing: the body decides.
_MEANINGLESS: Final = frozenset({"", "application/json", "text/plain", "application/octet-stream"})
#: The fields that make a format, and which of them each kind may have.
_ESSENTIAL: Final = ("config", "fsLayers", "history", "layers", "manifests")
_ALLOWED: Final[dict[Kind, tuple[str, ...]]] = {
    "index": ("manifests",),
    "image": ("config", "layers"),
    "schema1": ("fsLayers", "history"),
}
_TOP_FIELDS: Final = (*_ESSENTIAL, "schemaVersion", "mediaType", "artifactType", "subject", "annotations", "signatures")
_DESCRIPTOR_FIELDS: Final = ("mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType", "data")


class _Platform(msgspec.Struct):
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str | None = None
    size: int | None = None
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    platform: _Platform | None = None


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    annotations: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index. `digest` covers `raw`, without signatures for signed schema 1.

    `layers` are in order, base first, and may repeat; `children` are an index's entries in order.
    """

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest
    kind: Kind
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    v1: schema1.Schema1 | None = field(default=None, repr=False, compare=False)

    @staticmethod
    def parse(raw: bytes, media_type: str = "", digest: Digest | None = None) -> Manifest:
        """Read *raw*, served as *media_type* (Content-Type, or "" when nobody said), asked for by *digest*.

        Raises BadManifest, DigestMismatch, or Unsupported for a manifest of no known type.
        """
        document = strictjson.load_object(raw, limit=MAX_MANIFEST, what="manifest")
        strictjson.refuse_lookalikes(document, _TOP_FIELDS, "manifest")
        if not isinstance(document.get("mediaType"), str | None):
            raise BadManifest("manifest has a mediaType that is not a string")
        resolved = resolve_media_type(document, media_type)
        kind = kind_of(resolved)
        _refuse_ambiguous(document, kind, resolved)
        signed = schema1.payload(raw, document) if kind == "schema1" else raw
        actual = _checked_digest(signed, raw, digest)
        if kind == "schema1":
            return _from_schema1(raw, resolved, actual, schema1.read(document))
        return _from_document(raw, resolved, actual, kind, document)

    @property
    def size(self) -> int:
        """Length of `raw` in bytes."""
        return len(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """What an index or a tag points with; its size is that of `raw`."""
        return Descriptor(self.digest, len(self.raw), self.media_type, artifact_type=self.artifact_type)

    @property
    def referrer(self) -> Descriptor:
        """What a list of referrers has of this: with its annotations, and its artifact type or else its config's."""
        kind = self.artifact_type or (self.config.media_type if self.config else "")
        return replace(self.descriptor, artifact_type=kind, annotations=self.annotations or None)

    @property
    def is_index(self) -> bool:
        """Whether this lists other manifests."""
        return self.kind == "index"

    @property
    def is_image(self) -> bool:
        """Whether this is a container image, not an index and not an artifact of another kind.

        Docker's formats know images only (old ones call their config octet-stream); OCI tells by the config's type.
        """
        if self.media_type == media.OCI_MANIFEST:
            return self.config is not None and self.config.media_type == media.OCI_CONFIG
        return self.kind != "index"

    @property
    def foreign(self) -> tuple[Descriptor, ...]:
        """Layers that live at their `urls` and are not copied."""
        return tuple(layer for layer in self.layers if _lives_elsewhere(layer))

    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob that must be at a place before this manifest: config and layers, each digest once."""
        found = {self.config.digest: self.config} if self.config else {}
        for layer in self.layers:
            if not _lives_elsewhere(layer):
                found.setdefault(layer.digest, layer)
        for dropped in self.v1.dropped if self.v1 else ():
            found.setdefault(dropped.digest, Descriptor(dropped.digest))
        return tuple(found.values())


def kind_of(media_type: str) -> Kind:
    """Which of the three shapes a manifest of *media_type* has; raises Unsupported for other types."""
    if media_type in media.INDEXES:
        return "index"
    if media_type in media.SCHEMA1_TYPES:
        return "schema1"
    if media_type in media.IMAGES:
        return "image"
    raise Unsupported(f"unsupported manifest media type {media_type[:160]!r}")


def guess_media_type(document: Mapping[str, Any]) -> str:
    """The manifest type that a decoded document looks like, as containers/image guesses it; "" if none."""
    named = document.get("mediaType")
    if isinstance(named, str) and named in media.MANIFESTS - media.SCHEMA1_TYPES:
        return named
    version = document.get("schemaVersion")
    if version == 1:
        return media.SCHEMA1 if document.get("signatures") is None else media.SCHEMA1_SIGNED
    if version != 2:
        return ""
    config = document.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else ""
    if config_type == media.DOCKER_CONFIG:
        return media.DOCKER_MANIFEST
    return media.OCI_INDEX if document.get("manifests") and not config_type else media.OCI_MANIFEST


def resolve_media_type(document: Mapping[str, Any], content_type: str) -> str:
    """Settle Content-Type and body; raises BadManifest when both mean something and differ."""
    served = content_type.partition(";")[0].strip().lower()
    named = document.get("mediaType") or ""
    if served in media.MANIFESTS:
        if served in media.SCHEMA1_TYPES:
            served = guess_media_type(document) if document.get("schemaVersion") == 1 else served
        elif named and named != served:
            raise BadManifest(f"manifest says it is {str(named)[:160]!r} but was served as {served!r}")
        return served
    guess = guess_media_type(document)
    if named and named != guess:
        raise Unsupported(f"unsupported manifest media type {str(named)[:160]!r}")
    if served not in _MEANINGLESS and not named and not guess:
        raise Unsupported(f"unsupported manifest media type {served[:160]!r}")
    if not guess:
        raise BadManifest("unsupported manifest: neither its Content-Type nor its body tells the format")
    return guess


def _refuse_ambiguous(document: Mapping[str, Any], kind: Kind, media_type: str) -> None:
    extra = [key for key in _ESSENTIAL if document.get(key) is not None and key not in _ALLOWED[kind]]
    if extra:
        raise BadManifest(f"rejecting ambiguous manifest, unexpected fields {extra} in supposedly {media_type}")
    version = document.get("schemaVersion")
    if kind != "schema1" and version not in (None, 2):
        raise BadManifest(f"unsupported schema version {str(version)[:20]} in supposedly {media_type}")


def _checked_digest(signed: bytes, raw: bytes, wanted: Digest | None) -> Digest:
    """The digest in the wanted algorithm; a signed schema 1 may also be asked for by the digest of all its bytes."""
    if wanted is None:
        return Digest.of(signed)
    if wanted.matches(signed) or (signed is not raw and wanted.matches(raw)):
        return wanted
    got = Digest.of(signed, wanted.algorithm)
    raise DigestMismatch(f"manifest digest did not match, expected {wanted}, got {got}")


def _from_schema1(raw: bytes, media_type: str, digest: Digest, v1: schema1.Schema1) -> Manifest:
    layers = tuple(Descriptor(layer.digest) for layer in v1.layers)
    return Manifest(raw, media_type, digest, "schema1", layers=layers, v1=v1)


def _from_document(raw: bytes, media_type: str, digest: Digest, kind: Kind, document: dict[str, Any]) -> Manifest:
    for name, entry in _pointers(document):
        strictjson.refuse_lookalikes(entry, _DESCRIPTOR_FIELDS, name)
    try:
        typed = msgspec.convert(document, _Document)
    except msgspec.ValidationError as problem:
        raise BadManifest(f"manifest is not a valid {media_type}: {problem}") from None
    if kind == "image" and typed.config is None:
        raise BadManifest(f"manifest is not a valid {media_type}: no config")
    return Manifest(
        raw,
        media_type,
        digest,
        kind,
        _descriptor(typed.config) if typed.config else None,
        _descriptors(typed.layers),
        _descriptors(typed.manifests),
        _descriptor(typed.subject) if typed.subject else None,
        typed.annotations or {},
        typed.artifact_type or "",
    )


def _pointers(document: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Every descriptor of a decoded document with the name of its field."""
    for name in ("config", "subject"):
        if isinstance(document.get(name), dict):
            yield name, document[name]
    for name in ("layers", "manifests"):
        entries = document.get(name)
        if isinstance(entries, list):
            if len(entries) > MAX_ENTRIES:
                raise BadManifest(f"manifest has {len(entries)} {name}, more than the limit of {MAX_ENTRIES}")
            yield from ((name, entry) for entry in entries if isinstance(entry, dict))


def _descriptors(entries: list[_Descriptor] | None) -> tuple[Descriptor, ...]:
    return tuple(_descriptor(entry) for entry in entries or ())


def _descriptor(entry: _Descriptor) -> Descriptor:
    size = -1 if entry.size is None else entry.size
    if size < -1 or size >= 1 << 63:
        raise BadManifest(f"descriptor of {entry.digest[:80]} has an impossible size {size}")
    return Descriptor(
        Digest(entry.digest),
        size,
        entry.media_type or "",
        _platform(entry.platform),
        entry.annotations,
        entry.artifact_type or "",
        tuple(entry.urls or ()),
    )


def _platform(found: _Platform | None) -> Platform | None:
    return Platform(found.os or "", found.architecture or "", found.variant or "") if found else None


def _lives_elsewhere(layer: Descriptor) -> bool:
    """A foreign layer with URLs is not the registry's; without URLs nobody else could have it."""
    return bool(layer.urls) and media.is_foreign(layer.media_type)
