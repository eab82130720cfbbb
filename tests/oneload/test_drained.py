"""A run that is asked to end: images that are not begun any more keep nobody waiting for what they want."""

from __future__ import annotations

import trio

from fastcopy.engine import Engine, running
from fastcopy.jobs import Job
from fastcopy.migrate.runner import Syncing, SyncOptions
from fastcopy.options import Options
from fastcopy.transfer.drain import Drain


async def test_images_that_a_drained_run_leaves_are_not_waited_for() -> None:
    """They were announced with their batch; when the batch is left, their announcement is taken back."""
    jobs = [Job(f"docker://a.lan/i{n}:1", f"docker://{to}.lan/i{n}:1") for n, to in enumerate("bc")]
    drain = Drain()
    drain.ask()

    async def work(engine: Engine) -> int:
        async with trio.open_nursery() as nursery:
            await Syncing(engine, SyncOptions())._copy_batch(jobs, nursery)
        return len(engine.run.wants._crawling)

    assert await running(Options(), work, emit=lambda event: None, drain=drain) == 0
