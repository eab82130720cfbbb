"""Small request bodies as bytes, never more than a stated limit."""

from __future__ import annotations

from fastcopy.serve.message import Body, Refusal


async def read_all(body: Body, limit: int, code: str) -> bytes:
    """A small body as bytes; raises Refusal 413 above `limit`."""
    too_large = Refusal(413, code, f"body is larger than {limit} bytes")
    if body.length is not None and body.length > limit:
        raise too_large
    parts: list[bytes] = []
    while part := await body.read(limit + 1 - sum(map(len, parts))):
        parts.append(part)
        if sum(map(len, parts)) > limit:
            raise too_large
    return b"".join(parts)
