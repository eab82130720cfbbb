"""Running one command's coroutine: Ctrl-C, SIGTERM, --command-timeout, and never a traceback.

Owns signals and deadlines. The first Ctrl-C cancels, the second ends the process at once; SIGTERM asks the command to
finish what is in flight, or cancels when it cannot be asked.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any

import trio

from fastcopy.cli.call import Call, Terminated
from fastcopy.errors import FastcopyError, Interrupted, TimedOut

#: Ctrl-C promises an exit within a second; cleaning up gets what is left after waking up and exiting.
GRACE = 0.9


def run(work: Coroutine[Any, Any, int], call: Call) -> int:
    """Run *work* under trio; returns its exit code. Raises what it raised, Interrupted, Terminated or TimedOut."""
    return trio.run(_supervised, work, call)


async def _supervised(work: Coroutine[Any, Any, int], call: Call) -> int:
    watch = _Watch(call)
    code = 0
    with trio.move_on_after(call.parsed.get("command-timeout") or float("inf")) as deadline:
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run, nursery.cancel_scope)
            code = await work
            nursery.cancel_scope.cancel()
    watch.disarm()
    if watch.failure is not None:
        raise watch.failure
    if deadline.cancelled_caught:
        raise TimedOut("context deadline exceeded", hint="--command-timeout passed")
    return code


class _Watch:
    """Waits for signals; remembers why it cancelled."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._timer: threading.Timer | None = None
        self.failure: FastcopyError | None = None

    async def run(self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGTERM and self._call.on_drain is not None:
                    self._call.on_drain()
                    continue
                self._stop(number, scope)

    def _stop(self, number: int, scope: trio.CancelScope) -> None:
        if self.failure is not None:
            leave_now()
        self.failure = Interrupted("interrupted") if number == signal.SIGINT else Terminated("terminated")
        if number == signal.SIGINT:
            self._timer = threading.Timer(GRACE, leave_now)
            self._timer.daemon = True
            self._timer.start()
        # From here on a second Ctrl-C must work even when the loop is busy cleaning up.
        signal.signal(signal.SIGINT, lambda *_: leave_now())
        scope.cancel()

    def disarm(self) -> None:
        """Clean-up was quick enough."""
        if self._timer is not None:
            self._timer.cancel()


def leave_now() -> None:
    """End the process without further ado, the terminal's cursor made visible again."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")
    os._exit(130)
