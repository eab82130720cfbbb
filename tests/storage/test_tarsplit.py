"""The pure parts: CRC-64, names of items, IDs of layers, tars as they stream by."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy._native import crc64
from fastcopy.errors import FastcopyError
from fastcopy.transports.storage import records, tarstream
from fastcopy.transports.storage.target import chain_id
from fastcopy.transports.storage.tarstream import Member, Reader, Stream
from tests.storage import rich

_REVERSED = 0xD800000000000000


def _crc(data: bytes) -> bytes:
    """By its definition, a bit at a time."""
    value = (1 << 64) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (_REVERSED if value & 1 else 0)
    return (value ^ ((1 << 64) - 1)).to_bytes(8, "big")


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_the_checksum_is_the_one_of_its_definition(pieces: list[bytes]) -> None:
    """However the bytes are cut."""
    state = 0
    for piece in pieces:
        state = crc64(piece, state)
    assert state.to_bytes(8, "big") == _crc(b"".join(pieces))


def test_the_checksum_is_gos() -> None:
    """hash/crc64 with the ISO table gives this for `ccc` (from a layer that containers/storage wrote)."""
    assert f"{crc64(b'ccc'):016x}" == "3777774000000000"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("manifest", "manifest"),
        ("a.b0", "a.b0"),
        ("sha256:0", "=c2hhMjU2OjA="),
        ("Upper", "=VXBwZXI="),
        ("../x", "=Li4veA=="),
    ],
)
def test_items_have_names_that_are_no_paths(key: str, name: str) -> None:
    """containers/storage's rule."""
    assert records.big_data_file(key) == name


def test_ids_of_layers_are_chains() -> None:
    """As containers/image computes them; the values are from a storage that skopeo wrote."""
    base = "sha256:42dd1ba7034127156d70a458063ea8476225fb669b62942930ef5bdc8dd078b8"
    upper = "sha256:09463c87d86136f7bb677971105b21efb5ddf51eae3357f96067ef6cac9cc1e6"
    assert chain_id("", base) == base.removeprefix("sha256:")
    assert chain_id(chain_id("", base), upper) == "ae8fce7e7eda58779014fd8965f59adb096a18b9e0b5992259aab351cfc75af5"


def _members(tar: bytes, cut: int = 7) -> list[tuple[Member, bytes]]:
    stream = Stream(tar[at : at + cut] for at in range(0, len(tar), cut))
    reader, found = Reader(stream), []
    while (member := reader.next()) is not None:
        found.append((member, stream.exactly(member.size)))
        reader.padded(member.size)
    return found


def test_members_are_what_tarfile_wrote() -> None:
    """Names, types, sizes, owners, modes, times and attributes."""
    tar = rich.tar(rich.BASE)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        expected = archive.getmembers()
    found = [member for member, _ in _members(tar, 997)]
    assert [each.name.rstrip(b"/").decode() for each in found] == [each.name for each in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.size, ours.mode, ours.uid, ours.gid) == (theirs.size, theirs.mode, theirs.uid, theirs.gid)
        assert ours.mtime == int(theirs.mtime * 10**9)
        assert ours.link.decode() == theirs.linkname
    assert {key for each in found for key in each.xattrs} == {"user.colour"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_gives_the_same_members(form: int) -> None:
    """Long names and large numbers are written in three ways."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        info = tarfile.TarInfo("d/" * 40 + "n" * 90)
        info.size, info.uid, info.mtime = 3, 70_000, 1_700_000_000
        archive.addfile(info, io.BytesIO(b"abc"))
    ((member, data),) = _members(out.getvalue())
    assert (member.path, member.uid, member.mtime, data) == (info.name.encode(), 70_000, 1_700_000_000 * 10**9, b"abc")


@settings(max_examples=300)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=12))
def test_a_damaged_tar_is_read_or_refused(at: int, noise: bytes) -> None:
    """Bytes changed anywhere: no exception but ours."""
    tar = bytearray(rich.tar(rich.UPPER))
    tar[at : at + len(noise)] = noise
    with contextlib.suppress(FastcopyError):
        for member, _ in _members(bytes(tar), 512):
            assert not member.path.startswith((b"/", b"../"))


@pytest.mark.parametrize("name", [b"../x", b"a/../../x", b"/../../x\0y", b"a\0b"])
def test_paths_that_lead_out_are_refused(name: bytes) -> None:
    """Climbing above the root is never meant."""
    if name.startswith(b"/../"):
        name = b"x\0" + name
    with pytest.raises(tarstream.BadLayer):
        tarstream.inside(name)
