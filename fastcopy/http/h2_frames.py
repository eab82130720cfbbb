"""HTTP/2 frames as bytes: the cut between whole frames and the rest, and the few frames we make ourselves (pure).

Law 1: GOAWAY never reaches python-h2, which would declare every stream dead, also those that RFC 9113 6.8 lets end.
Law 2: python-h2 is only fed whole frames, so that at any moment the rest of the stream of bytes can be handed over.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass

PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
ACK = 0x1
HEAD = 9
MOST = 0x7FFFFFFF  #: the largest increment that one WINDOW_UPDATE can say
_GRANT = struct.Struct(">LL")  #: stream and increment, as they follow each other
_HEADER = struct.Struct(">HBBBL")  #: length (16 high and 8 low bits), type, flags, stream

#: RFC 9113 7.
ERRORS = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)
NO_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 0, 7, 8, 11, 13


def error_name(code: int) -> str:
    """The RFC's name of an error code."""
    return ERRORS[code] if code < len(ERRORS) else f"error {code}"


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server takes no streams above *last*; those up to it may end."""

    last: int
    code: int


def frame_length(data: bytes | bytearray, at: int) -> int:
    """Length of the frame that starts at *at*, its 9-byte header included."""
    return HEAD + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])


class Cutter:
    """Cuts what comes from the wire into whole frames; keeps the incomplete rest."""

    def __init__(self, max_frame: int = 16384) -> None:
        self._max_frame = max_frame
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bytes, list[GoAway]]:
        """Whole frames for python-h2 (in order, GOAWAYs taken out), and the GOAWAYs; ValueError for too large ones."""
        data = self._rest + data if self._rest else data
        at, start = 0, 0
        whole: list[bytes] = []
        leaving: list[GoAway] = []
        while at + HEAD <= len(data):
            end = at + frame_length(data, at)
            if end - at > HEAD + self._max_frame:
                raise ValueError(f"a frame of {end - at} bytes")
            if end > len(data):
                break
            if data[at + 3] == GOAWAY:
                whole.append(data[start:at])
                leaving.append(_read_goaway(data[at + HEAD : end]))
                start = end
            at = end
        whole.append(data[start:at])
        self._rest = data[at:]
        return b"".join(whole), leaving

    def release(self) -> bytes:
        """The incomplete rest, given away."""
        rest, self._rest = self._rest, b""
        return rest


def _read_goaway(payload: bytes) -> GoAway:
    if len(payload) < 8:
        return GoAway(0, 1)
    last, code = struct.unpack_from(">LL", payload)
    return GoAway(last & 0x7FFFFFFF, code)


def window_update(increment: int, stream: int = 0) -> bytes:
    """A WINDOW_UPDATE of the connection, or of *stream*."""
    return _HEADER.pack(0, 4, WINDOW_UPDATE, 0, stream) + struct.pack(">L", increment)


def merged(data: bytes) -> bytes:
    """Whole frames with the WINDOW_UPDATEs of each stream added up and put last.

    A server grants what it reads in 32 KiB: to python-h2 the 65,000 grants of a gibibyte are 0.4 s, one is nothing.
    """
    kept: list[bytes] = []
    granted: Counter[int] = Counter()
    at = 0
    while at < len(data):
        end = at + frame_length(data, at)
        if data[at + 3] == WINDOW_UPDATE and end - at == HEAD + 4 and any(data[at + HEAD : end]):
            stream, increment = _GRANT.unpack_from(data, at + 5)
            granted[stream & 0x7FFFFFFF] += increment & 0x7FFFFFFF
        else:
            kept.append(data[at:end])
        at = end
    for stream, total in granted.items():
        kept += [window_update(min(MOST, total - given), stream) for given in range(0, total, MOST)]
    return b"".join(kept)


def only_ping_acks(data: bytes) -> bytes:
    """The PING acknowledgements among whole frames: repeating one is harmless, leaving one out is not."""
    kept, at = [], 0
    while at < len(data):
        end = at + frame_length(data, at)
        if data[at + 3] == PING and data[at + 4] & ACK:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
