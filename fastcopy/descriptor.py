"""Digests, platforms and descriptors: the values everything else points with.

Law: a Digest is valid by construction (grammar and length checked before it may enter a path or a URL, CVE-2024-3727).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastcopy.errors import BadManifest

#: Registered algorithms that we can verify, with the length of their lower-case hex (image-spec descriptor.md).
ALGORITHMS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Digest(str):
    """``algorithm:hex``; a str, so it is its own spelling in URLs, JSON and messages.

    Raises BadManifest when the grammar, the algorithm or the length is wrong.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        if isinstance(text, cls):
            return text
        algorithm, _, encoded = text.partition(":")
        if ALGORITHMS.get(algorithm) != len(encoded) or not _HEX.fullmatch(encoded):
            raise BadManifest(f"invalid or unsupported digest {text[:160]!r}")
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The lower-case hexadecimal part."""
        return self.partition(":")[2]

    @property
    def raw(self) -> bytes:
        """The digest's bytes."""
        return bytes.fromhex(self.hex)

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self.hex[:12]

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """Digest of *data*."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    def matches(self, data: bytes | memoryview) -> bool:
        """Whether *data* has this digest."""
        return Digest.of(data, self.algorithm) == self


def is_digest(text: str) -> bool:
    """Whether *text* is a digest we can verify."""
    try:
        Digest(text)
    except BadManifest:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Platform:
    """``os/architecture[/variant]`` (image-spec image-index.md)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``linux/arm64/v8``; raises ValueError."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"platform must be os/arch or os/arch/variant, not {text!r}")
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a piece of content: its digest, size in bytes (-1 unknown) and media type."""

    digest: Digest
    size: int = -1
    media_type: str = ""
    platform: Platform | None = field(default=None, compare=False)
    annotations: Mapping[str, str] | None = field(default=None, compare=False, hash=False)
    artifact_type: str = field(default="", compare=False)
    urls: tuple[str, ...] = field(default=(), compare=False)
