"""Versions and constraints: the Go libraries' own answers, and the laws of an order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import UsageError
from fastcopy.tags.constraint import parse_constraint
from fastcopy.tags.pattern import VersionRange
from fastcopy.tags.regclient import parse_dotted
from fastcopy.tags.version import Version, parse, parse_padded

ORACLE = json.loads(Path(__file__).with_name("semver_oracle.json").read_text())
READERS = {"masterminds": parse, "blang": parse_padded, "regclient": parse_dotted}
ROWS = [
    (dialect, constraint, answers) for dialect in READERS for constraint, answers in ORACLE[dialect]["answers"].items()
]

numbers = st.integers(0, 12)
fields = st.from_regex(r"\A(0|[1-9][0-9]?|[a-z]{1,3}[0-9]?)\Z")
versions = st.builds(Version, numbers, numbers, numbers, st.lists(fields, max_size=3).map(".".join))


@pytest.mark.parametrize(("dialect", "constraint", "answers"), ROWS)
def test_constraints_answer_as_the_go_library_answers(dialect, constraint, answers):
    """Every sign of the recorded table."""
    if answers is None:
        with pytest.raises(UsageError):
            VersionRange(constraint, dialect)
        return
    mine = VersionRange(constraint, dialect)
    read = READERS[dialect]
    said = "".join("-" if read(text) is None else str(int(mine.matches(text))) for text in ORACLE[dialect]["versions"])
    assert said == answers


def test_the_table_is_not_empty():
    """A lost file would make the test above pass."""
    assert len(ROWS) > 150
    assert {"1", "0", "-"} <= {sign for _, _, answers in ROWS for sign in answers or ""}


@pytest.mark.parametrize("text", ["!=1.2.x", "1.x.x", "~ 1.2.3"])
def test_blangs_traps_are_refused(text):
    """blang reads these as something nobody means; we say so instead."""
    with pytest.raises(UsageError):
        VersionRange(text, "blang")


def test_regclient_ranges_may_be_alternatives():
    """`||` writes a list of ranges as one."""
    either = VersionRange("<1 || >=2.0.0", "regclient")
    assert [either.matches(text) for text in ("0.9", "1.5", "2.0")] == [True, False, True]


def test_the_orders_of_semver_org_hold():
    """The example of semver.org, item 11."""
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    chain = [parse(text) for text in [*texts, "1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "2.0.0"]]
    assert chain == sorted(chain)
    assert len(set(chain)) == len(chain)
    assert parse("1.0.0+a") == parse("v1.0.0+b")


@given(versions, versions, versions)
def test_versions_are_totally_ordered(one, two, three):
    """Antisymmetric, transitive, total."""
    assert (one < two) + (two < one) + (one == two) == 1
    if one <= two <= three:
        assert one <= three


@given(versions, versions)
def test_comparators_agree_with_the_order(version, bound):
    """Full versions: each sign means its comparison, as far as pre-releases are asked for."""
    text = f"{bound.major}.{bound.minor}.{bound.patch}" + (f"-{bound.pre}" if bound.pre else "")
    asked = not version.pre or bool(bound.pre)
    for sign, holds in {
        "=": version == bound,
        "!=": version != bound,
        ">": version > bound,
        ">=": version >= bound,
        "<": version < bound,
        "<=": version <= bound,
    }.items():
        assert parse_constraint(sign + text).admits(version) is (holds and asked)


@given(versions, numbers, numbers, numbers)
def test_tilde_and_caret_are_ranges(version, major, minor, patch):
    """~ keeps the minor, ^ keeps the leftmost part that is not zero."""
    text = f"{major}.{minor}.{patch}"
    if (major, minor, patch) != (0, 0, 0):
        assert parse_constraint(f"~{text}").admits(version) is parse_constraint(
            f">={text}, <{major}.{minor + 1}.0"
        ).admits(version)
    upper = f"{major + 1}.0.0" if major else f"0.{minor + 1}.0" if minor else f"0.0.{patch + 1}"
    assert parse_constraint(f"^{text}").admits(version) is parse_constraint(f">={text}, <{upper}").admits(version)


@given(versions, st.lists(st.sampled_from(["1.x", ">2", "<=3.1", "~4.2", "^0.3", "!=5"]), min_size=1, max_size=4))
def test_alternatives_are_a_union_and_commas_an_intersection(version, parts):
    """|| is or, comma and space are and."""
    single = [parse_constraint(part).admits(version) for part in parts]
    assert parse_constraint(" || ".join(parts)).admits(version) is any(single)
    assert parse_constraint(", ".join(parts)).admits(version) is all(single)
    assert parse_constraint(" ".join(parts)).admits(version) is all(single)


@given(st.text(max_size=40) | st.from_regex(r"[0-9xX*.,|<>=~^! v-]{0,30}", fullmatch=True))
def test_no_text_crashes_a_reader(text):
    """Any text is a constraint or a UsageError, and a version or None."""
    for dialect, read in READERS.items():
        read(text)
        try:
            VersionRange(text, dialect).matches("1.2.3")
        except UsageError as problem:
            assert "\n" not in str(problem).strip() or "\n" in text  # noqa: PT017


def test_long_input_is_refused():
    """The limits of the library."""
    with pytest.raises(UsageError, match="longer than 512"):
        parse_constraint(">1 " * 200)
    with pytest.raises(UsageError, match="more than 32"):
        parse_constraint("||".join(["1"] * 33))
    assert parse("1." + "1" * 300) is None
