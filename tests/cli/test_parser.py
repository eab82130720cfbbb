"""The grammar: what pflag would understand, and what it would say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.cli import flags as kinds
from fastcopy.cli.flags import Flag, FlagSet
from fastcopy.cli.parser import did_you_mean, distance, parse, parse_leading
from fastcopy.errors import UsageError

_SET = FlagSet(
    [
        Flag("all", kinds.BOOL, "", short="a"),
        Flag("quiet", kinds.BOOL, "", short="q"),
        Flag("format", kinds.STRING, "", short="f"),
        Flag("tls-verify", kinds.BOOL, ""),
        Flag("retry-times", kinds.INT, ""),
        Flag("delay", kinds.DURATION, ""),
        Flag("tag", kinds.STRINGS, ""),
        Flag("layer", kinds.INTS, ""),
        Flag("src-creds", kinds.INT, ""),
        Flag("odd", kinds.BOOL, "", short="'"),
    ]
)


@pytest.mark.parametrize(
    ("words", "values", "positionals"),
    [
        (["a", "b"], {}, ["a", "b"]),
        (["--all", "a"], {"all": True}, ["a"]),
        (["--all=false", "a"], {"all": False}, ["a"]),
        (["a", "--all", "b"], {"all": True}, ["a", "b"]),
        (["--format", "oci", "a"], {"format": "oci"}, ["a"]),
        (["--format=oci", "a"], {"format": "oci"}, ["a"]),
        (["--format=", "a"], {"format": ""}, ["a"]),
        (["--format", "--all"], {"format": "--all"}, []),
        (["-aq", "a"], {"all": True, "quiet": True}, ["a"]),
        (["-aqf", "oci"], {"all": True, "quiet": True, "format": "oci"}, []),
        (["-afoci"], {"all": True, "format": "oci"}, []),
        (["-f=oci"], {"format": "oci"}, []),
        (["-f="], {"format": "="}, []),
        (["-a=false"], {"all": False}, []),
        (["--", "--all", "-f"], {}, ["--all", "-f"]),
        (["a", "--", "b", "--"], {}, ["a", "b", "--"]),
        (["-", "a"], {}, ["-", "a"]),
        (["--format", "x", "--format", "y"], {"format": "y"}, []),
        (["--tag", "a,b", "--tag", "c"], {"tag": ("a", "b", "c")}, []),
        (["--tag", '"a,b",c'], {"tag": ("a,b", "c")}, []),
        (["--layer", "0,-1", "--layer=2"], {"layer": (0, -1, 2)}, []),
        (["--delay", "1m30s"], {"delay": 90.0}, []),
        (["--tls-verify", "false"], {"tls-verify": True}, ["false"]),
    ],
)
def test_words_are_understood_as_pflag_understands_them(
    words: list[str], values: dict[str, object], positionals: list[str]
) -> None:
    """Long and short flags, clusters, optional values, repeats, interspersed positionals and the double dash."""
    parsed = parse(words, _SET)
    assert parsed.values == values
    assert parsed.positionals == positionals


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-aqz"], "unknown shorthand flag: 'z' in -z"),
        (["-zq"], "unknown shorthand flag: 'z' in -zq"),
        (["--format"], "flag needs an argument: --format"),
        (["-f"], "flag needs an argument: 'f' in -f"),
        (["-af"], "flag needs an argument: 'f' in -f"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (
            ["--tls-verify=zz"],
            'invalid argument "zz" for "--tls-verify" flag: strconv.ParseBool: parsing "zz": invalid syntax',
        ),
        (["--quiet=2"], 'invalid argument "2" for "-q, --quiet" flag: strconv.ParseBool: parsing "2": invalid syntax'),
        (
            ["--retry-times=x"],
            'invalid argument "x" for "--retry-times" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (["--delay=5x"], 'invalid argument "5x" for "--delay" flag: time: unknown unit "x" in duration "5x"'),
    ],
)
def test_errors_have_the_texts_of_pflag(words: list[str], text: str) -> None:
    """Each way of getting the grammar wrong is named as skopeo names it."""
    with pytest.raises(UsageError) as caught:
        parse(words, _SET)
    assert caught.value.message == text


def test_a_flag_that_is_nearly_right_is_suggested() -> None:
    """The text goes on with flags at most two letters away."""
    with pytest.raises(UsageError, match=r"unknown flag: --tls-verfy\n\nDid you mean this\?\n\t--tls-verify\n"):
        parse(["--tls-verfy"], _SET)


def test_values_that_may_be_secrets_are_not_repeated_in_errors() -> None:
    """A credential that does not parse is not printed."""
    with pytest.raises(UsageError) as caught:
        parse(["--src-creds=hunter2"], _SET)
    assert 'invalid argument "REDACTED" for "--src-creds" flag' in caught.value.message


def test_leading_flags_end_at_the_first_positional() -> None:
    """Flags before the command are read, the rest is left alone."""
    parsed, rest = parse_leading(["--all", "--format", "x", "copy", "--nope", "-z"], _SET)
    assert parsed.values == {"all": True, "format": "x"}
    assert rest == ["copy", "--nope", "-z"]
    assert parse_leading(["--all"], _SET)[1] == []


_WORD = st.one_of(
    st.sampled_from(["--", "-", "--all", "-aq", "-afx", "--format", "--format=y", "--tag=a,b", "--layer=1", "a", "-f"]),
    st.text(max_size=8),
    st.text(max_size=8).map(lambda text: "--" + text),
    st.text(max_size=4).map(lambda text: "-" + text),
)


@given(st.lists(_WORD, max_size=8))
def test_any_words_are_understood_or_refused_cleanly(words: list[str]) -> None:
    """No argument list makes the parser fail in any other way than UsageError; positionals come from the words."""
    try:
        parsed = parse(words, _SET)
    except UsageError:
        return
    assert all(word in words for word in parsed.positionals)


@given(
    st.lists(st.text(min_size=1, max_size=8).filter(lambda text: not text.startswith("-")), max_size=5), st.booleans()
)
def test_where_a_flag_stands_does_not_matter(positionals: list[str], flag_first: bool) -> None:
    """Flags may come before, between or behind the positionals."""
    flag = ["--format=oci"]
    parsed = parse(flag + positionals if flag_first else positionals + flag, _SET)
    assert (parsed.values, parsed.positionals) == ({"format": "oci"}, positionals)


@given(st.text(max_size=8), st.text(max_size=8))
def test_distance_is_a_metric(one: str, other: str) -> None:
    """Levenshtein's distance: zero for equals, symmetric, bounded by the longer word."""
    assert (distance(one, other) == 0) == (one == other)
    assert distance(one, other) == distance(other, one) <= max(len(one), len(other))


def test_suggestions_list_every_near_word_in_order() -> None:
    """Two letters away, or a beginning."""
    assert did_you_mean("lo", ["logout", "login", "copy"]) == "\n\nDid you mean this?\n\tlogin\n\tlogout\n"
    assert did_you_mean("zzzz", ["logout", "login"]) == ""
