"""The C programs of the harness: relay, sink, launcher and floor."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.client import Client
from benchmarks.images import Image, Layer, LayerStream, config_of, digest_of, manifest_of
from benchmarks.measure import Command, RunFailedError, run
from benchmarks.native import CannotBuildError, build
from benchmarks.servers import sink_stats


def program(name: str) -> str:
    """Return a built program; skip where this machine cannot build it."""
    try:
        return str(build(name))
    except CannotBuildError as problem:
        pytest.skip(str(problem))


@contextmanager
def running(*line: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run a program that prints its port first."""
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def echo() -> Iterator[int]:
    """Serve one connection: send back what comes, then close when the other side has ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def attend() -> None:
            peer, _ = server.accept()
            with peer:
                while piece := peer.recv(65536):
                    peer.sendall(piece)

        thread = threading.Thread(target=attend)
        thread.start()
        yield server.getsockname()[1]
        thread.join(20)
        assert not thread.is_alive()


def exchange(port: int, content: bytes) -> tuple[bytes, float]:
    """Send *content*, end, and read to the end; return the answer and the seconds it took."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        sender = threading.Thread(target=lambda: (link.sendall(content), link.shutdown(socket.SHUT_WR)))
        sender.start()
        pieces = []
        while piece := link.recv(65536):
            pieces.append(piece)
        sender.join(20)
    return b"".join(pieces), time.monotonic() - start


def test_the_relay_keeps_every_byte_and_the_end() -> None:
    """Two megabytes there and back are the same, and closing one direction leaves the other open."""
    content = random.Random(5).randbytes(2 << 20)
    with echo() as port, running(program("relay"), "--connect", str(port), "--delay-ms", "5") as (near, relay):
        assert exchange(near, content)[0] == content
        relay.send_signal(signal.SIGTERM)
        assert relay.stdout is not None
        assert json.loads(relay.stdout.read()) == {
            "connections": 1, "most": 1, "up": len(content), "down": len(content),
        }  # fmt: skip


def test_the_relay_is_never_shorter_than_its_length() -> None:
    """One exchange costs the handshake's round trip and its own: never less than four times the delay."""
    with echo() as port, running(program("relay"), "--connect", str(port), "--delay-ms", "25") as (near, _):
        answer, seconds = exchange(near, b"x")
    assert answer == b"x"
    assert seconds >= 0.1


def test_the_relay_is_never_wider_than_its_rate() -> None:
    """A megabyte at two megabytes a second takes at least half a second, but for the allowed burst."""
    with echo() as port, running(program("relay"), "--connect", str(port), "--rate", "2e6") as (near, _):
        answer, seconds = exchange(near, bytes(1_000_000))
    assert len(answer) == 1_000_000
    assert seconds >= 0.49


def test_the_relay_passes_a_reset_on() -> None:
    """A reset connection looks reset at the far side, not ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        with running(program("relay"), "--connect", str(port), "--delay-ms", "1") as (near, _):
            link = socket.create_connection(("127.0.0.1", near), timeout=20)
            peer, _ = server.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with link, pytest.raises(ConnectionResetError):
                link.recv(1)


def test_the_sink_counts_uploads_of_every_kind() -> None:
    """Content-Length, chunks and small bodies are counted to the byte."""
    image = Image("a/b", "v1", (Layer(3, 100_000),))
    with running(program("sink")) as (port, _), Client(f"127.0.0.1:{port}") as client:
        stored = client.push_stream("a/b", LayerStream(image.layers[0]))
        manifest = client.push_image(image, (stored,))
        assert sink_stats(client) == {
            "bytes_in": stored.size + len(config_of(image, (stored,))) + len(manifest),
            "uploads": 2,
            "manifests": 1,
        }
        client.expect(404, "GET", f"/v2/a/b/blobs/{stored.digest}")


def test_the_sink_hangs_up_on_tls() -> None:
    """A client that tries HTTPS first must not wait for an answer that never comes."""
    with running(program("sink")) as (port, _):
        assert exchange(port, b"\x16\x03\x01\x00\x05hello")[0] == b""


def shelf(directory: Path) -> tuple[Image, bytes, dict[str, bytes]]:
    """Fill *directory* as the sink serves it."""
    image = Image("a/b", "v1", (Layer(4, 700_000), Layer(5, 10)))
    blobs, stored = {}, []
    for layer in image.layers:
        stream = LayerStream(layer)
        blob = b"".join(stream)
        stored.append(stream.stored())
        blobs[stored[-1].digest] = blob
    config = config_of(image, tuple(stored))
    manifest = manifest_of(config, tuple(stored))
    blobs |= {digest_of(config): config, digest_of(manifest): manifest}
    for digest, blob in blobs.items():
        (directory / digest[7:]).write_bytes(blob)
    (directory / "tag-v1").symlink_to(digest_of(manifest)[7:])
    return image, manifest, blobs


def test_the_sink_serves_a_shelf(tmp_path: Path) -> None:
    """Tags, manifests and blobs come from the directory, whole."""
    image, manifest, blobs = shelf(tmp_path)
    with running(program("sink"), "--serve", str(tmp_path)) as (port, _), Client(f"127.0.0.1:{port}") as client:
        client.check_image(image, manifest, set())
        for digest, blob in blobs.items():
            assert client.expect(200, "GET", f"/v2/a/b/blobs/{digest}")[1] == blob


def test_the_floor_copies_an_image_and_refuses_a_wrong_blob(tmp_path: Path) -> None:
    """The yardstick does the whole job: blobs, config, manifest, and it verifies."""
    _, _, blobs = shelf(tmp_path)
    with running(program("sink"), "--serve", str(tmp_path)) as (source, _), running(program("sink")) as (sink, _):
        line = [program("floor"), f"http://127.0.0.1:{source}", f"http://127.0.0.1:{sink}", "a/b", "v1"]
        subprocess.run(line, check=True)
        with Client(f"127.0.0.1:{sink}") as client:
            assert sink_stats(client)["bytes_in"] == sum(map(len, blobs.values()))
            assert sink_stats(client)["manifests"] == 1
        victim = max(blobs, key=lambda digest: len(blobs[digest]))
        (tmp_path / victim[7:]).write_bytes(blobs[victim][:-1] + b"?")
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"the manifest promises {victim}" in done.stderr
        with Client(f"127.0.0.1:{sink}") as client:
            assert sink_stats(client)["manifests"] == 1


def measure(code: str, state: Path, limit: float = 20) -> float:
    """Measure a Python snippet; return its peak in MiB."""
    program("launch")
    return run(Command([sys.executable, "-c", code]), state, state / "ca.pem", limit).peak_mib


def test_the_launcher_does_not_charge_our_own_memory_to_the_client(tmp_path: Path) -> None:
    """A child of a large parent is as small as it is; what it takes itself is counted."""
    ballast = bytearray(os.urandom(1 << 20) * 120)
    small = measure("pass", tmp_path)
    assert small < 60 < len(ballast) >> 20
    assert measure("x = b'x' * (100 << 20)", tmp_path) > small + 90


def test_the_launcher_counts_all_processes_of_a_client(tmp_path: Path) -> None:
    """CPU of a grandchild counts; memory of several processes adds up."""
    program("launch")
    burn = (
        "import sys, time\nx = b'x' * (64 << 20)\nwhile time.process_time() < 0.3: pass\n"
        "print('up', flush=True)\nsys.stdin.read()"
    )
    code = (
        "import subprocess as s, sys, time\n"
        f"ps = [s.Popen([sys.executable, '-c', {burn!r}], stdin=s.PIPE, stdout=s.PIPE) for _ in range(2)]\n"
        "[p.stdout.readline() for p in ps]\ntime.sleep(0.5)\n[p.communicate() for p in ps]"
    )
    found = run(Command([sys.executable, "-c", code]), tmp_path, tmp_path, 60)
    assert found.cpu >= 0.6
    assert found.peak_mib > 128


@pytest.mark.parametrize(
    ("code", "words", "limit"),
    [
        ("raise SystemExit('no such host')", "exit code 1: no such host", 60),
        ("import time; time.sleep(60)", "stopped after", 0.2),
        ("import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)", "left 1 processes", 60),
    ],
)
def test_a_client_that_fails_is_not_a_sample(code: str, words: str, limit: float, tmp_path: Path) -> None:
    """Failing, hanging and leaving processes behind are failures, told in the client's last words."""
    with pytest.raises(RunFailedError, match=words):
        measure(code, tmp_path, limit)


def test_a_client_sees_nothing_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State is empty and private; credentials and proxies of the user do not reach a client."""
    program("launch")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    code = (
        "import os; print(sorted(os.environ)); print([os.listdir(os.environ[k]) for k in os.environ if k[:3] == 'XDG'])"
    )
    run(Command([sys.executable, "-c", code]), tmp_path, tmp_path / "ca.pem", 20)
    names, listings = (tmp_path / "output.txt").read_text().splitlines()
    assert "HTTPS_PROXY" not in names
    assert "SSL_CERT_FILE" in names
    assert listings == "[[], [], [], [], []]"


def test_interrupting_a_measurement_ends_the_client(tmp_path: Path) -> None:
    """Ctrl-C in a long run leaves no client copying in the background, nor its children."""
    code = "import subprocess as s; p = s.Popen(['sleep', '61']); print('up', flush=True); p.wait()"
    line = [program("launch"), "-o", str(tmp_path / "out.json"), "--", sys.executable, "-c", code]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.terminate()
        assert process.stdout.read() == b""  # the pipe is closed when the last of them has gone
        assert process.wait() == 128 + signal.SIGTERM
