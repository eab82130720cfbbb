"""sha256 and sha512 with a state that can be stored and continued; one thread at a time uses a Hasher."""

from typing import Self

from typing_extensions import Buffer

SHA256: str
"""Which code hashes: "openssl" (the interpreter's own libcrypto) or "portable"."""

def force_portable(on: bool) -> None:
    """A switch for tests: hashers made from now on use the portable kernels."""

class Hasher:
    """A digest in progress. ValueError for any algorithm but sha256 and sha512."""

    def __init__(self, algorithm: str = "sha256") -> None: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def length(self) -> int:
        """Bytes hashed so far."""

    def update(self, data: Buffer) -> None:
        """Hash *data*, without the interpreter's lock from 4 KiB on."""

    def digest(self) -> bytes:
        """Digest of what was hashed so far; the state is not disturbed."""

    def hexdigest(self) -> str:
        """`digest` in lower-case hexadecimal."""

    def copy(self) -> Self:
        """An independent Hasher in the same state."""

    def export(self) -> bytes:
        """The state in the stored form of `_state`: at most 16 + 64 + 127 + 4 bytes."""

    @classmethod
    def restore(cls, state: bytes) -> Self:
        """Continue from *state*; ValueError when it is damaged, or of a newer version."""
