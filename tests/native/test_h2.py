"""HTTP/2 ends against python-h2, which checks every frame and window of ours."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
from types import SimpleNamespace
from typing import Any

import h2.events
import pytest
from native_h2 import CODES, RESPONSE, Wire
from native_peers import Thread

SIZE = 1_500_007
WIDE = {CODES.INITIAL_WINDOW_SIZE: 1 << 20, CODES.MAX_FRAME_SIZE: 1 << 18}


@pytest.fixture
def data() -> bytes:
    """A body."""
    return os.urandom(SIZE)


def upload(road: SimpleNamespace, data: bytes, outlet: Any, **options: Any) -> Any:
    """A pump that expects *data*."""
    options = {"hasher": road.Hasher(), "expected": hashlib.sha256(data).digest(), "stall": 5.0} | options
    return road.Pump([outlet], len(data), **options)


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """One raw frame."""
    return struct.pack(">I", len(body))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body


# Sending -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, WIDE, {CODES.INITIAL_WINDOW_SIZE: 1000}])
def test_a_body_crosses_inside_the_peers_windows(road: SimpleNamespace, data: bytes, settings: Any) -> None:
    """Small, default and wide windows and frames; END_STREAM ends the last frame."""
    wire = Wire(*road.pair(), server=settings)
    data = data[:200_000] if settings.get(CODES.INITIAL_WINDOW_SIZE) == 1000 else data
    outlet = wire.lend_outlet(road)
    serving = Thread(wire.serve_upload)
    report = upload(road, data, outlet).run(road.Inlet.memory(data))
    assert report.why is road.Why.DONE
    assert serving.result() == data
    assert (outlet.sent, outlet.ended, outlet.answer) == (len(data), True, b"")


def test_an_empty_body_is_ended_by_an_empty_frame(road: SimpleNamespace) -> None:
    """No byte can carry the flag."""
    wire = Wire(*road.pair())
    assert upload(road, b"", wire.lend_outlet(road)).run(road.Inlet.memory(b"")).why is road.Why.DONE
    assert wire.serve_upload() == b""


def test_fed_blocks_are_framed(road: SimpleNamespace, data: bytes) -> None:
    """A body of unknown length ends with finish()."""
    wire = Wire(*road.pair(), server=WIDE)
    pump = road.Pump([wire.lend_outlet(road)], -1, hasher=road.Hasher(), expected=hashlib.sha256(data).digest())
    serving = Thread(wire.serve_upload)
    for first in range(0, SIZE, 333_333):
        assert pump.feed(data[first : first + 333_333]).why is road.Why.DONE
    assert pump.finish().why is road.Why.DONE
    assert serving.result() == data


def test_a_wrong_digest_never_ends_the_stream(road: SimpleNamespace, data: bytes) -> None:
    """END_STREAM waits for the digest as the last bytes do."""
    wire = Wire(*road.pair(), server=WIDE)
    outlet = wire.lend_outlet(road)
    serving = Thread(wire.serve_upload)
    report = upload(road, data, outlet, expected=b"\0" * 32).run(road.Inlet.memory(data))
    assert (report.why, outlet.ended) == (road.Why.MISMATCH, False)
    wire.near.close()
    with pytest.raises((AssertionError, OSError)):
        serving.result()


def test_settings_and_pings_in_mid_body_are_obeyed_and_answered(road: SimpleNamespace, data: bytes) -> None:
    """A wider window and smaller frames hold at once, acknowledgements arrive, and the owner can replay them all."""
    wire = Wire(*road.pair(), server={CODES.INITIAL_WINDOW_SIZE: 200_000, CODES.MAX_FRAME_SIZE: 1 << 18})
    told = []

    def speak(wire: Wire, received: int) -> None:
        if not told and received > 100_000:
            told.append(received)
            wire.server.update_settings({CODES.INITIAL_WINDOW_SIZE: 500_000, CODES.MAX_FRAME_SIZE: 16_384})
            wire.server.ping(b"12345678")

    outlet = wire.lend_outlet(road)
    events: list[Any] = []
    original = wire.server.receive_data
    wire.server.receive_data = lambda some: events.extend(new := original(some)) or new
    serving = Thread(wire.serve_upload, speak)
    assert upload(road, data, outlet).run(road.Inlet.memory(data)).why is road.Why.DONE
    assert serving.result() == data
    kinds = [type(event) for event in events]
    assert h2.events.SettingsAcknowledged in kinds
    assert h2.events.PingAckReceived in kinds
    seen = [type(event) for event in wire.client.receive_data(_without_windows(outlet.replay))]
    assert seen.count(h2.events.RemoteSettingsChanged) == 1
    assert seen.count(h2.events.PingReceived) == 1


def test_a_window_that_shrinks_below_zero_is_waited_for(road: SimpleNamespace, data: bytes) -> None:
    """RFC 9113, 6.9.2: nothing more is sent until updates have made it positive again."""
    wire = Wire(*road.pair(), server={CODES.INITIAL_WINDOW_SIZE: 20_000})
    outlet = wire.lend_outlet(road)
    pump = upload(road, data[:25_000], outlet)
    running = Thread(pump.run, road.Inlet.memory(data[:25_000]))
    body = _payload(wire, 20_000)
    wire.far.sendall(frame(4, 0, 0, struct.pack(">HI", 4, 5_000)) + frame(6, 0, 0, b"sequence"))
    assert _exactly(wire.far, 9) == frame(4, 1, 0, b"")
    wire.far.sendall(frame(8, 0, 1, struct.pack(">I", 15_000)))
    assert pump.counters().written == 20_000
    wire.far.sendall(frame(8, 0, 1, struct.pack(">I", 5_000)))
    assert _exactly(wire.far, 17) == frame(6, 1, 0, b"sequence")
    body += _payload(wire, 5_000)
    assert running.result().why is road.Why.DONE
    assert body == data[:25_000]
    assert outlet.windows[0] == 0


def _payload(wire: Wire, size: int) -> bytes:
    """DATA frames read by hand until *size* bytes of body have come."""
    body = b""
    while len(body) < size:
        head = _exactly(wire.far, 9)
        assert head[3] == 0
        body += _exactly(wire.far, int.from_bytes(head[:3], "big"))
    return body


def _exactly(sock: Any, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += sock.recv(size - len(got))
    return got


def _without_windows(raw: bytes) -> bytes:
    """Replayed frames whose effect on windows the client codec never needed."""
    kept, at = b"", 0
    while at < len(raw):
        size = 9 + int.from_bytes(raw[at : at + 3], "big")
        kept += raw[at : at + size] if raw[at + 3] != 8 else b""
        at += size
    return kept


def test_windows_are_reported_for_the_owners_books(road: SimpleNamespace, data: bytes) -> None:
    """What was lent, minus what was sent, plus what the peer granted."""
    wire = Wire(*road.pair(), server=WIDE)
    before = wire.client.streams[1].outbound_flow_control_window
    outlet = wire.lend_outlet(road)
    upload(road, data[:5000], outlet).run(road.Inlet.memory(data[:5000]))
    assert outlet.windows[0] == before - 5000


@pytest.mark.parametrize("answer", ["headers", "reset", "goaway"])
def test_an_early_answer_ends_the_upload_with_its_raw_frames(road: SimpleNamespace, data: bytes, answer: str) -> None:
    """HEADERS, RST_STREAM and a GOAWAY that does not spare the stream; the owner's codec reads them."""
    wire = Wire(*road.pair(), server={CODES.INITIAL_WINDOW_SIZE: 50_000})
    outlet = wire.lend_outlet(road)
    running = Thread(upload(road, data, outlet).run, road.Inlet.memory(data))
    assert wire.far.recv(100)
    if answer == "headers":
        wire.server.send_headers(1, [(":status", "413")], end_stream=True)
        wire.far.sendall(wire.server.data_to_send())
    elif answer == "reset":
        wire.far.sendall(frame(3, 0, 1, struct.pack(">I", 8)))
    else:
        wire.far.sendall(frame(7, 0, 0, struct.pack(">II", 0, 11) + b"calm"))
    report = running.result()
    assert (report.why, outlet.failed) == (road.Why.ANSWERED, road.Why.ANSWERED)
    expected = {"headers": "ResponseReceived", "reset": "StreamReset", "goaway": "ConnectionTerminated"}[answer]
    assert expected in [type(event).__name__ for event in wire.client.receive_data(outlet.answer)]


def test_a_graceful_goaway_lets_the_upload_finish(road: SimpleNamespace, data: bytes) -> None:
    """NO_ERROR with our stream inside: the owner sees it in `replay`."""
    wire = Wire(*road.pair(), server={CODES.INITIAL_WINDOW_SIZE: 50_000})
    goaway = frame(7, 0, 0, struct.pack(">II", 1, 0))
    wire.far.sendall(goaway)
    outlet = wire.lend_outlet(road)
    serving = Thread(wire.serve_upload)
    assert upload(road, data, outlet).run(road.Inlet.memory(data)).why is road.Why.DONE
    assert serving.result() == data
    assert goaway in outlet.replay


def test_a_closed_window_that_stays_closed_stalls(road: SimpleNamespace, data: bytes) -> None:
    """The destination took nothing in time."""
    wire = Wire(*road.pair(), server={CODES.INITIAL_WINDOW_SIZE: 1000})
    outlet = wire.lend_outlet(road)
    report = upload(road, data, outlet, stall=0.1).run(road.Inlet.memory(data))
    assert (report.why, outlet.sent) == (road.Why.SINK_STALLED, 1000)


def test_frames_read_before_lending_count(road: SimpleNamespace, data: bytes) -> None:
    """A WINDOW_UPDATE in the head reader's buffer opens the window."""
    wire = Wire(*road.pair(), server={CODES.INITIAL_WINDOW_SIZE: 1000})
    update = frame(8, 0, 1, struct.pack(">I", 4000))
    outlet = wire.lend_outlet(road, frames=update)
    assert upload(road, data[:5000], outlet).run(road.Inlet.memory(data[:5000])).why is road.Why.DONE
    assert outlet.replay == update


# Receiving -----------------------------------------------------------------------------------------


def download(road: SimpleNamespace, data: bytes, inlet: Any, **options: Any) -> tuple[Any, bytes]:
    """Report and body of a run into memory."""
    fd = os.memfd_create("body")
    options = {"hasher": road.Hasher(), "expected": hashlib.sha256(data).digest(), "stall": 5.0} | options
    pump = road.Pump([road.Outlet.file(fd)], len(data), **options)
    report = pump.run(inlet)
    body = os.pread(fd, len(data) + 1, 0)
    os.close(fd)
    return report, body


def begin(wire: Wire, length: int) -> None:
    """The response's head, seen by the client codec."""
    wire.server.send_headers(1, [*RESPONSE, ("content-length", str(length))])
    wire.settle()


@pytest.mark.parametrize("pad", [None, 0, 7, 255])
@pytest.mark.parametrize("settings", [{}, WIDE])
def test_a_body_arrives_and_windows_are_topped_up(
    road: SimpleNamespace, data: bytes, pad: int | None, settings: Any
) -> None:
    """Padding counts in the windows and never in the body; python-h2 would refuse a byte too many."""
    wire = Wire(*road.pair(), client=settings)
    begin(wire, SIZE)
    inlet = wire.lend_inlet(road, SIZE)
    serving = Thread(wire.serve_download, data, pad)
    report, body = download(road, data, inlet)
    events = serving.result()
    assert (report.why, body == data) == (road.Why.DONE, True)
    assert inlet.ended
    assert inlet.replay == b""
    assert inlet.consumed >= SIZE
    assert min(inlet.granted) > 0
    kinds = {type(event) for event in events}
    assert kinds == {h2.events.WindowUpdated}


def test_decoded_and_raw_leftovers_come_first(road: SimpleNamespace, data: bytes) -> None:
    """*prefix* was counted by the codec, *frames* was not."""
    wire = Wire(*road.pair(), client=WIDE)
    begin(wire, SIZE)
    raw = frame(0, 0, 1, data[1000:3000]) + frame(0, 0, 1, data[3000:4000])[:500]
    wire.far.sendall(frame(0, 0, 1, data[3000:4000])[500:] + frame(0, 1, 1, data[4000:5000]))
    inlet = wire.lend_inlet(road, 5000, prefix=data[:1000], frames=raw)
    report, body = download(road, data[:5000], inlet)
    assert (report.why, body == data[:5000]) == (road.Why.DONE, True)
    assert inlet.consumed == 4000


def test_control_frames_are_acknowledged_and_handed_back(road: SimpleNamespace, data: bytes) -> None:
    """SETTINGS, PING, WINDOW_UPDATE, PRIORITY, a graceful GOAWAY: the body goes on, the owner sees all, in order."""
    wire = Wire(*road.pair(), client=WIDE)
    begin(wire, 20)
    controls = [
        frame(4, 0, 0, struct.pack(">HI", 4, 70_000)),
        frame(6, 0, 0, b"abcdefgh"),
        frame(8, 0, 1, struct.pack(">I", 5)),
        frame(2, 0, 1, b"\0\0\0\0\x10"),
        frame(7, 0, 0, struct.pack(">II", 1, 0)),
    ]
    wire.far.sendall(frame(0, 0, 1, data[:10]) + b"".join(controls) + frame(0, 1, 1, data[10:20]))
    report, body = download(road, data[:20], inlet := wire.lend_inlet(road, 20))
    assert (report.why, body) == (road.Why.DONE, data[:20])
    assert inlet.replay == b"".join(controls)
    acks = b""
    while len(acks) < 26:
        acks += wire.far.recv(100)
    assert acks == frame(4, 1, 0, b"") + frame(6, 1, 0, b"abcdefgh")


def test_what_follows_the_body_is_handed_back(road: SimpleNamespace, data: bytes) -> None:
    """Bytes taken beyond the last DATA, and those still in the socket, are one unbroken stream of frames."""
    wire = Wire(*road.pair(), client=WIDE)
    begin(wire, 10)
    after = frame(6, 0, 0, b"abcdefgh") + frame(6, 0, 0, b"ijklmnop")
    wire.far.sendall(frame(0, 1, 1, data[:10]) + after)
    report, _ = download(road, data[:10], inlet := wire.lend_inlet(road, 10))
    assert report.why is road.Why.DONE
    rest = inlet.replay
    wire.near.settimeout(10)
    while len(rest) < len(after):
        rest += wire.near.recv(100)
    assert rest == after


@pytest.mark.parametrize(
    "ending",
    [
        frame(1, 5, 1, b"\x88"),
        frame(3, 0, 1, struct.pack(">I", 2)),
        frame(7, 0, 0, struct.pack(">II", 0, 0)),
        frame(7, 0, 0, struct.pack(">II", 1, 11)),
        frame(0, 0, 3, b"other stream"),
    ],
)
def test_other_frames_end_the_run(road: SimpleNamespace, data: bytes, ending: bytes) -> None:
    """Trailers, RST_STREAM, a GOAWAY that ends us, another stream's DATA: FRAME, and the frame in `replay`."""
    wire = Wire(*road.pair(), client=WIDE)
    begin(wire, 100)
    wire.far.sendall(frame(0, 0, 1, data[:50]) + ending + frame(6, 0, 0, b"abcdefgh"))
    report, body = download(road, data[:100], inlet := wire.lend_inlet(road, 100))
    assert (report.why, body) == (road.Why.FRAME, data[:50])
    rest = inlet.replay
    wire.near.settimeout(10)
    while len(rest) < len(ending) + 17:
        rest += wire.near.recv(100)
    assert rest == ending + frame(6, 0, 0, b"abcdefgh")


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (frame(0, 0, 1, b"x" * 101), "more DATA"),
        (frame(0, 8, 1, b"\x05abc"), "padding"),
        (frame(0, 8, 1, b""), "pad"),
        (frame(6, 0, 0, b"x" * 20_000), "size"),
        (frame(0, 0, 1, b"x" * 16_000), "window"),
        (frame(6, 0, 0, b"12345678") * 6000, "control"),
    ],
)
def test_frames_that_break_the_protocol_are_refused(
    road: SimpleNamespace, data: bytes, frames: bytes, words: str
) -> None:
    """Too much, too large, beyond the window, impossible padding, a flood: FRAME, never a byte too many."""
    wire = Wire(*road.pair())
    begin(wire, 100)
    inlet = wire.lend_inlet(road, 100, max_frame=16_384, stream_window=10_000)
    sending = Thread(wire.far.sendall, frames)
    report, body = download(road, data[:100], inlet)
    assert report.why is road.Why.FRAME
    assert words in report.detail
    assert body == b""
    wire.near.close()
    with contextlib.suppress(OSError):
        sending.result()


def test_a_stream_ended_too_early_is_a_lost_source(road: SimpleNamespace, data: bytes) -> None:
    """END_STREAM before the length; what came is passed on."""
    wire = Wire(*road.pair(), client=WIDE)
    begin(wire, 100)
    wire.far.sendall(frame(0, 1, 1, data[:60]))
    report, body = download(road, data[:100], inlet := wire.lend_inlet(road, 100))
    assert (report.why, report.read, body) == (road.Why.SOURCE_LOST, 60, data[:60])
    assert inlet.ended


def test_a_closed_connection_is_a_lost_source(road: SimpleNamespace, data: bytes) -> None:
    """In the middle of a frame too."""
    wire = Wire(*road.pair(), client=WIDE)
    begin(wire, 100)
    wire.far.sendall(frame(0, 0, 1, data[:100])[:40])
    wire.far.close()
    report, body = download(road, data[:100], wire.lend_inlet(road, 100))
    assert report.why is road.Why.SOURCE_LOST
    assert data.startswith(body)


def test_two_lent_streams_relay_a_body(road: SimpleNamespace, data: bytes) -> None:
    """HTTP/2 in, HTTP/2 out, at once."""
    source, sink = Wire(*road.pair(), client=WIDE), Wire(*road.pair(), server=WIDE)
    begin(source, SIZE)
    sending = Thread(source.serve_download, data)
    serving = Thread(sink.serve_upload)
    pump = upload(road, data, sink.lend_outlet(road))
    assert pump.run(source.lend_inlet(road, SIZE)).why is road.Why.DONE
    sending.result()
    assert serving.result() == data
    assert threading.active_count() < 50
