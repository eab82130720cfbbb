"""New manifest bytes, only when asked: Docker <-> OCI, schema 1 both ways, list <-> index, subsets, replaced layers.

Law: every function is pure, and but for schema 1's throw-away signature deterministic; the bytes are those that
containers/image writes for the same question (field order of the Go structs, HTML escaping), so that digests agree
between tools. An image that needs no change keeps its bytes.
Refuses to know why a conversion is wanted and where the results go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastcopy import imageconfig, media
from fastcopy.convert import _schema1
from fastcopy.convert._lists import index_subset, rewrite_index
from fastcopy.convert._schema1 import schema2_config
from fastcopy.convert._shapes import (
    DOCKER_DESCRIPTOR,
    OCI_DESCRIPTOR,
    SHAPES,
    Converted,
    make,
    read,
    written,
)
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, Unsupported
from fastcopy.gostruct import Struct, StructType
from fastcopy.manifest import Manifest

__all__ = ["Converted", "artifact_message", "convert", "index_subset", "rewrite_index", "schema2_config"]

_CONFIG_TYPES: Final = {media.OCI_MANIFEST: media.OCI_CONFIG, media.DOCKER_MANIFEST: media.DOCKER_CONFIG}
_DESCRIPTORS: Final = {media.OCI_MANIFEST: OCI_DESCRIPTOR, media.DOCKER_MANIFEST: DOCKER_DESCRIPTOR}
#: (target format, foreign) -> the layer type, without its compression's suffix.
_STEMS: Final = {
    (media.OCI_MANIFEST, False): media.OCI_LAYER,
    (media.OCI_MANIFEST, True): media.OCI_NONDISTRIBUTABLE,
    (media.DOCKER_MANIFEST, False): media.DOCKER_LAYER,
    (media.DOCKER_MANIFEST, True): media.DOCKER_FOREIGN,
}
_SUFFIXES: Final = {
    media.OCI_MANIFEST: {"none": "", "gzip": "+gzip", "zstd": "+zstd"},
    media.DOCKER_MANIFEST: {"none": "", "gzip": ".gzip"},
}


def convert(
    manifest: Manifest,
    config_raw: bytes | None,
    to: str,
    *,
    diff_ids: Sequence[Digest] | None = None,
    layers: Sequence[Descriptor] | None = None,
    name: str = "",
    tag: str = "",
) -> Converted:
    """*manifest* as media type *to*, with *layers* as they are at the destination, in the manifest's order.

    The compression that a layer's media type names decides the type it gets; annotations and URLs are taken as given.
    Schema 1 sources need *layers* (for their sizes) and *diff_ids*, one per layer; schema 1 targets take the *name*
    and *tag* they embed. Raises Unsupported when *to* cannot express the image, BadManifest when the config is none.
    """
    if to in media.INDEXES or manifest.is_index:
        return rewrite_index(manifest, {}, to)
    if layers is not None and len(layers) != len(manifest.layers):
        raise BadManifest(
            f"Error preparing updated manifest: layer count changed from {len(manifest.layers)} to {len(layers)}"
        )
    if to in media.SCHEMA1_TYPES:
        return _to_schema1(manifest, config_raw, layers, name, tag)
    if to not in _CONFIG_TYPES:
        raise Unsupported(f"Conversion of image manifest from {manifest.media_type} to {to} is not implemented")
    if manifest.kind == "schema1":
        return _from_schema1(manifest, to, diff_ids, layers)
    if to == manifest.media_type and layers is None:
        return Converted(manifest.raw, to, manifest.digest, manifest.config, config_raw)
    return _from_image(manifest, config_raw, to, layers)


def artifact_message(manifest: Manifest) -> str:
    """containers/image's words for an image operation on something that is no image."""
    config_type = manifest.config.media_type if manifest.config else ""
    kind = manifest.artifact_type or config_type
    if kind == media.DOCKER_CONFIG:
        return f'invalid mixed OCI image with Docker v2s2 config ("{kind}")'
    return f'unsupported image-specific operation on artifact with type "{kind}"'


def _from_image(
    manifest: Manifest, config_raw: bytes | None, to: str, layers: Sequence[Descriptor] | None
) -> Converted:
    document, crossing = read(manifest), to != manifest.media_type
    if crossing and not manifest.is_image:
        raise Unsupported(artifact_message(manifest))
    given = layers if layers is not None else [_bare(layer) for layer in manifest.layers]
    entries = [
        _entry(_DESCRIPTORS[to], new, _layer_type(old, new, to, crossing))
        for old, new in zip(manifest.layers, given, strict=True)
    ]
    if not crossing:
        document.values["Layers"] = entries
        return written(document, to, manifest.config, config_raw)
    config, config_raw, changed = _convert_config(manifest, config_raw, to)
    return written(_image(to, config, entries), to, config, config_raw, changed)


def _bare(layer: Descriptor) -> Descriptor:
    """A layer as a conversion alone carries it over: containers/image leaves its annotations behind."""
    return Descriptor(layer.digest, layer.size, layer.media_type, urls=layer.urls)


def _entry(kind: StructType, layer: Descriptor, media_type: str) -> Struct:
    entry = make(kind, MediaType=media_type, Digest=str(layer.digest), Size=layer.size, URLs=list(layer.urls))
    if kind is OCI_DESCRIPTOR:
        entry.values["Annotations"] = layer.annotations
    return entry


def _image(to: str, config: Descriptor, layers: list[Struct]) -> Struct:
    """A manifest of type *to* from nothing but config and layers."""
    pointer = _entry(_DESCRIPTORS[to], config, config.media_type)
    return make(SHAPES[to], SchemaVersion=2, MediaType=to, Config=pointer, Layers=layers)


def _convert_config(manifest: Manifest, raw: bytes | None, to: str) -> tuple[Descriptor, bytes | None, bool]:
    """Docker -> OCI drops the fields that only Docker has; OCI -> Docker keeps the blob under another type."""
    assert manifest.config is not None
    if to == media.DOCKER_MANIFEST:
        return Descriptor(manifest.config.digest, manifest.config.size, media.DOCKER_CONFIG), raw, False
    if raw is None:
        raise BadManifest("the conversion to OCI needs the image's config")
    made = imageconfig.oci_bytes(raw)
    return Descriptor(Digest.of(made), len(made), media.OCI_CONFIG), made, made != raw


def _layer_type(old: Descriptor, new: Descriptor, to: str, crossing: bool) -> str:
    """The media type in format *to* of a layer that was *old* and is now compressed as *new* says."""
    was = media.compression(old.media_type)
    now = media.compression(new.media_type) or was
    if now == was and not crossing:
        return old.media_type
    if "encrypted" in was and to == media.DOCKER_MANIFEST:
        raise Unsupported(
            f'during manifest conversion: encrypted layers ("{old.media_type}") are not supported in docker images'
        )
    if was and now in _SUFFIXES[to]:
        return _STEMS[to, media.is_foreign(old.media_type)] + _SUFFIXES[to][now]
    if now == "zstd":
        raise Unsupported(
            f'Error during manifest conversion: "{old.media_type}": zstd compression is not supported for docker images'
        )
    raise Unsupported(f'Unknown media type during manifest conversion: "{old.media_type}"')


def _from_schema1(
    manifest: Manifest, to: str, diff_ids: Sequence[Digest] | None, layers: Sequence[Descriptor] | None
) -> Converted:
    assert manifest.v1 is not None
    if diff_ids is None or len(diff_ids) != len(manifest.layers):
        raise BadManifest("the conversion from schema 1 needs the uncompressed digest of every layer")
    full = [
        (diff_id, new)
        for layer, diff_id, new in zip(manifest.v1.layers, diff_ids, layers or manifest.layers, strict=True)
        if not layer.empty
    ]
    config_raw = schema2_config(manifest.v1, [diff_id for diff_id, _ in full])
    if to == media.OCI_MANIFEST:
        config_raw = imageconfig.oci_bytes(config_raw)
    config = Descriptor(Digest.of(config_raw), len(config_raw), _CONFIG_TYPES[to])
    entries = [_entry(_DESCRIPTORS[to], new, _layer_type(_gzipped(new), new, to, True)) for _, new in full]
    return written(_image(to, config, entries), to, config, config_raw, True)


def _gzipped(layer: Descriptor) -> Descriptor:
    """Schema 1 names no types: its layers are Docker's gzipped tars."""
    return Descriptor(layer.digest, layer.size, media.DOCKER_LAYER + ".gzip")


def _to_schema1(
    manifest: Manifest, config_raw: bytes | None, layers: Sequence[Descriptor] | None, name: str, tag: str
) -> Converted:
    if not manifest.is_image:
        raise Unsupported(artifact_message(manifest))
    placed = list(layers if layers is not None else manifest.layers)
    if manifest.v1 is not None:
        unsigned = _schema1.renamed(manifest.v1, [layer.digest for layer in placed], name, tag)
    elif config_raw is None:
        raise BadManifest("the conversion to schema 1 needs the image's config")
    else:
        for old, new in zip(manifest.layers, placed, strict=True):
            _layer_type(old, new, media.DOCKER_MANIFEST, True)
        unsigned = _schema1.from_config(config_raw, [layer.digest for layer in placed], name, tag)
    extra = {_schema1.EMPTY_DIGEST: _schema1.EMPTY_LAYER} if _schema1.EMPTY_DIGEST in unsigned.decode() else {}
    return Converted(_schema1.sign(unsigned), media.SCHEMA1_SIGNED, Digest.of(unsigned), extra_blobs=extra)
