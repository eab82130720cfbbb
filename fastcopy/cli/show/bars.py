"""Live bars on a terminal: a line per blob in flight, a total line, finished blobs left standing above them.

Owns the drawing; rich moves the cursor. rich is imported when the first frame is due, so a copy that is done before
that never pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from fastcopy.cli.show.hosts import host_text
from fastcopy.cli.show.lines import SKIPPING, done_text, image_lines, list_lines, written_lines
from fastcopy.cli.show.progress import Progress
from fastcopy.cli.show.units import rate, seconds, size
from fastcopy.events import BlobDone, BlobMeter, Event, ImageDone, ImageStarted, ListStarted, ManifestWritten, Message

if TYPE_CHECKING:
    from rich.live import Live

#: Eight frames a second look alive and cost about one percent of a core.
INTERVAL = 0.125
#: skopeo's bars are 40 columns wide; ours shrink with the terminal, and vanish below the least that says anything.
BAR, LEAST_BAR = 40, 8
_PREFIX = "Copying blob "
#: Registries that get a row of their own: the fastest, where there are more.
HOSTS = 6


class Bars:
    """Draws on *stream*, a terminal. *write* prints a standing line while nothing is drawn yet."""

    def __init__(self, stream: TextIO, write: Callable[[str], None], delay: float = 0.25) -> None:
        self._stream = stream
        self._write = write
        self._delay = delay
        self._first: float | None = None
        self._progress = Progress()
        self._live: Live | None = None
        self.stand = standing  #: an event's standing lines

    def event(self, event: Event) -> None:
        """Count, and leave a standing line where the event ends something."""
        self._progress.event(event)
        for line in self.stand(event):
            self.above(line, self._write)

    def above(self, text: str, otherwise: Callable[[str], None]) -> None:
        """Print a standing line above the live part, by *otherwise* while there is none."""
        if self._live is None:
            otherwise(text)
            return
        from rich.text import Text

        self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def tick(self, now: float) -> None:
        """Draw a frame."""
        self._progress.sample(now)
        self._first = now if self._first is None else self._first
        if now - self._first < self._delay and self._live is None:
            return
        live = self._live or self._begin()
        from rich.text import Text

        rows = frame(self._progress, live.console.width, live.console.height - 2)
        live.update(Text("\n".join(rows), no_wrap=True, overflow="crop"), refresh=True)

    def _begin(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False,
                          redirect_stderr=False)  # fmt: skip
        self._live.start()
        return self._live

    def close(self) -> None:
        """Remove the live part; standing lines stay."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def standing(event: Event) -> list[str]:
    """The lines that stay on the terminal; a blob gets one when it is done."""
    match event:
        case ListStarted():
            return list_lines(event)
        case ImageStarted():
            return image_lines(event, numbered=event.count > 1)
        case BlobDone():
            return [f"Copying {event.kind} {short(event.digest, event.kind)} {done_text(event)}"]
        case ManifestWritten():
            return written_lines(event)
        case ImageDone(present=True):
            return [SKIPPING]
        case Message(level="print"):
            return [event.text]
    return []


def short(digest: str, kind: str = "blob") -> str:
    """So many hex digits that blob and config lines end in the same column, as skopeo's do."""
    return digest.partition(":")[2][: 10 if kind == "config" else 12]


def frame(progress: Progress, width: int, height: int) -> list[str]:
    """The live part: at most *height* rows of at most *width* columns."""
    active = progress.last.active
    below = [*host_rows(progress), *(f"waiting for {what}" for what in progress.last.waiting), *_total_rows(progress)]
    room = max(1, height - len(below))
    shown = active if len(active) <= room else active[: room - 1]
    rows = [_blob_row(meter, progress, width) for meter in shown]
    if len(shown) < len(active):
        rows.append(f"... and {len(active) - len(shown)} more blobs")
    return [row[:width] for row in [*rows, *below]]


def host_rows(progress: Progress) -> list[str]:
    """One row per side of a registry in a run of many images; a single copy shows its blobs."""
    hosts = [each for each in progress.last.hosts if each.host] if progress.images else []
    shown = hosts if len(hosts) <= HOSTS else sorted(hosts, key=progress.host_speed, reverse=True)[:HOSTS]
    return [host_text(each, progress) for each in shown]


def _blob_row(meter: BlobMeter, progress: Progress, width: int) -> str:
    started = progress.started.get(meter.digest)
    kind = started.kind if started else "blob"
    head = f"Copying {kind} {short(meter.digest, kind)}"
    speed = rate(progress.speed(meter.digest))
    if meter.size <= 0:
        return f"{head} {size(meter.done)} | {speed}"
    eta = progress.blob_eta(meter)
    tail = f"{size(meter.done)} / {size(meter.size)} | {speed}" + (f" | {seconds(eta)} left" if eta is not None else "")
    columns = min(BAR, width - len(head) - len(tail) - 4)
    return f"{head} {bar(meter.done / meter.size, columns)}{tail}"


def bar(part: float, width: int) -> str:
    """``[====>-----] ``, *width* columns with its brackets; nothing when that is too narrow to say anything."""
    if width < LEAST_BAR:
        return ""
    inside = width - 2
    filled = min(inside, int(inside * max(0.0, part)))
    arrow = ">" if 0 < filled < inside else ""
    return "[" + "=" * (filled - len(arrow)) + arrow + "-" * (inside - filled) + "] "


def _total_rows(progress: Progress) -> list[str]:
    """Bytes and time; of many images the counts have a row of their own, so that 80 columns hold both."""
    snapshot = progress.last
    parts = [f"Total {size(progress.moved)}"]
    if snapshot.planned:
        percent = min(100, 100 * progress.moved // snapshot.planned)
        parts = [f"Total {size(progress.moved)} / {size(snapshot.planned)} | {percent}%"]
    parts += [rate(progress.total.value), *progress.left]
    limit = [f"limited by {progress.limited_by}"] if progress.limited_by else []
    count = sum(progress.done.values())
    done = f"{count} {'blob' if count == 1 else 'blobs'} done"
    if not progress.images:
        return [" | ".join([*parts, done, *limit])]
    return [" | ".join(parts), " | ".join([*progress.of_many, done, *limit])]
