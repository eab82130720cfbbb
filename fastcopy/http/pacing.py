"""What answers say about limits on requests, and the contract by which a client waits for its turn.

Owns the header fields. Refuses to know who waits: the scheduler's gate implements `Turns`.

    RateLimit: limit=100, remaining=50, reset=30        IETF draft-ietf-httpapi-ratelimit-headers-07
    RateLimit: "default";r=50;t=30                      -08 and later; RateLimit-Policy: "default";q=100;w=60
    RateLimit-Limit / -Remaining / -Reset: 30           -06 and earlier, GitLab
    ratelimit-remaining: 76;w=21600                     Docker Hub: the window in the value, no reset
    X-RateLimit-Limit / -Remaining / -Reset: 1700000000 GitHub: a date in seconds of the epoch, elsewhere a delta
    x-ms-ratelimit-remaining-calls-per-second: 12.5     Azure
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from fastcopy.http.retry import parse_retry_after
from fastcopy.http.wire import Headers, Response
from fastcopy.schedule import Allowance

#: A reset above this is a date: no window lasts 30 years.
A_DATE = 1_000_000_000
_PAIR = re.compile(r"\b(limit|remaining|reset|[rtqw])\s*=\s*(\d{1,12})(?![\d.])")
_LEADING = re.compile(r"\s*(\d{1,12})(?![\d])")


class Turn(Protocol):
    """One request's leave to be sent."""

    def hear(self, refused: bool, pause: float | None, said: Allowance | None) -> None:
        """It was answered: *refused* with 429, to be left alone for *pause* seconds; *said*: what is still allowed."""

    def over(self) -> None:
        """It is no longer in flight, its body included; any number of times."""


#: Waits until the registry of this name may be sent another request.
Turns = Callable[[str], Awaitable[Turn]]


class _Free:
    """The turn of requests that nobody counts."""

    def hear(self, refused: bool, pause: float | None, said: Allowance | None) -> None:
        pass

    def over(self) -> None:
        pass


FREE: Turn = _Free()


def tell(turn: Turn, response: Response, now: float | None = None) -> None:
    """Pass on what *response* says about limits; *now* is the wall clock, for dates."""
    now = time.time() if now is None else now
    refused = response.status == 429
    pause = parse_retry_after(response.headers, now) if refused or response.status == 503 else None
    turn.hear(refused, pause, read_allowance(response.headers, now))


def read_allowance(headers: Headers, now: float) -> Allowance | None:
    """What *headers* announce; None when nothing, or nothing that can be understood."""
    fields = {name: value for name, value in headers if "ratelimit" in name.replace("rate-limit", "ratelimit")}
    if not fields:
        return None
    structured = dict(_PAIR.findall(fields.get("ratelimit", "")))
    policy = dict(_PAIR.findall(fields.get("ratelimit-policy", "")))
    remaining = _first(structured.get("remaining"), structured.get("r"), *_named(fields, "remaining"))
    if remaining is None:
        return _azure(fields)
    reset = _first(structured.get("reset"), structured.get("t"), *_named(fields, "reset"))
    limit = _first(structured.get("limit"), policy.get("q"), *_named(fields, "limit"))
    window = _first(policy.get("w"), *(dict(_PAIR.findall(each)).get("w") for each in _named(fields, "remaining")))
    if reset is not None and reset > A_DATE:
        reset = max(0, reset - int(now))
    return Allowance(remaining, _float(reset), limit, _float(window))


def _named(fields: dict[str, str], what: str) -> list[str]:
    return [fields.get(f"{prefix}-{what}", "") for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit")]


def _azure(fields: dict[str, str]) -> Allowance | None:
    left = _first(fields.get("x-ms-ratelimit-remaining-calls-per-second"))
    return None if left is None else Allowance(left, 1.0)


def _first(*texts: str | None) -> int | None:
    """The first of *texts* that begins with a number."""
    for text in texts:
        if text and text.isascii() and (found := _LEADING.match(text)):
            return int(found[1])
    return None


def _float(number: int | None) -> float | None:
    return None if number is None else float(number)
