"""zstd:chunked: plain zstd for everybody, and tables by which a reader fetches single files."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import struct
import tarfile
from collections.abc import Iterable
from typing import Any

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy import codecs
from fastcopy._native import crc64
from fastcopy._native._plain_checksum import crc64 as twin
from fastcopy.codecs.base import CHUNKED
from fastcopy.codecs.tarcut import Begin, Content, Raw, TarCutter

Member = tuple[str, bytes, bytes]  #: name, type, content
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
MEMBERS: list[Member] = [
    ("etc/", tarfile.DIRTYPE, b""),
    ("etc/empty", tarfile.REGTYPE, b""),
    ("etc/small", tarfile.REGTYPE, b"hello\n" * 100),
    ("etc/block", tarfile.REGTYPE, b"0" * 512),
    ("etc/big", tarfile.REGTYPE, random.Random(3).randbytes(9 << 20)),
    ("etc/link", tarfile.SYMTYPE, b""),
    ("usr/" + "x" * 90, tarfile.REGTYPE, b"y" * 5000),
]


def tar_of(members: Iterable[Member], form: int = tarfile.PAX_FORMAT, **more: Any) -> bytes:
    """A tar of *members*."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(content), more.get("mtime", 1_700_000_000)
            info.linkname = "small" if kind == tarfile.SYMTYPE else ""
            info.pax_headers = dict(more.get("pax", {}))
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def encoded(tar: bytes, step: int = 1 << 20, workers: int = 1) -> tuple[bytes, dict[str, str]]:
    """*tar* as a layer, and the annotations."""
    encoder = codecs.encoder("zstd:chunked", 3, workers)
    made = [piece for at in range(0, len(tar), step) for piece in encoder.feed(tar[at : at + step])]
    return b"".join([*made, *encoder.finish()]), dict(encoder.annotations)


def inflated(blob: bytes) -> bytes:
    """What any reader of zstd gets."""
    decoder = codecs.decoder("zstd")
    data = b"".join(decoder.feed(blob))
    decoder.finish()
    return data


def table(blob: bytes, annotations: dict[str, str], name: str) -> bytes:
    """The table that an annotation points to, held against the length that it says."""
    at, size, length = map(int, annotations[f"{CHUNKED}{name}-position"].split(":")[:3])
    data = pyzstd.decompress(blob[at : at + size])
    assert len(data) == length
    return data


def contents(blob: bytes, annotations: dict[str, str]) -> list[dict[str, Any]]:
    """The entries of the table of contents."""
    document = json.loads(table(blob, annotations, "manifest"))
    assert document["version"] == 1
    entries: list[dict[str, Any]] = document["entries"]
    return entries


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("step", [1, 511, 4096, 1 << 20])
def test_the_cutter_loses_nothing_and_finds_every_member(form: int, step: int) -> None:
    """Names, sizes and contents are tarfile's; the pieces together are the tar."""
    members = [each for each in MEMBERS if len(each[2]) < 10_000]
    raw = tar_of(members, form)
    found, whole = cut(raw, step)
    assert whole == raw
    assert found == [(name, content) for name, _, content in members]


def cut(raw: bytes, step: int) -> tuple[list[tuple[str, bytes]], bytes]:
    """Members and all bytes."""
    cutter, found, whole = TarCutter(), list[tuple[str, bytes]](), b""
    for at in range(0, len(raw), step):
        for piece in cutter.feed(raw[at : at + step]):
            match piece:
                case Begin(_, _, name):
                    found.append((name, b""))
                case Content(data):
                    found[-1] = (found[-1][0], found[-1][1] + data)
                    whole += data
                case Raw(data):
                    whole += data
    return found, whole + b"".join(each.data for each in cutter.finish() if isinstance(each, Raw))


@settings(deadline=None)
@given(st.binary(max_size=4000), st.integers(1, 1500), st.integers(0, 3000), st.binary(min_size=1, max_size=600))
def test_the_cutter_gives_back_whatever_it_was_given(junk: bytes, step: int, at: int, patch: bytes) -> None:
    """Damaged tars and noise pass through, byte by byte."""
    raw = bytearray(tar_of([("a", tarfile.REGTYPE, b"b" * 700), ("c/", tarfile.DIRTYPE, b"")]))
    raw[at : at + len(patch)] = patch
    for data in (bytes(raw), junk):
        assert cut(data, step)[1] == data


@pytest.mark.parametrize("form", FORMATS)
def test_everybody_else_reads_the_tar(form: int) -> None:
    """The tables are skippable frames."""
    raw = tar_of(MEMBERS, form)
    assert inflated(encoded(raw)[0]) == raw


def test_each_file_is_a_frame_of_its_own() -> None:
    """The range that an entry names inflates to the file, whose digest it says; empty files have none."""
    blob, annotations = encoded(tar_of(MEMBERS))
    entries = contents(blob, annotations)
    assert [each["name"] for each in entries] == [name for name, _, _ in MEMBERS]
    for entry, (_, _, content) in zip(entries, MEMBERS, strict=True):
        if content:
            assert pyzstd.decompress(blob[entry["offset"] : entry["endOffset"]]) == content
            assert entry["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        else:
            assert not {"digest", "offset", "endOffset"} & set(entry)


def test_what_the_header_says_is_in_the_table() -> None:
    """Times to the nanosecond, links, extended attributes, as archive/tar reads them."""
    pax = {"SCHILY.xattr.user.a": "b", "mtime": "1700000000.123400000"}
    raw = tar_of([("f", tarfile.REGTYPE, b"x"), ("l", tarfile.SYMTYPE, b"")], pax=pax)
    first, second = contents(*encoded(raw))
    assert (first["type"], first["modtime"], first["mode"]) == ("reg", "2023-11-14T22:13:20.1234Z", 0o644)
    assert first["xattrs"] == {"user.a": base64.b64encode(b"b").decode()}
    assert (second["type"], second["linkName"]) == ("symlink", "small")


def test_the_tar_is_rebuilt_from_its_files() -> None:
    """tar-split has every byte that is in no file, and the files' checksums."""
    raw, files = tar_of(MEMBERS), {name: content for name, _, content in MEMBERS}
    blob, annotations = encoded(raw)
    rebuilt = b""
    for number, line in enumerate(table(blob, annotations, "tarsplit").splitlines()):
        entry = json.loads(line)
        assert entry["position"] == number
        if entry["type"] == 2:
            rebuilt += base64.b64decode(entry["payload"])
        elif content := files[entry["name"]]:
            assert base64.b64decode(entry["payload"]) == crc64(content).to_bytes(8, "big")
            rebuilt += content
    assert rebuilt == raw


def test_annotations_and_footer_agree_and_the_tables_are_pinned() -> None:
    """Readers trust the digest in the annotation, and through it that of tar-split."""
    blob, annotations = encoded(tar_of(MEMBERS))
    at, size, length, kind = map(int, annotations[f"{CHUNKED}manifest-position"].split(":"))
    split_at, split_size, split_length = map(int, annotations[f"{CHUNKED}tarsplit-position"].split(":"))
    numbers = (at, size, length, kind, split_at, split_size, split_length)
    assert blob[-64:] == struct.pack("<7Q", *numbers) + b"GNUlInUx"
    assert annotations[f"{CHUNKED}manifest-checksum"] == f"sha256:{hashlib.sha256(blob[at : at + size]).hexdigest()}"
    said = json.loads(table(blob, annotations, "manifest"))["tarSplitDigest"]
    assert said == f"sha256:{hashlib.sha256(blob[split_at : split_at + split_size]).hexdigest()}"


def test_pieces_and_threads_do_not_change_the_bytes() -> None:
    """A layer made on two machines has one digest."""
    raw = tar_of(MEMBERS)
    assert encoded(raw) == encoded(raw, 70_001, 4)


@pytest.mark.parametrize(
    "raw", [b"no tar at all" * 100, tar_of([("\udcff", tarfile.REGTYPE, b"x")], tarfile.GNU_FORMAT)]
)
def test_what_the_tables_cannot_say_stays_plain_zstd(raw: bytes) -> None:
    """Bytes that are no tar, and names that JSON cannot hold: no annotations, and no byte is lost."""
    blob, annotations = encoded(raw)
    assert annotations == {}
    assert inflated(blob) == raw


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_both_checksums_are_go_s(pieces: list[bytes]) -> None:
    """The check value of CRC-64/GO-ISO, and the twin agrees wherever the data is cut."""
    assert crc64(b"123456789") == twin(b"123456789") == 0xB90956C775A41001
    state = 0
    for piece in pieces:
        state = crc64(piece, state)
    assert state == crc64(b"".join(pieces)) == twin(b"".join(pieces))
