"""What has to become of an image at a destination: its manifest's type, its layers' compression, or nothing.

Pure decisions, containers/image's rules (skopeo reference 5.3 to 5.6): what needs no change keeps its bytes; artifacts
are never converted. Refuses to know how layers are recompressed and manifests rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fastcopy import media
from fastcopy.codecs.base import CHUNKED
from fastcopy.convert import artifact_message, index_subset, rewrite_index
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import Unsupported
from fastcopy.manifest import Manifest
from fastcopy.options import CopyOptions
from fastcopy.transports.base import Accepts

_FORCED: Final = {"oci": media.OCI_MANIFEST, "v2s2": media.DOCKER_MANIFEST, "v2s1": media.SCHEMA1_SIGNED}
_FORCED_LIST: Final = {"oci": media.OCI_INDEX, "v2s2": media.DOCKER_LIST, "v2s1": media.DOCKER_LIST}
#: After the type it has, an image becomes the first of these that the destination takes.
_PREFERRED: Final = (media.DOCKER_MANIFEST, media.SCHEMA1_SIGNED, media.OCI_MANIFEST, media.SCHEMA1)
_WRITTEN: Final = ("gzip", "zstd", "zstd:chunked")
#: What containers/image writes into an index beside instances with zstd layers, and looks for when it chooses.
ZSTD_MARK: Final = {"io.github.containers.compression.zstd": "true"}
_PRESERVING: Final = "Instructed to preserve digests"
_PINNED: Final = "Destination specifies a digest"


@dataclass(frozen=True, slots=True)
class Plan:
    """The type the manifest gets, and for each layer, in order, its new compression ("": as it is)."""

    media_type: str
    layers: tuple[str, ...]

    @property
    def recodes(self) -> bool:
        """Whether any layer becomes another blob."""
        return any(self.layers)


def alters(options: CopyOptions) -> bool:
    """Whether *options* ask for something else than what the source has, so that equal digests prove nothing."""
    asked = (options.format, options.compression_format, options.strip_removed_platforms)
    return any(asked) or options.compress is not None


def fixed(accepts: Accepts, options: CopyOptions) -> str:
    """Why manifests must stay as they are, in containers/image's words; "" when they need not."""
    if options.preserve_digests:
        return _PRESERVING
    return _PINNED if accepts.pinned else ""


def plan(image: Manifest, accepts: Accepts, options: CopyOptions) -> Plan | None:
    """What has to be done to *image*; None: nothing. Raises Unsupported for what cannot or must not be done."""
    reason = fixed(accepts, options)
    layers = tuple(_compression(layer, image, accepts, options, reason) for layer in image.layers)
    to = _image_type(image, accepts, options, layers)
    if to == image.media_type and not any(layers):
        return None
    if to != image.media_type and not image.is_image:
        raise Unsupported(artifact_message(image))
    if reason and any(layers):
        raise Unsupported(
            f'Copying this image would require changing layer representation, which we cannot do: "{reason}"'
        )
    if reason:
        raise Unsupported(
            f'Manifest must be converted to type "{to}" to be written to destination, '
            f'but we cannot modify it: "{reason}"'
        )
    return Plan(to, layers)


def list_type(index: Manifest, accepts: Accepts, options: CopyOptions) -> str:
    """The type *index* gets; raises Unsupported when it would have to change and must not."""
    to = _FORCED_LIST.get(options.format, "")
    if not to and index.media_type in accepts.manifests:
        return index.media_type
    to = to or next((each for each in (media.DOCKER_LIST, media.OCI_INDEX) if each in accepts.manifests), "")
    if not to or to not in accepts.manifests:
        raise Unsupported(f"destination does not support any supported manifest list types ({_listed(accepts)})")
    reason = fixed(accepts, options)
    if reason and to != index.media_type:
        raise Unsupported(
            f'Manifest list must be converted to type "{to}" to be written to destination, '
            f'but we cannot modify it: "{reason}"'
        )
    return to


def relisted(
    index: Manifest,
    kept: Sequence[Descriptor],
    changed: Mapping[Digest, Descriptor],
    accepts: Accepts,
    options: CopyOptions,
) -> Manifest:
    """*index* as the destination gets it: of its type, with *changed* children (old digest to new descriptor), and
    without those that were not *kept* when --strip-removed-platforms says so. Itself when nothing differs.
    """
    to = list_type(index, accepts, options)
    stripped = options.strip_removed_platforms and len(kept) < len(index.children)
    if to == index.media_type and not changed and not stripped:
        return index
    if reason := fixed(accepts, options):
        raise Unsupported(
            f'Manifest list must be changed to be written to destination, but we cannot modify it: "{reason}"'
        )
    if stripped:
        made = index_subset(index, {child.digest for child in kept})
        index = Manifest.parse(made.raw, made.media_type, made.digest)
    made = rewrite_index(index, changed, to)
    return Manifest.parse(made.raw, made.media_type, made.digest)


def marked(image: Manifest, before: Manifest) -> Descriptor:
    """How an index points to *image*, made of *before*: with the mark by which readers choose zstd instances."""
    zstd = any(media.compression(layer.media_type) == "zstd" for layer in image.layers)
    if image.digest == before.digest or not zstd or image.media_type != media.OCI_MANIFEST:
        return image.descriptor
    return replace(image.descriptor, annotations=ZSTD_MARK)


def wanted_compression(accepts: Accepts, options: CopyOptions) -> str:
    """What layers have to become at a destination: keep, compress or decompress; --dest-compress has its say."""
    if accepts.compression == "keep" and options.compress is not None:
        return "compress" if options.compress else "decompress"
    return accepts.compression


def _compression(layer: Descriptor, image: Manifest, accepts: Accepts, options: CopyOptions, reason: str) -> str:
    """The new compression of one layer, "" to keep it. What nobody asked for is not done to a fixed manifest."""
    now, wanted = media.compression(layer.media_type), wanted_compression(accepts, options)
    chunked = any(key.startswith(CHUNKED) for key in layer.annotations or ())
    if image.kind == "schema1":
        now = "gzip"
    if not image.is_image or now not in ("none", "gzip", "zstd") or (layer.urls and media.is_foreign(layer.media_type)):
        return ""
    if wanted == "decompress":
        return "none" if now != "none" else ""
    if wanted != "compress" or (reason and not options.compression_format):
        return ""
    name = options.compression_format
    if name not in ("", *_WRITTEN):
        raise Unsupported(
            f"layers cannot be compressed as {name} in this version of fastcopy, only as gzip, zstd or zstd:chunked"
        )
    if now == "none":
        return name or "gzip"
    is_it = now in (name, name.partition(":")[0]) if chunked else name == now
    return name if name and not is_it else ""


def _image_type(image: Manifest, accepts: Accepts, options: CopyOptions, layers: Sequence[str]) -> str:
    if not image.is_image and not options.format:
        return image.media_type
    becomes = [new or media.compression(old.media_type) for new, old in zip(layers, image.layers, strict=True)]
    zstd = any(each.startswith("zstd") for each in becomes)
    if options.format:
        return _forced(image, options, zstd)
    for media_type in (image.media_type, *_PREFERRED):
        if media_type in accepts.manifests and (not zstd or media_type == media.OCI_MANIFEST):
            return media_type
    if zstd:
        raise Unsupported(
            f"compression using zstd required but the destination only supports MIME types [{_listed(accepts)}], "
            "none of which support it"
        )
    raise Unsupported(f"the destination takes none of the manifest types an image can have: {_listed(accepts)}")


def _forced(image: Manifest, options: CopyOptions, zstd: bool) -> str:
    to = _FORCED[options.format]
    if zstd and to != media.OCI_MANIFEST:
        raise Unsupported(f"compression using zstd required together with format {to}, which does not support it")
    return image.media_type if to in media.SCHEMA1_TYPES and image.media_type in media.SCHEMA1_TYPES else to


def _listed(accepts: Accepts) -> str:
    return ", ".join(sorted(accepts.manifests))
