"""docs/promises.md: every promise names the tests that hold it."""

from __future__ import annotations

import re

from tests.house.sources import ROOT, functions

PAGE = ROOT / "docs" / "promises.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_promise_names_a_test() -> None:
    """A line that begins a promise ends with at least one test."""
    promises = re.split(r"^- ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(promises) > 10
    assert [promise for promise in promises if not TEST.search(promise)] == []


def test_every_test_that_is_named_exists() -> None:
    """A renamed test takes its promise along."""
    named = TEST.findall(PAGE.read_text(encoding="utf-8"))
    gone = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or test not in {each.name for each in functions(ROOT / file)}
    ]
    assert gone == []
