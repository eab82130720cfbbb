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


def test_what_the_decisions_name_exists() -> None:
    """Pages of docs/decisions that point at tests point at real ones."""
    for page in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for file, test in TEST.findall(text):
            assert test in {each.name for each in functions(ROOT / file)}, (page.name, file, test)
        for file in re.findall(r"`(tests/[\w/]+\.py)`", text):
            assert (ROOT / file).exists(), (page.name, file)
