"""Token scopes: merging, order and inclusion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.http.scopes import canonical, covers, merge, repository

NAMES = st.sampled_from(["a/b", "c", "host.example:5000/d/e"])
ACTIONS = st.lists(st.sampled_from(["pull", "push", "delete", "*"]), min_size=1, max_size=4)
SCOPES = st.lists(
    st.builds(lambda name, actions: f"repository:{name}:{','.join(actions)}", NAMES, ACTIONS), max_size=4
).map(tuple)


def test_equal_rights_have_one_spelling() -> None:
    """Actions are merged per resource and ordered; the order of resources is kept."""
    scopes = ("repository:b:push,pull", "repository:a:pull", "repository:b:pull")
    assert canonical(scopes) == ("repository:b:pull,push", "repository:a:pull")


def test_a_challenge_widens_what_we_wanted() -> None:
    """Scopes of a challenge are a space separated list, merged behind ours."""
    merged = merge(("repository:b:pull",), "repository:a:pull repository:b:push")
    assert merged == ("repository:b:pull,push", "repository:a:pull")


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        (("repository:a:pull,push",), ("repository:a:pull",), True),
        (("repository:a:pull",), ("repository:a:pull,push",), False),
        (("repository:a:pull,push", "repository:b:pull"), ("repository:b:pull",), True),
        (("repository:a:pull",), ("repository:ab:pull",), False),
        (("registry:catalog:*",), ("registry:catalog:*",), True),
        (("repository:h:5000/a:pull,push",), ("repository:h:5000/a:push",), True),
        (("repository:h:5000/a:pull",), ("repository:h:pull",), False),
    ],
)
def test_a_token_covers_no_more_than_its_rights(held: tuple[str, ...], wanted: tuple[str, ...], expected: bool) -> None:
    """Inclusion is per resource and action."""
    assert covers(held, wanted) is expected


def test_the_first_repository_decides_whose_credentials_are_used() -> None:
    """Of a mount's scopes the destination comes first; a catalogue has no repository."""
    assert repository(("repository:dst/app:pull,push", "repository:src/app:pull")) == "dst/app"
    assert repository(("repository(plugin):x:pull",)) == "x"
    assert repository(("registry:catalog:*",)) == ""
    assert repository(()) == ""


@given(SCOPES, SCOPES)
def test_merging_gives_the_union_of_rights(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """The merged scopes cover both sides, and merging again changes nothing."""
    merged = merge(canonical(one), " ".join(other))
    assert covers(merged, canonical(one))
    assert covers(merged, canonical(other))
    assert canonical(merged) == merged
    assert merge(merged, " ".join(other)) == merged


@given(st.lists(st.text(max_size=30), max_size=4).map(tuple))
def test_no_scope_breaks_the_parser(scopes: tuple[str, ...]) -> None:
    """Any text is a scope that covers itself."""
    assert covers(canonical(scopes), canonical(scopes))
