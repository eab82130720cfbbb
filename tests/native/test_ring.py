"""fill() and drain(): ranges in any order, several sinks, holes, and who is blamed for what."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from native_peers import Thread, collect, reset

SIZE = 2_000_003
PIECE = 65_537
SLAB = 16_384


@pytest.fixture
def data() -> bytes:
    """Bytes that no part of the ring can guess."""
    return os.urandom(SIZE)


def ring(backend: SimpleNamespace, data: bytes, outlets: list[Any], **options: Any) -> Any:
    """A ring of half a megabyte that expects *data*."""
    options = {"hasher": backend.Hasher(), "expected": hashlib.sha256(data).digest(), "slabs": 32} | options
    return backend.Pump(outlets, len(data), slab=SLAB, **options)


def ranges(size: int, window: int, seed: int) -> list[tuple[int, int]]:
    """All pieces of a blob, shuffled inside windows that fit the ring, as a range download would ask for them."""
    rng = random.Random(seed)
    pieces = [(first, min(first + PIECE, size)) for first in range(0, size, PIECE)]
    groups = [pieces[at : at + window] for at in range(0, len(pieces), window)]
    for group in groups:
        rng.shuffle(group)
    return list(itertools.chain(*groups))


def fill_all(
    backend: SimpleNamespace, pump: Any, data: bytes, pieces: list[tuple[int, int]], threads: int
) -> list[Thread]:
    """k threads that take pieces from one list."""
    todo, lock = iter(pieces), threading.Lock()

    def filler() -> None:
        while True:
            with lock:
                piece = next(todo, None)
            if piece is None:
                return
            first, last = piece
            report = pump.fill(backend.Inlet.memory(data[first:last]), first)
            assert (report.why, report.read) == (backend.Why.DONE, last - first)

    return [Thread(filler) for _ in range(threads)]


@pytest.mark.parametrize("seed", range(5))
def test_k_fillers_in_any_order_give_the_blob_in_order(
    backend: SimpleNamespace, data: bytes, seed: int, pair: Any
) -> None:
    """Ranges arrive shuffled from four threads; two sinks get every byte once and in order."""
    near, far = pair()
    fd = os.memfd_create("sink")
    outlets = [backend.Outlet.socket(near), backend.Outlet.file(fd)]
    pump = ring(backend, data, outlets)
    got = Thread(collect, far, SIZE)
    fillers = fill_all(backend, pump, data, ranges(SIZE, 4, seed), 4)
    report = pump.drain()
    for thread in fillers:
        thread.result()
    assert (report.why, report.read, pump.position) == (backend.Why.DONE, SIZE, SIZE)
    assert got.result() == data
    assert os.pread(fd, SIZE + 1, 0) == data
    assert [outlet.sent for outlet in outlets] == [SIZE, SIZE]
    assert pump.counters().read == SIZE
    os.close(fd)


def test_a_dead_filler_leaves_a_hole_that_another_fills(backend: SimpleNamespace, data: bytes, pair: Any) -> None:
    """Its report says how far it came; the rest of its range is filled by a second source."""
    outlet = backend.Outlet.null()
    pump = ring(backend, data, [outlet], slabs=200)
    draining = Thread(pump.drain)
    assert pump.fill(backend.Inlet.memory(data[1_000_000:]), 1_000_000).why is backend.Why.DONE
    near, far = pair()
    far.sendall(data[:300_000])
    far.close()
    lost = pump.fill(backend.Inlet.socket(near, 1_000_000), 0)
    assert (lost.why, lost.read) == (backend.Why.SOURCE_LOST, 300_000)
    assert draining.alive()
    assert pump.fill(backend.Inlet.memory(data[300_000:1_000_000]), 300_000).why is backend.Why.DONE
    assert draining.result().why is backend.Why.DONE
    assert outlet.sent == SIZE


def test_ranges_that_overlap_are_refused(backend: SimpleNamespace, data: bytes) -> None:
    """Bytes that were digested, filled or claimed are never written again: what was verified is what is sent."""
    pump = ring(backend, data, [backend.Outlet.null()], slabs=200)
    pump.fill(backend.Inlet.memory(data[1000:2000]), 1000)
    for first, last in ((1000, 2000), (500, 1001), (1999, 3000), (0, SIZE)):
        with pytest.raises(ValueError, match="filled"):
            pump.fill(backend.Inlet.memory(data[first:last]), first)
    with pytest.raises(ValueError, match="outside"):
        pump.fill(backend.Inlet.memory(b"xx"), SIZE - 1)


def test_a_range_in_work_is_claimed(backend: SimpleNamespace, data: bytes, pair: Any) -> None:
    """A second filler of the same range is refused while the first lives, and welcome after it was stopped."""
    pump = ring(backend, data, [backend.Outlet.null()], slabs=200)
    near, far = pair()
    inlet = backend.Inlet.socket(near, SIZE)
    slow = Thread(pump.fill, inlet, 0)
    far.sendall(data[:100])
    draining = Thread(pump.drain)
    while pump.position < 100:
        pass
    with pytest.raises(ValueError, match="filled"):
        pump.fill(backend.Inlet.memory(data[100:]), 100)
    inlet.stop()
    stopped = slow.result()
    assert (stopped.why, stopped.read) == (backend.Why.STOPPED, 100)
    assert pump.fill(backend.Inlet.memory(data[100:]), 100).why is backend.Why.DONE
    assert draining.result().why is backend.Why.DONE


def test_fillers_wait_for_room_and_memory_stays_bounded(backend: SimpleNamespace, data: bytes) -> None:
    """A filler ahead of the ring sleeps until the digest has come near."""
    pump = ring(backend, data, [backend.Outlet.null()], slabs=4)
    far_ahead = Thread(pump.fill, backend.Inlet.memory(data[1_000_000:]), 1_000_000)
    near = Thread(pump.fill, backend.Inlet.memory(data[:1_000_000]), 0)
    assert pump.drain().why is backend.Why.DONE
    assert near.result().why is backend.Why.DONE
    report = far_ahead.result()
    assert report.why is backend.Why.DONE
    assert report.wait_out_ns > 0


def test_a_wrong_digest_ends_the_ring_and_its_fillers(backend: SimpleNamespace, data: bytes) -> None:
    """MISMATCH; the sinks lack the end; fillers that wait for room are sent home."""
    fd = os.memfd_create("sink")
    pump = ring(backend, data, [backend.Outlet.file(fd)], expected=b"\1" * 32)
    fillers = fill_all(backend, pump, data, ranges(SIZE, 4, 1), 2)
    assert pump.drain().why is backend.Why.MISMATCH
    for thread in fillers:
        thread.result()
    size = os.fstat(fd).st_size
    assert SIZE - SLAB <= size < SIZE
    os.close(fd)


def test_stop_ends_fillers_and_drain(backend: SimpleNamespace, data: bytes, pair: Any) -> None:
    """Whatever they wait for: source, room or data."""
    pump = ring(backend, data, [backend.Outlet.null()], slabs=2)
    near, _ = pair()
    waiting = [
        Thread(pump.drain),
        Thread(pump.fill, backend.Inlet.socket(near, 1000), 0),
        Thread(pump.fill, backend.Inlet.memory(data[SLAB:]), SLAB),
    ]
    pump.stop()
    assert [thread.result().why for thread in waiting] == [backend.Why.STOPPED] * 3


def test_a_hole_that_nobody_fills_stalls_the_drain(backend: SimpleNamespace, data: bytes) -> None:
    """The drain does not wait for ever, and may be called again."""
    pump = ring(backend, data, [backend.Outlet.null()], stall=0.05, slabs=200)
    pump.fill(backend.Inlet.memory(data[1000:]), 1000)
    assert pump.drain().why is backend.Why.SOURCE_STALLED
    pump.fill(backend.Inlet.memory(data[:1000]), 0)
    assert pump.drain().why is backend.Why.DONE


def test_a_silent_filler_stalls_alone(backend: SimpleNamespace, data: bytes, pair: Any) -> None:
    """Its own timer ends it; the hole is filled by another."""
    near, _far = pair()
    pump = ring(backend, data, [backend.Outlet.null()], stall=0.1)
    assert pump.fill(backend.Inlet.socket(near, SIZE), 0).why is backend.Why.SOURCE_STALLED
    draining = Thread(pump.drain)
    assert pump.fill(backend.Inlet.memory(data), 0).why is backend.Why.DONE
    assert draining.result().why is backend.Why.DONE


def test_a_dead_sink_is_detached_and_the_others_go_on(road: SimpleNamespace, data: bytes) -> None:
    """run() with three sinks, one of them reset: two get everything, the third is named."""
    pairs = [road.pair() for _ in range(3)]
    outlets = [road.Outlet.socket(near) for near, _ in pairs]
    pump = ring(road, data, outlets)
    reset(pairs[1][1])
    got = [Thread(collect, pairs[index][1], SIZE) for index in (0, 2)]
    report = pump.run(road.Inlet.memory(data))
    assert (report.why, report.outlet) == (road.Why.DONE, None)
    assert [thread.result() == data for thread in got] == [True, True]
    assert [outlet.failed for outlet in outlets] == [None, road.Why.SINK_LOST, None]
    assert outlets[1].detail


def test_a_lagging_sink_is_detached(road: SimpleNamespace, data: bytes) -> None:
    """It may keep the others waiting for `lag` seconds, not for ever."""
    data = data * 8
    (slow, _silent), (quick, far) = road.pair(), road.pair()
    outlets = [road.Outlet.socket(slow), road.Outlet.socket(quick)]
    pump = ring(road, data, outlets, lag=0.1, expected=hashlib.sha256(data).digest())
    got = Thread(collect, far, len(data))
    report = pump.run(road.Inlet.memory(data))
    assert report.why is road.Why.DONE
    assert got.result() == data
    assert [outlet.failed for outlet in outlets] == [road.Why.SINK_STALLED, None]
    assert "waiting" in outlets[0].detail


def test_a_pump_whose_sinks_are_all_gone_ends(road: SimpleNamespace, data: bytes) -> None:
    """With the last sink's failure."""
    pairs = [road.pair() for _ in range(2)]
    outlets = [road.Outlet.socket(near) for near, _ in pairs]
    for _, far in pairs:
        reset(far)
    pump = ring(road, data, outlets)
    report = pump.run(road.Inlet.memory(data))
    assert report.why is road.Why.SINK_LOST
    assert report.outlet in (0, 1)
    assert [outlet.failed for outlet in outlets] == [road.Why.SINK_LOST] * 2


def test_a_failed_drain_sends_fillers_home(backend: SimpleNamespace, data: bytes, pair: Any) -> None:
    """A filler that waits for room of a ring without sinks ends with STOPPED."""
    near, far = pair()
    pump = ring(backend, data, [backend.Outlet.socket(near)], slabs=2)
    filling = Thread(pump.fill, backend.Inlet.memory(data), 0)
    reset(far)
    assert pump.drain().why is backend.Why.SINK_LOST
    assert filling.result().why is backend.Why.STOPPED
