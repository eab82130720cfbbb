"""Running one command's coroutine: Ctrl-C, SIGTERM, --command-timeout, and never a traceback.

Owns signals and deadlines. SIGTERM, and Ctrl-C with --drain, ask the command to finish what is in flight; where it
cannot be asked, or was asked before, a signal cancels it, and the next one ends the process at once. What cancels has a
second for its clean-up. The handlers are ours, not tasks of trio's, so that a further signal works while the loop is
busy with the clean-up.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import trio

from fastcopy.cli.call import Call, Terminated, leaf
from fastcopy.errors import Drained, FastcopyError, Interrupted, TimedOut

#: Ctrl-C promises an exit within a second; cleaning up gets what is left after waking up and exiting.
GRACE = 0.9


def run(work: Coroutine[Any, Any, int], call: Call) -> int:
    """Run *work* under trio; returns its exit code. Raises what it raised, Interrupted, Terminated or TimedOut."""
    watch = _Watch(call)
    with watch.installed():
        return trio.run(_supervised, work, call, watch)


async def _supervised(work: Coroutine[Any, Any, int], call: Call, watch: _Watch) -> int:
    code = 0
    with trio.move_on_after(call.parsed.get("command-timeout") or float("inf")) as scope:
        watch.begin(scope)
        try:
            code = await work
        except Exception as error:
            if watch.failure is None:
                if drained := watch.drained(error):
                    raise drained from None
                raise
    if watch.failure is not None:  # also when being cancelled made the work fail in its own way
        raise watch.failure
    if scope.cancelled_caught:
        raise TimedOut("context deadline exceeded", hint="--command-timeout passed")
    return code


class _Watch:
    """Waits for signals; remembers what they did. Everything but `begin` may run inside a signal handler."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._timers: list[threading.Timer] = []
        self._drains = 0  #: the signal that asked for it
        self._leaving = 0  #: the signal that cancelled
        self.failure: FastcopyError | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Our handlers, and the former ones again at the end."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for timer in self._timers:
                timer.cancel()

    def begin(self, scope: trio.CancelScope) -> None:
        """From here on signals cancel *scope*; one that came earlier does so now."""
        self._token, self._scope = trio.lowlevel.current_trio_token(), scope
        if self.failure is not None:
            scope.cancel()

    def drained(self, error: Exception) -> FastcopyError | None:
        """What a command that left something ends with, when a signal asked for it: the signal's own exit code."""
        found = leaf(error)
        return _failure(self._drains, str(found)) if self._drains and isinstance(found, Drained) else None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._leaving:
            leave_now(128 + number)
        elif not self._drains and self._may_drain(number):
            self._drain(number)
        else:
            self._leave(number)

    def _may_drain(self, number: int) -> bool:
        asked = number == signal.SIGTERM or self._call.parsed.get("drain")
        return bool(asked) and self._call.on_drain is not None and self._token is not None

    def _drain(self, number: int) -> None:
        self._drains = number
        self._soon(self._call.on_drain)
        if limit := self._call.parsed.get("drain-timeout"):
            self._after(limit, self._leave, number)

    def _leave(self, number: int) -> None:
        if self._leaving:
            return
        self._leaving = number
        self._after(GRACE, leave_now, 128 + number)
        if number == signal.SIGINT and self._call.on_interrupt is not None:
            self._soon(self._call.on_interrupt)
            return
        self.failure = _failure(number, "interrupted" if number == signal.SIGINT else "terminated")
        if self._scope is not None:
            self._soon(self._scope.cancel)

    def _after(self, seconds: float, act: Callable[[int], None], number: int) -> None:
        timer = threading.Timer(seconds, act, (number,))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _soon(self, act: Any) -> None:
        if self._token is not None:
            self._token.run_sync_soon(act)


def _failure(number: int, text: str) -> FastcopyError:
    return Interrupted(text) if number == signal.SIGINT else Terminated(text)


def leave_now(code: int) -> None:
    """End the process without further ado, the terminal's cursor made visible again."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")
    os._exit(code)
