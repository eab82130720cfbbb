"""The two contracts of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

#: Bytes that one step of a codec takes or gives (design, decision 17: blocks of 1 MiB, the lock taken once for each).
PIECE = 1 << 20
#: How the annotations of a zstd:chunked layer begin (containers/storage, docs/containers-storage-zstd-chunked.md).
CHUNKED = "io.github.containers.zstd-chunked."


class Decoder(ABC):
    """Inflates one blob. Every method raises IntegrityError when the bytes are not what they should be."""

    @abstractmethod
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The uncompressed bytes that *data* brings, in pieces of at most PIECE; exhaust it before the next call."""

    @abstractmethod
    def finish(self) -> None:
        """Nothing more comes; raises when something is missing."""


class Encoder(ABC):
    """Deflates one blob."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """After `finish`: what the layer's descriptor has to say so that readers can use the format in full."""
        return {}

    @abstractmethod
    def feed(self, data: bytes) -> list[bytes]:
        """Take *data*; the compressed pieces that are ready, perhaps none."""

    @abstractmethod
    def finish(self) -> list[bytes]:
        """The rest."""

    def close(self) -> None:
        """Leave no thread behind; safe at any time."""
        return
