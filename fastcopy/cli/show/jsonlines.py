"""Progress for programs: one JSON object per line, for every event and every sample.

``{"event": "blob-done", "time": 1.204, …}``: `time` is seconds since the start, sizes are bytes. Samples are
``{"event": "snapshot", …}``. A run ends with ``copy-done``, or with ``failed`` and the class of the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fastcopy.cli.show.progress import Progress
from fastcopy.errors import FastcopyError
from fastcopy.events import Event, as_dict

#: Seconds between samples.
INTERVAL = 1.0


class JsonLines:
    """Writes events and samples."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._start = clock()
        self._progress = Progress()

    def event(self, event: Event) -> None:
        """Write it."""
        self._progress.event(event)
        self._object(as_dict(event), self._clock())

    def tick(self, now: float) -> None:
        """Write a sample."""
        progress = self._progress
        sampled = progress.sample(now)
        body = asdict(sampled) | {
            "hosts": [asdict(each) | {"rate": round(progress.host_speed(each))} for each in sampled.hosts],
            "limited_by": progress.limited_by,
            "seconds_left": None if progress.eta is None else round(progress.eta, 1),
            "at_least": progress.is_partial,
        }
        self._object({"event": "snapshot", "rate": round(progress.total.value), **_rounded(body)}, now)

    def close(self) -> None:
        """Nothing to clean up."""

    def failed(self, error: FastcopyError, text: str, code: int) -> None:
        """The run ends with *error*."""
        body = {"event": "failed", "error": text, "slug": error.slug, "side": error.side, "hint": error.hint}
        self._object({**body, "again": error.again.value, "exit_code": code}, self._clock())

    def _object(self, values: dict[str, Any], now: float) -> None:
        head = {"event": values.pop("event"), "time": round(now - self._start, 3)}
        self._write(json.dumps(head | values, default=dict))


def _rounded(value: Any) -> Any:
    """Numbers to the millisecond: the rest is noise."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value
