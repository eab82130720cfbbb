"""HTTP/2 frames as bytes (RFC 9113 4.1): cutting what arrives, making DATA and WINDOW_UPDATE. Pure.

DATA goes past python-h2, which would copy and account every 16 KiB; all other frames are its business. Both
directions' windows are therefore kept by whoever uses this file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

DATA, GOAWAY, WINDOW_UPDATE = 0x0, 0x7, 0x8
END_STREAM, PADDED = 0x1, 0x8
_HEAD = 9
_PACK = struct.Struct(">BHBBL").pack


class BrokenFraming(Exception):
    """The peer sends what no peer may: a frame too large, padding longer than its frame, more than its window."""


@dataclass(frozen=True, slots=True)
class Data:
    """A DATA frame: `flow` counts its padding too."""

    stream: int
    payload: bytes
    flow: int
    ends: bool


class Inbox:
    """Bytes from the wire, cut into whole frames in a buffer that is written to in place."""

    def __init__(self, max_frame: int, read: int) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray(_HEAD + max_frame + read)
        self._view = memoryview(self._buffer)
        self._filled = 0

    def room(self) -> memoryview:
        """Where the next bytes are to be received; say `fill` then."""
        return self._view[self._filled :]

    def fill(self, count: int) -> None:
        """So many bytes were received into `room`."""
        self._filled += count

    def frames(self) -> Iterator[Data | bytes]:
        """Every whole frame: DATA, or the bytes of runs of others. Raises BrokenFraming."""
        at = start = 0
        while at + _HEAD <= self._filled:
            end = at + _HEAD + int.from_bytes(self._view[at : at + 3], "big")
            if end - at > _HEAD + self._max_frame:
                raise BrokenFraming(f"a frame of {end - at} bytes")
            if end > self._filled:
                break
            if self._buffer[at + 3] == DATA:
                if start < at:
                    yield bytes(self._view[start:at])
                yield self._data(at, end)
                start = end
            at = end
        if start < at:
            yield bytes(self._view[start:at])
        self._keep(at)

    def _data(self, at: int, end: int) -> Data:
        flags, first, last = self._buffer[at + 4], at + _HEAD, end
        if flags & PADDED and first < end:
            last -= self._buffer[first]
            first += 1
        if last < first:
            raise BrokenFraming("padding is longer than its frame")
        stream = int.from_bytes(self._view[at + 5 : at + 9], "big") & 0x7FFFFFFF
        return Data(stream, bytes(self._view[first:last]), end - at - _HEAD, bool(flags & END_STREAM))

    def _keep(self, at: int) -> None:
        """Move the incomplete rest to the front; at most about one read, since whole frames were taken."""
        if at:
            rest = self._filled - at
            self._view[:rest] = self._view[at : self._filled]
            self._filled = rest


def data_frames(stream: int, payload: memoryview, max_frame: int) -> list[bytes | memoryview]:
    """DATA frames of a payload as pieces to be joined; none carries END_STREAM."""
    parts: list[bytes | memoryview] = []
    for at in range(0, len(payload), max_frame):
        part = payload[at : at + max_frame]
        parts += (head(len(part), DATA, 0, stream), part)
    return parts


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """A frame's nine bytes."""
    return _PACK(length >> 16, length & 0xFFFF, kind, flags, stream)


def end_of_stream(stream: int) -> bytes:
    """An empty DATA frame with END_STREAM."""
    return head(0, DATA, END_STREAM, stream)


def window_update(stream: int, increment: int) -> bytes:
    """Credit for a stream, or with stream 0 for the connection."""
    return head(4, WINDOW_UPDATE, 0, stream) + struct.pack(">L", increment)
