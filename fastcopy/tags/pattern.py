"""Patterns on names: RE2 regular expressions, shell globs and version ranges, behind one question: does it match?

Regular expressions are Go's (`regexp.MatchString`, unanchored unless said otherwise) and run on RE2, which cannot
hang on a hostile pattern; Python's `re` is never used as a substitute, because it can. All patterns are checked when
they are made: a bad one raises UsageError at once, not at the first tag.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from fastcopy.errors import Unsupported, UsageError
from fastcopy.tags.blang import parse_blang
from fastcopy.tags.constraint import Constraint, parse_constraint
from fastcopy.tags.version import parse, parse_padded

#: Nothing in a tag or a repository name is longer (distribution-spec: 128 and 255); keeps glob matching trivial.
LONGEST_PATTERN: Final = 4096
_GLOB_SIGNS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Regex:
    """An RE2 expression; *anchored* must match the whole name, *negated* turns the answer round."""

    text: str
    anchored: bool = False
    negated: bool = False

    def __post_init__(self) -> None:
        self._compiled()

    def matches(self, name: str) -> bool:
        return (self._compiled().search(name) is not None) != self.negated

    def _compiled(self) -> Any:
        return compile_re2(rf"^(?:{self.text})$" if self.anchored else self.text)


@dataclass(frozen=True, slots=True)
class Glob:
    """A shell pattern over the whole name: ``*``, ``?``, ``[a-z]``, ``[!a-z]``; case matters; ``*`` crosses ``/``."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST_PATTERN:
            raise UsageError(f"pattern is longer than {LONGEST_PATTERN} characters")

    def matches(self, name: str) -> bool:
        return _compile_glob(self.text).match(name) is not None


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A version constraint; names that are no versions never match. *dialect* is the library that defines it."""

    text: str
    dialect: Literal["masterminds", "blang"] = "masterminds"

    def __post_init__(self) -> None:
        self._constraint()

    def matches(self, name: str) -> bool:
        version = parse(name) if self.dialect == "masterminds" else parse_padded(name)
        return version is not None and self._constraint().admits(version)

    def _constraint(self) -> Constraint:
        return parse_constraint(self.text) if self.dialect == "masterminds" else parse_blang(self.text)


Pattern: TypeAlias = Regex | Glob | VersionRange


def is_glob(text: str) -> bool:
    """Whether *text* holds a sign that makes it a glob; no tag and no repository name can."""
    return not _GLOB_SIGNS.isdisjoint(text)


@lru_cache(maxsize=1024)
def compile_re2(text: str) -> Any:
    """An RE2 program; raises UsageError for a bad expression, Unsupported when google-re2 is not installed."""
    try:
        import re2
    except ImportError:
        raise Unsupported(
            "regular expressions need the package google-re2", hint="pip install 'fastcopy[sync]'"
        ) from None
    if len(text) > LONGEST_PATTERN:
        raise UsageError(f"regular expression is longer than {LONGEST_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as problem:
        raise UsageError(f"bad regular expression {text!r}: {_words(problem)}") from None


def _words(problem: Exception) -> str:
    """RE2's message as text; the binding hands it over as bytes."""
    said = problem.args[0] if problem.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


@lru_cache(maxsize=1024)
def _compile_glob(text: str) -> re.Pattern[str]:
    # fnmatch.translate writes each `*` as a possessive step (bpo-40480), so matching stays linear in the name.
    return re.compile(fnmatch.translate(text))
