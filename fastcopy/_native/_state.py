"""The stored form of a digest in progress. Pure; knows no hash function.

    offset  size        what
    0       4           b"FCMS"
    4       1           version, 1
    5       1           algorithm: 1 sha256, 2 sha512
    6       2           zero
    8       8           bytes hashed so far, big-endian
    16      32 | 64     chaining value after the last whole block, eight big-endian words (FIPS 180-4, 6.2.2 and 6.4.2)
    ..      length % B  the bytes after the last whole block (B = 64 | 128)
    ..      4           CRC-32 of all before, big-endian

It is not OpenSSL's context: any backend, version and byte order reads it. The digest of what it holds back is
not protected against an attacker who can write the journal; the final comparison with the manifest is.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

MAGIC = b"FCMS"
VERSION = 1
ALGORITHMS = {"sha256": 1, "sha512": 2}
BLOCK = {"sha256": 64, "sha512": 128}
SIZE = {"sha256": 32, "sha512": 64}
_HEAD = struct.Struct(">4sBBHQ")
_CRC = struct.Struct(">I")


class Midstate(NamedTuple):
    """A digest in progress: algorithm, bytes hashed, chaining value, bytes after the last whole block."""

    algorithm: str
    length: int
    words: bytes
    tail: bytes


def pack(state: Midstate) -> bytes:
    """Write *state* in the stored form."""
    head = _HEAD.pack(MAGIC, VERSION, ALGORITHMS[state.algorithm], 0, state.length)
    body = head + state.words + state.tail
    return body + _CRC.pack(zlib.crc32(body))


def unpack(raw: bytes) -> Midstate:
    """Read the stored form; ValueError when it is damaged, of a newer version or of an unknown algorithm."""
    if len(raw) < _HEAD.size + _CRC.size or raw[:4] != MAGIC:
        raise ValueError("not a stored digest state")
    _, version, number, zero, length = _HEAD.unpack_from(raw)
    if version != VERSION:
        raise ValueError(f"stored digest state of version {version}, this program reads version {VERSION}")
    if _CRC.unpack_from(raw, len(raw) - 4)[0] != zlib.crc32(raw[:-4]):
        raise ValueError("damaged digest state: checksum")
    names = [name for name, code in ALGORITHMS.items() if code == number]
    if not names or zero or length >= 1 << 61:
        raise ValueError("damaged digest state: header")
    end = _HEAD.size + SIZE[names[0]]
    state = Midstate(names[0], length, raw[_HEAD.size : end], raw[end:-4])
    if len(state.words) != SIZE[names[0]] or len(state.tail) != length % BLOCK[names[0]]:
        raise ValueError("damaged digest state: size")
    return state
