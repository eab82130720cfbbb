"""``sync --watch`` and ``--health``: the same run again and again, and an address that tells how it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from fastcopy.cli.call import Call, exit_code, leaf
from fastcopy.cli.ending import drain_of
from fastcopy.cli.syncing_inputs import Inputs, inputs
from fastcopy.errors import Bug, Drained, FastcopyError, PartlyDone, UsageError
from fastcopy.migrate.health import Health
from fastcopy.migrate.vitals import Vitals

if TYPE_CHECKING:
    from fastcopy.serve.message import Reply
    from fastcopy.serve.small import Document
    from fastcopy.transfer.drain import Drain

#: Performs the round of this number.
Round = Callable[["Watch", int], Coroutine[Any, Any, int]]


def is_wanted(call: Call) -> bool:
    """Whether the command line asks for any of this; raises UsageError where it does not fit together."""
    parsed = call.parsed
    call.own_codes = call.own_codes or any(map(parsed.given, ("watch", "health", "metrics")))
    if parsed.get("metrics") and not parsed.given("health"):
        raise UsageError("--metrics needs --health, which says where")
    if parsed.given("watch"):
        for name in ("dry-run", "plan"):
            if parsed.get(name):
                raise UsageError(f"--{name} and --watch exclude each other")
        if parsed.get("watch") <= 0:
            raise UsageError("--watch needs an interval, such as 5m")
        if "-" in (parsed.get("list"), parsed.get("config")):
            raise UsageError("--watch reads its list again for every round; standard input cannot be read again")
    return parsed.given("watch") or parsed.given("health")


async def watched(call: Call, wanted: Inputs, perform: Round) -> int:
    """Round after round until a signal; the last one's failure is raised, or its exit code returned."""
    drain = drain_of(call)
    watch = Watch(call, wanted, perform, drain)
    async with AsyncExitStack() as stack:
        if address := call.parsed.get("health"):
            await _serve(call, stack, address, watch)
        return await watch.run()


@dataclass
class Watch:
    """The rounds of one process."""

    call: Call
    wanted: Inputs
    perform: Round
    drain: Drain
    health: Health = field(default_factory=Health)
    vitals: Vitals = field(default_factory=Vitals)
    failure: FastcopyError | None = None  #: of the last round

    async def run(self) -> int:
        """Every round."""
        from fastcopy.migrate.watching import rounds

        async with aclosing(rounds(self.call.parsed.get("watch", 0.0), self.drain)) as numbers:  # type: ignore[type-var]
            async for number in numbers:
                if number > 1:
                    self.wanted = self._read_again()
                await self._round(number)
        if self.failure is not None:
            raise self.failure
        return 0

    def _read_again(self) -> Inputs:
        """The files as they are now; as they were where they cannot be used."""
        try:
            return inputs(self.call)
        except FastcopyError as error:
            self.call.log.warning("The configuration of the last round is kept", error=error)
            return self.wanted

    async def _round(self, number: int) -> None:
        began = trio.current_time()
        self.health.began(began)
        self.failure = await self._attempt(number)
        code = exit_code(self.failure, "sync", own=self.call.own_codes) if self.failure else 0
        now = trio.current_time()
        self.health.ended(now, str(self.failure or ""), code)
        self.vitals.ended(now - began, well=not code)

    async def _attempt(self, number: int) -> FastcopyError | None:
        try:
            await self.perform(self, number)
        except Exception as error:
            found = leaf(error)
            if not isinstance(found, FastcopyError) or isinstance(found, Bug | Drained):
                raise
            if not isinstance(found, PartlyDone) and self.call.parsed.given("watch"):  # its images are told already
                self.call.log.warning(f"Round {number} failed", error=found)
            return found
        return None


async def _serve(call: Call, stack: AsyncExitStack, address: str, watch: Watch) -> None:
    from fastcopy.serve.small import answering

    documents: dict[str, Document] = {
        "/healthz": partial(_health, watch, "live"),
        "/readyz": partial(_health, watch, "ready"),
    }
    if call.parsed.get("metrics"):
        documents["/metrics"] = partial(_metrics, watch.vitals)
    host = await stack.enter_async_context(answering(address, documents))
    call.log.info(f"Serving {', '.join(documents)} at http://{host}")


def _health(watch: Watch, question: str) -> Reply:
    from fastcopy.serve.message import Reply

    watch.health.draining = watch.drain.asked
    status, body = getattr(watch.health, question)(trio.current_time())
    return Reply(status, [("Content-Type", "application/json")], json.dumps(body).encode() + b"\n")


def _metrics(vitals: Vitals) -> Reply:
    from fastcopy.exposition import CONTENT_TYPE, render
    from fastcopy.serve.message import Reply

    return Reply(200, [("Content-Type", CONTENT_TYPE)], render(vitals.families()).encode())
