"""`python -m benchmarks.limited LIMIT`: the embedded registry, in memory, behind a token bucket of LIMIT requests/s.

Beyond it requests are answered 429 with ``Retry-After: 1``. The harness's own checks (by their User-Agent) pass freely,
and ``GET /bench/requests`` tells what was asked and refused. The port is the first line of the output.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import trio

from benchmarks.client import AGENT
from fastcopy.serve import ServeConfig, running
from fastcopy.serve.message import Body, Handler, Head, Refusal, Reply


@dataclass
class Limit:
    """Middleware: *rate* requests per second, as many at once after a pause."""

    rate: float
    seen: Counter[str] = field(default_factory=Counter)
    tokens: float = 0.0
    at: float = 0.0

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        if head.headers.get("user-agent") == AGENT:
            return await self._for_the_harness(head, body, proceed)
        now = time.monotonic()
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            self.seen["429"] += 1
            return Refusal(429, "TOOMANYREQUESTS", "slow down", ("Retry-After", "1")).reply()
        self.tokens -= 1
        self.seen[head.method] += 1
        return await proceed(head, body)

    async def _for_the_harness(self, head: Head, body: Body, proceed: Handler) -> Reply:
        if head.path != "/bench/requests":
            return await proceed(head, body)
        return Reply(200, [("Content-Type", "application/json")], json.dumps(self.seen).encode())


async def main(rate: float) -> None:
    """Serve until the process is ended."""
    config = ServeConfig(listen="127.0.0.1:0", middleware=Limit(rate))
    async with running(config) as server:
        print(server.address[1], flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]))
