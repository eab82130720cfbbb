"""A registry that counts requests: the embedded one behind a limit, in the ways that registries limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fastcopy.serve.message import Body, Handler, Head, Refusal, Reply


@dataclass
class Limited:
    """Middleware: a token bucket of `rate` requests per second and `burst`, or (`period`) a count that starts anew.

    `headers` makes what every answer announces of (remaining, seconds until the count starts anew).
    """

    rate: float = 10.0
    burst: float = 10.0
    period: float = 0.0
    retry_after: int | None = None
    headers: Callable[[int, float], list[tuple[str, str]]] = field(default=lambda left, reset: [])
    served: int = 0
    refused: int = 0
    on: bool = True
    _tokens: float = 0.0
    _at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        if not self.on:
            return await proceed(head, body)
        with self._lock:
            allowed, left, reset = self._take(time.monotonic())
            self.served += allowed
            self.refused += not allowed
        said = self.headers(left, reset)
        if allowed:
            reply = await proceed(head, body)
            return Reply(reply.status, [*reply.headers, *said], reply.body)
        named = [] if self.retry_after is None else [("Retry-After", str(self.retry_after))]
        return Refusal(429, "TOOMANYREQUESTS", "slow down", *named, *said).reply()

    def _take(self, now: float) -> tuple[bool, int, float]:
        if self.period and now - self._at >= self.period:
            self._tokens, self._at = self.burst, now
        elif not self.period:
            self._tokens = min(self.burst, self._tokens + (now - (self._at or now)) * self.rate)
            self._at = now
        allowed = self._tokens >= 1
        self._tokens -= allowed
        return allowed, int(self._tokens), max(0.0, self._at + self.period - now)
