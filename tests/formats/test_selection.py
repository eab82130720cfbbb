"""Patterns and selections: what a repository's tags are reduced to."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import Unsupported, UsageError
from fastcopy.tags.pattern import Glob, Regex, VersionRange, compile_re2, parse_pattern
from fastcopy.tags.selection import Name, Selection, natural_key, newest_first

D = "sha256:" + "12" * 32
tags = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}\Z")


def picked(selection, listed):
    """The picked references as texts."""
    return [str(name) for name in selection.pick(listed)]


def test_names_come_first_and_are_never_filtered():
    """Verbatim names, then what passes, each once."""
    selection = Selection((Name("x"), Name(digest=D), Name("2.0")), include=(Glob("2.*"),), exclude=(Glob("*-rc*"),))
    assert picked(selection, ["1.0", "2.0", "2.1", "2.1", "2.2-rc1"]) == ["x", D, "2.0", "2.1"]


def test_include_is_or_require_is_and_exclude_wins():
    """The three lists."""
    selection = Selection(
        include=(Regex("^v"), Glob("1.*")), require=(VersionRange(">=1.1"),), exclude=(Regex("alpine$"),)
    )
    assert picked(selection, ["v1", "v2", "1.0", "1.5", "2.5", "v3.0.0-alpine", "vx"]) == ["v2", "1.5"]


def test_without_filters_nothing_is_listed():
    """Names alone need no tag list; `everything` does."""
    assert not Selection((Name("1"),)).needs_tags
    assert picked(Selection((Name("1"),)), ["1", "2"]) == ["1"]
    assert picked(Selection(everything=True), ["b", "a"]) == ["b", "a"]


def test_newest_means_versions_before_words():
    """SemVer order first, pre-releases below their release, then natural order."""
    listed = ["latest", "1.0", "v2.0.0", "main", "2.0.0", "r10", "r9", "1.10", "1.9", "2.0.0-rc1"]
    expected = ["v2.0.0", "2.0.0", "2.0.0-rc1", "1.10", "1.9", "1.0", "r10", "r9", "main", "latest"]
    assert newest_first(listed) == expected
    assert picked(Selection(everything=True, newest=3), listed) == expected[:3]


def test_what_a_registry_lists_that_is_no_tag_is_dropped():
    """A hostile list cannot make a path or a digest."""
    assert picked(Selection(everything=True), ["../x", "", "ok", D, "a b"]) == ["ok"]


@pytest.mark.parametrize("text", ["1.0", D, f"1.0@{D}"])
def test_names_are_read_and_written_back(text):
    """A tag, a digest, or both."""
    assert str(Name.parse(text)) == text


@pytest.mark.parametrize("text", ["", "-a", "a b", "sha256:12", f"1.0@{D}x", "a@", f"a b@{D}", "x" * 129])
def test_what_is_neither_tag_nor_digest_is_refused(text):
    """Bad names."""
    with pytest.raises(UsageError, match="neither a tag nor a digest"):
        Name.parse(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1.*", Glob("1.*")),
        ("regex:^v", Regex("^v")),
        ("regex!:rc", Regex("rc", negated=True)),
        ("semver:>=1", VersionRange(">=1")),
        ("semver(blang):1.x", VersionRange("1.x", "blang")),
        ("semver(regclient):^1", VersionRange("^1", "regclient")),
    ],
)
def test_patterns_are_read_and_written_back(text, kind):
    """parse_pattern and str are inverse."""
    assert parse_pattern(text) == kind
    assert str(kind) == text


def test_expressions_are_gos():
    """Unanchored, RE2's syntax, no backtracking."""
    assert Regex("1").matches("v1.2")
    assert Regex(r"^\d+$").matches("12")
    assert not Regex("(a+)+$").matches("a" * 127 + "!")
    for bad in ("(", "(?=x)", r"(a)\1"):
        with pytest.raises(UsageError, match="bad regular expression"):
            Regex(bad)


def test_a_missing_re2_is_named(monkeypatch):
    """No silent fallback to an engine that can hang."""
    monkeypatch.setitem(sys.modules, "re2", None)
    compile_re2.cache_clear()
    with pytest.raises(Unsupported, match=r"google-re2.*fastcopy\[sync\]"):
        Regex("^never-compiled-before$")


@given(st.lists(tags), st.integers(0, 5))
def test_a_pick_is_a_subset_in_a_stable_order(listed, newest):
    """Whatever is listed: no inventions, no repetitions, and the same again."""
    selection = Selection(include=(Glob("*"),), exclude=(Glob("a*"),), newest=newest)
    result = picked(selection, listed)
    assert set(result) <= set(listed)
    assert len(set(result)) == len(result)
    assert not newest or len(result) <= newest
    assert picked(selection, result) == result


@given(st.lists(tags, unique=True))
def test_newest_does_not_depend_on_the_order_of_the_list(listed):
    """The order is total."""
    assert newest_first(listed) == newest_first(sorted(listed))


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_natural_order_compares_numbers(one, two):
    """r9 before r10."""
    assert (natural_key(f"r{one}") < natural_key(f"r{two}")) is (one < two)
