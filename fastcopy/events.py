"""Events: what a run tells its caller, and the meters a renderer samples.

Owns the vocabulary between engine and audience. Knows neither how a copy works nor how it is shown.

Law 1: events are rare and discrete, frozen values that survive JSON (`as_dict`). Rates are not events: bytes are
counted where they move, and whoever wants to draw them samples `Meters.snapshot()` as often as it likes.
Law 2: one `CopyStarted` first, carrying the meters, one `CopyDone` (of many images: `SyncDone`) last, unless the run
raises; in between per image `ImageStarted`, its blobs and `ManifestWritten`, then `ImageDone` or `ImageFailed`. Images
may interleave.
Law 3: events are emitted from the trio thread and their listener must not block or raise.
Law 4: no text in an event carries credentials, tokens or query strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from fastcopy.errors import Side

BlobKind = Literal["blob", "config"]
ManifestKind = Literal["manifest", "list"]
How = Literal["copied", "present", "mounted", "resumed"]
Level = Literal["print", "debug", "info", "warning"]


@dataclass(frozen=True, slots=True)
class BlobMeter:
    """A blob in flight: `size` in bytes (-1 unknown), `done` bytes of it read from the source so far."""

    digest: str
    size: int
    done: int


@dataclass(frozen=True, slots=True)
class HostMeter:
    """One side of one registry: `bytes` of blobs moved so far, what is in flight there, and what holds it back."""

    host: str
    side: Side
    bytes: int = 0
    bodies: int = 0  #: in flight
    requests: int = 0  #: other steps in flight
    window: int = 0  #: bodies that may be in flight at once
    shrunk: int = 0  #: times that trouble made a window smaller
    waiting: int = 0  #: steps that wait for their turn
    closed: float = 0.0  #: seconds for which the registry wants to be left alone
    pace: float | None = None  #: requests per second that it was seen to take


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters at one moment, in bytes and seconds; all but `active`, `waiting` and `bandwidth` only grow."""

    bytes_in: int = 0  #: received from sources
    bytes_out: int = 0  #: sent to destinations
    active: tuple[BlobMeter, ...] = ()  #: in the order they started
    planned: int = 0  #: sizes of all blobs known so far, each once; 0: not known, nothing can be estimated
    settled: int = 0  #: of `planned`, the blobs that need no more work (copied, present or mounted)
    waiting: tuple[str, ...] = ()  #: what the run waits for, in words ("registry.example: rate limit")
    hosts: tuple[HostMeter, ...] = ()
    waited_in: float = 0.0  #: seconds that bodies have waited for sources, all bodies together
    waited_out: float = 0.0  #: ... and for destinations
    cpu: float = 0.0  #: seconds that this process has computed
    bandwidth: int = 0  #: the limit of the run in bytes per second, 0: none


class Meters(Protocol):
    """Where a renderer looks; a snapshot is cheap enough for ten a second."""

    def snapshot(self) -> Snapshot:
        """The counters now."""
        ...


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What one copy did; blobs are layers and configs, sizes are bytes, `seconds` is wall time."""

    digest: str  #: of the manifest (or list) written under the destination's name
    media_type: str = ""
    bytes_copied: int = 0
    bytes_reused: int = 0  #: the destination had them already
    bytes_mounted: int = 0  #: the destination took them from another of its repositories
    blobs_copied: int = 0
    blobs_reused: int = 0
    blobs_mounted: int = 0
    seconds: float = 0.0
    requests: int = 0
    digest_map: Mapping[str, str] = field(default_factory=dict)  #: of changed manifests: source to destination
    companions: int = 0  #: referrers and digest tags that were copied with it


@dataclass(frozen=True, slots=True)
class CopyStarted:
    """A copy begins; names as the user gave them."""

    source: str
    destination: str
    meters: Meters | None = field(default=None, compare=False, repr=False)  #: not part of the JSON form


@dataclass(frozen=True, slots=True)
class ListStarted:
    """The source is a list (image index) of `total` instances, of which `images` are going to be copied."""

    digest: str
    images: int
    total: int


@dataclass(frozen=True, slots=True)
class ImageStarted:
    """One image (a manifest, not a list) begins; number `index` (from 1) of `count`, 1 of 1 outside of lists."""

    digest: str
    platform: str = ""  #: os/arch[/variant], empty when not known
    index: int = 1
    count: int = 1


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """Work on a blob begins; also sent for blobs that turn out to be present. `size` -1: unknown."""

    digest: str
    size: int = -1
    kind: BlobKind = "blob"


@dataclass(frozen=True, slots=True)
class BlobDone:
    """The destination has the blob; `how` it came there, `origin` is the repository it was mounted from."""

    digest: str
    size: int = -1
    how: How = "copied"
    kind: BlobKind = "blob"
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ManifestWritten:
    """A manifest or list is about to be complete at the destination: sent when its PUT begins, as skopeo's line is."""

    digest: str
    kind: ManifestKind = "manifest"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The run holds back from `host` for `seconds`, because of `why` (a rate limit, a back-off)."""

    host: str
    why: str
    seconds: float
    side: Side = ""


@dataclass(frozen=True, slots=True)
class Retrying:
    """A step failed and is tried again `after` seconds; `attempt` of `attempts` further ones (0: not counted)."""

    what: str
    error: str
    after: float = 0.0
    side: Side = ""
    attempt: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class ImageDone:
    """An image is complete; `digest` as it is at the destination. `present`: nothing had to be done."""

    digest: str
    present: bool = False


@dataclass(frozen=True, slots=True)
class ImageFailed:
    """An image of a larger run failed; `error` in words, `slug` its class in fastcopy.errors."""

    digest: str
    error: str
    slug: str = "error"
    side: Side = ""


@dataclass(frozen=True, slots=True)
class CopyDone:
    """The copy is complete and its name points to it."""

    report: CopyReport


@dataclass(frozen=True, slots=True)
class SyncPlanned:
    """What a run of many images is going to copy is known by name: `images` from `sources` places.

    Said again with larger numbers while `listing` further places are being listed; 0: these are all.
    """

    images: int
    sources: int
    listing: int = 0


@dataclass(frozen=True, slots=True)
class SyncedImage:
    """One of many images is settled: `status` is copied, present or failed, `digest` that of its destination."""

    source: str
    destination: str
    status: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class SyncDone:
    """A run of many images is over; `totals` as in its report, without the single images."""

    totals: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence for people: `print` belongs to skopeo's lines on stdout, the other levels to the log."""

    text: str
    level: Level = "print"


Event = (
    CopyStarted
    | ListStarted
    | ImageStarted
    | BlobStarted
    | BlobDone
    | ManifestWritten
    | Waiting
    | Retrying
    | ImageDone
    | ImageFailed
    | CopyDone
    | SyncPlanned
    | SyncedImage
    | SyncDone
    | Message
)
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of those who do not listen."""


def kind_of(event: Event) -> str:
    """The name of an event in JSON: ``blob-done`` for BlobDone."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(event).__name__).lower()


def as_dict(event: Event) -> dict[str, Any]:
    """The JSON form: ``{"event": "blob-done", ...}`` with a report's fields laid flat; meters are left out."""
    body = event.report if isinstance(event, CopyDone) else event
    values = {item.name: getattr(body, item.name) for item in fields(body) if item.name != "meters"}
    return {"event": kind_of(event), **values}
