"""A server in a thread of its own, for programs that are not trio's: synchronous tests, scripts, demonstrations."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import trio

from fastcopy.serve.config import ServeConfig
from fastcopy.serve.server import Running, running


@dataclass(eq=False)
class ThreadedServer:
    """A server elsewhere; `server` may be read from any thread. Use `with`, or call stop()."""

    server: Running
    stop: Callable[[], None]  #: ends the server and waits for its thread; idempotent

    def __enter__(self) -> ThreadedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_in_thread(config: ServeConfig) -> ThreadedServer:
    """Start a server and return once it listens; raises what starting it raised."""
    started: queue.SimpleQueue[tuple[Running, Callable[[], None]] | BaseException] = queue.SimpleQueue()
    thread = threading.Thread(target=_run, args=(config, started), name="fastcopy-serve", daemon=True)
    thread.start()
    answer = started.get()
    if isinstance(answer, BaseException):
        thread.join()
        raise answer
    server, cancel = answer

    def stop() -> None:
        cancel()
        thread.join()

    return ThreadedServer(server, stop)


def _run(config: ServeConfig, started: queue.SimpleQueue[tuple[Running, Callable[[], None]] | BaseException]) -> None:
    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        async with running(config) as server:
            scope = trio.CancelScope()

            def cancel() -> None:
                try:
                    token.run_sync_soon(scope.cancel)
                except trio.RunFinishedError:
                    return

            started.put((server, cancel))
            with scope:
                await trio.sleep_forever()

    try:
        trio.run(main)
    except BaseException as error:  # handed to the thread that waits for the start
        started.put(error)
