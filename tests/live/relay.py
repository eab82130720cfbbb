"""A relay that holds uploads back: after so many bytes of a run it passes no more until it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class HeldRelay:
    """`held` is set when the upload of the run has come that far; `release` lets everything pass."""

    port: int
    after: int
    up: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """host:port, as a reference spells it."""
        return f"127.0.0.1:{self.port}"

    def release(self) -> None:
        """Pass everything from now on."""
        self.released.set()

    def passes(self, count: int) -> None:
        """Wait while what is to be passed is held back."""
        with self.lock:
            self.up += count
            full = self.up >= self.after
        if full:
            self.held.set()
            self.released.wait(120)


def _pump(relay: HeldRelay, source: socket.socket, sink: socket.socket, up: bool) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 18):
            if up:
                relay.passes(len(data))
            sink.sendall(data)
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def _accept(relay: HeldRelay, listener: socket.socket, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(target)
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=_pump, args=(relay, *ends), daemon=True).start()


@contextlib.contextmanager
def held_relay(host: str, after: int) -> Iterator[HeldRelay]:
    """A relay in front of *host* (host:port) until the block ends; *after* bytes of upload it holds."""
    name, _, port = host.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = HeldRelay(listener.getsockname()[1], after)
        thread = threading.Thread(target=_accept, args=(relay, listener, (name, int(port))), daemon=True)
        thread.start()
        try:
            yield relay
        finally:
            relay.release()
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)
