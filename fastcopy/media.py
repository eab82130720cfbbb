"""Media types: one table of families, roles and compressions; pure look-ups.

Sources: image-spec media-types.md, docker image manifest v2 schema 2.
"""

from __future__ import annotations

from typing import Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_NONDISTRIBUTABLE: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA1_TYPES: Final = frozenset({SCHEMA1, SCHEMA1_SIGNED})
IMAGES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST}) | SCHEMA1_TYPES
MANIFESTS: Final = INDEXES | IMAGES
IMAGE_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})

#: One header line with every type we understand: with less, registries convert or answer 404.
ACCEPT: Final = ", ".join([OCI_MANIFEST, DOCKER_MANIFEST, SCHEMA1_SIGNED, SCHEMA1, DOCKER_LIST, OCI_INDEX])


def family(media_type: str) -> str:
    """``oci``, ``v2s2``, ``v2s1`` or ``""`` for a manifest's media type (skopeo's names for --format)."""
    if media_type in SCHEMA1_TYPES:
        return "v2s1"
    if media_type in (DOCKER_LIST, DOCKER_MANIFEST):
        return "v2s2"
    return "oci" if media_type in (OCI_INDEX, OCI_MANIFEST) else ""


def compression(media_type: str) -> str:
    """``gzip``, ``zstd``, ``none`` or ``""`` (not a layer type we know)."""
    base, _, suffix = media_type.partition("+")
    if base in (OCI_LAYER, OCI_NONDISTRIBUTABLE):
        return suffix or "none"
    for stem in (DOCKER_LAYER, DOCKER_FOREIGN):
        if media_type == stem:
            return "none"
        if media_type.startswith(stem + "."):
            return media_type.removeprefix(stem + ".")
    return ""


def is_foreign(media_type: str) -> bool:
    """Whether layers of this type live at their `urls`, not in the registry."""
    return media_type.startswith((OCI_NONDISTRIBUTABLE, DOCKER_FOREIGN))
