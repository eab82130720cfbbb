"""What is public is documented, and there is nothing else that is public."""

from __future__ import annotations

import ast
import re

import fastcopy
from fastcopy import errors
from tests.house.sources import ROOT, modules, tree, where


def test_every_module_opens_with_what_it_owns() -> None:
    """A docstring of one sentence at least."""
    without = [
        name for name, path in modules().items() if not ast.get_docstring(tree(path)) and name != "fastcopy.__main__"
    ]
    assert without == []


def test_every_public_name_of_the_package_exists_and_is_documented() -> None:
    """`__all__` promises nothing that is not there."""
    for name in fastcopy.__all__:
        thing = getattr(fastcopy, name)
        assert not callable(thing) or (thing.__doc__ or "").strip(), name


def test_public_functions_and_classes_say_what_they_mean() -> None:
    """Module-level definitions without a leading underscore have a docstring."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    silent = [
        f"{where(path, node.lineno)} {node.name}"
        for path in modules().values()
        if "/_native/" not in str(path)
        for node in tree(path).body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_error_has_its_place_in_the_documents() -> None:
    """docs/errors.md has one heading per slug, with the right exit code, and no other."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    written = dict(re.findall(r"^## `([a-z-]+)` \(exit code (\d+)\)$", text, re.MULTILINE))
    assert written == {kind.slug: str(kind.exit_code) for kind in _errors()}


def test_no_two_errors_share_a_slug() -> None:
    """A slug names a class."""
    slugs = [kind.slug for kind in _errors()]
    assert len(slugs) == len(set(slugs))


def _errors() -> list[type[errors.FastcopyError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, errors.FastcopyError)]
