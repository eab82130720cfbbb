"""`python -m tests.chaos.observed ARGUMENTS`: fastcopy, with eyes on what it leaves behind and a way to look at a hang.

SIGUSR1 prints the tree of trio's tasks and the stack of every thread. At an orderly end a line that begins with
``LEFT`` names each descriptor, thread and temporary file that was not there before.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

import trio

from fastcopy.cli import main
from fastcopy.cli.streams import Streams

#: Worker threads of trio's cache end by themselves after ten idle seconds.
_CACHED = "Trio thread"


def _frames(coroutine: object) -> list[str]:
    """Where a suspended coroutine stands, the outermost frame first."""
    found: list[str] = []
    while coroutine is not None and len(found) < 40:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        found.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_qualname}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found


def _show(task: trio.lowlevel.Task, depth: int = 0) -> None:
    own = [each for each in _frames(task.coro) if not each.startswith(("_run.py", "_traps.py", "_io_epoll.py"))]
    print(f"{'  ' * depth}{task.name}: {' > '.join(own[-12:])}", file=sys.stderr)
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            _show(child, depth + 1)


def _tasks(_number: int, _frame: FrameType | None) -> None:
    root = trio.lowlevel.current_root_task()
    print("TASKS", file=sys.stderr)
    if root is not None:
        _show(root)
    faulthandler.dump_traceback(all_threads=True)
    sys.stderr.flush()


def _descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
    return found


def _threads_left() -> list[str]:
    """Threads that are still there a moment later, without those of trio's cache that have nothing to do."""
    deadline = time.monotonic() + 10
    while True:
        left = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
        left = [name for name in left if not name.startswith(_CACHED)]
        if left and time.monotonic() > deadline:
            faulthandler.dump_traceback(all_threads=True)
            return left
        if not left:
            return []
        time.sleep(0.01)


def _left(before: dict[str, str]) -> list[str]:
    gc.collect()  # errors and the frames that they came through are cycles
    files = sorted(str(path) for path in Path(tempfile.gettempdir()).rglob("*"))
    fresh = {f"descriptor {at}" for number, at in _descriptors().items() if number not in before}
    return [*sorted(fresh), *(f"thread {name}" for name in _threads_left()), *(f"file {path}" for path in files)]


def _observed() -> int:
    signal.signal(signal.SIGUSR1, _tasks)
    trio.run(trio.lowlevel.checkpoint)  # what trio opens once per process is not left behind by anybody
    before = _descriptors()
    code = main(["fastcopy", *sys.argv[1:]], Streams(sys.stdin, sys.stdout, sys.stderr))
    for number in (signal.SIGINT, signal.SIGTERM):  # the run is over, the looking is not
        signal.signal(number, signal.SIG_IGN)
    for what in _left(before):
        print(f"LEFT {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(_observed())
