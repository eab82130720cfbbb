"""The pump's contract. `_plain` and `_plain_ends` are its twins.

Ends borrow their sockets and descriptors: they never close one, and nobody else uses it meanwhile. Sockets are
non-blocking. Calls that wait (run, fill, drain, feed, finish, read_into) belong on worker threads and hold no
interpreter lock.
"""

import socket as sockets
from collections.abc import Sequence

from typing_extensions import Buffer

from fastcopy._native._types import Counters, Report, Why
from fastcopy._native.digest import Hasher

TLS: str
"""How a lent SSLSocket is used: "native" or "sslsocket"."""
DEFAULT_SLAB: int
KNOWN_SIZES: dict[tuple[int, int], tuple[int, ...]]

def force_sslsocket(on: bool) -> None:
    """A switch for tests and benchmarks: use SSLSocket's own methods for links lent from now on."""

def uses_openssl() -> bool:
    """Whether links lent from now on may be used through OpenSSL itself."""

class Inlet:
    """One end to read from. One thread at a time; RuntimeError otherwise."""

    @classmethod
    def socket(cls, sock: sockets.socket, length: int, prefix: Buffer = b"") -> Inlet:
        """A body of *length* bytes, the first of them in *prefix*, the rest to come from *sock*."""

    @classmethod
    def file(cls, fd: int, length: int, offset: int = 0) -> Inlet:
        """*length* bytes of a file from *offset* on, read with pread."""

    @classmethod
    def memory(cls, data: Buffer) -> Inlet:
        """The bytes of *data*, which stays borrowed while the Inlet lives."""

    @classmethod
    def h2(
        cls,
        sock: sockets.socket,
        stream_id: int,
        length: int,
        *,
        prefix: Buffer = b"",
        frames: bytes = b"",
        stream_window: int,
        connection_window: int,
        max_frame: int,
    ) -> Inlet:
        """The DATA of one HTTP/2 stream (RFC 9113), alone on its connection while lent.

        *prefix*: body already decoded; *frames*: bytes read from the socket but not parsed yet. The windows are
        what the peer may still send when the link is lent; they are topped up to that when half is used. *max_frame* is
        our SETTINGS_MAX_FRAME_SIZE. SETTINGS and PING are acknowledged, a graceful GOAWAY that spares this stream is
        kept; any other frame ends the run with Why.FRAME.
        """

    def read_into(self, buffer: Buffer, *, stall: float = 60.0) -> int:
        """Wait for at least one byte, then take what is there; 0 when the length is reached.

        Raises PumpError (SOURCE_LOST, SOURCE_STALLED, STOPPED, FRAME).
        """

    def stop(self) -> None:
        """End whoever reads from this inlet with STOPPED, and nobody else; any thread, idempotent, final."""

    @property
    def remaining(self) -> int:
        """Bytes of the length not read yet."""

    @property
    def replay(self) -> bytes:
        """HTTP/2: every frame that was not our DATA, in order, and any bytes read beyond the body.

        To be given to the connection's codec, whose acknowledgements of SETTINGS and PING must be discarded.
        """

    @property
    def consumed(self) -> int:
        """HTTP/2: flow-controlled bytes received in our DATA frames, padding included, *prefix* excluded."""

    @property
    def granted(self) -> tuple[int, int]:
        """HTTP/2: window increments sent, (stream, connection)."""

    @property
    def ended(self) -> bool:
        """HTTP/2: END_STREAM was seen."""

class Outlet:
    """One end to write to. Belongs to one pump at a time."""

    @classmethod
    def socket(cls, sock: sockets.socket) -> Outlet:
        """A body written as it is; an early answer is looked for meanwhile."""

    @classmethod
    def file(cls, fd: int, offset: int = 0) -> Outlet:
        """A file from *offset* on, written with pwrite."""

    @classmethod
    def null(cls) -> Outlet:
        """Counts and discards."""

    @classmethod
    def h2(
        cls,
        sock: sockets.socket,
        stream_id: int,
        *,
        stream_window: int,
        connection_window: int,
        max_frame: int,
        initial_window: int,
        frames: bytes = b"",
    ) -> Outlet:
        """DATA frames of one HTTP/2 stream (RFC 9113), alone on its connection while lent.

        The windows are what we may still send, *max_frame* and *initial_window* the peer's SETTINGS, *frames* bytes
        read from the socket but not parsed yet. The last frame carries END_STREAM. HEADERS, RST_STREAM and a GOAWAY
        that does not spare this stream end the run with Why.ANSWERED.
        """

    @property
    def sent(self) -> int:
        """Body bytes taken, over all pumps."""

    @property
    def answer(self) -> bytes:
        """What the destination sent before the body was complete, decrypted (HTTP/2: raw frames)."""

    @property
    def failed(self) -> Why | None:
        """Why this outlet was given up; None while it is in use."""

    @property
    def detail(self) -> str:
        """Words to `failed`."""

    @property
    def replay(self) -> bytes:
        """HTTP/2: other frames received meanwhile, in order; see Inlet.replay."""

    @property
    def ended(self) -> bool:
        """HTTP/2: END_STREAM was written."""

    @property
    def windows(self) -> tuple[int, int]:
        """HTTP/2: what may still be sent, (stream, connection)."""

class Rate:
    """A token bucket that many pumps share: bytes per second, 0 for unlimited.

    *burst*: bytes that may pass at once after a pause; 0 chooses a tenth of a second, at least 64 KiB.
    """

    def __init__(self, bytes_per_second: int = 0, burst: int = 0) -> None: ...
    @property
    def bytes_per_second(self) -> int:
        """The limit; may be set at any time."""

    @bytes_per_second.setter
    def bytes_per_second(self, value: int) -> None: ...
    def take(self, count: int) -> tuple[int, float]:
        """How many of *count* bytes may pass now, and, when none, after how many seconds some may."""

class Pump:
    """Moves one blob, or one chunk of it, to all *outlets*.

    *length* bytes cross, the first of them blob byte *start*; -1: unknown (feed and finish only). *hasher* is
    borrowed and goes on from its state; with *expected* (raw digest) the last bytes are withheld from every
    outlet until the digest agrees.
    Memory: slab * slabs bytes. *slabs* > 1 makes the ring for fill and drain (and lets the outlets of run drift apart).
    *stall*: seconds without progress of the end waited for. *lag*: seconds the other outlets may wait for one while
    the ring is full. A failed outlet among several is detached (`Outlet.failed`), the rest goes on.
    Raises ValueError for impossible arguments, OSError or MemoryError when there is no room.
    """

    def __init__(
        self,
        outlets: Sequence[Outlet],
        length: int,
        *,
        hasher: Hasher | None = None,
        expected: bytes | None = None,
        slab: int = ...,
        slabs: int = 1,
        start: int = 0,
        stall: float = 60.0,
        lag: float | None = None,
        rate: Rate | None = None,
    ) -> None: ...
    def run(self, inlet: Inlet) -> Report:
        """Read, digest and write on this thread until the blob has crossed or an end fails.

        After SOURCE_LOST or SOURCE_STALLED everything received has been passed on; call again with an inlet that
        begins at `position`. DONE means the whole length, verified.
        """

    def fill(self, inlet: Inlet, first: int) -> Report:
        """Bring blob bytes [first, first + inlet.remaining) into the ring; several threads may fill at once.

        ValueError when the range overlaps one that is filled or being filled. Of a lost filler the first
        `Report.read` bytes count: another may continue at first + read. STOPPED also when the drain has failed.
        """

    def drain(self) -> Report:
        """Digest in order and write what fill() brings, until the end.

        SOURCE_STALLED when the next byte is missing for `stall` seconds while no filler reads; it may be called again.
        """

    def feed(self, data: Buffer) -> Report:
        """Digest and write *data*; DONE when all of it has left. ValueError when it is more than the length."""

    def finish(self) -> Report:
        """Nothing more comes: verify, release what was withheld, end the outlets.

        SOURCE_LOST when bytes of a known length are missing.
        """

    def stop(self) -> None:
        """End run, fill, drain and feed with STOPPED within milliseconds; any thread, idempotent, final."""

    @property
    def position(self) -> int:
        """Blob offset up to which bytes were digested, in order; *start* included."""

    def counters(self) -> Counters:
        """A snapshot; any thread."""
