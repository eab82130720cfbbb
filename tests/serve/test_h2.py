"""HTTP/2 at its edges: windows, many streams, resets, padding, broken peers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.serve import Behaviour
from fastcopy.serve.framing import BrokenFraming, Data, Inbox, data_frames, end_of_stream, head, window_update
from tests.registries import Registry, embedded_registry
from tests.serve.h2_client import H2Client
from tests.serve.helpers import BIG, Wire, closing, fresh_repo, sha, start

#: More than the connection's window and the stream's: credit must flow back.
HUGE = bytes(range(256)) * (10 << 12)


@pytest.fixture(params=["plain", "tls"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """Ours: prior knowledge, and ALPN."""
    found: Registry = request.getfixturevalue(f"embedded_{request.param}")
    return found


@pytest.fixture
def client(registry: Registry) -> Iterator[H2Client]:
    """An HTTP/2 connection to it."""
    with H2Client(registry) as opened:
        yield opened


def upload(registry: Registry, repo: str) -> str:
    """The location of a new upload."""
    with registry.client() as probe:
        return start(probe, repo)


def put(client: H2Client, location: str, data: bytes, **how: int) -> int:
    """The closing PUT with its body; the stream's number."""
    number = client.ask("PUT", closing(location, data), ("content-length", str(len(data))), more=True)
    client.send(number, data, **how)  # type: ignore[arg-type]
    return number


def test_a_blob_larger_than_every_window_goes_up_and_comes_down(registry: Registry, client: H2Client) -> None:
    """Ten MiB each way; the client's window of 64 KiB is respected."""
    repo = fresh_repo()
    assert client.answer(put(client, upload(registry, repo), HUGE)).status == 201
    got = client.answer(client.ask("GET", f"/v2/{repo}/blobs/{sha(HUGE)}"))
    assert got.status == 200
    assert got.body == HUGE
    assert got.headers["content-length"] == str(len(HUGE))


def test_padding_is_credited_back(registry: Registry, client: H2Client) -> None:
    """Padded frames: the padding counts against windows and never reaches the blob."""
    repo = fresh_repo()
    assert client.answer(put(client, upload(registry, repo), HUGE, pad=255)).status == 201


def test_a_body_without_a_length_is_taken(registry: Registry, client: H2Client) -> None:
    """HTTP/2's equivalent of a chunked body."""
    location = upload(registry, fresh_repo())
    number = client.ask("PATCH", location, more=True)
    client.send(number, BIG)
    assert client.answer(number).headers["range"] == f"0-{len(BIG) - 1}"


def test_an_empty_data_frame_is_not_the_end(registry: Registry, client: H2Client) -> None:
    """Only END_STREAM is."""
    location = upload(registry, fresh_repo())
    number = client.ask("PATCH", location, more=True)
    for part in (b"abc", b"", b"def"):
        client.conn.send_data(number, part)
        client.flush()
    client.send(number, b"")
    assert client.answer(number).headers["range"] == "0-5"


def test_streams_are_answered_side_by_side(registry: Registry, client: H2Client) -> None:
    """A hundred questions while an upload stands still in its middle."""
    location = upload(registry, repo := fresh_repo())
    slow = client.ask("PUT", closing(location, BIG), ("content-length", str(len(BIG))), more=True)
    client.send(slow, BIG[:500_000], end=False)
    numbers = [client.ask("GET", f"/v2/{repo}/manifests/nope") for _ in range(100)]
    assert [client.answer(number).status for number in numbers] == [404] * 100
    client.send(slow, BIG[500_000:])
    assert client.answer(slow).status == 201


def test_downloads_share_the_connection(registry: Registry, client: H2Client) -> None:
    """Eight at once through one window, each whole."""
    repo = fresh_repo()
    with registry.client() as probe:
        digest = probe.push_blob(repo, BIG)["digest"]
    numbers = [client.ask("GET", f"/v2/{repo}/blobs/{digest}") for _ in range(8)]
    assert all(client.answer(number).body == BIG for number in numbers)


def test_bytes_before_a_reset_stay(registry: Registry, client: H2Client) -> None:
    """RST_STREAM in mid-upload: the offset is honest and the connection goes on."""
    location = upload(registry, fresh_repo())
    number = client.ask("PATCH", location, ("content-length", str(len(BIG))), more=True)
    client.send(number, BIG[:700_000], end=False)
    client.conn.reset_stream(number, 8)
    client.flush()
    while not any(record.status == 0 and record.target == location for record in list(registry.server.log)):
        time.sleep(0.002)
    status = client.answer(client.ask("GET", location))
    held = int(status.headers["range"].removeprefix("0-")) + 1
    assert 0 < held <= 700_000
    rest = client.ask("PUT", closing(location, BIG), ("content-range", f"{held}-{len(BIG) - 1}"), more=True)
    client.send(rest, BIG[held:])
    assert client.answer(rest).status == 201


def test_a_body_shorter_than_its_length_is_reset_and_kept(registry: Registry, client: H2Client) -> None:
    """END_STREAM too early is a loss, not an end."""
    location = upload(registry, fresh_repo())
    number = client.ask("PATCH", location, ("content-length", "10"), more=True)
    client.send(number, b"abc")
    assert client.answer(number).reset is not None
    assert client.answer(client.ask("GET", location)).headers["range"] == "0-2"


def test_an_early_answer_ends_the_upload_and_not_the_connection(tmp_path: Path, registry: Registry) -> None:
    """413 comes while the body goes out; the next request is answered."""
    with embedded_registry(tmp_path, registry.flavour, behaviour=Behaviour(blob_limit=1000)) as small:
        location = upload(small, "a")
        with H2Client(small) as client:
            for _ in range(3):  # the connection's window survives every abandoned body
                assert client.answer(put(client, location, HUGE)).status == 413
            assert client.answer(client.ask("GET", "/v2/")).status == 200


def test_head_and_empty_answers_have_no_data(registry: Registry, client: H2Client) -> None:
    """HEAD tells the length, 204 has none."""
    location = upload(registry, repo := fresh_repo())
    assert client.answer(client.ask("GET", location)).status == 204
    assert client.answer(put(client, location, BIG)).status == 201
    got = client.answer(client.ask("HEAD", f"/v2/{repo}/blobs/{sha(BIG)}"))
    assert got.headers["content-length"] == str(len(BIG))
    assert not got.body


def test_a_ping_is_answered(registry: Registry, client: H2Client) -> None:
    """Even while nothing else goes on."""
    client.conn.ping(b"12345678")
    client.flush()
    number = client.ask("GET", "/v2/")
    assert client.answer(number).status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        head(1 << 20, 0, 0, 1),  # a frame above our limit
        head(4, 8, 0, 0) + b"\0\0\0\0",  # WINDOW_UPDATE of nothing
        head(8, 1, 4, 2) + b"\0" * 8,  # HEADERS on a stream that is not the client's
        head(5, 4, 0, 0) + b"\0" * 5,  # SETTINGS of the wrong size
    ],
)
def test_a_broken_peer_is_sent_away(client: H2Client, garbage: bytes) -> None:
    """GOAWAY, then the end; the server lives."""
    client.sock.sendall(garbage)
    while not client.gone:
        client.pump()
    assert client.gone


def test_a_peer_that_ignores_windows_is_sent_away(registry: Registry, client: H2Client) -> None:
    """Memory is bounded by the windows, whatever is sent."""
    location = upload(registry, fresh_repo())
    with registry.client():
        number = client.ask("PATCH", location, ("expect", "x"), more=True)
        frame = head(16384, 0, 0, number) + bytes(16384)
        try:
            for _ in range(4096):
                client.sock.sendall(frame)
        except OSError:
            client.gone = True
        while not client.gone:
            try:
                client.pump()
            except OSError:
                break


def test_rapid_resets_end_the_connection(registry: Registry, client: H2Client) -> None:
    """CVE-2023-44487: opening and resetting streams for ever costs the attacker the connection."""
    try:
        for _ in range(1500):
            client.conn.reset_stream(client.ask("GET", "/v2/"), 8)
            client.flush()
        while not client.gone:
            client.pump()
    except OSError:
        client.gone = True
    assert client.gone


def test_http_1_is_spoken_where_h2_is_not_wanted(tmp_path: Path) -> None:
    """http2=False: ALPN says http/1.1, and a preface on plain is the wrong version."""
    with embedded_registry(tmp_path, "tls", http2=False) as registry, H2Client(registry) as client:
        assert client.sock.selected_alpn_protocol() is None  # type: ignore[attr-defined]
    with embedded_registry(tmp_path, "plain", http2=False) as registry, Wire(registry) as wire:
        wire.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert wire.answer()[0] == 505


# -- framing ----------------------------------------------------------------------------------------------------------


def fed(inbox: Inbox, data: bytes, step: int) -> list[Data | bytes]:
    """Everything cut from bytes that arrive in pieces."""
    found: list[Data | bytes] = []
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        inbox.room()[: len(piece)] = piece
        inbox.fill(len(piece))
        found += inbox.frames()
    return found


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.binary(max_size=60))), st.integers(1, 64))
def test_frames_are_cut_the_same_however_they_arrive(frames: list[tuple[int, int, bytes]], step: int) -> None:
    """DATA payloads and all other bytes, in order, for any cut."""
    wire = b"".join(head(len(body), kind, 0, stream) + body for kind, stream, body in frames)
    found = fed(Inbox(64, 64), wire, step)
    data = [(frame.stream, frame.payload) for frame in found if isinstance(frame, Data)]
    assert data == [(stream, body) for kind, stream, body in frames if kind == 0]
    others = b"".join(frame for frame in found if isinstance(frame, bytes))
    assert others == b"".join(head(len(body), kind, 0, stream) + body for kind, stream, body in frames if kind)


@given(st.binary(max_size=300), st.integers(1, 64))
def test_data_frames_come_back_as_they_were(payload: bytes, limit: int) -> None:
    """What we make, we can read; no frame is larger than allowed, and the end is the end."""
    wire = b"".join(data_frames(7, memoryview(payload), limit)) + end_of_stream(7)
    found = [frame for frame in fed(Inbox(64, 64), wire, 64) if isinstance(frame, Data)]
    assert b"".join(frame.payload for frame in found) == payload
    assert all(len(frame.payload) <= limit for frame in found)
    assert [frame.ends for frame in found] == [False] * (len(found) - 1) + [True]


def test_padding_beyond_the_frame_is_refused() -> None:
    """RFC 9113 6.1."""
    with pytest.raises(BrokenFraming):
        fed(Inbox(64, 64), head(3, 0, 8, 1) + b"\x05ab", 64)


def test_a_window_update_says_stream_and_increment() -> None:
    """RFC 9113 6.9."""
    assert window_update(3, 0x01020304) == b"\0\0\x04\x08\0\0\0\0\x03\x01\x02\x03\x04"
