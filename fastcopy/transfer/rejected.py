"""A registry that has all blobs of an image and rejects its manifest: the other formats are tried, as skopeo does.

containers/image's rules (skopeo reference 5.4): nothing is tried when a format was asked for or the manifest is pinned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from fastcopy import media
from fastcopy.errors import FastcopyError, PeerError, Unsupported
from fastcopy.transfer import reshape
from fastcopy.transports.base import Destination

if TYPE_CHECKING:
    from fastcopy.transfer.image import ImageCopy, Result

#: What is tried, after the type the manifest had, and the types that each stands for.
_FORMATS: Final[tuple[tuple[Literal["v2s2", "oci"], frozenset[str]], ...]] = (
    ("v2s2", frozenset({media.DOCKER_MANIFEST, media.DOCKER_LIST})),
    ("oci", frozenset({media.OCI_MANIFEST, media.OCI_INDEX})),
)


def is_rejection(result: Result) -> bool:
    """Whether a registry does not take this manifest, where it may take another."""
    if not isinstance(result, PeerError):
        return False
    not_json = result.code == "UNSUPPORTED" and "Invalid JSON syntax" in result.message
    return result.code == "MANIFEST_INVALID" or not_json or result.status == 415


async def in_other_formats(copy: ImageCopy, target: Destination, failure: FastcopyError) -> Result:
    """The copy to *target*, which rejected the manifest, in the formats that are left; the result."""
    top, options = copy.top, copy.run.copy
    if top is None or not (top.is_image or top.is_index) or options.format or reshape.fixed(target.accepts, options):
        return failure
    tried = [f"{top.media_type} ({failure})"]
    for name, types in _FORMATS:
        if top.media_type in types or not types & target.accepts.manifests:
            continue
        result = await copy.again(target, replace(options, format=name))
        if not (is_rejection(result) or isinstance(result, Unsupported)):  # layers in zstd have no other format
            return result
        tried.append(f"{'/'.join(sorted(types))} ({result})")
    failure.message = f"Uploading manifest failed, attempted the following formats: {', '.join(tried)}"
    return failure
