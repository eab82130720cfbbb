"""Layer compression as feed and finish: what is sniffed, inflated and deflated, a block at a time.

Law 1: pure and synchronous; calls run on worker threads, and the libraries give up the interpreter's lock meanwhile.
Law 2: no call returns more than about PIECE bytes, whatever the input: a bomb costs time, never memory.
Refuses to know digests, media types and where the bytes come from or go.
"""

from __future__ import annotations

from fastcopy.codecs.base import PIECE, Decoder, Encoder
from fastcopy.codecs.deflating import GzipEncoder
from fastcopy.codecs.inflating import decoder, sniff
from fastcopy.codecs.plain import PlainEncoder
from fastcopy.errors import Unsupported

__all__ = ["PIECE", "Decoder", "Encoder", "GzipEncoder", "PlainEncoder", "decoder", "encoder", "sniff"]


def encoder(compression: str, level: int | None = None, workers: int = 1) -> Encoder:
    """What writes *compression* (none, gzip, zstd, zstd:chunked) on up to *workers* further threads; close it.

    *level* None is the format's default. The bytes depend on format and level only, never on *workers*. Raises
    UsageError for a level that the format does not have, Unsupported for a format that is not written.
    """
    if compression == "none":
        return PlainEncoder()
    if compression == "gzip":
        return GzipEncoder(level, workers)
    if compression == "zstd":
        from fastcopy.codecs.zstandard import ZstdEncoder

        return ZstdEncoder(level, workers)
    if compression == "zstd:chunked":
        from fastcopy.codecs.chunked import ChunkedEncoder

        return ChunkedEncoder(level, workers)
    raise Unsupported(f"layers cannot be compressed as {compression} in this version of fastcopy")
