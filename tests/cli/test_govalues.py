"""Go's values: durations, integers, booleans, slices, quoted strings; and our sizes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.cli import govalues as go
from fastcopy.cli.govalues import BadValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("30s", 30.0), ("5m", 300.0), ("1h2m3s", 3723.0), ("1.5h", 5400.0), ("-300ms", -0.3), (".5s", 0.5),
        ("1.s", 1.0), ("100ns", 1e-7), ("3us", 3e-6), ("3µs", 3e-6), ("+1s", 1.0), ("-0", 0.0), ("1h1h", 7200.0),
    ],
)  # fmt: skip
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    """time.ParseDuration's examples and corners, in seconds."""
    assert go.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("h", 'time: invalid duration "h"'),
        (".s", 'time: invalid duration ".s"'),
        ("1.5.h", 'time: missing unit in duration "1.5.h"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("-", 'time: invalid duration "-"'),
    ],
)
def test_bad_durations_have_gos_texts(text: str, message: str) -> None:
    """The texts of package time."""
    with pytest.raises(BadValue) as caught:
        go.duration(text)
    assert caught.value.message == message


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 999))
def test_a_spelled_duration_is_the_sum_of_its_parts(hours: int, minutes: int, millis: int) -> None:
    """Hours, minutes and milliseconds add up."""
    expected = hours * 3600 + minutes * 60 + millis / 1000
    assert go.duration(f"{hours}h{minutes}m{millis}ms") == pytest.approx(expected)


@given(
    st.one_of(st.text(max_size=12), st.text("0123456789.", max_size=12), st.just("9" * 5000), st.just("9" * 5000 + "s"))
)
def test_no_text_breaks_a_reader(text: str) -> None:
    """Every reader answers with a value or BadValue."""
    for read in (go.duration, go.boolean, go.integer, go.unsigned, go.strings, go.integers, go.size, go.rate):
        with contextlib.suppress(BadValue):
            read(text)


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("-7", -7), ("+7", 7), ("0x1F", 31), ("010", 8), ("0b11", 3), ("1_000", 1000)]
)
def test_integers_are_read_in_base_zero(text: str, value: int) -> None:
    """strconv.ParseInt with base 0."""
    assert go.integer(text) == value


@pytest.mark.parametrize("text", ["", "x", "1.0", " 1", "--1", "1_", "٣"])
def test_what_is_no_integer_is_refused(text: str) -> None:
    """Nothing that Python alone would take."""
    with pytest.raises(BadValue, match="invalid syntax"):
        go.integer(text)


def test_integers_have_a_range() -> None:
    """64 bits, signed or not."""
    assert go.integer(str(2**63 - 1)) == 2**63 - 1
    with pytest.raises(BadValue, match="value out of range"):
        go.integer(str(2**63))
    assert go.unsigned(str(2**64 - 1)) == 2**64 - 1
    with pytest.raises(BadValue, match="value out of range"):
        go.unsigned(str(2**64))
    with pytest.raises(BadValue, match="ParseUint"):
        go.unsigned("-1")


@pytest.mark.parametrize(("text", "value"), [("1", True), ("t", True), ("TRUE", True), ("0", False), ("F", False)])
def test_booleans_have_gos_spellings(text: str, value: bool) -> None:
    """strconv.ParseBool."""
    assert go.boolean(text) is value


@pytest.mark.parametrize("text", ["yes", "tRUE", "", "2"])
def test_other_words_are_no_booleans(text: str) -> None:
    """And the error says so."""
    with pytest.raises(BadValue, match="ParseBool"):
        go.boolean(text)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'), ('a"b', r'"a\"b"'), ("a\\b", r'"a\\b"'), ("a\nb\t", r'"a\nb\t"'),
        ("\x00\x7f", r'"\x00\x7f"'),
        ("é日", '"é日"'), ("\u200b", r'"\u200b"'), ("\U000e0001", r'"\U000e0001"'), ("\udcff", r'"\xff"'),
    ],
)  # fmt: skip
def test_strings_are_quoted_as_go_quotes_them(text: str, quoted: str) -> None:
    """fmt's %q."""
    assert go.quote(text) == quoted


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("1048576", 1 << 20), ("96MiB", 96 << 20), ("96M", 96 << 20), ("1.5G", 3 << 29), ("100MB", 10**8),
     ("500kB", 500_000), ("7B", 7)],
)  # fmt: skip
def test_sizes_are_bytes(text: str, count: int) -> None:
    """Binary without a B or with an i, decimal otherwise."""
    assert go.size(text) == count
    assert go.rate(text + "/s") == count


@given(
    st.lists(
        st.text(st.characters(exclude_characters='",\r\n', exclude_categories=["Cs", "Cc"]), min_size=1), max_size=4
    )
)
def test_slices_are_one_line_of_csv(parts: list[str]) -> None:
    """Commas separate."""
    assert go.strings(",".join(parts)) == tuple(parts)
