"""Patterns on names: RE2 regular expressions, shell globs and version ranges, behind one question: does it match?

Regular expressions are Go's (`regexp.MatchString`, unanchored) and run on RE2, which cannot hang on a hostile
pattern; Python's `re` is never used as a substitute, because it can. All patterns are checked when they are made: a
bad one raises UsageError at once, not at the first tag. `parse_pattern` and `str()` are inverse: a glob is written
bare, the others as ``regex:…``, ``regex!:…`` (must not match) and ``semver:…``, the ranges of other tools as
``semver(blang):…`` and ``semver(regclient):…``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from fastcopy.errors import Unsupported, UsageError
from fastcopy.tags.blang import parse_blang
from fastcopy.tags.constraint import parse_constraint
from fastcopy.tags.regclient import parse_dotted, parse_regclient
from fastcopy.tags.version import parse, parse_padded

Dialect = Literal["masterminds", "blang", "regclient"]

#: Nothing in a tag or a repository name is longer (distribution-spec: 128 and 255); keeps glob matching trivial.
LONGEST_PATTERN: Final = 4096
_GLOB_SIGNS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Regex:
    """An RE2 expression, found anywhere in the name; *negated* turns the answer round."""

    text: str
    negated: bool = False

    def __post_init__(self) -> None:
        compile_re2(self.text)

    def matches(self, name: str) -> bool:
        return (compile_re2(self.text).search(name) is not None) != self.negated

    def __str__(self) -> str:
        return f"regex{'!' if self.negated else ''}:{self.text}"


@dataclass(frozen=True, slots=True)
class Glob:
    """A shell pattern over the whole name: ``*``, ``?``, ``[a-z]``, ``[!a-z]``; case matters; ``*`` crosses ``/``."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST_PATTERN:
            raise UsageError(f"pattern is longer than {LONGEST_PATTERN} characters")

    def matches(self, name: str) -> bool:
        return _compile_glob(self.text).match(name) is not None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A version constraint; names that are no versions never match. *dialect* is the library that defines it."""

    text: str
    dialect: Dialect = "masterminds"

    def __post_init__(self) -> None:
        _DIALECTS[self.dialect].constraint(self.text)

    def matches(self, name: str) -> bool:
        dialect = _DIALECTS[self.dialect]
        version = dialect.version(name)
        return version is not None and bool(dialect.constraint(self.text).admits(version))

    def __str__(self) -> str:
        return f"semver{'' if self.dialect == 'masterminds' else f'({self.dialect})'}:{self.text}"


class _Dialect(NamedTuple):
    version: Callable[[str], Any]
    constraint: Callable[[str], Any]


_DIALECTS: Final[dict[Dialect, _Dialect]] = {
    "masterminds": _Dialect(parse, parse_constraint),
    "blang": _Dialect(parse_padded, parse_blang),
    "regclient": _Dialect(parse_dotted, parse_regclient),
}
Pattern: TypeAlias = Regex | Glob | VersionRange
_PREFIXED = re.compile(r"(?:(regex)(!?)|semver(?:\((blang|regclient)\))?):", re.DOTALL)


def parse_pattern(text: str) -> Pattern:
    """A pattern from its spelling; raises UsageError, or Unsupported when RE2 is missing."""
    found = _PREFIXED.match(text)
    if not found:
        return Glob(text)
    rest = text[found.end() :]
    if found[1]:
        return Regex(rest, negated=bool(found[2]))
    return VersionRange(rest.strip(), found[3] or "masterminds")  # type: ignore[arg-type]


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
