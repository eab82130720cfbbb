"""WWW-Authenticate as servers send it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.http.challenge import Challenge, parse_challenges, pick

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.", min_size=1, max_size=12)
CHALLENGE = st.builds(
    Challenge,
    WORD.map(str.lower),
    st.dictionaries(WORD.map(str.lower), st.text(max_size=40), max_size=5),
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
            [("bearer", {
                "realm": "https://auth.example/token",
                "service": "registry.example",
                "scope": "repository:a/b:pull,push",
            })],
        ),
        ('Basic realm="Registry Realm"', [("basic", {"realm": "Registry Realm"})]),
        ("BEARER Realm=https://a/t", [("bearer", {"realm": "https://a/t"})]),
        (
            'Bearer realm="x", Basic realm="y"',
            [("bearer", {"realm": "x"}), ("basic", {"realm": "y"})],
        ),
        ("Negotiate YIIB/+w==, Basic realm=r", [("negotiate", {}), ("basic", {"realm": "r"})]),
        ("Negotiate", [("negotiate", {})]),
        (r'Basic realm="a \"b\" \\c"', [("basic", {"realm": r'a "b" \c'})]),
        ('Bearer realm = "x" , service= y', [("bearer", {"realm": "x", "service": "y"})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer realm="never closed', [("bearer", {"realm": "never closed"})]),
        (',, Basic realm="x",,', [("basic", {"realm": "x"})]),
        ("", []),
        ('"only a string", Basic realm=x', [("basic", {"realm": "x"})]),
    ],
)  # fmt: skip
def test_lines_of_the_wild_are_understood(line: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    """Case, spaces, quotes, commas in quotes, token68 and several challenges per line."""
    assert [(each.scheme, each.params) for each in parse_challenges([line])] == expected


def test_challenges_of_several_lines_keep_their_order() -> None:
    """Each header line adds to the list."""
    found = parse_challenges(['Basic realm="a"', 'Bearer realm="b"'])
    assert [each.scheme for each in found] == ["basic", "bearer"]
    assert pick(found, "bearer") == Challenge("bearer", {"realm": "b"})
    assert pick(found, "digest") is None


@given(st.lists(CHALLENGE, max_size=4))
def test_what_was_written_is_read(challenges: list[Challenge]) -> None:
    """Any challenges written on one line come back as they were."""
    assert parse_challenges([", ".join(map(str, challenges))]) == challenges


@given(st.lists(st.text(max_size=200), max_size=3))
def test_no_line_breaks_the_parser(lines: list[str]) -> None:
    """Whatever a server sends, the parser ends and every challenge has a scheme."""
    assert all(each.scheme for each in parse_challenges(lines))


@given(st.text('="\\, aB', max_size=400))
def test_hostile_punctuation_does_not_break_the_parser(line: str) -> None:
    """Unbalanced quotes, backslashes at the end and stray equal signs are skipped."""
    parse_challenges([line])
