"""Which step may run next, and which request may be sent next: pure decisions, `now` is an argument.

Owns every limit on concurrency and on requests per second. Refuses to know sockets, clocks and trio.
"""

from __future__ import annotations

from fastcopy.schedule.deciding import Schedule
from fastcopy.schedule.pace import Allowance, Pace, Sent
from fastcopy.schedule.queues import OLDEST_EVERY
from fastcopy.schedule.throughput import Throughput
from fastcopy.schedule.tickets import IMAGES, Lane, Limits, Ticket, Verdict, registry_of
from fastcopy.schedule.window import EPOCH, Window

__all__ = [
    "EPOCH",
    "IMAGES",
    "OLDEST_EVERY",
    "Allowance",
    "Lane",
    "Limits",
    "Pace",
    "Schedule",
    "Sent",
    "Throughput",
    "Ticket",
    "Verdict",
    "Window",
    "registry_of",
]
