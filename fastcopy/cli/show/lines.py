"""skopeo's lines on stdout (skopeo.md 4.2), and the two texts on stderr that follow a run: retries and the summary.

Owns the wording. A listener of events; knows neither terminals nor clocks.
"""

from __future__ import annotations

from collections.abc import Callable

from fastcopy.cli.log import Log
from fastcopy.cli.show.units import rate, seconds, size
from fastcopy.events import (
    BlobDone,
    BlobStarted,
    CopyDone,
    CopyReport,
    Event,
    ImageDone,
    ImageFailed,
    ImageStarted,
    ListStarted,
    ManifestWritten,
    Message,
    Retrying,
    Waiting,
)

Write = Callable[[str], None]

SIGNATURES = "Getting image source signatures"
SKIPPING = "Skipping: image already present at destination"
_WRITING = {"manifest": "Writing manifest to image destination", "list": "Writing manifest list to image destination"}


class Lines:
    """Writes skopeo's lines for a file or a pipe, complete digests included.

    Images of a list are copied side by side, so their lines mix where skopeo's follow each other.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._images = 0
        self._lists = 0
        self._configs: list[str] = []  # skopeo copies configs last; ours run beside the layers, so their lines wait

    def event(self, event: Event) -> None:
        """Write what skopeo would."""
        for line in self._lines(event):
            self._write(line)

    def _lines(self, event: Event) -> list[str]:
        match event:
            case ListStarted():
                self._lists += 1
                return list_lines(event)
            case ImageStarted():
                self._images += 1
                return image_lines(event, numbered=bool(self._lists))
            case BlobStarted(kind="config"):
                self._configs.append(f"Copying config {event.digest}")
            case BlobStarted():
                return [f"Copying blob {event.digest}"]
            case ManifestWritten():
                return [*self._held_back(), *written_lines(event)]
            case ImageDone(present=True):
                return [SKIPPING] if self._images else [SIGNATURES, SKIPPING]
            case Message(level="print"):
                return [event.text]
        return []

    def _held_back(self) -> list[str]:
        held, self._configs = self._configs, []
        return held

    def tick(self, now: float) -> None:
        """Nothing to sample."""

    def close(self) -> None:
        """Nothing to clean up."""


def list_lines(event: ListStarted) -> list[str]:
    """The lines that open a list."""
    chosen = f"Copying {event.images} images generated from {event.total} images in list"
    return ["Getting image list signatures", chosen]


def image_lines(event: ImageStarted, *, numbered: bool) -> list[str]:
    """The lines that open an image; images of a list are numbered."""
    head = [f"Copying image {event.digest} ({event.index}/{event.count})"] if numbered else []
    return [*head, SIGNATURES]


def written_lines(event: ManifestWritten) -> list[str]:
    """The lines that close an image or a list."""
    tail = ["Storing list signatures"] if event.kind == "list" else []
    return [_WRITING[event.kind], *tail]


class Notices:
    """What belongs to the log: retries, waits, failed images, messages that are not for stdout."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def event(self, event: Event) -> None:
        """Write a log line, if the event deserves one."""
        match event:
            case Retrying():
                self._log.warning(retry_text(event))
            case Waiting():
                self._log.info(f"Waiting {seconds(event.seconds)} for {event.host}: {event.why}")
            case ImageFailed():
                self._log.error(f"Copying image {event.digest} failed: {event.error}")
            case Message(level="debug"):
                self._log.debug(event.text)
            case Message(level="info"):
                self._log.info(event.text)
            case Message(level="warning"):
                self._log.warning(event.text)

    def tick(self, now: float) -> None:
        """Nothing to sample."""

    def close(self) -> None:
        """Nothing to clean up."""


def retry_text(event: Retrying) -> str:
    """skopeo's words: ``Failed, retrying in 1s ... (1/3). Error: …``."""
    count = f" ({event.attempt}/{event.attempts})" if event.attempts else ""
    what = f"{event.what} ({event.side})" if event.side in ("source", "destination") else event.what
    return f"Failed, retrying in {seconds(event.after)} ...{count}. Error: {what}: {event.error}"


class Summary:
    """One line on stderr when the copy is complete."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._report: CopyReport | None = None

    def event(self, event: Event) -> None:
        """Remember the report; it is written at the end, when no live display is in the way."""
        if isinstance(event, CopyDone):
            self._report = event.report

    def tick(self, now: float) -> None:
        """Nothing to sample."""

    def close(self) -> None:
        """Write the line."""
        if self._report is not None:
            self._write(summary_text(self._report))


def summary_text(report: CopyReport) -> str:
    """Bytes moved, rate, time; what existing and mounted blobs saved."""
    moved = "Nothing had to be copied"
    if report.blobs_copied:
        speed = f", {rate(report.bytes_copied / report.seconds)}" if report.seconds > 0 else ""
        moved = f"Copied {_blobs(report.blobs_copied)}, {size(report.bytes_copied)}{speed}"
    return f"{moved}, in {seconds(report.seconds)}{_saved(report)}"


def _saved(report: CopyReport) -> str:
    ways = [f"{_blobs(report.blobs_reused)} already there"] if report.blobs_reused else []
    if report.blobs_mounted:
        ways.append(f"{_blobs(report.blobs_mounted)} mounted")
    if not ways:
        return ""
    return f"; saved {size(report.bytes_reused + report.bytes_mounted)}: {', '.join(ways)}"


def _blobs(count: int) -> str:
    return f"{count} blob" if count == 1 else f"{count} blobs"


def done_text(event: BlobDone) -> str:
    """How a finished blob's line on a terminal ends; skopeo's words where skopeo has them."""
    match event.how:
        case "present":
            return "skipped: already exists"
        case "mounted":
            return f"mounted from {event.origin}" if event.origin else "mounted"
        case "resumed":
            return f"done (resumed) | {size(max(event.size, 0))}"
    return f"done   | {size(max(event.size, 0))}"
