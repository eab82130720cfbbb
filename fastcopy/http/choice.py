"""Which HTTP carries the bodies of one origin: a mind that is told what happened, and changes on evidence (pure).

Roads: "1.1" is one body per HTTP/1.1 connection; "lane" one body per HTTP/2 connection, moved by the pump; "shared"
many bodies on one HTTP/2 connection, moved by the loop. HTTP/1.1 costs the least CPU: there every origin begins.
A lane pays when the server ends each HTTP/1.1 connection and connecting costs much beside the bodies; sharing pays when
the server takes no further connection. Whoever left HTTP/1.1 goes back, for good, when the bodies come slower there.

Law: no clock, no socket; `now` is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from fastcopy.options import HttpVersion

Road = Literal["1.1", "lane", "shared"]
ROADS: tuple[Road, ...] = get_args(Road)

#: A server that made us connect this often for bodies that a kept connection could have carried will do so again.
AGAIN = 2
#: ... and it matters from this share of the time that bodies take: 1 GiB per connection does not notice a handshake.
HANDSHAKE_SHARE = 0.1
#: Connections refused while others were in use: one may be bad luck, not two.
CROWDED = 2
#: What some servers answer on a connection too many, instead of refusing it. It is a limit on requests, if kept
#: connections get it too; this many good answers there say that it is not.
AWAY, SERVED = frozenset({429, 503}), 4
#: Bodies over a road before it is compared, and how often as many as were under way at once: the first ones warm up.
TRIAL, ROUNDS = 8, 2
#: Slower means less than this share of the other's bytes per second ...
SLOWER = 0.8
#: ... over bodies whose sizes are alike within this factor: small ones are slower anyway.
ALIKE = 2.0


@dataclass
class Record:
    """What one road has carried: whole bodies, and the time in which at least one was under way."""

    bodies: int = 0
    bytes: int = 0
    busy: float = 0.0
    under_way: int = 0
    most: int = 0
    since: float = 0.0

    def begin(self, now: float) -> None:
        """A body is asked for."""
        if not self.under_way:
            self.since = now
        self.under_way += 1
        self.most = max(self.most, self.under_way)

    def end(self, now: float, size: int | None) -> None:
        """It came whole, *size* bytes of it, or was given up (None)."""
        self.under_way -= 1
        if not self.under_way:
            self.busy += now - self.since
        if size is not None:
            self.bodies += 1
            self.bytes += size

    def rate(self, now: float) -> float:
        """Bytes per second while it was used."""
        seconds = self.busy + (now - self.since if self.under_way else 0.0)
        return self.bytes / seconds if seconds > 0 else 0.0

    @property
    def mean(self) -> float:
        """Bytes per body."""
        return self.bytes / self.bodies if self.bodies else 0.0


@dataclass
class Choice:
    """What one origin has shown, and the road that follows from it. `learnt` is told of every change.

    With `asked` "1.1" or "2" evidence for another version is not followed; connections that are refused make the bodies
    share one also where "2" was asked for.
    """

    asked: HttpVersion = "auto"
    offers_h2: bool = True  #: as far as is known
    road: Road = "1.1"
    settled: bool = False
    learnt: Callable[[Road], None] = field(default=lambda road: None, repr=False)
    records: dict[Road, Record] = field(default_factory=lambda: {road: Record() for road in ROADS})
    connected: int = 0  #: connections opened for bodies over HTTP/1.1
    connecting: float = 0.0  #: seconds that took
    carrying: float = 0.0  #: seconds that bodies took beside
    closed: int = 0  #: connections that the server ended after a whole answer
    refusals: int = 0
    turned_away: int = 0  #: new connections answered 429 or 503 while others were in use
    served: int = 0  #: good answers on kept connections since
    rated: bool = False  #: kept connections are answered so too: requests are limited, not connections

    def __post_init__(self) -> None:
        if self.asked == "2" and self.road == "1.1":
            self.road = "lane"

    def remember(self, value: str) -> None:
        """Begin where an earlier run ended; unknown values and what was not asked for are ignored."""
        if self.asked == "auto" and value in ROADS:
            self.road = value
            self.settled = value == "1.1"

    def begin(self, now: float, road: Road) -> None:
        """A body is asked for over *road*."""
        self.records[road].begin(now)

    def end(self, now: float, road: Road, size: int | None) -> None:
        """It came whole (*size* bytes) or was given up (None)."""
        self.records[road].end(now, size)
        if road != "1.1" and size is not None:
            self._compare(road, now)

    def carried(self, seconds: float, connecting: float | None, kept: bool) -> None:
        """A body came whole over HTTP/1.1: it took *seconds* after *connecting* ones (None: the link was there)."""
        self.carrying += seconds
        if connecting is not None:
            self.connected += 1
            self.connecting += connecting
        self.closed += not kept
        again = max(self.closed, self.connected - self.records["1.1"].most)
        total = self.connecting + self.carrying
        if again >= AGAIN and total > 0 and self.connecting / total >= HANDSHAKE_SHARE:
            self._leave("lane")

    def answered(self, status: int, others: Callable[[], bool] | None) -> None:
        """An answer over HTTP/1.1; *others*: whether other connections are in use, None for a kept connection."""
        if status not in AWAY:
            self.served += bool(self.turned_away) and others is None and status < 400
        elif others is None:
            self.rated = True
        else:
            self.turned_away += others()
        if self.turned_away >= CROWDED and self.served >= SERVED and not self.rated:
            self._leave("shared")

    def refused(self) -> None:
        """A connection was refused while others to the same origin were in use."""
        self.refusals += 1
        if self.refusals >= CROWDED:
            self._leave("shared")

    def without_h2(self) -> None:
        """The origin does not speak HTTP/2, or wants HTTP/1.1."""
        self.offers_h2 = False
        self._change("1.1", settled=True)

    def _leave(self, to: Road) -> None:
        may = self.offers_h2 and not self.settled and self.asked != "1.1"
        if may and (self.road == "1.1" or to == "shared"):
            self._change(to)

    def _compare(self, road: Road, now: float) -> None:
        """Whether *road*, tried on evidence, carries less than HTTP/1.1 did."""
        old, new = self.records["1.1"], self.records[road]
        if self.asked != "auto" or self.settled or road != self.road or not old.bodies:
            return
        if new.bodies < max(TRIAL, ROUNDS * new.most):
            return
        alike = old.mean <= ALIKE * new.mean and new.mean <= ALIKE * old.mean
        if alike:
            slower = new.rate(now) < SLOWER * old.rate(now)
            self._change("1.1" if slower else road, settled=True)

    def _change(self, road: Road, *, settled: bool = False) -> None:
        changed, self.road = road != self.road, road
        self.settled = self.settled or settled
        if changed or settled:
            self.learnt(road)
