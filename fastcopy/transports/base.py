"""The two central contracts: what a place must do to be read from, and to be written to.

Law 1: a place never sleeps, never repeats and never limits concurrency; it does what it is asked or raises.
Law 2: whoever opens a reader or an upload settles or closes it, exactly once.

Errors are raised with the side left empty; the engine knows which side a place is on and blames it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastcopy import media
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import DigestMismatch, FastcopyError, SizeMismatch, Unsupported

if TYPE_CHECKING:
    from fastcopy._native import Inlet, Outlet, Report
    from fastcopy.manifest import Manifest


@dataclass(frozen=True, slots=True)
class RawManifest:
    """A manifest as it was served: the exact bytes, their media type and our own digest of them."""

    raw: bytes
    media_type: str
    digest: Digest


class BlobReader(ABC):
    """One open blob body, lent to one pump.

    `inlet` is what the pump can hold; None means the body cannot be lent (chunked, TLS in TLS) and is read with
    `read_some`. `length` is the number of bytes that will come (-1 unknown).
    """

    inlet: Inlet | None
    length: int

    async def read_some(self) -> bytes:
        """The next piece, empty at the end. Only when `inlet` is None."""
        raise Unsupported("this body is read through its inlet")

    async def discard(self, count: int) -> None:
        """Throw away the next *count* bytes. Raises LinkLost when there are fewer."""
        if count:
            raise Unsupported("nothing of this body can be skipped")

    @abstractmethod
    async def settle(self, report: Report | None) -> None:
        """MUST be called after the pump gave the inlet back: keeps the connection if it is clean, else drops it."""

    @abstractmethod
    def close(self) -> None:
        """Drop everything at once; safe at any time."""


class Upload(ABC):
    """A blob on its way into a place, whole or in parts of at most `part_limit` bytes.

    Per part: `open`, the pump fills the outlet, then `next` if another part follows, or `finish`. An upload that was
    resumed begins at `offset`; one that stands at the blob's end is finished without a part.
    """

    part_limit: int | None = None
    offset: int = 0  #: bytes that the place has confirmed
    pausable: bool = False  #: whether several pumps may fill the outlet of one part, one after the other
    streams: bool = False  #: whether `send` takes a body whose length nobody knows yet

    async def send(self, data: bytes) -> None:
        """The next piece of a body of unknown length, first of all none, instead of `open`."""
        raise Unsupported("this place has to know a blob's length before it comes")

    @abstractmethod
    async def open(self, length: int) -> Outlet:
        """Ready to receive a part of *length* bytes (-1 unknown); the outlet is lent to one pump."""

    async def next(self, report: Report) -> None:
        """The part is sent and another one follows. Only when `part_limit` is not None."""
        raise Unsupported("this upload takes one part")

    @property
    def location(self) -> str:
        """Where another attempt, or another process, can go on with it; "" nowhere. A capability: never to be shown."""
        return ""

    def whole(self) -> None:
        """Before the first `open`: this upload is to come in one body, if the place lets it choose."""
        return

    async def abandon(self) -> None:
        """After `close`, of an upload that nobody goes on with: tell the place, which may not listen. Never raises."""
        return

    async def explain(self, report: Report) -> FastcopyError | None:
        """After a break in mid-body: what the place said about it, if anything."""
        return None

    @abstractmethod
    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        """Commit under *digest*. MUST raise, and MUST leave nothing under the digest, if anything was wrong."""

    @abstractmethod
    def close(self) -> None:
        """Give up; nothing may remain visible. Safe at any time, also after finish."""


@dataclass(frozen=True, slots=True)
class Referrers:
    """What a place lists as referring to a manifest; `kept`: it makes the list itself (referrers API of OCI 1.1)."""

    entries: tuple[Descriptor, ...] = ()
    kept: bool = False


#: Why a place that is no registry and no named image of a layout can hold an image only.
NO_COMPANIONS = "holds an image and nothing beside it: referrers and digest tags need a registry or an oci: layout"


@dataclass(frozen=True, slots=True)
class Accepts:
    """Facts about a destination, declared instead of discovered by failing."""

    manifests: frozenset[str] = media.MANIFESTS
    mounts: bool = False  #: can take a blob from another repository of the same registry
    compression: str = "keep"  #: keep | compress | decompress: what layers have to become
    pinned: bool = False  #: named by a digest: its manifest may not change on the way


class Source(ABC):
    """A place an image is read from."""

    name: str  #: as the user wrote it, with transport
    host: str  #: key of the scheduler's budgets: a registry, or "" for local places
    place: str  #: the repository, where blobs can be mounted from
    alone: str = NO_COMPANIONS  #: why nothing is found beside the image (see below); "" it can be asked for

    @property
    def ranges(self) -> bool:
        """Whether one blob may be read by several `open_blob` at once, and whether that could be faster."""
        return False

    @abstractmethod
    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        """The manifest the reference names, or the one with *digest*: verified against it, verbatim."""

    async def head(self) -> tuple[Digest | None, str]:
        """Digest and media type of what the reference names, if that is cheaper than `manifest`; else (None, "")."""
        return None, ""

    async def as_given(self, manifest: Manifest) -> Manifest:
        """*manifest* with its layers as this place can give them: another one where it keeps them uncompressed only."""
        return manifest

    @abstractmethod
    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        """Open bytes *first* to *last* (inclusive; default: the end) of a blob. MUST start exactly at *first*."""

    @abstractmethod
    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        """A small blob whole, verified by `verified`."""

    async def referrers(self, subject: Digest, artifact_type: str = "") -> Referrers:
        """What refers to *subject* here, of *artifact_type* at least; nothing is no error (distribution-spec 1.1)."""
        raise Unsupported(f"{self.name} {self.alone}")

    async def names(self) -> list[str]:
        """The tags of this place."""
        raise Unsupported(f"{self.name} {self.alone}")

    def companion(self, tag: str) -> Source:
        """Another image of the same place. It lives off what this one holds, and is closed with it."""
        raise Unsupported(f"{self.name} {self.alone}")

    async def close(self) -> None:
        """Release what this place holds."""
        return


class Destination(ABC):
    """A place an image is written to.

    Order is part of the contract: every blob of a manifest MUST be there before `put_manifest`, every child before
    its index, and `commit` comes last.
    """

    name: str
    host: str
    place: str  #: blobs are unique per (host, place): the repository, or a path
    accepts: Accepts
    alone: str = NO_COMPANIONS  #: why nothing can be put beside the image; "" it can
    lists_subjects: bool = False  #: the place said, of the manifest just put, that it lists it under its subject

    @abstractmethod
    async def current(self) -> Digest | None:
        """Digest of what the reference names now, if that is cheap to learn; None otherwise."""

    @abstractmethod
    async def has_blob(self, what: Descriptor) -> bool:
        """Whether the blob is there already, complete."""

    @abstractmethod
    async def begin(self, what: Descriptor) -> Upload:
        """Start an upload."""

    def elsewhere(self, place: str) -> Destination | None:
        """Another *place* of the same host, for blobs only; None where there is no such thing."""
        return None

    async def resume(self, what: Descriptor, location: str) -> Upload | None:
        """Go on with the upload at *location*, from where the place says it stands; None: there is none any more."""
        return None

    async def mount(self, what: Descriptor, mount_from: str) -> bool:
        """Take the blob from the place *mount_from* of the same host; False is not an error."""
        return False

    @abstractmethod
    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        """Store a small blob that is in memory and verified."""

    @abstractmethod
    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        """Store *raw* verbatim; *top*: under the reference of this destination, else by its digest."""

    async def referrers(self, subject: Digest) -> Referrers:
        """What is listed here as referring to *subject*, whether or not it is there."""
        raise Unsupported(f"{self.name} {self.alone}")

    async def has_manifest(self, digest: Digest) -> bool:
        """Whether the manifest with *digest* is there."""
        raise Unsupported(f"{self.name} {self.alone}")

    async def list_referrers(self, subject: Digest, entries: Sequence[Descriptor]) -> None:
        """Add *entries* (`Manifest.referrer`) to the list of what refers to *subject*, which the place does not keep.

        Reads, merges and writes: of several at once, all but one may be lost. The caller sees to it.
        """
        raise Unsupported(f"{self.name} {self.alone}")

    def companion(self, reference: str) -> Destination:
        """Another image of the same place, under a tag, or a digest (then it gets no name): as it is or not at all."""
        raise Unsupported(f"{self.name} {self.alone}")

    async def commit(self) -> None:
        """Make the image visible; called once, after the top manifest."""
        return

    async def close(self) -> None:
        """Release what this place holds; without a prior commit nothing may have become visible."""
        return


def verified(data: bytes, what: Descriptor) -> bytes:
    """*data*, if size and digest are the descriptor's; raises SizeMismatch or DigestMismatch."""
    if what.size not in (-1, len(data)):
        raise SizeMismatch(f"blob {what.digest} has {len(data)} bytes, its descriptor says {what.size}")
    if not what.digest.matches(data):
        got = Digest.of(data, what.digest.algorithm)
        raise DigestMismatch(f"Digest did not match, expected {what.digest}, got {got}")
    return data
