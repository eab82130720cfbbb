"""--bwlimit holds for layers that are recompressed too."""

from __future__ import annotations

import gzip
import hashlib

from fastcopy import codecs
from fastcopy._native import Outlet, Rate
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.transfer.inflow import Inflow


class Meter(Rate):
    """A rate that grants a thousand bytes at a time, every second time none, and remembers."""

    def __init__(self) -> None:
        self.granted: list[int] = []

    def take(self, count: int) -> tuple[int, float]:
        """Half of the askers have to wait a moment."""
        self.granted.append(0 if len(self.granted) % 2 else min(count, 1000))
        return self.granted[-1], 0.0001


def test_every_byte_of_a_recompressed_layer_is_paid_for() -> None:
    """What was granted, wait by wait, is what was read; a stop ends the waiting."""
    data = gzip.compress(b"layer" * 5000, 0)
    digest = Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")
    what, rate = Descriptor(digest, len(data), "application/octet-stream"), Meter()
    flow = Inflow(what, codecs.encoder("zstd", None, 1), Outlet.null(), None, stall=5.0, rate=rate)
    flow.take(data[:20_000])
    flow.take(data[20_000:])
    flow.finish()
    assert sum(rate.granted) == len(data)
    flow.stop()
    flow._spend(10**9)
    assert sum(rate.granted) == len(data)
    flow.close()
