"""What the pump costs beside a C program that receives, hashes and sends on one thread.

    python -m benchmarks.micro.native [--mib 1024] [--tls] [--slab KIB ...] [--repeat 3]

Source and sink are forked processes on loopback (TCP), so that only the middle is counted: CPU seconds (user + system)
of the thread between them, and wall. The C reference is compiled from native_floor.c; the table is in MiB and seconds.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastcopy._native import BACKEND, Hasher, Inlet, Outlet, Pump, Why

HERE = Path(__file__).parent
BLOCK = os.urandom(1 << 20)


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Client and server contexts around one self-signed certificate."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*make, "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return ssl.create_default_context(cafile=str(cert)), server


def child(serve: Callable[[socket.socket], None], server: ssl.SSLContext | None) -> tuple[int, socket.socket]:
    """A forked peer behind a fresh connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if pid == 0:
            conn, _ = listener.accept()
            with server.wrap_socket(conn, server_side=True) if server else conn as peer:
                serve(peer)
            os._exit(0)
        return pid, socket.create_connection(listener.getsockname())


def send_body(peer: socket.socket, size: int) -> None:
    """The body, in MiB blocks."""
    for _ in range(size >> 20):
        peer.sendall(BLOCK)
    peer.recv(1)


def discard(peer: socket.socket) -> None:
    """Read to the end."""
    buffer = bytearray(1 << 18)
    while peer.recv_into(buffer):
        pass


def compiled(folder: Path) -> ctypes.CDLL | None:
    """The C reference, or None where it cannot be built."""
    target = folder / "floor.so"
    command: list[str | Path] = [
        "cc",
        "-O2",
        "-shared",
        "-fPIC",
        "-o",
        target,
        HERE / "native_floor.c",
        "-lcrypto",
        "-lssl",
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ctypes.CDLL(str(target))


class Bench:
    """One size, one kind of wire."""

    def __init__(self, size: int, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None, cafile: Path) -> None:
        self.size, self.tls, self.cafile = size, tls, cafile
        self.expected = hashlib.sha256(BLOCK * (size >> 20)).digest()

    def ends(self, wrap: bool) -> tuple[list[int], socket.socket, socket.socket]:
        """Forked source and sink, and our ends of both connections."""
        server = self.tls[1] if self.tls else None
        source_pid, source = child(lambda peer: send_body(peer, self.size), server)
        sink_pid, sink = child(discard, server)
        if self.tls and wrap:
            source = self.tls[0].wrap_socket(source, server_hostname="127.0.0.1")
            sink = self.tls[0].wrap_socket(sink, server_hostname="127.0.0.1")
        return [source_pid, sink_pid], source, sink

    def measure(self, wrap: bool, move: Callable[[socket.socket, socket.socket], None]) -> tuple[float, float]:
        """(CPU s, wall s) of *move* alone."""
        pids, source, sink = self.ends(wrap)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        move(source, sink)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        source.close()
        sink.close()
        for pid in pids:
            os.waitpid(pid, 0)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall

    def pump(self, slab: int) -> Callable[[socket.socket, socket.socket], None]:
        """fastcopy's."""

        def move(source: socket.socket, sink: socket.socket) -> None:
            source.setblocking(False)
            sink.setblocking(False)
            pump = Pump([Outlet.socket(sink)], self.size, hasher=Hasher(), expected=self.expected, slab=slab)
            report = pump.run(Inlet.socket(source, self.size))
            assert report.why is Why.DONE, report

        return move

    def floor(self, library: ctypes.CDLL) -> Callable[[socket.socket, socket.socket], None]:
        """The C reference's; it does its own TLS handshakes inside the measured time."""
        out = ctypes.create_string_buffer(32)
        name = str(self.cafile).encode() if self.tls else None

        def move(source: socket.socket, sink: socket.socket) -> None:
            source.setblocking(True)
            sink.setblocking(True)
            bad = library.floor_move(source.fileno(), sink.fileno(), ctypes.c_uint64(self.size), name, out)
            assert (bad, out.raw) == (0, self.expected), "the C reference failed"

        return move


def main() -> None:
    """Interleave the contestants and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--slab", type=int, nargs="*", default=[256])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(options.mib << 20, contexts(folder) if options.tls else None, folder / "cert.pem")
        moves = {f"pump {slab} KiB": (True, bench.pump(slab << 10)) for slab in options.slab}
        library = compiled(folder)
        if library:
            moves["C floor"] = (False, bench.floor(library))
        results: dict[str, list[tuple[float, float]]] = {label: [] for label in moves}
        for _ in range(options.repeat):
            for label, (wrap, move) in moves.items():
                results[label].append(bench.measure(wrap, move))
    print(f"{BACKEND}; {options.mib} MiB over {'TLS' if options.tls else 'plain TCP'}", file=sys.stderr)
    for label, rows in results.items():
        cpu, wall = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{label:16}  cpu {cpu:6.3f}  wall {wall:6.3f}")


if __name__ == "__main__":
    main()
