"""A registry that limits and clients that ask, on a virtual clock: what a Pace makes of them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fastcopy.schedule import Pace, Sent

#: (now, requests in flight at the registry) -> served
Server = Callable[[float, int], bool]


def bucket(rate: float, burst: float) -> Server:
    """A token bucket."""
    tokens, at = burst, 0.0

    def serves(now: float, _busy: int) -> bool:
        nonlocal tokens, at
        tokens, at = min(burst, tokens + (now - at) * rate), now
        served = tokens >= 1
        tokens -= served
        return served

    return serves


def counter(limit: int, period: float) -> Server:
    """A count that starts anew every *period* seconds."""
    used: dict[int, int] = {}

    def serves(now: float, _busy: int) -> bool:
        number = int(now // period)
        used[number] = used.get(number, 0) + 1
        return used[number] <= limit

    return serves


def narrow(limit: int) -> Server:
    """At most *limit* requests at a time, as many as one likes after each other."""
    return lambda _now, busy: busy < limit


@dataclass
class Simulation:
    """*width* clients that send *count* requests in all; after a refusal each waits as `Run.perform` does."""

    serves: Server
    count: int
    width: int = 32
    trip: float = 0.002  #: seconds, there and back
    work: float = 0.0  #: seconds that the registry takes
    pause: float | None = None  #: its Retry-After
    pace: Pace = field(default_factory=Pace)
    seconds: float = 0.0
    served: int = 0
    refused: int = 0
    random: random.Random = field(default_factory=lambda: random.Random(1))
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _queue: int = 0
    _busy: int = 0
    _number: int = 0

    def run(self) -> Simulation:
        """Until every request was served."""
        for _ in range(self.width):
            self._later(0.0, self._want)
        while self._events and self.served < self.count:
            self.seconds, _, event = heapq.heappop(self._events)
            event()
            assert self.seconds < 1e5, "it does not end"
        return self

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.seconds + seconds, self._number, event))

    def _want(self) -> None:
        self._queue += 1
        self._turn()

    def _turn(self) -> None:
        self.pace.waiting = self._queue
        if not self._queue:
            return
        ready = self.pace.ready_at(self.seconds)
        if ready > self.seconds:
            self._later(ready - self.seconds + 1e-6, self._turn)
            return
        self._queue -= 1
        self.pace.waiting = self._queue
        sent = self.pace.send(self.seconds)
        self._later(self.trip / 2, lambda: self._arrive(sent))
        self._later(0.0, self._turn)

    def _arrive(self, sent: Sent) -> None:
        served = self.serves(self.seconds, self._busy)
        self._busy += served
        self._later(self.trip / 2 + (self.work if served else 0.0), lambda: self._answer(sent, served))

    def _answer(self, sent: Sent, served: bool) -> None:
        self.pace.end(sent)
        if served:
            self._busy -= 1
            self.served += 1
            self.pace.accept(sent, self.seconds)
            self._want()
        else:
            self.refused += 1
            self.pace.refuse(sent, self.seconds, self.pause)
            self._later(1.0 + self.random.uniform(0, 0.2), self._want)
