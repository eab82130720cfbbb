"""The one gate: a thin trio room around the pure schedule.

Law: whoever does work at a host holds a slot; nothing else in fastcopy limits concurrency.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import trio

from fastcopy.errors import Again, FastcopyError, LinkError, TooManyRequests
from fastcopy.schedule import Lane, Schedule, Ticket, Verdict


class Slot:
    """Permission to work; what went wrong in it is what the schedule learns from."""

    def __init__(self, gate: Gate, ticket: Ticket) -> None:
        self._gate, self._ticket = gate, ticket
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
        await self._gate._enter(self._ticket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        verdict = Verdict.NEUTRAL if kind and self._verdict is Verdict.FINE else self._verdict
        self._gate._leave(self._ticket, verdict, self._host, self._pause)


class Gate:
    """Lets tickets through as the schedule says; `keep_time` runs as long as it is used."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._events: dict[Ticket, trio.Event] = {}
        self._alarm = trio.Event()

    def slot(self, lane: Lane, hosts: tuple[str, ...], size: int = 0) -> Slot:
        """An async context manager: waits its turn, then holds a slot at each of *hosts*."""
        return Slot(self, Ticket(lane, hosts, size))

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
        self._admit()

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
