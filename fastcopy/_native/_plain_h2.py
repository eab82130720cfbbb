"""The plain twin's HTTP/2 framing (RFC 9113) for one lent stream. Mirrors csrc/h2.c and csrc/outlet_h2.c.

Body bytes are read and written here; every other frame is acknowledged where it must be and handed back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastcopy._native._plain_link import Fault
from fastcopy._native._types import Why

if TYPE_CHECKING:
    from fastcopy._native._plain_link import Link

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 2, 3, 4, 6, 7, 8
END_STREAM = ACK = 0x1
PADDED = 0x8
HEAD = 9
MAX_WINDOW = 0x7FFFFFFF
# A peer that floods us with control frames is cut off: 64 KiB is 3800 PINGs during one body.
REPLAY_LIMIT = 1 << 16
# Frames above this are left to the owner's codec.
_LONGEST_ANSWER = 1 << 20
# What is framed at once: one TLS record.
_STAGE = 16384


class Frame(NamedTuple):
    """One frame: type, flags, stream, payload and its bytes as received."""

    type: int
    flags: int
    stream: int
    body: bytes
    raw: bytes


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload: 4.1."""
    return length.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")


class _Framed:
    """What both directions share: frames in, control frames out, what is handed back."""

    def __init__(self, link: Link, stream: int, frames: bytes) -> None:
        self.link = link
        self.id = stream
        self.raw = bytearray(frames)
        self.tx = bytearray()
        self.replay = bytearray()
        self.ended = False
        self.max_frame = 16384

    def more(self) -> int | None:
        """Read what is there: bytes, 0 at the end of the connection, None for not now; OSError."""
        some = memoryview(bytearray(65536))
        got = self.link.read(some)
        self.raw += some[: got or 0]
        return got

    def next_frame(self, longest: int) -> Frame | None:
        """The next whole frame of `raw`, None while it is incomplete; raises Fault above *longest*."""
        if len(self.raw) < HEAD:
            return None
        length = int.from_bytes(self.raw[:3], "big")
        if length > longest:
            raise Fault(Why.FRAME, "a frame above the allowed size")
        if len(self.raw) < HEAD + length:
            return None
        raw = bytes(self.raw[: HEAD + length])
        del self.raw[: HEAD + length]
        return Frame(raw[3], raw[4], int.from_bytes(raw[5:9], "big") & MAX_WINDOW, raw[HEAD:], raw)

    def keep(self, frame: Frame) -> None:
        """Hand *frame* back later."""
        if len(self.replay) + len(frame.body) > REPLAY_LIMIT + self.max_frame:
            raise Fault(Why.FRAME, "too many control frames")
        self.replay += frame.raw

    def acknowledge(self, frame: Frame) -> None:
        """SETTINGS and PING are answered here."""
        if frame.flags & ACK:
            return
        if frame.type == SETTINGS:
            self.tx += head(0, SETTINGS, ACK, 0)
        elif frame.type == PING and len(frame.body) == 8:
            self.tx += head(8, PING, ACK, 0) + frame.body

    def spares_us(self, frame: Frame) -> bool:
        """A graceful GOAWAY (NO_ERROR, last stream at or above ours) lets our stream finish: 6.8."""
        if len(frame.body) < 8:
            return False
        last = int.from_bytes(frame.body[:4], "big") & MAX_WINDOW
        return last >= self.id and not any(frame.body[4:8])

    def unread(self) -> bytes:
        """Bytes taken from the socket that belong to no finished frame."""
        return bytes(self.raw)


def _flush(link: Link, buffer: bytearray) -> bool:
    """True when *buffer* has left; OSError."""
    while buffer:
        put = link.write(bytes(buffer))
        if put is None:
            return False
        del buffer[:put]
    return True


class H2Reader(_Framed):
    """The receiving side: DATA of one stream, both windows kept where they were when lent."""

    def __init__(self, link: Link, stream: int, frames: bytes, windows: tuple[int, int], max_frame: int) -> None:
        super().__init__(link, stream, frames)
        self.max_frame = max_frame
        self.target = windows
        self.credit = list(windows)
        self.granted = [0, 0]
        self.consumed = 0
        self.body = memoryview(b"")

    def read(self, into: memoryview, rest: int) -> int | None:
        """Body bytes (> 0), None for not now; raises Fault. *rest*: body bytes still expected."""
        try:
            got = self._read(into, rest)
            _flush(self.link, self.tx)
        except OSError as error:
            raise Fault.of(Why.SOURCE_LOST, error) from None
        return got

    def _read(self, into: memoryview, rest: int) -> int | None:
        while not self.body:
            if self.ended:
                raise Fault(Why.SOURCE_LOST, "the source ended the stream before the end of the body")
            frame = self.next_frame(self.max_frame)
            if frame:
                self._take(frame, rest)
                continue
            got = self.more()
            if got is None:
                return None
            if got == 0:
                raise Fault(Why.SOURCE_LOST, "the source closed the connection before the end of the body")
        taken = self.body[: len(into)]
        into[: len(taken)] = taken
        self.body = self.body[len(taken) :]
        return len(taken)

    def _take(self, frame: Frame, rest: int) -> None:
        if frame.type == DATA and frame.stream == self.id:
            self._take_data(frame, rest)
            return
        harmless = frame.type in (SETTINGS, PING, WINDOW_UPDATE, PRIORITY)
        self.keep(frame)
        if not harmless and not (frame.type == GOAWAY and self.spares_us(frame)):
            raise Fault(Why.FRAME, "a frame that is not body arrived")
        self.acknowledge(frame)

    def _take_data(self, frame: Frame, rest: int) -> None:
        size = len(frame.body)
        if size > min(self.credit):
            raise Fault(Why.FRAME, "the source overran its flow-control window")
        self.credit = [credit - size for credit in self.credit]
        self.consumed += size
        self.body = memoryview(_unpadded(frame))
        if len(self.body) > rest:
            self.body = memoryview(b"")
            raise Fault(Why.FRAME, "more DATA than the stated length")
        self.ended = bool(frame.flags & END_STREAM)
        self._grant(1, 0)
        if not self.ended and rest - len(self.body) > self.credit[0]:
            self._grant(0, self.id)

    def _grant(self, which: int, stream: int) -> None:
        """WINDOW_UPDATE when half is consumed."""
        more = self.target[which] - self.credit[which]
        if more <= 0 or self.credit[which] > self.target[which] // 2:
            return
        self.credit[which] += more
        self.granted[which] += more
        self.tx += head(4, WINDOW_UPDATE, 0, stream) + more.to_bytes(4, "big")

    def settle(self) -> bool:
        """True when nothing is owed to the peer any more; raises Fault."""
        try:
            return _flush(self.link, self.tx)
        except OSError as error:
            raise Fault.of(Why.SOURCE_LOST, error) from None

    def replayed(self) -> bytes:
        """Frames that were not body, and what came after the body."""
        return bytes(self.replay) + self.unread()


def _unpadded(frame: Frame) -> bytes:
    """The payload of a DATA frame without its padding: 6.1."""
    if not frame.flags & PADDED:
        return frame.body
    if not frame.body:
        raise Fault(Why.FRAME, "a padded DATA frame without a pad length")
    pad = frame.body[0]
    if pad > len(frame.body) - 1:
        raise Fault(Why.FRAME, "DATA padding longer than its frame")
    return frame.body[1 : len(frame.body) - pad]


class H2Writer(_Framed):
    """The sending side: DATA frames of one stream inside the peer's windows."""

    def __init__(self, link: Link, stream: int, frames: bytes, windows: tuple[int, int, int], max_frame: int) -> None:
        super().__init__(link, stream, frames)
        self.windows = [windows[0], windows[1]]
        self.initial = windows[2]
        self.max_frame = max_frame
        self.stage = bytearray()
        self.open_rest = 0
        self.open_ends = False

    def can_write(self) -> bool:
        """Whether room in the socket helps; otherwise only the peer's frames do."""
        return bool(self.tx or self.stage or self.open_rest) or min(self.windows) > 0

    def write(self, data: memoryview, fin: bool) -> int | None:
        """Body bytes taken, None for not now; OSError. *fin*: they end the body."""
        done = 0
        while True:
            if not _flush(self.link, self.stage):
                return done or None
            self._stage_control()
            used = self._fill(data[done:], fin)
            if not used and not self.stage:
                return done or None
            done += used

    def _fill(self, data: memoryview, fin: bool) -> int:
        used = 0
        while used < len(data) and len(self.stage) + HEAD < _STAGE:
            if not self.open_rest and not self._open(len(data) - used, fin):
                break
            part = data[used : used + min(self.open_rest, _STAGE - len(self.stage))]
            self.stage += part
            self.open_rest -= len(part)
            self.ended = self.open_ends and not self.open_rest
            used += len(part)
        return used

    def _open(self, rest: int, fin: bool) -> bool:
        size = min(rest, *self.windows, self.max_frame)
        if size <= 0 and rest:
            return False
        self.open_ends = fin and size == rest
        self.windows = [window - size for window in self.windows]
        self.stage += head(size, DATA, END_STREAM if self.open_ends else 0, self.id)
        self.open_rest = size
        return True

    def _stage_control(self) -> None:
        if not self.open_rest:
            self.stage += self.tx
            self.tx.clear()

    def settle(self, fin: bool) -> bool:
        """True when what was taken has left, and with *fin* the end of the body too; OSError."""
        self._stage_control()
        if fin and not self.ended and not self.open_rest:
            self._open(0, True)
            self.ended = True
        return _flush(self.link, self.stage)

    def listen(self, answer: bytearray) -> None:
        """Take every frame that is there; raises Fault with ANSWERED (frames in *answer*) or SINK_LOST."""
        got: int | None = 1
        while got is not None:
            while frame := self._next(answer):
                self._take(frame, answer)
            got = self.more()
            if got == 0:
                raise Fault(Why.SINK_LOST, "the destination closed the connection")

    def _next(self, answer: bytearray) -> Frame | None:
        try:
            return self.next_frame(_LONGEST_ANSWER)
        except Fault:
            answer += self.raw
            self.raw.clear()
            raise _answered() from None

    def _take(self, frame: Frame, answer: bytearray) -> None:
        ours = frame.type == RST_STREAM and frame.stream == self.id
        known = frame.type in (PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE)
        ends = ours or not known or (frame.type == GOAWAY and not self.spares_us(frame))
        if ends or not self._apply(frame):
            answer += frame.raw
            raise _answered()
        self.keep(frame)
        self.acknowledge(frame)

    def _apply(self, frame: Frame) -> bool:
        """False for a protocol error: the owner's codec will name it."""
        if frame.type == SETTINGS and not frame.flags & ACK:
            return self._apply_settings(frame)
        if frame.type == WINDOW_UPDATE:
            return self._apply_window(frame)
        return True

    def _apply_settings(self, frame: Frame) -> bool:
        if len(frame.body) % 6 or frame.stream:
            return False
        for at in range(0, len(frame.body), 6):
            key = int.from_bytes(frame.body[at : at + 2], "big")
            value = int.from_bytes(frame.body[at + 2 : at + 6], "big")
            if key == 4:  # SETTINGS_INITIAL_WINDOW_SIZE changes open streams by the difference: 6.9.2
                if value > MAX_WINDOW:
                    return False
                self.windows[0] += value - self.initial
                self.initial = value
            elif key == 5:  # SETTINGS_MAX_FRAME_SIZE
                if not 16384 <= value <= 16777215:
                    return False
                self.max_frame = value
        return self.windows[0] <= MAX_WINDOW

    def _apply_window(self, frame: Frame) -> bool:
        more = int.from_bytes(frame.body, "big") & MAX_WINDOW
        if len(frame.body) != 4 or not more:
            return False
        if frame.stream in (0, self.id):
            self.windows[0 if frame.stream else 1] += more
        return max(self.windows) <= MAX_WINDOW


def _answered() -> Fault:
    return Fault(Why.ANSWERED, "the destination answered before the end of the body")
