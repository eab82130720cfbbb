"""Which step may run next.

Law 1: every limit on concurrency lives here; no other module waits for a slot.
Law 2: this file knows no sockets, no clock and no trio; `now` is an argument.

A ticket names the hosts it will talk to and its lane. Tickets with the same hosts and lane wait in one queue, so a
decision costs O(queues + log n), whatever waits. Each (host, lane) has a window: it grows by one per window of
successes that used it fully, halves at most once per epoch when the host says "slow down" or breaks (AIMD,
Chiu and Jain 1989), and is closed until `not_before` when the host named a time (Retry-After).
The bulk lane serves the largest first, so that no giant is left for the end; every fourth time the oldest, so that
nothing starves. Small requests have a lane of their own and never queue behind bodies.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Lane(enum.Enum):
    """Kinds of work that are limited apart from each other."""

    SMALL = "small"  #: heads, mounts, manifests, blobs that stay in memory
    BULK = "bulk"  #: bodies that stream
    IMAGE = "image"  #: whole images of a long list: bounds how many are begun at once


class Verdict(enum.Enum):
    """What the end of a step says of the hosts it used."""

    FINE = "fine"
    SLOW_DOWN = "slow down"  #: 429, 503
    BROKEN = "broken"  #: resets and stalls: likely too much, maybe only bad luck
    NEUTRAL = "neutral"  #: says nothing (cancelled, not found)


@dataclass(eq=False, slots=True)
class Ticket:
    """One step that wants to run. `size` in bytes orders the bulk lane."""

    lane: Lane
    hosts: tuple[str, ...]
    size: int = 0
    seq: int = 0
    waiting: bool = True


#: Images begun at once: enough to keep every lane full at 30 ms, few enough that the first ones are complete early
#: and that their manifests (10 kB each as a rule, 4 MiB at most) stay small beside the slabs.
IMAGES = 256


@dataclass(slots=True)
class Limits:
    """Where windows start and end. `total` bounds bulk tickets over all hosts (threads and slabs).

    Eight bodies saturate one gigabit at 30 ms with the kernel's default windows and stay under the limits that
    public registries document (protocol reference 3.3); windows then grow on evidence.
    """

    start: dict[Lane, int] = field(default_factory=lambda: {Lane.SMALL: 32, Lane.BULK: 8, Lane.IMAGE: IMAGES})
    ceiling: dict[Lane, int] = field(default_factory=lambda: {Lane.SMALL: 128, Lane.BULK: 32, Lane.IMAGE: IMAGES})
    total: int = 32


#: A burst of refusals within this many seconds is one piece of news, not many (ocync uses the same).
EPOCH = 0.1
OLDEST_EVERY = 4


@dataclass(slots=True)
class Window:
    """How many tickets one host may run in one lane."""

    limit: float
    ceiling: int
    running: int = 0
    epoch_until: float = 0.0

    def has_room(self) -> bool:
        """Whether one more may start."""
        return self.running < int(self.limit)

    def grow(self) -> None:
        """One success; counts only while the window is what limits."""
        if self.running + 1 >= int(self.limit):
            self.limit = min(self.limit + 1 / self.limit, float(self.ceiling))

    def shrink(self, now: float) -> None:
        """Halve, once per epoch."""
        if now >= self.epoch_until:
            self.limit = max(1.0, self.limit / 2)
            self.epoch_until = now + EPOCH


class _Queue:
    """Waiting tickets of one (lane, hosts): by size and by age at once, with lazy deletion."""

    def __init__(self, lane: Lane, hosts: tuple[str, ...]) -> None:
        self.lane, self.hosts = lane, hosts
        self._by_size: list[tuple[int, int, Ticket]] = []
        self._by_age: deque[Ticket] = deque()
        self._served = 0

    def push(self, ticket: Ticket) -> None:
        self._by_age.append(ticket)
        if self.lane is Lane.BULK:
            heapq.heappush(self._by_size, (-ticket.size, ticket.seq, ticket))

    def pop(self) -> Ticket | None:
        self._served += 1
        oldest = self.lane is not Lane.BULK or self._served % OLDEST_EVERY == 0
        ticket = self._oldest() if oldest else self._largest()
        if ticket:
            ticket.waiting = False
        return ticket

    def _oldest(self) -> Ticket | None:
        while self._by_age:
            ticket = self._by_age.popleft()
            if ticket.waiting:
                return ticket
        return None

    def _largest(self) -> Ticket | None:
        while self._by_size:
            ticket = heapq.heappop(self._by_size)[2]
            if ticket.waiting:
                return ticket
        return None

    def __bool__(self) -> bool:
        while self._by_age and not self._by_age[0].waiting:
            self._by_age.popleft()
        return bool(self._by_age)


class Schedule:
    """The one gate's mind: tickets in, admissions out."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._windows: dict[tuple[str, Lane], Window] = {}
        self._queues: dict[tuple[Lane, tuple[str, ...]], _Queue] = {}
        self._not_before: dict[str, float] = {}
        self._seq = itertools.count()
        self._bulk = 0

    def window(self, host: str, lane: Lane) -> Window:
        """The window of *host* in *lane*, made at first sight."""
        key = (host, lane)
        if key not in self._windows:
            start, ceiling = self.limits.start.get(lane, IMAGES), self.limits.ceiling.get(lane, IMAGES)
            self._windows[key] = Window(float(start), ceiling)
        return self._windows[key]

    def submit(self, ticket: Ticket) -> None:
        """Let *ticket* wait."""
        ticket.seq = next(self._seq)
        key = (ticket.lane, ticket.hosts)
        if key not in self._queues:
            self._queues[key] = _Queue(*key)
        self._queues[key].push(ticket)

    def withdraw(self, ticket: Ticket) -> None:
        """*ticket* is no longer wanted."""
        ticket.waiting = False

    def admit(self, now: float) -> Iterator[Ticket]:
        """Every ticket that may start now, in order; each counts as running once yielded."""
        progress = True
        while progress:
            progress = False
            for queue in self._queues.values():
                if queue and self._open(queue.lane, queue.hosts, now):
                    ticket = queue.pop()
                    if ticket:
                        self._start(ticket)
                        progress = True
                        yield ticket

    def widen(self, lane: Lane, host: str, room: int) -> None:
        """Evidence other than success by success: open the window to *room*, at most to its ceiling."""
        window = self.window(host, lane)
        window.limit = max(window.limit, float(min(room, window.ceiling)))

    def try_start(self, ticket: Ticket, now: float) -> bool:
        """Start *ticket* at once if there is room that no waiting ticket could use; it never waits."""
        queued = any(queue and set(queue.hosts) & set(ticket.hosts) for queue in self._queues.values())
        if queued or not self._open(ticket.lane, ticket.hosts, now):
            return False
        ticket.seq, ticket.waiting = next(self._seq), False
        self._start(ticket)
        return True

    def _open(self, lane: Lane, hosts: Iterable[str], now: float) -> bool:
        if lane is Lane.BULK and self._bulk >= self.limits.total:
            return False
        return all(now >= self._not_before.get(h, 0.0) and self.window(h, lane).has_room() for h in hosts)

    def _start(self, ticket: Ticket) -> None:
        self._bulk += ticket.lane is Lane.BULK
        for host in ticket.hosts:
            self.window(host, ticket.lane).running += 1

    def finished(self, ticket: Ticket, verdict: Verdict, now: float, *, host: str = "", pause: float = 0.0) -> None:
        """*ticket* ended. *host*: whom the verdict is about (default: all); *pause*: its Retry-After in seconds."""
        self._bulk -= ticket.lane is Lane.BULK
        for each in ticket.hosts:
            window = self.window(each, ticket.lane)
            if verdict is Verdict.FINE:
                window.grow()
            elif verdict is not Verdict.NEUTRAL and host in ("", each):
                window.shrink(now)
                self.hold(each, now + pause)
            window.running -= 1

    def hold(self, host: str, until: float) -> None:
        """Start nothing at *host* before *until*."""
        if until > self._not_before.get(host, 0.0):
            self._not_before[host] = until

    def wake_at(self, now: float) -> float | None:
        """When time alone will open something that waits; None: only an ending step can."""
        times = [
            max((self._not_before.get(host, 0.0) for host in queue.hosts), default=0.0)
            for queue in self._queues.values()
            if queue
        ]
        return min((time for time in times if time > now), default=None)

    def waiting(self) -> int:
        """How many tickets wait (an upper bound: withdrawn ones may be counted)."""
        return sum(len(queue._by_age) for queue in self._queues.values())
