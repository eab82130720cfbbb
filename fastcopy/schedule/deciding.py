"""The one gate's mind: tickets in, admissions out.

Law 1: every limit on concurrency lives here; no other module waits for a slot.
Law 2: this file knows no sockets, no clock and no trio; `now` is an argument.

A ticket names the hosts it will talk to and its lane. Tickets with the same hosts and lane wait in one queue, so a
decision costs O(queues + log n), whatever waits. Each (host, lane) has a window: it grows by one per window of
successes that used it fully, halves at most once per epoch when the host says "slow down" or breaks, goes back when
throughput falls although it grew, and is closed until `not_before` when the host named a time (Retry-After).
Each registry has a pace beside its windows: the requests per second that it was seen to take.
The bulk lane serves the largest first, so that no giant is left for the end; every fourth time the oldest, so that
nothing starves. Small requests have a lane of their own and never queue behind bodies.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from fastcopy.schedule.pace import Pace
from fastcopy.schedule.queues import Queue
from fastcopy.schedule.throughput import Throughput
from fastcopy.schedule.tickets import IMAGES, Lane, Limits, Ticket, Verdict, registry_of
from fastcopy.schedule.window import Window


class Schedule:
    """See the module: submit, admit, finished; `wake_at` says when to ask again."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._windows: dict[tuple[str, Lane], Window] = {}
        self._queues: dict[tuple[Lane, tuple[str, ...]], Queue] = {}
        self._not_before: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}
        self._throughputs: dict[str, Throughput] = {}
        self._seq = itertools.count()
        self._bulk = 0

    def window(self, host: str, lane: Lane) -> Window:
        """The window of *host* in *lane*, made at first sight."""
        key = (host, lane)
        if key not in self._windows:
            start, ceiling = self.limits.start.get(lane, IMAGES), self.limits.ceiling.get(lane, IMAGES)
            self._windows[key] = Window(float(start), ceiling)
        return self._windows[key]

    def pace(self, registry: str) -> Pace:
        """The pace of *registry*, made at first sight; its source and destination side share it."""
        if registry not in self._paces:
            self._paces[registry] = Pace()
        return self._paces[registry]

    @property
    def refusals(self) -> int:
        """Requests answered 429 so far."""
        return sum(pace.refused for pace in self._paces.values())

    def submit(self, ticket: Ticket) -> None:
        """Let *ticket* wait."""
        ticket.seq = next(self._seq)
        key = (ticket.lane, ticket.hosts)
        if key not in self._queues:
            self._queues[key] = Queue(*key)
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

    def moved(self, host: str, count: int, now: float) -> None:
        """Bodies from or to *host* have moved *count* bytes in all by now."""
        seen = self._throughputs.setdefault(host, Throughput())
        seen.observe(self.window(host, Lane.BULK), count, now)

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
        return all(self._open_at(host, now) and self.window(host, lane).has_room() for host in hosts)

    def _open_at(self, host: str, now: float) -> bool:
        pace = self._paces.get(registry_of(host))
        return now >= self._not_before.get(host, 0.0) and (pace is None or pace.is_open(now))

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
                window.grow(now)
            elif verdict is not Verdict.NEUTRAL and host in ("", each):
                self._shrink(each, window, verdict, now)
                self.hold(each, now + pause)
            window.running -= 1

    def _shrink(self, host: str, window: Window, verdict: Verdict, now: float) -> None:
        """A host that is known to count requests says nothing about concurrency when it refuses one."""
        pace = self._paces.get(registry_of(host))
        if verdict is not Verdict.SLOW_DOWN or pace is None or pace.rate is None:
            window.shrink(now)

    def hold(self, host: str, until: float) -> None:
        """Start nothing at *host* before *until*."""
        if until > self._not_before.get(host, 0.0):
            self._not_before[host] = until

    def wake_at(self, now: float) -> float | None:
        """When time alone will open something that waits; None: only an ending step can."""
        times = [
            max((self.opens_at(host, now) for host in queue.hosts), default=0.0)
            for queue in self._queues.values()
            if queue
        ]
        return min((time for time in times if time > now), default=None)

    def opens_at(self, host: str, now: float) -> float:
        """When *host* lets new work begin, as far as time alone decides."""
        pace = self._paces.get(registry_of(host))
        return max(self._not_before.get(host, 0.0), pace.opens_at(now) if pace else 0.0)

    def waiting(self) -> int:
        """How many tickets wait (an upper bound: withdrawn ones may be counted)."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def hosts(self) -> list[str]:
        """Every host that work was done at, source side and destination side apart."""
        return sorted({host for host, _ in self._windows if host[:1] in "<>"})

    def waiting_at(self, host: str) -> int:
        """How many tickets wait for a slot at *host* (an upper bound, as `waiting`)."""
        return sum(len(queue) for queue in self._queues.values() if host in queue.hosts)
