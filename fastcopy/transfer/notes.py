"""What the engine remembers of uploads and blobs beyond the attempt at hand: the contract, and the memory of one run.

Law 1: a note is a hint, never a proof. Whoever acts on one asks the registry, and tells `lost` when it was wrong.
Law 2: the calls come from the loop; they return at once and never raise. What stores them does so elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastcopy.descriptor import Digest


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that a registry keeps for us, as it stood when the registry last confirmed a part of it.

    `location` is where it goes on, `offset` the bytes confirmed, `state` the digest's states here and there
    (`resume.packed`).
    """

    host: str
    place: str
    digest: Digest
    location: str = field(repr=False)  #: may be a capability
    offset: int
    state: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Recoded:
    """What a layer became in another compression: digest and size of the new blob, and what it is uncompressed."""

    digest: Digest
    size: int
    diff_id: Digest
    annotations: Mapping[str, str] = field(default_factory=dict)  #: what the new blob's descriptor has to say


class Notes:
    """The memory of one run; a journal remembers more, and longer."""

    def __init__(self) -> None:
        self._uploads: dict[tuple[str, str, Digest], OpenUpload] = {}
        self._recoded: dict[tuple[Digest, str, int | None], Recoded] = {}
        self._facts: dict[tuple[str, str], str] = {}

    @property
    def lasting(self) -> bool:
        """Whether open uploads are remembered beyond this process."""
        return False

    def checkpoint(self, upload: OpenUpload) -> None:
        """*upload* has come this far."""
        self._uploads[upload.host, upload.place, upload.digest] = upload

    def open_upload(self, host: str, place: str, digest: Digest) -> OpenUpload | None:
        """How far an upload of *digest* to *place* of *host* had come."""
        return self._uploads.get((host, place, digest))

    def open_elsewhere(self, host: str, place: str, digest: Digest) -> OpenUpload | None:
        """An upload of *digest* to another place of *host* than *place*, where there is none."""
        found = [each for each in self._uploads.values() if (each.host, each.digest) == (host, digest)]
        return None if any(each.place == place for each in found) else next(iter(found), None)

    def closed(self, host: str, place: str, digest: Digest) -> None:
        """The upload is finished or given up: there is nothing to go on with."""
        self._uploads.pop((host, place, digest), None)

    def arrived(self, host: str, place: str, digest: Digest, size: int) -> None:
        """*digest*, of *size* bytes, is complete at *place* of *host*."""

    async def recall(self, host: str, digest: Digest) -> None:
        """Bring to mind what former runs noted of *digest* at *host*: only then `places` knows it."""

    def places(self, host: str, digest: Digest) -> Sequence[str]:
        """Places of *host* that once had *digest*."""
        return ()

    def lost(self, host: str, place: str, digest: Digest) -> None:
        """It is not there, whatever was noted."""

    def recoded(self, digest: Digest, compression: str, level: int | None) -> Recoded | None:
        """What layer *digest* became in *compression* at *level*, in this run or another."""
        return self._recoded.get((digest, compression, level))

    def became(self, digest: Digest, compression: str, level: int | None, made: Recoded) -> None:
        """Layer *digest* became *made*."""
        self._recoded[digest, compression, level] = made

    def fact(self, host: str, name: str) -> str:
        """What was learnt of *host* under *name*; "" nothing."""
        return self._facts.get((host, name), "")

    def learnt(self, host: str, name: str, value: str) -> None:
        """*host* behaves like this."""
        self._facts[host, name] = value

    def image(self, key: str, source: str, destination: str, state: str, **told: str) -> None:
        """The image of job *key* is now planned, copied, present or failed; *told*: source_digest, digest, error."""
