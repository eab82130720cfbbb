"""How many requests per second one registry takes: learnt from its refusals, or from what its headers announce.

A registry is unpaced until a refusal (429) proves that it counts requests and not connections: a request was refused
although at most half as many were in flight as were accepted a moment ago, or although it was alone. From then on:

    refused   rate := what was accepted since the last refusal, a little less; a pause that doubles while nothing passes
    accepted  5 % more per second up to what was accepted before, 1 % beyond, 10 % after ten seconds without a refusal;
              50 % after the first one, which came too early to measure much

Refusals of requests that were sent before the last one was heard are the same news (a congestion epoch is a round
trip). What a registry announces (`Allowance`) is obeyed before the limit is hit: nothing is sent once it is used up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: Requests accepted within this many seconds are the first guess; limits are stated per second or longer.
RECENT = 1.0
#: How long "a moment ago" is, in seconds: longer than the back-off after which a refused burst comes back.
MEMORY = 5.0
#: Of a measured rate, what is asked for: the peer's bucket is empty when it refuses and has to fill a little.
BACK = 0.9
#: A single measurement may lower a rate to this share of it, not further.
FLOOR = 0.3
GAIN, GAIN_BEYOND, GAIN_LATER = 0.05, 0.01, 0.10
#: The first guess may be far too low (a run has just begun): until the next refusal the rate grows faster.
GAIN_FIRST = 0.5
CALM = 10.0
#: A limit that was passed this many times over is gone (it was somebody else's load).
FORGOTTEN = 8.0
#: What a turn that came late may be made up for by, in seconds: what a busy loop oversleeps, at rates where an interval
#: is shorter than that; a tenth of the interval at low rates, whose peers may allow no burst at all.
BURST, BURST_FROM = 0.05, 40.0
SLOWEST = 0.1
PAUSE, LONGEST_PAUSE = 0.1, 10.0
#: An announced time further off than this is a quota of hours: the answer says so, waiting does not help.
PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an answer announces: requests left, until when in seconds from now; `window`: the length of the period.

    None where it does not say.
    """

    remaining: int
    reset: float | None = None
    limit: int | None = None
    window: float | None = None

    @property
    def until(self) -> float | None:
        """Seconds until the count starts anew, at the latest."""
        return self.window if self.reset is None else self.reset


@dataclass(eq=False, slots=True)
class Sent:
    """One request on its way: when it was sent, and how many were in flight then, itself included."""

    at: float
    beside: int
    over: bool = False


@dataclass
class Pace:
    """The requests to one registry, from whichever side they come. Times are those of one monotonic clock."""

    rate: float | None = None  #: requests per second; None: not limited
    in_flight: int = 0
    waiting: int = 0  #: requests that wait for their turn; whoever makes them wait keeps count
    refused: int = 0  #: 429s heard so far
    announced: Allowance | None = None  #: what the registry last said of its limit
    closed_until: float = 0.0  #: the registry named a time, or its allowance is used up
    _next: float = 0.0
    _known: float = 0.0  #: the rate that was accepted when it last refused
    _left: int | None = None  #: of the allowance
    _left_until: float = 0.0
    _learnt_at: float = -1.0  #: when the last refusal that was news was heard
    _accepted: int = 0  #: since then
    _guessed: bool = False  #: the rate was not measured yet
    _barren: int = 0  #: refusals since something passed
    _recent: deque[float] = field(default_factory=deque)
    _most: list[float] = field(default_factory=lambda: [0.0, 0, 0])  #: period's start, its most in flight, the last's

    # -- sending ------------------------------------------------------------------------------------------------------

    def ready_at(self, now: float) -> float:
        """When the next request may be sent; at most *now*: at once."""
        at = self.closed_until
        if self._left is not None and self._left <= 0 and now < self._left_until:
            at = max(at, self._left_until)
        if self.rate is not None:
            at = max(at, self._next - self._slack(self.rate))
        return at

    @staticmethod
    def _slack(rate: float) -> float:
        return BURST if rate >= BURST_FROM else 0.1 / rate

    def is_open(self, now: float) -> bool:
        """Whether new work may begin: what was begun comes first while requests have to wait."""
        return now >= self.opens_at(now) and not self.waiting

    def opens_at(self, now: float) -> float:
        """When time alone lets new work begin."""
        spent = self._left is not None and self._left <= 0
        return max(self.closed_until, self._left_until if spent else 0.0)

    def send(self, now: float) -> Sent:
        """A request is sent now."""
        self.in_flight += 1
        self._renew(now)
        if self.rate is not None:
            self._next = max(self._next, now - self._slack(self.rate)) + 1 / self.rate
        if self._left is not None:
            self._left -= 1
        return Sent(now, self.in_flight)

    # -- hearing ------------------------------------------------------------------------------------------------------

    def end(self, sent: Sent) -> None:
        """*sent* is over, bodies included; any number of times."""
        self.in_flight -= not sent.over
        sent.over = True

    def accept(self, sent: Sent, now: float) -> None:
        """*sent* was answered, and not with a refusal to serve so many."""
        self._accepted += 1
        self._barren = 0
        self._recent.append(now)
        self._trim(now)
        self._note(sent.beside, now)
        if self.rate is not None:
            self._grow(now)

    def refuse(self, sent: Sent, now: float, pause: float | None) -> None:
        """*sent* was answered 429; *pause* is its Retry-After in seconds, None where it names no time."""
        self.refused += 1
        if pause:
            self.close(now + min(pause, PATIENCE))
        if self._learnt_at >= sent.at:
            return
        if self.rate is not None:
            self._back_off(now)
        elif self._is_rate(sent, now):
            self._trim(now)
            self._learn(max(len(self._recent), 1) / RECENT, now)
            self._guessed = True

    def announce(self, said: Allowance, now: float) -> None:
        """The registry said how many requests it will still serve."""
        self.announced = said
        if said.until is None or said.until > PATIENCE:
            self._left = None
            return
        left = said.remaining - self.in_flight
        same = self._left is not None and now < self._left_until
        self._left = min(self._left or 0, left) if same else left  # answers overtake each other
        self._left_until = max(self._left_until, now + said.until) if same else now + said.until

    def _renew(self, now: float) -> None:
        """The count starts anew: until an answer says more, what is in flight already is all that is known of it."""
        if self._left is not None and now >= self._left_until and self.announced is not None:
            limit = self.announced.limit
            self._left = None if limit is None else limit - self.in_flight + 1
            self._left_until = now + (self.announced.window or RECENT)

    def close(self, until: float) -> None:
        """Send nothing before *until*."""
        self.closed_until = max(self.closed_until, until)

    # -- learning -----------------------------------------------------------------------------------------------------

    def _is_rate(self, sent: Sent, now: float) -> bool:
        self._turn_over(now)
        return sent.beside == 1 or sent.beside <= max(self._most[1], self._most[2]) / 2

    def _learn(self, rate: float, now: float) -> None:
        self._known = rate
        self.rate = max(rate * BACK, SLOWEST)
        self._next = now + 1 / self.rate
        self._learnt_at, self._accepted = now, 0

    def _back_off(self, now: float) -> None:
        """A refusal that is news: what passed since the last one is what is permitted."""
        assert self.rate is not None
        if self._accepted:
            passed = self._accepted / max(now - self._learnt_at, RECENT / 2)
            self._learn(min(max(passed, self.rate * FLOOR), self.rate), now)
            self._guessed = False
        else:
            self._learnt_at = now
        self._barren += 1
        self._next = now + min(PAUSE * 2.0**self._barren, LONGEST_PAUSE)

    def _grow(self, now: float) -> None:
        assert self.rate is not None
        if not self.waiting and self._next <= now:
            return  # the rate is not what limits
        gain = GAIN if self.rate < self._known else GAIN_BEYOND
        if self._guessed:
            gain = GAIN_FIRST
        elif now - self._learnt_at > CALM:
            gain = GAIN_LATER
        self.rate += gain * max(self._known, self.rate) / self.rate
        if self.rate > self._known * FORGOTTEN:
            self.rate = None

    def _note(self, beside: int, now: float) -> None:
        self._turn_over(now)
        self._most[1] = max(self._most[1], beside)

    def _turn_over(self, now: float) -> None:
        if now - self._most[0] > MEMORY:
            last = self._most[1] if now - self._most[0] < 2 * MEMORY else 0
            self._most = [now, 0, last]

    def _trim(self, now: float) -> None:
        while self._recent and self._recent[0] < now - RECENT:
            self._recent.popleft()
