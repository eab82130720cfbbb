"""How vendors differ is data: no vendor's name in code, no question after a transport's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import PACKAGE, docstrings, modules, tree, where

VENDOR = re.compile(
    r"harbor|quay|ghcr|artifactory|amazonaws|azurecr|\becr\b|\bgcr\b|\bacr\b|pkg\.dev|gitlab|nexus|docker\.io|docker\.com|zot\b",
    re.IGNORECASE,
)
#: Where a vendor's name is data, and why.
DATA = {
    "transports/_manners.py": "the table of manners itself",
    "names.py": "the reference grammar's default domain",
    "http/hosts.py": "the one exception of that grammar: where docker.io is served",
    "http/authfile.py": "the historic key of docker.io in auth files",
    "http/credentials.py": "the same key",
    "serve/config.py": "a named set of behaviours for tests: values, no branches",
    "formats/image_syncer.py": "other names of docker.io that image-syncer's users write",
    "formats/regsync.py": "other names of docker.io that regsync's users write",
    "formats/base.py": "a hint that spells docker.io out",
    "formats/skopeo.py": "a warning that spells docker.io out",
    "cli/commandtable.py": "examples in help texts",
    "cli/helptext.py": "examples in help texts",
    "serve/__init__.py": "re-exports that set of behaviours",
}
#: Where a transport's name is compared, and why that is not a branch on a place.
NAMES_OF_TRANSPORTS = {
    "naming.py": "builds destination names as text; no place is open yet",
    "cli/inspection.py": "skopeo's two spellings of one complaint",
    "cli/copying.py": "skopeo's warning about flags of one transport",
}


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Names and strings of the code, without docstrings and comments."""
    skipped = docstrings(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def vendors(path: Path) -> list[str]:
    """Where a file names a vendor."""
    return [f"{where(path, line)} {word[:40]!r}" for line, word in words(path) if VENDOR.search(word)]


def transports_compared(path: Path) -> list[str]:
    """Where a file compares something called transport with a text."""
    return [where(path, node.lineno) for node in ast.walk(tree(path)) if isinstance(node, ast.Compare) and _asks(node)]


def _asks(node: ast.Compare) -> bool:
    left = node.left
    name = left.attr if isinstance(left, ast.Attribute) else left.id if isinstance(left, ast.Name) else ""
    texts = any(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in ast.walk(node))
    return name.strip("_") in ("transport", "vendor") and texts


def _inside(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_vendors_are_named_in_data_only() -> None:
    """Outside the listed tables, no name of a vendor is part of the code."""
    assert [each for path in modules().values() if _inside(path) not in DATA for each in vendors(path)] == []


def test_transports_are_not_asked_for_their_name() -> None:
    """What a place can do it declares; only places.py maps names to places, and that is a dict."""
    found = [
        each
        for path in modules().values()
        if _inside(path) not in NAMES_OF_TRANSPORTS
        for each in transports_compared(path)
    ]
    assert found == []


@pytest.mark.parametrize("name", sorted(DATA))
def test_every_exception_for_vendors_is_still_needed(name: str) -> None:
    """An exception that excepts nothing is removed."""
    assert vendors(PACKAGE / name)


@pytest.mark.parametrize("name", sorted(NAMES_OF_TRANSPORTS))
def test_every_exception_for_transports_is_still_needed(name: str) -> None:
    """The same for names of transports."""
    assert transports_compared(PACKAGE / name)
