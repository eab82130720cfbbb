"""What waits and what is said of it: lanes, verdicts, tickets, limits. Values only."""

from __future__ import annotations

import enum
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


def registry_of(host: str) -> str:
    """The registry behind a host key: ``<a`` and ``>a`` have windows of their own, requests are counted by the peer."""
    return host.lstrip("<>")


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
