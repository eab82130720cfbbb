"""Ranges, chunks and pages: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.serve.message import Refusal
from fastcopy.serve.ranges import check_chunk, page, wanted_range
from tests.serve.helpers import refusal_of


@given(st.text(max_size=40), st.integers(0, 10_000))
def test_no_header_text_breaks_the_range_parser(header: str, size: int) -> None:
    """Any text yields the whole, a part inside the blob, or 416."""
    refusal = refusal_of(lambda: wanted_range(header, size))
    if refusal is not None:
        assert refusal.status == 416
    elif (part := wanted_range(header, size)) is not None:
        start, length = part
        assert 0 <= start < start + length <= size


@given(st.integers(1, 10_000), st.data())
def test_a_closed_range_means_the_same_bytes_as_a_slice(size: int, data: st.DataObject) -> None:
    """first and last are inclusive, and last is clipped to the end."""
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, 2 * size))
    assert wanted_range(f"bytes={first}-{last}", size) == (first, len(range(size)[first : last + 1]))


@pytest.mark.parametrize("header", ["", "bytes=-", "bytes=5-1", "bytes=0-1,4-5", "items=0-1", "bytes=a-b"])
def test_what_is_not_one_range_is_ignored(header: str) -> None:
    """RFC 9110 14.2: an invalid Range is as if it were not there; several are not worth serving."""
    assert wanted_range(header, 100) is None


def test_a_suffix_longer_than_the_blob_is_the_whole_blob() -> None:
    """bytes=-500 of 100 bytes."""
    assert wanted_range("bytes=-500", 100) == (0, 100)


def test_nothing_can_be_taken_from_an_empty_blob() -> None:
    """416, whatever is asked."""
    with pytest.raises(Refusal) as caught:
        wanted_range("bytes=0-0", 0)
    assert caught.value.status == 416


@pytest.mark.parametrize(
    ("header", "offset", "length", "status"),
    [("5-9", 5, 5, 0), ("5-9", 5, None, 0), ("", 5, 7, 0), ("5-9", 4, 5, 416), ("5-9", 5, 6, 400),
     ("9-5", 9, 5, 400), ("bytes 5-9/10", 5, 5, 400)],
)  # fmt: skip
def test_a_chunk_must_fit_where_the_upload_stands(header: str, offset: int, length: int | None, status: int) -> None:
    """In order, as long as announced, in the specification's spelling."""
    refusal = refusal_of(lambda: check_chunk(header, offset, length, "/where"))
    assert (refusal.status if refusal else 0) == status


def test_a_refused_chunk_tells_where_to_go_on() -> None:
    """416 carries Location and Range."""
    with pytest.raises(Refusal) as caught:
        check_chunk("9-19", 5, 11, "/where")
    assert caught.value.headers == (("Location", "/where"), ("Range", "0-4"))


@given(st.lists(st.text("abcXYZ019", min_size=1, max_size=6), unique=True), st.integers(1, 5))
def test_pages_visit_every_name_once_in_order(names: list[str], count: int) -> None:
    """Following `last` until there is no Link yields the whole list."""
    ordered, seen, last = sorted(names), [], ""
    while True:
        part, links = page(ordered, str(count), last, 1000, "/v2/r/tags/list")
        seen += part
        assert len(part) <= count
        if not links:
            break
        last = part[-1]
    assert seen == ordered


def test_zero_asks_for_nothing() -> None:
    """n=0 is an empty page without a Link (distribution-spec)."""
    assert page(["a", "b"], "0", "", 10, "/") == ([], [])
