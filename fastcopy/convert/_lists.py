"""Lists: index <-> manifest list, children replaced, children left out.

Refuses to know the children's contents. What the other format lacks (annotations, subject, artifact type; Docker's
platform features) is dropped on crossing over, as containers/image drops it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from fastcopy import imageconfig, media
from fastcopy.convert._shapes import (
    DOCKER_CHILD,
    DOCKER_PLATFORM,
    OCI_DESCRIPTOR,
    SHAPES,
    Converted,
    make,
    read,
    written,
)
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, Unsupported
from fastcopy.gostruct import Struct
from fastcopy.manifest import Manifest
from fastcopy.platforms import host


def rewrite_index(index: Manifest, replaced: Mapping[Digest, Descriptor], to: str = "") -> Converted:
    """*index* with children replaced (old digest -> new descriptor), as media type *to* ("": as it is).

    Digest, size and media type are taken over; annotations are added to those that are there.
    """
    to = to or index.media_type
    if not index.is_index or to not in media.INDEXES:
        raise Unsupported(f'Can not convert {index.media_type} to MIME type "{to}", which is not a list type')
    missing = replaced.keys() - {child.digest for child in index.children}
    if missing:
        raise BadManifest(f"the index has no instance {min(missing)}")
    if to == index.media_type and all(_same(child, replaced) for child in index.children):
        return Converted(index.raw, to, index.digest)
    document = read(index)
    children = [_replace_child(child, replaced) for child in document["Manifests"] or []]
    return written(_as_list(document, children, to), to)


def index_subset(index: Manifest, keep: Collection[Digest], to: str = "") -> Converted:
    """*index* with only the children in *keep*; raises Unsupported when none would be left."""
    document = read(index)
    children = [child for child in document["Manifests"] or [] if child["Digest"] in keep]
    if not children:
        raise Unsupported("requested operation filtered out all platforms and would create an empty image")
    to = to or index.media_type
    if to == index.media_type and len(children) == len(index.children):
        return Converted(index.raw, to, index.digest)
    return written(_as_list(document, children, to), to)


def _same(child: Descriptor, replaced: Mapping[Digest, Descriptor]) -> bool:
    new = replaced.get(child.digest)
    return new is None or (new == child and not new.annotations)


def _replace_child(child: Struct, replaced: Mapping[Digest, Descriptor]) -> Struct:
    new = replaced.get(Digest(child["Digest"]))
    if new is None:
        return child
    values = child.values | {"Digest": str(new.digest), "Size": new.size, "MediaType": new.media_type}
    if new.annotations and "Annotations" in values:
        values["Annotations"] = {**(values["Annotations"] or {}), **new.annotations}
    return Struct(child.type, values)


def _as_list(document: Struct, children: list[Struct], to: str) -> Struct:
    """The list *document* with *children*, as type *to*; crossing over drops what the other format lacks."""
    if document.type is SHAPES[to]:
        return Struct(document.type, document.values | {"Manifests": children})
    cross: Callable[[Struct], Struct] = _docker_child if to == media.DOCKER_LIST else _oci_child
    return make(SHAPES[to], SchemaVersion=2, MediaType=to, Manifests=[cross(child) for child in children])


def _common(child: Struct) -> dict[str, Any]:
    return {key: child.values[key] for key in ("MediaType", "Digest", "Size", "URLs")}


def _oci_child(child: Struct) -> Struct:
    values = {key: value for key, value in child["Platform"].values.items() if key != "Features"}
    return make(OCI_DESCRIPTOR, **_common(child), Platform=make(imageconfig.PLATFORM, **values))


def _docker_child(child: Struct) -> Struct:
    found = child["Platform"]
    values = found.values if found else {"OS": host().os, "Architecture": host().architecture}
    return make(DOCKER_CHILD, **_common(child), Platform=make(DOCKER_PLATFORM, **values))
