"""A relay that breaks connections as networks do: a TCP reset after so many bytes; and it counts what passes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

_RESET = struct.pack("ii", 1, 0)


@dataclass
class Relay:
    """What passes and what breaks. `cuts` are (direction, byte count): the next connection that gets there is reset."""

    port: int
    cuts: list[tuple[Literal["down", "up"], int]] = field(default_factory=list)
    down: int = 0  #: bytes from the registry
    up: int = 0  #: bytes to the registry
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """host:port, as a reference spells it."""
        return f"127.0.0.1:{self.port}"

    def passed(self, direction: Literal["down", "up"], count: int, total: int) -> bool:
        """Count; False: this connection dies now (*total* bytes went its way in this direction)."""
        with self.lock:
            if direction == "down":
                self.down += count
            else:
                self.up += count
            if self.cuts and self.cuts[0][0] == direction and total >= self.cuts[0][1]:
                self.cuts.pop(0)
                self.broken += 1
                return False
        return True


def _reset(*socks: socket.socket) -> None:
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.shutdown(socket.SHUT_RD)
        sock.close()


def _pump(relay: Relay, source: socket.socket, sink: socket.socket, direction: Literal["down", "up"]) -> None:
    total = 0
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            total += len(data)
            sink.sendall(data)
            if not relay.passed(direction, len(data), total):
                _reset(sink, source)
                return
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def _accept(relay: Relay, listener: socket.socket, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(target)
            for ends in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=_pump, args=(relay, *ends), daemon=True).start()


@contextlib.contextmanager
def relay_to(host: str) -> Iterator[Relay]:
    """A relay in front of *host* (host:port) until the block ends."""
    name, _, port = host.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener.getsockname()[1])
        thread = threading.Thread(target=_accept, args=(relay, listener, (name, int(port))), daemon=True)
        thread.start()
        yield relay
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)
