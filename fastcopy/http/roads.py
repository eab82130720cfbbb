"""The roads of one client's bodies: a choice per origin, told of every body that is lent and how it ended.

Owns the clock that `choice` refuses to know, and what is remembered beyond the client's life (`Facts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from fastcopy.http.choice import Choice, Road

if TYPE_CHECKING:
    from fastcopy.http.lease import Lease
    from fastcopy.http.reach import Reach
    from fastcopy.http.wire import Origin
    from fastcopy.options import HttpVersion

FACT = "bodies"  #: under which the road to an origin is remembered


class Facts(Protocol):
    """What is remembered of hosts."""

    def fact(self, host: str, name: str) -> str:
        """What was learnt of *host* under *name*; "" nothing."""

    def learnt(self, host: str, name: str, value: str) -> None:
        """*host* behaves like this."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One body that was asked for over *road*; exactly one of `lent` and `given_up` follows."""

    choice: Choice
    road: Road
    started: float

    def lent(self, lease: Lease, size: int | None) -> None:
        """It comes by *lease*, *size* bytes if that is known."""
        lease.ended = partial(self._ended, lease, size or 0)

    def given_up(self) -> None:
        """There is none."""
        self.choice.end(trio.current_time(), self.road, None)

    def _ended(self, lease: Lease, size: int, whole: bool) -> None:
        now = trio.current_time()
        self.choice.end(now, self.road, size if whole else None)
        if whole and self.road == "1.1":
            self.choice.carried(now - self.started - (lease.connecting or 0.0), lease.connecting, lease.kept)


class Roads:
    """Which HTTP carries bodies, per origin; whom connections are to be spared is told to *reach*."""

    def __init__(self, asked: HttpVersion, reach: Reach, facts: Callable[[], Facts] | None = None) -> None:
        self._asked, self._reach, self._facts = asked, reach, facts
        self._choices: dict[Origin, Choice] = {}
        reach.on_crowd = lambda origin: self.of(origin).refused()

    def of(self, origin: Origin) -> Choice:
        """The choice for *origin*, made at first sight."""
        origin = self._reach.settled(origin)
        if origin not in self._choices:
            self._choices[origin] = self._make(origin)
        return self._choices[origin]

    def _make(self, origin: Origin) -> Choice:
        made = Choice(self._asked, offers_h2=origin.scheme == "https" or self._asked == "2")
        facts = self._facts() if self._facts else None
        if facts is not None and made.offers_h2:
            made.remember(facts.fact(str(origin), FACT))
            self._spare(origin, made.road)
        made.learnt = partial(self._learnt, origin, facts)
        return made

    def _learnt(self, origin: Origin, facts: Facts | None, road: Road) -> None:
        self._spare(origin, road)
        if facts is not None:
            facts.learnt(str(origin), FACT, road)

    def _spare(self, origin: Origin, road: Road) -> None:
        if road == "shared":
            self._reach.spare(origin)
        else:
            self._reach.sparing.discard(origin)

    def begin(self, origin: Origin) -> UnderWay:
        """A body of *origin* is asked for now, over the road of the moment."""
        choice, now = self.of(origin), trio.current_time()
        choice.begin(now, choice.road)
        return UnderWay(choice, choice.road, now)
