"""run(): one source, one destination, over plain TCP and over TLS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from types import SimpleNamespace

import pytest
from native_peers import Thread, collect, reset

SIZE = 3_000_017


@pytest.fixture
def data() -> bytes:
    """Bytes that no part of the road can guess."""
    return os.urandom(SIZE)


def moving(road: SimpleNamespace, data: bytes, **options: object) -> SimpleNamespace:
    """A pump between two fresh connections, hashing and expecting *data*."""
    source, origin = road.pair()
    sink, target = road.pair()
    hasher = road.Hasher()
    expected = options.pop("expected", hashlib.sha256(data).digest())
    outlet = road.Outlet.socket(sink)
    pump = road.Pump([outlet], len(data), hasher=hasher, expected=expected, **options)
    return SimpleNamespace(
        source=source, origin=origin, sink=sink, target=target, hasher=hasher, outlet=outlet, pump=pump
    )


def test_exactly_the_body_crosses(road: SimpleNamespace, data: bytes) -> None:
    """Bytes, digest, counters and report agree; what follows the body stays in the source's socket."""
    end = moving(road, data)
    sending = Thread(end.origin.sendall, data + b"next answer")
    got = Thread(collect, end.target, len(data))
    report = end.pump.run(road.Inlet.socket(end.source, len(data)))
    assert report.why is road.Why.DONE
    assert got.result() == data
    sending.result()
    assert (report.read, report.errno, report.outlet, report.detail) == (SIZE, 0, None, "")
    assert (end.pump.position, end.outlet.sent, end.outlet.failed) == (SIZE, SIZE, None)
    assert end.hasher.digest() == hashlib.sha256(data).digest()
    counters = end.pump.counters()
    assert (counters.read, counters.written) == (SIZE, SIZE)
    end.source.settimeout(10)
    assert end.source.recv(100) == b"next answer"


def test_a_prefix_comes_first(road: SimpleNamespace, data: bytes) -> None:
    """Body bytes that arrived with the head are part of the length."""
    end = moving(road, data)
    sending = Thread(end.origin.sendall, data[4000:])
    got = Thread(collect, end.target, len(data))
    inlet = road.Inlet.socket(end.source, len(data), data[:4000])
    assert end.pump.run(inlet).why is road.Why.DONE
    sending.result()
    assert got.result() == data
    assert inlet.remaining == 0


def test_a_body_that_is_all_prefix_needs_no_socket(road: SimpleNamespace) -> None:
    """Nothing is read when the head reader already had the whole body."""
    end = moving(road, b"tiny")
    assert end.pump.run(road.Inlet.socket(end.source, 4, b"tiny")).why is road.Why.DONE
    assert end.target.recv(10) == b"tiny"


def test_an_empty_body_is_done_at_once(road: SimpleNamespace) -> None:
    """Zero bytes are verified too."""
    end = moving(road, b"")
    assert end.pump.run(road.Inlet.socket(end.source, 0)).why is road.Why.DONE
    end = moving(road, b"", expected=b"\0" * 32)
    assert end.pump.run(road.Inlet.socket(end.source, 0)).why is road.Why.MISMATCH


def test_a_short_source_is_lost_and_all_it_sent_is_passed_on(road: SimpleNamespace, data: bytes) -> None:
    """Position says where to reconnect; a second inlet continues into the same sink and digest."""
    end = moving(road, data)
    got = Thread(collect, end.target, len(data))
    end.origin.sendall(data[:1_000_001])
    end.origin.close()
    report = end.pump.run(road.Inlet.socket(end.source, len(data)))
    assert report.why is road.Why.SOURCE_LOST
    assert report.detail
    assert (end.pump.position, end.outlet.sent) == (1_000_001, 1_000_001)
    source, origin = road.pair()
    sending = Thread(origin.sendall, data[1_000_001:])
    report = end.pump.run(road.Inlet.socket(source, len(data) - end.pump.position))
    sending.result()
    assert report.why is road.Why.DONE
    assert got.result() == data


def test_a_reset_source_is_lost(road: SimpleNamespace, data: bytes) -> None:
    """RST in the middle is the source's fault."""
    end = moving(road, data)
    got = Thread(collect, end.target)
    end.origin.sendall(data[:100_000])
    reset(end.origin)
    report = end.pump.run(road.Inlet.socket(end.source, len(data)))
    assert (report.why, report.outlet) == (road.Why.SOURCE_LOST, None)
    assert end.pump.position <= 100_000
    end.sink.close()
    assert data.startswith(got.result())


def test_a_wrong_digest_withholds_the_end(road: SimpleNamespace, data: bytes) -> None:
    """The destination never gets the last byte, so it cannot take the blob for complete; at most a slab is missing."""
    end = moving(road, data, expected=hashlib.sha256(b"other").digest(), slab=65536)
    sending = Thread(end.origin.sendall, data)
    got = Thread(collect, end.target)
    report = end.pump.run(road.Inlet.socket(end.source, len(data)))
    assert report.why is road.Why.MISMATCH
    sending.result()
    end.sink.close()
    received = got.result()
    assert len(data) - 65536 <= len(received) < len(data)
    assert received == data[: len(received)]
    again = end.pump.run(road.Inlet.memory(b""))
    assert again.why is road.Why.MISMATCH


def test_an_early_answer_ends_the_upload(road: SimpleNamespace, data: bytes) -> None:
    """413 in mid-body: the raw answer is kept, also when the destination reads no further."""
    end = moving(road, data * 8)
    answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    sending = Thread(_send_until_closed, end.origin, data * 8)
    running = Thread(end.pump.run, road.Inlet.socket(end.source, len(data) * 8))
    assert end.target.recv(1000)
    end.target.sendall(answer)
    report = running.result()
    assert (report.why, report.outlet) == (road.Why.ANSWERED, 0)
    assert end.outlet.answer == answer
    assert end.outlet.failed is road.Why.ANSWERED
    end.source.close()
    sending.result()


def _send_until_closed(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(data)


def test_an_early_answer_is_heard_while_the_source_is_silent(road: SimpleNamespace, data: bytes) -> None:
    """The destination is watched even when there is nothing to send it."""
    end = moving(road, data)
    running = Thread(end.pump.run, road.Inlet.socket(end.source, len(data)))
    end.target.sendall(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    assert running.result().why is road.Why.ANSWERED
    assert end.outlet.answer.startswith(b"HTTP/1.1 401")


def test_an_answer_followed_by_a_reset_is_still_heard(road: SimpleNamespace, data: bytes) -> None:
    """Servers that refuse a body answer and close; the answer says more than the broken pipe."""
    end = moving(road, data)
    end.target.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    end.target.close()
    report = end.pump.run(road.Inlet.socket(end.source, len(data), data))
    assert report.why is road.Why.ANSWERED
    assert end.outlet.answer.startswith(b"HTTP/1.1 403")


def test_a_closed_destination_is_lost(road: SimpleNamespace, data: bytes) -> None:
    """Without an answer it is the sink's loss, and the outlet is named."""
    end = moving(road, data)
    reset(end.target)
    report = end.pump.run(road.Inlet.socket(end.source, len(data), data))
    assert (report.why, report.outlet) == (road.Why.SINK_LOST, 0)
    assert end.outlet.failed is road.Why.SINK_LOST
    assert end.pump.run(road.Inlet.socket(end.source, 1)).why is road.Why.SINK_LOST


def test_a_silent_source_stalls(road: SimpleNamespace, data: bytes) -> None:
    """No byte for `stall` seconds."""
    end = moving(road, data, stall=0.05)
    end.origin.sendall(data[:5000])
    report = end.pump.run(road.Inlet.socket(end.source, len(data)))
    assert report.why is road.Why.SOURCE_STALLED
    assert end.pump.position == 5000
    assert report.wait_in_ns >= 40_000_000


def test_a_destination_that_stops_reading_stalls(road: SimpleNamespace, data: bytes) -> None:
    """The source is not blamed for it."""
    end = moving(road, data * 8, stall=0.2)
    report = end.pump.run(road.Inlet.socket(end.source, len(data) * 8, data * 8))
    assert (report.why, report.outlet) == (road.Why.SINK_STALLED, 0)
    assert report.wait_out_ns >= 100_000_000


def test_stop_from_another_thread_ends_the_run(road: SimpleNamespace, data: bytes) -> None:
    """While it waits for the source; stop is final and may be called twice."""
    end = moving(road, data)
    running = Thread(end.pump.run, road.Inlet.socket(end.source, len(data)))
    end.origin.sendall(data[:10])
    assert end.target.recv(10)
    end.pump.stop()
    end.pump.stop()
    assert running.result().why is road.Why.STOPPED
    assert end.pump.run(road.Inlet.socket(end.source, 1)).why is road.Why.STOPPED


def test_stop_ends_a_run_that_waits_for_the_destination(road: SimpleNamespace, data: bytes) -> None:
    """A full socket is no obstacle."""
    end = moving(road, data * 8)
    running = Thread(end.pump.run, road.Inlet.socket(end.source, len(data) * 8, data * 8))
    end.target.recv(1)
    end.pump.stop()
    assert running.result().why is road.Why.STOPPED


def test_stopping_an_inlet_ends_its_reader_alone(road: SimpleNamespace, data: bytes) -> None:
    """The pump lives on and continues with another inlet."""
    end = moving(road, data)
    inlet = road.Inlet.socket(end.source, len(data))
    running = Thread(end.pump.run, inlet)
    end.origin.sendall(data[:10])
    assert end.target.recv(10) == data[:10]
    inlet.stop()
    assert running.result().why is road.Why.STOPPED
    got = Thread(collect, end.target, len(data) - 10)
    assert end.pump.run(road.Inlet.memory(data[10:])).why is road.Why.DONE
    assert got.result() == data[10:]


def test_an_inlet_shorter_than_the_blob_is_a_loss(road: SimpleNamespace) -> None:
    """DONE always means the whole blob."""
    end = moving(road, b"12345678")
    report = end.pump.run(road.Inlet.memory(b"1234"))
    assert (report.why, end.pump.position) == (road.Why.SOURCE_LOST, 4)
    assert end.pump.run(road.Inlet.memory(b"5678")).why is road.Why.DONE
    assert collect(end.target, 8) == b"12345678"


def test_start_shifts_positions(road: SimpleNamespace, data: bytes) -> None:
    """A chunk of a blob: `length` bytes cross, positions count from `start`, the digest goes on."""
    sink, target = road.pair()
    hasher = road.Hasher()
    hasher.update(data[:1000])
    options = {"hasher": hasher, "expected": hashlib.sha256(data).digest(), "start": 1000}
    pump = road.Pump([road.Outlet.socket(sink)], SIZE - 1000, **options)
    assert pump.position == 1000
    got = Thread(collect, target, SIZE - 1000)
    assert pump.run(road.Inlet.memory(data[1000:])).why is road.Why.DONE
    assert pump.position == SIZE
    assert got.result() == data[1000:]


def test_the_lent_socket_serves_the_next_exchange(road: SimpleNamespace, data: bytes) -> None:
    """After the body both links go on as Python sockets."""
    end = moving(road, data)
    sending = Thread(end.origin.sendall, data)
    got = Thread(collect, end.target, len(data))
    assert end.pump.run(road.Inlet.socket(end.source, len(data))).why is road.Why.DONE
    sending.result()
    got.result()
    for near, far in ((end.source, end.origin), (end.sink, end.target)):
        near.settimeout(10)
        near.sendall(b"GET")
        assert far.recv(10) == b"GET"
        far.sendall(b"200")
        assert near.recv(10) == b"200"
