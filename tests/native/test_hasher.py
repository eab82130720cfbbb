"""Digests and their stored state, the same on both backends."""

from __future__ import annotations

import hashlib
import os
import zlib
from types import SimpleNamespace

import pytest
from conftest import native_backend, plain_backend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcopy._native import _plain_digest, _state

ALGORITHMS = ["sha256", "sha512"]
# Computed from FIPS 180-4 by hand-written rounds, not by this code: b"abc" * 30, its first block.
STATE_AFTER_ONE_BLOCK = "47afa2061ca2df6e3ceb998796fb5f8ed81825503687566159e87975cbe81304"
COMMON = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 111, 112, 127, 128, 4095, 4096, 1 << 20])
def test_a_digest_equals_hashlibs(backend: SimpleNamespace, algorithm: str, size: int) -> None:
    """Padding and block edges included."""
    data = os.urandom(size)
    hasher = backend.Hasher(algorithm)
    hasher.update(data)
    assert hasher.hexdigest() == hashlib.new(algorithm, data).hexdigest()
    assert hasher.digest() == bytes.fromhex(hasher.hexdigest())
    assert (hasher.length, hasher.algorithm) == (size, algorithm)


@COMMON
@given(pieces=st.lists(st.binary(max_size=300), max_size=8), algorithm=st.sampled_from(ALGORITHMS))
def test_a_stored_state_continues_anywhere(backend: SimpleNamespace, pieces: list[bytes], algorithm: str) -> None:
    """Export and restore after every piece, at odd offsets, change nothing."""
    hasher = backend.Hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
        hasher = backend.Hasher.restore(hasher.export())
    assert hasher.digest() == hashlib.new(algorithm, b"".join(pieces)).digest()
    assert hasher.length == sum(map(len, pieces))


@COMMON
@given(first=st.binary(max_size=400), second=st.binary(max_size=400), algorithm=st.sampled_from(ALGORITHMS))
def test_a_state_crosses_from_one_backend_to_the_other(first: bytes, second: bytes, algorithm: str) -> None:
    """The stored form belongs to no backend: bytes are equal and either continues."""
    native, plain = native_backend().Hasher, plain_backend().Hasher
    one, two = native(algorithm), plain(algorithm)
    one.update(first)
    two.update(first)
    assert one.export() == two.export()
    for hasher in (native.restore(two.export()), plain.restore(one.export())):
        hasher.update(second)
        assert hasher.digest() == hashlib.new(algorithm, first + second).digest()


def test_the_stored_form_is_the_documented_one(backend: SimpleNamespace) -> None:
    """Magic, version, algorithm, length, chaining value, tail, checksum: bytes that must never change."""
    hasher = backend.Hasher()
    hasher.update(b"abc" * 30)
    raw = hasher.export()
    assert raw[:16].hex() == "46434d5301010000000000000000005a"
    assert raw[16:48].hex() == STATE_AFTER_ONE_BLOCK
    assert raw[48:-4] == (b"abc" * 30)[64:]
    assert raw[-4:] == zlib.crc32(raw[:-4]).to_bytes(4, "big")


def test_damage_and_newer_versions_are_refused(backend: SimpleNamespace) -> None:
    """Any changed, missing or added byte, and any other version, is a ValueError."""
    hasher = backend.Hasher()
    hasher.update(b"x" * 100)
    good = hasher.export()
    for index in range(len(good)):
        bad = bytearray(good)
        bad[index] ^= 1
        with pytest.raises(ValueError):
            backend.Hasher.restore(bytes(bad))
    for bad in (b"", good[:-1], good + b"\0", good[:40]):
        with pytest.raises(ValueError):
            backend.Hasher.restore(bytes(bad))


def test_looking_does_not_disturb(backend: SimpleNamespace) -> None:
    """digest, export and copy leave the state as it is, and a copy goes its own way."""
    hasher = backend.Hasher()
    hasher.update(b"one")
    hasher.digest()
    hasher.export()
    other = hasher.copy()
    other.update(b"three")
    hasher.update(b"two")
    assert hasher.digest() == hashlib.sha256(b"onetwo").digest()
    assert other.digest() == hashlib.sha256(b"onethree").digest()


@pytest.mark.parametrize("data", [bytearray(b"abc" * 3000), memoryview(b"xabcabc")[1:4]])
def test_any_contiguous_buffer_is_hashed(backend: SimpleNamespace, data: bytes) -> None:
    """Writable, read-only and sliced buffers, above and below the unlocked size."""
    hasher = backend.Hasher()
    hasher.update(data)
    assert hasher.digest() == hashlib.sha256(data).digest()


def test_unknown_algorithms_are_refused(backend: SimpleNamespace) -> None:
    """Only what the specification registers."""
    with pytest.raises(ValueError, match="md5"):
        backend.Hasher("md5")


@COMMON
@given(pieces=st.lists(st.binary(max_size=300), max_size=6), algorithm=st.sampled_from(ALGORITHMS))
def test_the_portable_kernels_agree_with_hashlib_and_share_the_stored_form(pieces: list[bytes], algorithm: str) -> None:
    """What runs where libcrypto's functions are out of reach: same digests, same state, continued by either."""
    digest = native_backend().digest
    usual = digest.Hasher(algorithm)
    digest.force_portable(True)
    try:
        portable = digest.Hasher(algorithm)
        for piece in pieces:
            portable.update(piece)
            usual.update(piece)
            assert portable.export() == usual.export()
            portable = digest.Hasher.restore(usual.export())
    finally:
        digest.force_portable(False)
    assert portable.digest() == usual.digest() == hashlib.new(algorithm, b"".join(pieces)).digest()


def test_lengths_beyond_the_low_word_are_padded_right(backend: SimpleNamespace) -> None:
    """The bit count of more than 512 MiB does not fit 32 bits: a stored state of 4 GiB and a byte goes on alike."""
    digest = native_backend().digest
    state = _state.pack(_state.Midstate("sha256", (4 << 30) + 1, b"\x5a" * 32, b"z"))
    digest.force_portable(True)
    try:
        expected = digest.Hasher.restore(state).digest()
    finally:
        digest.force_portable(False)
    assert backend.Hasher.restore(state).digest() == expected


def test_a_hashlib_that_keeps_its_state_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin without libcrypto's functions digests and copies, and refuses to export."""
    monkeypatch.setattr(_plain_digest, "_DIRECT", False)
    hasher = _plain_digest.Hasher()
    hasher.update(b"abc")
    assert hasher.copy().digest() == hashlib.sha256(b"abc").digest()
    with pytest.raises(NotImplementedError):
        hasher.export()
