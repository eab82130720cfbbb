"""The one gate: a thin trio room around the pure schedule.

Law: whoever does work at a host holds a slot, and whoever sends a request to a registry takes a turn; nothing else in
fastcopy limits concurrency or rates of requests.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import trio

from fastcopy.errors import Again, FastcopyError, LinkError, TooManyRequests
from fastcopy.schedule import Allowance, Lane, Pace, Schedule, Sent, Ticket, Verdict
from fastcopy.transfer.drain import Drain

#: A request of a step that has begun is not held longer than this, whatever the registry announces: its connections
#: and upload sessions age meanwhile. New steps wait as long as it takes.
LONGEST_TURN = 60.0
#: Shorter waits are not worth telling.
TOLD_FROM = 1.0


class Slot:
    """Permission to work; what went wrong in it is what the schedule learns from."""

    def __init__(self, gate: Gate, ticket: Ticket, drain: Drain | None) -> None:
        self._gate, self._ticket, self._drain = gate, ticket, drain
        self._verdict, self._host, self._pause = Verdict.FINE, "", 0.0

    def judge(self, error: FastcopyError, host: str) -> None:
        """Record that the step failed with *error*, which is about *host* ("" unknown)."""
        self._host, self._pause = host, error.retry_after or 0.0
        if isinstance(error, TooManyRequests):
            self._verdict = Verdict.SLOW_DOWN
        elif isinstance(error, LinkError) and error.again is not Again.NEVER:
            self._verdict = Verdict.BROKEN
        else:
            self._verdict = Verdict.NEUTRAL

    async def __aenter__(self) -> Slot:
        if self._drain is None:
            await self._gate._enter(self._ticket)
            return self
        with self._drain.wait() as scope:
            await self._gate._enter(self._ticket)
        if scope.cancelled_caught:
            await self._drain.left()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        verdict = Verdict.NEUTRAL if kind and self._verdict is Verdict.FINE else self._verdict
        self._gate._leave(self._ticket, verdict, self._host, self._pause)


class Turn:
    """One request that was let through; implements fastcopy.http's contract of that name."""

    def __init__(self, pace: Pace, sent: Sent) -> None:
        self._pace, self._sent = pace, sent

    def hear(self, refused: bool, pause: float | None, said: Allowance | None) -> None:
        """Learn from the answer."""
        now = trio.current_time()
        if said is not None:
            self._pace.announce(said, now)
        if refused:
            self._pace.refuse(self._sent, now, pause)
            return
        if pause:
            self._pace.close(now + pause)
        self._pace.accept(self._sent, now)

    def over(self) -> None:
        """The request is no longer in flight."""
        self._pace.end(self._sent)


class Gate:
    """Lets tickets and requests through as the schedule says; `keep_time` runs as long as it is used.

    `held` is told of registries that want to be left alone: name and seconds.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.held: Callable[[str, float], None] = lambda registry, seconds: None
        self._doors: dict[str, trio.Lock] = {}
        self._told: dict[str, float] = {}
        self._events: dict[Ticket, trio.Event] = {}
        self._alarm = trio.Event()

    def slot(self, lane: Lane, hosts: tuple[str, ...], size: int = 0, drain: Drain | None = None) -> Slot:
        """An async context manager: waits its turn, then holds a slot at each of *hosts*.

        It raises Drained when the run is asked to end while it waits, if it is given *drain*.
        """
        return Slot(self, Ticket(lane, hosts, size), drain)

    def try_slot(self, lane: Lane, hosts: tuple[str, ...], size: int = 0) -> Callable[[Verdict, float], None] | None:
        """A further slot if there is room right now and nobody waits for it; returns what gives it back, or None."""
        ticket = Ticket(lane, hosts, size)
        if not self.schedule.try_start(ticket, trio.current_time()):
            return None

        def give_back(verdict: Verdict, pause: float = 0.0) -> None:
            self._leave(ticket, verdict, "", pause)

        return give_back

    def widen(self, lane: Lane, host: str, room: int) -> None:
        """Throughput grew with the last connection: let *host* have *room* at once, up to its ceiling."""
        self.schedule.widen(lane, host, room)

    async def turn(self, registry: str) -> Turn:
        """Wait until a request may be sent to *registry*, in the order of asking."""
        pace, now = self.schedule.pace(registry), trio.current_time()
        if not pace.waiting and pace.ready_at(now) <= now:
            return Turn(pace, pace.send(now))
        pace.waiting += 1
        try:
            async with self._doors.setdefault(registry, trio.Lock()):
                await self._until_ready(registry, pace)
                return Turn(pace, pace.send(trio.current_time()))
        finally:
            pace.waiting -= 1
            if not pace.waiting:
                self._reconsider()

    async def _until_ready(self, registry: str, pace: Pace) -> None:
        now = trio.current_time()
        deadline = now + LONGEST_TURN
        while (at := min(pace.ready_at(now), deadline)) > now:
            self._tell(registry, pace.opens_at(now), now)
            await trio.sleep_until(at)
            now = trio.current_time()

    def _tell(self, registry: str, until: float, now: float) -> None:
        """Once per time that a registry names."""
        if until - now >= TOLD_FROM and until > self._told.get(registry, 0.0) + TOLD_FROM:
            self._told[registry] = until
            self.held(registry, until - now)

    def moved(self, host: str, count: int) -> None:
        """Bodies from or to *host* have moved *count* bytes in all: what the windows learn of throughput."""
        self.schedule.moved(host, count, trio.current_time())

    async def _enter(self, ticket: Ticket) -> None:
        self.schedule.submit(ticket)
        event = self._events[ticket] = trio.Event()
        self._admit()
        if not event.is_set():
            self._alarm.set()
        try:
            await event.wait()
        except trio.Cancelled:
            self._abandon(ticket)
            raise

    def _abandon(self, ticket: Ticket) -> None:
        if self._events.pop(ticket, None) is not None and ticket.waiting:
            self.schedule.withdraw(ticket)
        else:
            self._leave(ticket, Verdict.NEUTRAL, "", 0.0)

    def _leave(self, ticket: Ticket, verdict: Verdict, host: str, pause: float) -> None:
        self.schedule.finished(ticket, verdict, trio.current_time(), host=host, pause=pause)
        self._reconsider()

    def _reconsider(self) -> None:
        """Something ended: who may go on? Who cannot, because of a time, is for `keep_time` to wake."""
        self._admit()
        if self._events and self.schedule.wake_at(trio.current_time()) is not None:
            self._alarm.set()

    def _admit(self) -> None:
        for ticket in self.schedule.admit(trio.current_time()):
            self._events.pop(ticket).set()

    async def keep_time(self) -> None:
        """Runs beside the work: opens what time alone opens."""
        while True:
            at = self.schedule.wake_at(trio.current_time())
            with trio.move_on_at(at if at is not None else float("inf")):
                await self._alarm.wait()
            self._alarm = trio.Event()
            self._admit()
