"""Manifests as Go structs: the field tables of OCI's and Docker's documents, and the value a conversion returns.

Owns order, names and omitempty of image-spec's specs-go and of Docker's schema 2, which decide the bytes that are
written. Refuses to know what is converted into what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastcopy import gojson, gostruct, imageconfig, media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.gostruct import Field, PointerTo, SliceOf, Struct, StructType
from fastcopy.manifest import MAX_MANIFEST, Manifest

OCI_DESCRIPTOR: Final = StructType(
    "v1.Descriptor",
    (
        Field("MediaType", "mediaType", "string"),
        Field("Digest", "digest", "string"),
        Field("Size", "size", "int"),
        Field("URLs", "urls", "[]string", omit=True),
        Field("Annotations", "annotations", "map", omit=True),
        Field("Data", "data", "bytes", omit=True),
        Field("Platform", "platform", PointerTo(imageconfig.PLATFORM), omit=True),
        Field("ArtifactType", "artifactType", "string", omit=True),
    ),
)


def _oci_document(name: str, *entries: Field) -> StructType:
    """Manifest and index share all but what stands in the middle."""
    return StructType(
        name,
        (
            Field("SchemaVersion", "schemaVersion", "int"),
            Field("MediaType", "mediaType", "string", omit=True),
            Field("ArtifactType", "artifactType", "string", omit=True),
            *entries,
            Field("Subject", "subject", PointerTo(OCI_DESCRIPTOR), omit=True),
            Field("Annotations", "annotations", "map", omit=True),
        ),
    )


OCI_MANIFEST: Final = _oci_document(
    "v1.Manifest", Field("Config", "config", OCI_DESCRIPTOR), Field("Layers", "layers", SliceOf(OCI_DESCRIPTOR))
)
OCI_INDEX: Final = _oci_document("v1.Index", Field("Manifests", "manifests", SliceOf(OCI_DESCRIPTOR)))
DOCKER_DESCRIPTOR: Final = StructType(
    "manifest.Schema2Descriptor",
    (
        Field("MediaType", "mediaType", "string"),
        Field("Size", "size", "int"),
        Field("Digest", "digest", "string"),
        Field("URLs", "urls", "[]string", omit=True),
    ),
)
DOCKER_MANIFEST: Final = StructType(
    "manifest.Schema2",
    (
        Field("SchemaVersion", "schemaVersion", "int"),
        Field("MediaType", "mediaType", "string"),
        Field("Config", "config", DOCKER_DESCRIPTOR),
        Field("Layers", "layers", SliceOf(DOCKER_DESCRIPTOR)),
    ),
)
DOCKER_PLATFORM: Final = StructType(
    "manifest.Schema2PlatformSpec",
    (*imageconfig.PLATFORM.fields, Field("Features", "features", "[]string", omit=True)),
)
DOCKER_CHILD: Final = StructType(
    "manifest.Schema2ManifestDescriptor", (*DOCKER_DESCRIPTOR.fields, Field("Platform", "platform", DOCKER_PLATFORM))
)
DOCKER_LIST: Final = StructType(
    "manifest.Schema2List",
    (
        Field("SchemaVersion", "schemaVersion", "int"),
        Field("MediaType", "mediaType", "string"),
        Field("Manifests", "manifests", SliceOf(DOCKER_CHILD)),
    ),
)
SHAPES: Final = {
    media.OCI_MANIFEST: OCI_MANIFEST,
    media.DOCKER_MANIFEST: DOCKER_MANIFEST,
    media.OCI_INDEX: OCI_INDEX,
    media.DOCKER_LIST: DOCKER_LIST,
}


@dataclass(frozen=True, slots=True)
class Converted:
    """A manifest ready to be stored, and the config it points at; `config_raw` is None where there is none.

    `config_changed` says that `config_raw` is a new blob, `extra_blobs` are others that the source does not have:
    all of them must be stored before the manifest. `digest` is the one registries use (schema 1: of the payload).
    """

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest
    config: Descriptor | None = None
    config_raw: bytes | None = field(default=None, repr=False)
    config_changed: bool = False
    extra_blobs: Mapping[Digest, bytes] = field(default_factory=dict, repr=False, hash=False)

    @property
    def descriptor(self) -> Descriptor:
        """What an index or a tag points with."""
        return Descriptor(self.digest, len(self.raw), self.media_type)


def make(kind: StructType, **values: Any) -> Struct:
    """A struct of *kind* with *values* (by Go field name), zero elsewhere."""
    made: Struct = gostruct.zero(kind)
    made.values.update(values)
    return made


def read(manifest: Manifest) -> Struct:
    """The manifest's bytes as the struct of its media type."""
    document = strictjson.load_object(manifest.raw, limit=MAX_MANIFEST, what="manifest")
    return gostruct.decode(SHAPES[manifest.media_type], document)


def written(
    document: Struct, to: str, config: Descriptor | None = None, config_raw: bytes | None = None, changed: bool = False
) -> Converted:
    """*document* serialised as media type *to*."""
    raw = gojson.dumps(gostruct.encode(document)).encode()
    return Converted(raw, to, Digest.of(raw), config, config_raw, changed)
