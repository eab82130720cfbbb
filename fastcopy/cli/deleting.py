"""``delete``: the manifest that a name points at."""

from __future__ import annotations

from fastcopy.cli.call import Call
from fastcopy.cli.names import parse
from fastcopy.errors import FastcopyError, ManifestUnknown

#: skopeo's words for what is not there; it exits with 1 here, not with 2.
_MISSING = "Unable to delete {}. Image may not exist or is not stored with a v2 Schema in a v2 registry"


async def run(call: Call) -> int:
    """Delete; prints nothing."""
    from fastcopy.api import delete_async
    from fastcopy.names import DockerRef, with_default_tag

    (image,) = call.arguments(1, "Usage: delete imageReference")
    ref = parse(image, f"Invalid source name {image}")
    try:
        await delete_async(image, call.options(), trace=call.trace)
    except ManifestUnknown:
        if not isinstance(ref, DockerRef):
            raise
        raise FastcopyError(_MISSING.format(with_default_tag(ref))) from None
    return 0
