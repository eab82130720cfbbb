"""What one hand-over of a blob to a worker thread costs, and how many bytes one core hashes meanwhile.

The quotient is the size below which a blob is better moved in the loop.
"""

from __future__ import annotations

import hashlib

import trio

from benchmarks.micro.clock import best_seconds

PIECE = bytes(256 * 1024)


def _nothing() -> None:
    return None


def _hop(count: int) -> None:
    async def main() -> None:
        for _ in range(count):
            await trio.to_thread.run_sync(_nothing)

    trio.run(main)


def _hash(count: int) -> None:
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(PIECE)


def measure() -> list[tuple[str, str]]:
    """Return (name, value) lines."""
    hop, piece = best_seconds(_hop), best_seconds(_hash)
    speed = len(PIECE) / piece
    return [
        ("hand-over: trio.to_thread.run_sync, there and back", f"{hop * 1e6:.0f} us"),
        ("sha256 of 256 KiB pieces", f"{speed / 1e6:.0f} MB/s"),
        ("bytes hashed during one hand-over", f"{speed * hop / 1e3:.0f} kB"),
    ]
