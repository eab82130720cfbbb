"""No compression, behind the same two contracts."""

from __future__ import annotations

from collections.abc import Iterator

from fastcopy.codecs.base import PIECE, Decoder, Encoder


class PlainDecoder(Decoder):
    """Bytes as they are, in pieces."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]

    def finish(self) -> None:
        return


class PlainEncoder(Encoder):
    """Bytes as they are."""

    def feed(self, data: bytes) -> list[bytes]:
        return [data] if data else []

    def finish(self) -> list[bytes]:
        return []
