"""``delete``: the manifest that a name points at."""

from __future__ import annotations

from fastcopy.cli.call import Call
from fastcopy.cli.names import parse


async def run(call: Call) -> int:
    """Delete; prints nothing."""
    from fastcopy.api import delete_async

    (image,) = call.arguments(1, "Usage: delete imageReference")
    parse(image, f"Invalid source name {image}")
    call.sides["source"] = image
    await delete_async(image, call.options(), trace=call.trace)
    return 0
