"""The rules without a registry: what a status means, who resumes, where a blob begins again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy._native import Hasher, Outlet, Report
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import FastcopyError, TooManyRequests
from fastcopy.http.wire import Headers, Response, Url
from fastcopy.options import CopyOptions, RunOptions
from fastcopy.schedule import Limits, Schedule
from fastcopy.transfer import resume
from fastcopy.transfer.gate import Gate
from fastcopy.transfer.notes import OpenUpload
from fastcopy.transfer.run import Run
from fastcopy.transports import _manners, _registry
from fastcopy.transports._manners import PART, RESUMED_MIN, Manners, after_refusal, manners_of
from fastcopy.transports.base import Destination, Upload

AT = Url.parse("https://registry.example/v2/a/blobs/uploads/1?_state=x")


def _status(status: int, *headers: tuple[str, str]) -> tuple[Url, int] | None:
    return _registry.read_status(Response(status, Headers(headers)), AT)


@pytest.mark.parametrize(
    ("range_", "offset"),
    [("0-999", 1000), ("bytes=0-999", 1000), ("bytes 0-9", 10), ("0-1", 2), ("0-0", 0)],
)
@pytest.mark.parametrize("status", [204, 202, 200])
def test_a_status_tells_how_many_bytes_are_there(status: int, range_: str, offset: int) -> None:
    """The last byte's number plus one; 0-0 is said of no byte and of one, and counts as none."""
    assert _status(status, ("Range", range_)) == (AT, offset)


@pytest.mark.parametrize("range_", ["", "1-5", "0-", "-5", "0-1,3-4", "0-x", "0-" + "9" * 30, "bytes=5-9"])
def test_a_range_that_is_none_is_no_status(range_: str) -> None:
    """What does not begin at 0 or is not understood is not gone on with."""
    assert _status(204, ("Range", range_)) is None


@pytest.mark.parametrize("status", [404, 400, 401, 403, 405, 409, 301])
def test_a_refused_status_means_that_there_is_no_upload(status: int) -> None:
    """Begun anew."""
    assert _status(status, ("Range", "0-999")) is None


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_status_that_may_pass_is_asked_for_again(status: int) -> None:
    """An upload is not given up because a proxy hiccups."""
    with pytest.raises(FastcopyError) as caught:
        _status(status, ("Range", "0-999"))
    assert caught.value.again.value in ("same", "later")
    assert isinstance(caught.value, TooManyRequests) == (status == 429)


def test_the_newest_location_wins() -> None:
    """A status may say where the upload goes on; else it goes on where it was asked."""
    found = _status(204, ("Range", "0-9"), ("Location", "/v2/a/blobs/uploads/1?_state=y"))
    assert found is not None
    assert str(found[0]) == "https://registry.example/v2/a/blobs/uploads/1?_state=y"


@given(st.text(max_size=30))
def test_no_range_header_breaks_the_parser(text: str) -> None:
    """Anything a registry may send is a number of bytes, or none."""
    found = _status(204, ("Range", text))
    assert found is None or found[1] >= 0


def test_only_large_blobs_come_in_parts_and_only_where_it_helps() -> None:
    """Unknown is asked for once, no is no, and a limit of the registry's own decides before."""
    unknown, yes, no = Manners(), Manners(resumes=True), Manners(resumes=False)
    assert [each.style_for(RESUMED_MIN) for each in (unknown, yes, no)] == ["put", "chunks", "put"]
    assert [each.style_for(RESUMED_MIN - 1) for each in (unknown, yes, no)] == ["put"] * 3
    assert [each.unknown(RESUMED_MIN) for each in (unknown, yes, no)] == [True, False, False]
    assert not unknown.unknown(RESUMED_MIN - 1)
    assert not unknown.unknown(-1)
    assert not Manners(put_limit=1 << 20).unknown(RESUMED_MIN)
    assert yes.part(RESUMED_MIN) == PART
    assert Manners(resumes=True, put_limit=1, chunk=5).part(10) == 5


def test_the_registries_of_the_table_are_not_experimented_with() -> None:
    """What is known of their uploads is known."""
    hosts = ["ghcr.io", "quay.io", "gcr.io", "eu-docker.pkg.dev", "x.azurecr.io", "x.jfrog.io", "public.ecr.aws"]
    assert [manners_of(host).resumes for host in hosts] == [False] * len(hosts)
    assert manners_of("registry.example:5000").resumes is None


@pytest.mark.parametrize("status", sorted(_manners.FALL_BACK_ON))
def test_parts_that_are_refused_leave_the_other_styles_untouched(status: int) -> None:
    """Only then does the ladder of styles begin."""
    first = after_refusal(Manners(resumes=True), status, RESUMED_MIN)
    assert first == Manners(resumes=False)
    second = after_refusal(first, status, RESUMED_MIN)
    assert second is not None
    assert second.upload in ("patch", "chunks")


class _At(Upload):
    """An upload that stands somewhere."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    async def open(self, length: int) -> Outlet:
        raise NotImplementedError

    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return


def _run(*notes: OpenUpload) -> Run:
    run = Run(Gate(Schedule(Limits())), CopyOptions(), RunOptions(), lambda event: None)
    for note in notes:
        run.notes.checkpoint(note)
    return run


DATA = bytes(range(256)) * 8
WHAT = Descriptor(Digest.of(DATA), len(DATA))


@dataclass(frozen=True)
class _Place:
    host: str
    place: str = "a"


def _place(host: str) -> Destination:
    return cast(Destination, _Place(host))


def _note(host: str, offset: int) -> OpenUpload:
    hasher = Hasher()
    hasher.update(DATA[:offset])
    return OpenUpload(host, "a", WHAT.digest, "https://x/", offset, resume.packed([Hasher().export(), hasher.export()]))


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.binary(max_size=9))
def test_states_come_out_as_they_went_in(states: list[bytes], damage: bytes) -> None:
    """Whatever follows them, and nothing that follows breaks the parser."""
    assert resume.unpacked(resume.packed(states)) == states
    assert resume.unpacked(resume.packed(states) + damage)[: len(states)] == states


@pytest.mark.parametrize(
    ("stands", "noted", "begins"),
    [
        ([500], [500], 500),
        ([900], [500], 500),
        ([499], [500], 0),
        ([900, 700], [500, 600], 600),
        ([900, 550], [500, 600], 500),
        ([900, 0], [500, 0], 0),
        ([800, 300], [800, 100], 100),
    ],
)
def test_a_blob_begins_again_at_the_last_note_that_all_have_reached(
    stands: list[int], noted: list[int], begins: int
) -> None:
    """A digest's state helps only below the smallest offset; a registry that has less than was noted lost something."""
    run = _run(*(_note(f"r{n}", offset) for n, offset in enumerate(noted)))
    uploads: dict[Destination, Upload] = {_place(f"r{n}"): _At(offset) for n, offset in enumerate(stands)}
    hasher = resume.hasher_for(run, uploads, WHAT)
    assert hasher.length == begins
    hasher.update(DATA[begins:])
    assert hasher.digest() == WHAT.digest.raw
