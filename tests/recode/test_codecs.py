"""Codecs: round trips, damage, several members, bombs, and independence of the number of threads."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy import codecs
from fastcopy.codecs.inflating import HEAD
from fastcopy.errors import IntegrityError, Unsupported, UsageError

FORMATS = ("none", "gzip", "zstd")
#: What an independent library makes of a blob, by the word of `sniff`.
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": pyzstd.compress,
}
#: Compressible, longer than several blocks, not a multiple of one.
TEXT = b"".join(b"%d beside %d\n" % (n, n * n) for n in range(200_000))


def encoded(data: bytes, compression: str, level: int | None = None, workers: int = 1, step: int = 300_000) -> bytes:
    """*data* through an encoder, *step* bytes at a time."""
    encoder = codecs.encoder(compression, level, workers)
    pieces = [piece for at in range(0, len(data), step) for piece in encoder.feed(data[at : at + step])]
    pieces += encoder.finish()
    encoder.close()
    assert all(len(piece) <= 2 * codecs.PIECE for piece in pieces)
    return b"".join(pieces)


def decoded(data: bytes, compression: str, step: int = 100_000, **more: Any) -> bytes:
    """*data* through a decoder, *step* bytes at a time."""
    decoder = codecs.decoder(compression, **more)
    pieces = [piece for at in range(0, len(data), step) for piece in decoder.feed(data[at : at + step])]
    decoder.finish()
    assert all(len(piece) <= codecs.PIECE for piece in pieces)
    return b"".join(pieces)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=5000), st.sampled_from(FORMATS), st.integers(1, 700), st.booleans())
def test_what_is_encoded_decodes_to_the_same(data: bytes, compression: str, step: int, portable: bool) -> None:
    """Any bytes survive any format, however they are cut."""
    packed = encoded(data, compression, step=step)
    assert decoded(packed, compression, step, portable=portable) == data


@pytest.mark.parametrize("level", [None, -1, 0, 1, 2, 3, 4, 6, 9])
def test_gzip_is_read_by_others(level: int | None) -> None:
    """Blocks joined are one gzip member that zlib accepts, at every level."""
    assert gzip.decompress(encoded(TEXT, "gzip", level, 2)) == TEXT


@pytest.mark.parametrize("level", [None, -5, 1, 3, 9, 99])
def test_zstd_is_read_by_others(level: int | None) -> None:
    """One frame that zstd accepts; levels outside the range are brought inside."""
    assert pyzstd.decompress(encoded(TEXT[:300_000], "zstd", level)) == TEXT[:300_000]


@pytest.mark.parametrize(("compression", "level"), [("gzip", None), ("gzip", 6), ("zstd", 3)])
def test_threads_do_not_change_the_bytes(compression: str, level: int | None) -> None:
    """The digest of a recompressed layer does not depend on the machine, nor on how the bytes were cut."""
    alone = encoded(TEXT, compression, level, 1)
    assert encoded(TEXT, compression, level, 3, step=77_777) == alone


def test_higher_levels_are_smaller() -> None:
    """Levels reach the libraries."""
    for compression, low, high in (("gzip", 1, 9), ("zstd", 1, 19)):
        data = TEXT[:1_000_000]
        assert len(encoded(data, compression, high)) < len(encoded(data, compression, low))


def test_a_level_gzip_does_not_have_is_refused() -> None:
    """In the words of the library skopeo uses."""
    with pytest.raises(UsageError, match="invalid compression level: 12"):
        codecs.encoder("gzip", 12)


@pytest.mark.parametrize("compression", ["bzip2", "xz"])
def test_a_format_that_is_not_written_is_refused_by_name(compression: str) -> None:
    """Nothing else is written in its place."""
    with pytest.raises(Unsupported, match=compression):
        codecs.encoder(compression)


@pytest.mark.parametrize("compression", PACKERS)
def test_beginnings_tell_the_compression(compression: str) -> None:
    """HEAD bytes are enough, and what they tell inflates."""
    packed = PACKERS[compression](TEXT)
    assert codecs.sniff(packed[:HEAD]) == compression
    assert decoded(packed, compression) == TEXT


@pytest.mark.parametrize("head", [b"", b"\x1f", b"usr/bin/", b"\x1f\x8b\x00", b"\x5f\x2a\x4d"])
def test_anything_else_is_no_compression(head: bytes) -> None:
    """Also what is too short to tell."""
    assert codecs.sniff(head) == "none"


@pytest.mark.parametrize("compression", PACKERS)
def test_members_follow_each_other(compression: str) -> None:
    """Several members or frames are one layer, wherever the pieces are cut."""
    packed = PACKERS[compression](b"first ") + PACKERS[compression](b"second")
    for step in (1, 7, 10_000):
        assert decoded(packed, compression, step) == b"first second"


def test_skippable_frames_are_skipped() -> None:
    """zstd's skippable frames carry no layer bytes, in front, between and behind (zstd:chunked ends with them)."""
    skip = b"\x5f\x2a\x4d\x18\x05\x00\x00\x00abcde"
    packed = skip + pyzstd.compress(b"first ") + skip + pyzstd.compress(b"second") + skip
    assert codecs.sniff(packed[:HEAD]) == "zstd"
    for step in (1, 9, 10_000):
        assert decoded(packed, "zstd", step) == b"first second"


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("compression", PACKERS)
def test_data_that_ends_early_is_refused(compression: str, portable: bool) -> None:
    """At every place, also in the trailer."""
    packed = PACKERS[compression](TEXT[:50_000])
    for kept in (0, 1, 9, len(packed) // 2, len(packed) - 5, len(packed) - 1):
        with pytest.raises(IntegrityError, match=compression):
            decoded(packed[:kept], compression, portable=portable)


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("compression", PACKERS)
def test_damaged_data_is_refused(compression: str, portable: bool) -> None:
    """A changed byte in the body is noticed by the stream or by its checksum."""
    whole = PACKERS[compression](TEXT[:50_000]) if compression != "zstd" else encoded(TEXT[:50_000], "zstd")
    for at in (len(whole) // 3, len(whole) // 2, len(whole) - 3):
        packed = bytearray(whole)
        packed[at] ^= 0x55
        with pytest.raises(IntegrityError, match=compression):
            decoded(bytes(packed), compression, portable=portable)


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("tail", [b"\0" * 600, b"trailing words"])
def test_bytes_behind_the_last_member_are_refused(compression: str, tail: bytes) -> None:
    """They begin no member; Go's readers refuse them too."""
    with pytest.raises(IntegrityError):
        decoded(PACKERS[compression](b"layer") + tail, compression)


def bomb(compression: str) -> bytes:
    """Few bytes that inflate to 64 MiB."""
    return PACKERS[compression](bytes(64 << 20))


@pytest.mark.parametrize("compression", PACKERS)
def test_a_bomb_is_stopped_by_its_length(compression: str) -> None:
    """However small it came; and no step gives more than one piece."""
    with pytest.raises(IntegrityError, match="more than 9000000 bytes"):
        decoded(bomb(compression), compression, most=9_000_000)


def test_a_bomb_is_stopped_by_its_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the spare bytes that every blob is granted."""
    monkeypatch.setattr("fastcopy.codecs.inflating.SPARE", 1 << 20)
    with pytest.raises(IntegrityError, match="times its size"):
        decoded(bomb("zstd"), "zstd", ratio=1000)
    assert decoded(gzip.compress(TEXT), "gzip", ratio=1000) == TEXT


def test_an_encoder_that_is_given_up_leaves_no_thread() -> None:
    """Cancellation closes it in the middle."""
    before = threading.active_count()
    encoder = codecs.encoder("gzip", 6, 3)
    encoder.feed(random.Random(1).randbytes(5 << 20))
    encoder.close()
    assert threading.active_count() == before
