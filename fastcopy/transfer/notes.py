"""What the engine remembers of uploads and blobs beyond the attempt at hand: the contract, and the memory of one run.

Law 1: a note is a hint, never a proof. Whoever acts on one asks the registry, and tells `lost` when it was wrong.
Law 2: the calls come from the loop; they return at once and never raise. What stores them does so elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastcopy.descriptor import Digest


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that a registry keeps for us, as it stood when the registry last confirmed a part of it.

    `location` is where it goes on, `offset` the bytes confirmed, `state` the digest's state there (`Hasher.export`).
    """

    host: str
    place: str
    digest: Digest
    location: str
    offset: int
    state: bytes


class Notes:
    """Remembers open uploads for one run and nothing else; a journal remembers more, and longer."""

    def __init__(self) -> None:
        self._uploads: dict[tuple[str, str, Digest], OpenUpload] = {}

    def checkpoint(self, upload: OpenUpload) -> None:
        """*upload* has come this far."""
        self._uploads[upload.host, upload.place, upload.digest] = upload

    def open_upload(self, host: str, place: str, digest: Digest) -> OpenUpload | None:
        """How far an upload of *digest* to *place* of *host* had come."""
        return self._uploads.get((host, place, digest))

    def closed(self, host: str, place: str, digest: Digest) -> None:
        """The upload is finished or given up: there is nothing to go on with."""
        self._uploads.pop((host, place, digest), None)

    def arrived(self, host: str, place: str, digest: Digest) -> None:
        """*digest* is complete at *place* of *host*."""

    def places(self, host: str, digest: Digest) -> Sequence[str]:
        """Places of *host* that once had *digest*."""
        return ()

    def lost(self, host: str, place: str, digest: Digest) -> None:
        """It is not there, whatever was noted."""
