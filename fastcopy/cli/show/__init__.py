"""Showing a run: listeners of the same events, chosen by --progress, --quiet and what the streams are.

Owns the choice and the ticking. A listener has `event`, `tick` and `close`; none of them may raise or block for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol

from fastcopy.cli.log import Log
from fastcopy.cli.show.lines import Lines, Notices, Summary
from fastcopy.cli.streams import Streams
from fastcopy.errors import FastcopyError
from fastcopy.events import Event

Mode = Literal["auto", "tty", "plain", "json", "none"]


class Listener(Protocol):
    """One way of showing a run."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def tick(self, now: float) -> None:
        """Time passed; *now* in seconds of the show's clock."""

    def close(self) -> None:
        """The run is over, well or not."""


class Show:
    """All listeners of a run. Use as ``with show: nursery.start_soon(show.run); copy(on_event=show.on_event)``."""

    def __init__(
        self, listeners: Sequence[Listener], interval: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.listeners = tuple(listeners)
        self.began = False  #: whether an image was begun: before that, failures are about opening the two ends
        self._interval = interval
        self._clock = clock

    def on_event(self, event: Event) -> None:
        """Hand *event* to every listener."""
        self.began = self.began or type(event).__name__ in ("ImageStarted", "ListStarted")
        for listener in self.listeners:
            listener.event(event)

    def tick(self) -> None:
        """Let every listener sample and draw."""
        now = self._clock()
        for listener in self.listeners:
            listener.tick(now)

    async def run(self) -> None:
        """Tick until cancelled."""
        import trio

        while self._interval:
            await trio.sleep(self._interval)
            self.tick()

    def failed(self, error: FastcopyError, text: str, code: int) -> None:
        """Tell listeners that speak to programs how the run ended."""
        for listener in self.listeners:
            tell = getattr(listener, "failed", None)
            if tell is not None:
                tell(error, text, code)

    def close(self) -> None:
        """Close every listener, the live display first."""
        for listener in self.listeners:
            listener.close()


def choose(mode: Mode, streams: Streams, log: Log, *, quiet: bool, shim: bool) -> Show:
    """The show for *mode*; *shim*: called as skopeo, so that stderr carries nothing but the log.

    ``auto`` is bars where stderr is a terminal, else lines every few seconds; ``none`` leaves skopeo's lines only;
    ``--quiet`` silences everything but the log.
    """
    if mode == "json":
        return _json(streams)
    if quiet:
        return Show([Notices(log)], 0)
    if mode == "auto":
        mode = "tty" if streams.err_is_terminal else "none" if shim else "plain"
    if mode == "tty":
        return _bars(streams, log)
    lines: list[Listener] = [Notices(log), Lines(streams.print)]
    if mode == "none":
        return Show(lines, 0)
    from fastcopy.cli.show import plain

    return Show([*lines, plain.Plain(streams.tell), Summary(streams.tell)], plain.INTERVAL)


def _json(streams: Streams) -> Show:
    from fastcopy.cli.show import jsonlines

    return Show([jsonlines.JsonLines(streams.print, time.monotonic)], jsonlines.INTERVAL)


def _bars(streams: Streams, log: Log) -> Show:
    from fastcopy.cli.show import bars

    shared = streams.out_is_terminal  # one screen for both: standing lines are printed once, above the live part
    drawn = bars.Bars(streams.err, streams.print if shared else streams.tell)
    log.paused = partial(drawn.above, otherwise=streams.tell)
    listeners: list[Listener] = [Notices(log), drawn, Summary(streams.tell)]
    if not shared:
        listeners.insert(0, Lines(streams.print))
    return Show(listeners, bars.INTERVAL)
