"""File, memory and null ends, feeding, read_into, the rate limit, and misuse."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_peers import Thread, collect

COMMON = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_a_file_range_is_copied_into_a_file_range(backend: SimpleNamespace, tmp_path: Path) -> None:
    """Offsets on both sides; nothing around the ranges is touched."""
    data = os.urandom(1_000_003)
    (tmp_path / "in").write_bytes(b"head" + data + b"tail")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink:
        sink.write(b"12345")
        sink.flush()
        outlet = backend.Outlet.file(sink.fileno(), 5)
        pump = backend.Pump([outlet], len(data), hasher=backend.Hasher(), expected=hashlib.sha256(data).digest())
        report = pump.run(backend.Inlet.file(source.fileno(), len(data), 4))
    assert (report.why, outlet.sent) == (backend.Why.DONE, len(data))
    assert (tmp_path / "out").read_bytes() == b"12345" + data


def test_a_file_shorter_than_stated_is_lost(backend: SimpleNamespace, tmp_path: Path) -> None:
    """The source's fault, with what there was passed on."""
    (tmp_path / "in").write_bytes(b"short")
    with (tmp_path / "in").open("rb") as source:
        outlet = backend.Outlet.null()
        report = backend.Pump([outlet], 100).run(backend.Inlet.file(source.fileno(), 100))
    assert (report.why, report.read, outlet.sent) == (backend.Why.SOURCE_LOST, 5, 5)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_destination_has_its_own_name(backend: SimpleNamespace) -> None:
    """ENOSPC is SINK_FULL, not a lost sink."""
    fd = os.open("/dev/full", os.O_WRONLY)
    report = backend.Pump([backend.Outlet.file(fd)], 4).run(backend.Inlet.memory(b"data"))
    os.close(fd)
    assert (report.why, report.errno, report.outlet) == (backend.Why.SINK_FULL, errno.ENOSPC, 0)


def test_a_pump_without_outlets_only_digests(backend: SimpleNamespace) -> None:
    """Verification of what is already at its place."""
    hasher = backend.Hasher("sha512")
    pump = backend.Pump([], 300_000, hasher=hasher, expected=hashlib.sha512(b"x" * 300_000).digest())
    assert pump.run(backend.Inlet.memory(b"x" * 300_000)).why is backend.Why.DONE


@COMMON
@given(
    pieces=st.lists(st.binary(max_size=400), max_size=12),
    known=st.booleans(),
    verify=st.booleans(),
    right=st.booleans(),
)
def test_feeding_in_any_pieces_gives_the_whole_or_withholds_its_end(
    backend: SimpleNamespace, pieces: list[bytes], known: bool, verify: bool, right: bool
) -> None:
    """Known and unknown length, with and without an expected digest."""
    whole = b"".join(pieces)
    fd = os.memfd_create("sink")
    expected = hashlib.sha256(whole if right else whole + b"!").digest() if verify else None
    length = len(whole) if known else -1
    pump = backend.Pump([backend.Outlet.file(fd)], length, hasher=backend.Hasher(), expected=expected)
    whys = [pump.feed(piece).why for piece in pieces]
    whys.append(pump.finish().why)
    written = os.pread(fd, 10_000, 0)
    os.close(fd)
    if right or not verify:
        assert set(whys) == {backend.Why.DONE}
        assert written == whole
        assert pump.position == len(whole)
    else:
        assert whys[-1] is backend.Why.MISMATCH
        assert len(written) < max(1, len(whole))
        assert whole.startswith(written)


def test_fed_bodies_cross_a_socket(road: SimpleNamespace) -> None:
    """Blocks as a codec gives them; every feed has left when it returns."""
    data = os.urandom(3_000_000)
    near, far = road.pair()
    got = Thread(collect, far, len(data))
    outlet = road.Outlet.socket(near)
    pump = road.Pump([outlet], -1, hasher=road.Hasher(), expected=hashlib.sha256(data).digest())
    for first in range(0, len(data), 1 << 20):
        report = pump.feed(memoryview(data)[first : first + (1 << 20)])
        assert report.why is road.Why.DONE
    assert outlet.sent == len(data) - 1
    assert pump.finish().why is road.Why.DONE
    assert got.result() == data


def test_feeding_too_much_or_too_little_is_told(backend: SimpleNamespace) -> None:
    """More than the length is our own mistake, less is the source's."""
    pump = backend.Pump([backend.Outlet.null()], 10)
    pump.feed(b"12345")
    with pytest.raises(ValueError, match="more data"):
        pump.feed(b"123456")
    assert pump.finish().why is backend.Why.SOURCE_LOST
    assert pump.feed(b"67890").why is backend.Why.DONE
    assert pump.finish().why is backend.Why.DONE


def test_read_into_hands_a_body_to_a_codec(road: SimpleNamespace) -> None:
    """Prefix and socket bytes, as much as is there, 0 at the end and never a byte beyond."""
    data = os.urandom(1_000_000)
    near, far = road.pair()
    sending = Thread(far.sendall, data[100:] + b"beyond")
    inlet = road.Inlet.socket(near, len(data), data[:100])
    got, block = bytearray(), bytearray(65_536)
    while count := inlet.read_into(block):
        got += block[:count]
    sending.result()
    assert got == data
    assert (inlet.remaining, inlet.read_into(block)) == (0, 0)
    near.settimeout(10)
    assert near.recv(100) == b"beyond"


def test_read_into_says_why_it_cannot(road: SimpleNamespace) -> None:
    """Stalled, stopped, lost."""
    near, far = road.pair()
    inlet = road.Inlet.socket(near, 10)
    with pytest.raises(road.PumpError) as stalled:
        inlet.read_into(bytearray(10), stall=0.03)
    assert stalled.value.why is road.Why.SOURCE_STALLED
    waiting = Thread(inlet.read_into, bytearray(10))
    inlet.stop()
    with pytest.raises(road.PumpError, match="STOPPED"):
        waiting.result()
    other = road.Inlet.socket(near, 10)
    far.close()
    with pytest.raises(road.PumpError) as lost:
        other.read_into(bytearray(10))
    assert lost.value.why is road.Why.SOURCE_LOST


def test_a_rate_is_shared_and_can_be_lifted(backend: SimpleNamespace) -> None:
    """Two pumps together stay inside the budget; waiting for it is nobody's stall and nobody's wait."""
    rate = backend.Rate(1_000_000, burst=10_000)
    pumps = [backend.Pump([backend.Outlet.null()], 60_000, rate=rate, stall=0.01) for _ in range(2)]
    began = time.monotonic()
    reports = [Thread(pump.run, backend.Inlet.memory(b"x" * 60_000)) for pump in pumps]
    assert {thread.result().why for thread in reports} == {backend.Why.DONE}
    assert time.monotonic() - began >= 0.1
    assert sum(thread.result().wait_in_ns for thread in reports) < 50_000_000
    rate.bytes_per_second = 0
    assert rate.bytes_per_second == 0
    free = backend.Pump([backend.Outlet.null()], 1 << 24, rate=rate)
    assert free.run(backend.Inlet.memory(b"x" * (1 << 24))).why is backend.Why.DONE


def test_a_rate_limited_fill_is_not_a_stall(backend: SimpleNamespace) -> None:
    """The ring's fillers obey the same budget."""
    rate = backend.Rate(1_000_000, burst=20_000)
    pump = backend.Pump([backend.Outlet.null()], 100_000, slab=16_384, slabs=4, rate=rate, stall=0.01)
    filling = Thread(pump.fill, backend.Inlet.memory(b"x" * 100_000), 0)
    while (report := pump.drain()).why is backend.Why.SOURCE_STALLED:
        pass
    assert report.why is backend.Why.DONE
    assert filling.result().why is backend.Why.DONE


def test_a_busy_pump_or_inlet_says_so(backend: SimpleNamespace, pair: Any) -> None:
    """One thread at a time: misuse is loud."""
    near, far = pair()
    pump = backend.Pump([backend.Outlet.null()], 10)
    inlet = backend.Inlet.socket(near, 10)
    running = Thread(pump.run, inlet)
    far.sendall(b"12345")
    while pump.position < 5:
        pass
    for misuse in (
        lambda: pump.run(backend.Inlet.memory(b"")),
        pump.drain,
        pump.finish,
        lambda: pump.feed(b"x"),
        lambda: inlet.read_into(bytearray(1)),
        lambda: backend.Pump([], 10).run(inlet),
    ):
        with pytest.raises(RuntimeError):
            misuse()
    pump.stop()
    assert running.result().why is backend.Why.STOPPED


@pytest.mark.parametrize(
    "arguments",
    [
        {"length": -2},
        {"length": 1, "slab": 0},
        {"length": 1, "slabs": 0},
        {"length": 1, "start": -1},
        {"length": 1, "stall": 0.0},
        {"length": 1, "lag": 0.0},
        {"length": -1, "slabs": 2},
        {"length": 1, "expected": b"x" * 32},
    ],
)
def test_impossible_pumps_are_refused(backend: SimpleNamespace, arguments: dict[str, Any]) -> None:
    """ValueError at construction, not a surprise in a thread."""
    with pytest.raises(ValueError):
        backend.Pump([backend.Outlet.null()], **arguments)


def test_impossible_ends_are_refused(backend: SimpleNamespace, pair: Any) -> None:
    """Closed sockets, prefixes beyond the length, negative sizes, wrong digests, bare constructors."""
    near, _ = pair()
    with pytest.raises(ValueError):
        backend.Inlet.socket(near, 1, b"xx")
    with pytest.raises(ValueError):
        backend.Inlet.socket(near, -1)
    with pytest.raises(ValueError):
        backend.Inlet.file(0, 1, -1)
    with pytest.raises(ValueError):
        backend.Outlet.file(1, -1)
    with pytest.raises(ValueError):
        backend.Pump([], 1, hasher=backend.Hasher(), expected=b"short")
    with pytest.raises(ValueError):
        backend.Pump([backend.Outlet.null() for _ in range(65)], 1)
    near.close()
    with pytest.raises(ValueError):
        backend.Outlet.socket(near)
    for kind in (backend.Inlet, backend.Outlet):
        with pytest.raises(TypeError):
            kind()


def test_a_blocking_tls_socket_is_refused(road: SimpleNamespace) -> None:
    """A lent SSLSocket that blocks could not be stopped."""
    if road.wire == "plain":
        pytest.skip("plain sockets are read with MSG_DONTWAIT")
    near, _ = road.pair()
    near.setblocking(True)
    with pytest.raises(ValueError, match="non-blocking"):
        road.Inlet.socket(near, 1)
