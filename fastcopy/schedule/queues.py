"""Waiting tickets of one (lane, hosts): by size and by age at once, with lazy deletion."""

from __future__ import annotations

import heapq
from collections import deque

from fastcopy.schedule.tickets import Lane, Ticket

#: Every so many admissions of a bulk queue go to the oldest, so that nothing starves behind ever larger ones.
OLDEST_EVERY = 4


class Queue:
    """Tickets that want the same."""

    def __init__(self, lane: Lane, hosts: tuple[str, ...]) -> None:
        self.lane, self.hosts = lane, hosts
        self._by_size: list[tuple[int, int, Ticket]] = []
        self._by_age: deque[Ticket] = deque()
        self._served = 0

    def push(self, ticket: Ticket) -> None:
        """Let *ticket* wait here."""
        self._by_age.append(ticket)
        if self.lane is Lane.BULK:
            heapq.heappush(self._by_size, (-ticket.size, ticket.seq, ticket))

    def pop(self) -> Ticket | None:
        """Whose turn it is."""
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

    def __len__(self) -> int:
        return len(self._by_age)
