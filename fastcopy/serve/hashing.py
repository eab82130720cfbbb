"""Stand-in for the native hasher."""

from __future__ import annotations

import hashlib


class Hasher:
    """Temporary."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self._inner = hashlib.new(algorithm)
        self.length = 0

    def update(self, data: bytes | memoryview) -> None:
        """Hash."""
        self._inner.update(data)

    def hexdigest(self) -> str:
        """Hex."""
        return self._inner.hexdigest()
