"""Bodies on their way between a socket and a file: who carries them, the loop or a worker thread.

Small bodies stay in the loop; large ones are handed over once (carrying.py). Files on plain connections go by
sendfile(2) from the loop: the kernel copies nothing then, and there is no digest to compute.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastcopy.serve import carrying
from fastcopy.serve.content import Spool
from fastcopy.serve.link import Link
from fastcopy.serve.message import BodyLost, Chunks, Slice

_SLAB = 256 * 1024


async def receive(link: Link, spool: Spool, length: int) -> None:
    """Move exactly `length` bytes from the connection into a spool; raises BodyLost, OSError."""
    if length >= carrying.LARGE and carrying.has_room():
        await carrying.receive(link, spool, length)
        return
    slab = memoryview(bytearray(min(_SLAB, length)))
    while length:
        got = await link.receive_into(slab[: min(len(slab), length)])
        if not got:
            raise BodyLost
        spool.write(slab[:got])
        length -= got


async def send(link: Link, body: bytes | Slice | Chunks) -> None:
    """Send a reply's body; raises BodyLost, Hangup."""
    if isinstance(body, bytes):
        await link.send(body)
    elif isinstance(body, Slice):
        await _send_slice(link, body)
    else:
        async with aclosing(body.source) as source:
            async for chunk in source:
                await link.send(chunk)


async def _send_slice(link: Link, part: Slice) -> None:
    with part.blob.open() as source:
        if isinstance(source, bytes):
            await link.send(memoryview(source)[part.start : part.start + part.length])
        elif not link.tls:
            await link.send_file(source, part.start, part.length)
        elif part.length >= carrying.LARGE and carrying.has_room():
            await carrying.send(link, source, part.start, part.length)
        else:
            await _send_encrypted(link, source, part.start, part.length)


async def _send_encrypted(link: Link, fd: int, start: int, length: int) -> None:
    end = start + length
    while start < end:
        block = os.pread(fd, min(_SLAB, end - start), start)
        if not block:
            raise BodyLost
        await link.send(block)
        start += len(block)


async def pieces(body: bytes | Slice | Chunks) -> AsyncGenerator[memoryview, None]:
    """A reply's body in pieces, for a front end that frames them (use aclosing: it holds the file open).

    Raises BodyLost, Hangup.
    """
    if isinstance(body, bytes):
        yield memoryview(body)
    elif isinstance(body, Chunks):
        async with aclosing(body.source) as source:
            async for chunk in source:
                yield memoryview(chunk)
    else:
        with body.blob.open() as stored:
            at, end = body.start, body.start + body.length
            while at < end:
                block = _block(stored, at, end)
                yield block
                at += len(block)


def _block(source: int | bytes, start: int, end: int) -> memoryview:
    if isinstance(source, bytes):
        return memoryview(source)[start:end]
    block = os.pread(source, min(_SLAB, end - start), start)
    if not block:
        raise BodyLost
    return memoryview(block)
