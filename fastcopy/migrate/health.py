"""Whether a run that repeats itself does well, as answers for those who look after it.

Pure: the clock's readings come in as arguments. Knows no HTTP beyond the two statuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Health:
    """Rounds so far; times are seconds of one monotonic clock."""

    rounds: int = 0  #: that have ended
    error: str = ""  #: of the last one, "" when it went well
    exit_code: int = 0
    succeeded: bool = False  #: whether any round has gone well
    draining: bool = False
    _began: float | None = None
    _ended: float | None = None

    def began(self, now: float) -> None:
        """A round begins."""
        self._began = now

    def ended(self, now: float, error: str = "", exit_code: int = 0) -> None:
        """A round ended, with *error* and *exit_code* if something is missing."""
        self.rounds += 1
        self._began, self._ended = None, now
        self.error, self.exit_code = error, exit_code
        self.succeeded = self.succeeded or not exit_code

    def live(self, now: float) -> tuple[int, dict[str, Any]]:
        """/healthz: 200 while the last round went well or none has ended yet, else 503; and why."""
        return (503 if self.exit_code else 200), self._told(now, "failing" if self.exit_code else "ok")

    def ready(self, now: float) -> tuple[int, dict[str, Any]]:
        """/readyz: 200 once a round has gone well, until the run is asked to end."""
        well = self.succeeded and not self.draining
        return (200 if well else 503), self._told(now, "ready" if well else "ending" if self.draining else "not yet")

    def _told(self, now: float, status: str) -> dict[str, Any]:
        found: dict[str, Any] = {"status": status, "rounds": self.rounds}
        if self.exit_code:
            found |= {"error": self.error, "exit_code": self.exit_code}
        if self._began is not None:
            found["running_seconds"] = round(now - self._began, 1)
        if self._ended is not None:
            found["ended_seconds_ago"] = round(now - self._ended, 1)
        return found
