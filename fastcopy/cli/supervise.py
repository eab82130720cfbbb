"""Running one command's coroutine: Ctrl-C, SIGTERM, --command-timeout, and never a traceback.

Owns signals and deadlines. The first Ctrl-C cancels, the second ends the process at once; SIGTERM asks the command to
finish what is in flight, or cancels when it cannot be asked. The handlers are ours, not tasks of trio's, so that the
second Ctrl-C works while the loop is busy with the first one's clean-up.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import trio

from fastcopy.cli.call import Call, Terminated
from fastcopy.errors import FastcopyError, Interrupted, TimedOut

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
        except Exception:
            if watch.failure is None:
                raise
    if watch.failure is not None:  # also when being cancelled made the work fail in its own way
        raise watch.failure
    if scope.cancelled_caught:
        raise TimedOut("context deadline exceeded", hint="--command-timeout passed")
    return code


class _Watch:
    """Waits for signals; remembers why it cancelled. Everything but `begin` may run inside a signal handler."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._timer: threading.Timer | None = None
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
            if self._timer is not None:
                self._timer.cancel()

    def begin(self, scope: trio.CancelScope) -> None:
        """From here on signals cancel *scope*; one that came earlier does so now."""
        self._token, self._scope = trio.lowlevel.current_trio_token(), scope
        if self.failure is not None:
            scope.cancel()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            if self._call.on_drain is not None:
                self._soon(self._call.on_drain)
                return
            self._stop(Terminated("terminated"))
        elif self._timer is not None:
            leave_now()
        else:
            self._timer = threading.Timer(GRACE, leave_now)
            self._timer.daemon = True
            self._timer.start()
            if self._call.on_interrupt is not None:
                self._soon(self._call.on_interrupt)
            else:
                self._stop(Interrupted("interrupted"))

    def _stop(self, failure: FastcopyError) -> None:
        self.failure = failure
        if self._scope is not None:
            self._soon(self._scope.cancel)

    def _soon(self, act: Any) -> None:
        if self._token is not None:
            self._token.run_sync_soon(act)


def leave_now() -> None:
    """End the process without further ado, the terminal's cursor made visible again."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")
    os._exit(130)
