"""Version constraints: the grammar and the meaning of Masterminds/semver v3, which `images-by-semver` is defined by.

A constraint is alternatives (``||``) of comparators that must all hold (space or comma). A pre-release satisfies an
alternative only when some comparator in it names a pre-release. A comparator with a part left out or written ``x``,
``X`` or ``*`` is a range: `given` counts the numeric parts that were written. `parse_blang` reads dregsy's dialect
into the same values. Evidence: tests/formats/semver_oracle.json holds the answers of the Go libraries themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fastcopy.errors import UsageError
from fastcopy.tags.version import Version, parse, precedence_of

_SPACE: Final = r"[\t\n\f\r ]"
_CELL: Final = r"[0-9xX*|]+"
_WORD: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION: Final = rf"v?{_CELL}(?:\.{_CELL})?(?:\.{_CELL})?(?:-{_WORD})?(?:\+{_WORD})?"
_COMPARATOR = re.compile(
    rf"{_SPACE}*(?P<op>!=|>=|=>|<=|=<|~>|[=<>~^])?{_SPACE}*"
    rf"v?(?P<major>{_CELL})(?:\.(?P<minor>{_CELL}))?(?:\.(?P<patch>{_CELL}))?(?P<pre>-{_WORD})?(?:\+{_WORD})?"
)
_HYPHEN_RANGE = re.compile(rf"{_SPACE}*({_VERSION}){_SPACE}+-{_SPACE}+({_VERSION}){_SPACE}*")
_BETWEEN = re.compile(rf"{_SPACE}*,{_SPACE}*|{_SPACE}+")
#: Limits of the Go library (MaxConstraintLen, MaxConstraintGroups).
_LONGEST: Final = 512
_MOST_GROUPS: Final = 32
_WILD: Final = frozenset({"", "x", "X", "*"})


@dataclass(frozen=True, slots=True)
class Comparator:
    """``op version``; *given* is 3 for a full version, else how many parts stand before the first wildcard."""

    op: str
    version: Version
    given: int = 3

    def admits(self, version: Version) -> bool:
        """Whether *version* satisfies this comparator, pre-releases aside."""
        return _OPERATORS[self.op](version, self)


@dataclass(frozen=True, slots=True)
class Constraint:
    """Alternatives of comparators; *pre_releases* lets pre-releases in everywhere (dregsy's dialect)."""

    text: str
    alternatives: tuple[tuple[Comparator, ...], ...]
    pre_releases: bool = False

    def admits(self, version: Version) -> bool:
        """Whether *version* satisfies one alternative."""
        return any(self._all_hold(group, version) for group in self.alternatives)

    def _all_hold(self, group: tuple[Comparator, ...], version: Version) -> bool:
        if version.pre and not self.pre_releases and not any(one.version.pre for one in group):
            return False
        return all(one.admits(version) for one in group)


@lru_cache(maxsize=512)
def parse_constraint(text: str) -> Constraint:
    """Parse a Masterminds constraint; raises UsageError naming the part that is wrong."""
    if len(text) > _LONGEST:
        raise UsageError(f"version constraint is longer than {_LONGEST} characters")
    groups = _HYPHEN_RANGE.sub(r">= \1, <= \2 ", text).split("||")
    if len(groups) > _MOST_GROUPS:
        raise UsageError(f"version constraint has more than {_MOST_GROUPS} alternatives")
    return Constraint(text, tuple(_group(group) for group in groups))


def _group(text: str) -> tuple[Comparator, ...]:
    """The comparators of one alternative."""
    found: list[Comparator] = []
    position = 0
    while not found or position < len(text):
        if found:
            gap = _BETWEEN.match(text, position)
            if not gap:
                raise _improper(text)
            position = gap.end()
            if position == len(text) and "," not in gap[0]:
                break
        match = _COMPARATOR.match(text, position)
        if not match:
            raise _improper(text)
        found.append(_comparator(match, text))
        position = match.end()
    return tuple(found)


def _improper(text: str) -> UsageError:
    return UsageError(f'improper version constraint "{text.strip()}"')


def _comparator(match: re.Match[str], text: str) -> Comparator:
    parts = [match["major"], match["minor"] or "", match["patch"] or ""]
    given = next((at for at, part in enumerate(parts) if part in _WILD), 3)
    version = parse(".".join(parts[:given] + ["0"] * (3 - given)) + (match["pre"] or ""))
    if version is None:
        raise _improper(text)
    return Comparator(match["op"] or "=", version, given)


def _equal(version: Version, asked: Comparator) -> bool:
    return version == asked.version if asked.given == 3 else _tilde(version, asked)


def _not_equal(version: Version, asked: Comparator) -> bool:
    con = asked.version
    if asked.given in (0, 3):
        return version != con
    if version.major != con.major or asked.given == 1:
        return version.major != con.major
    return version.minor != con.minor or precedence_of(version.pre) != precedence_of(con.pre)


def _greater(version: Version, asked: Comparator) -> bool:
    con = asked.version
    if asked.given == 1:
        return version.major > con.major
    if asked.given == 2:
        return (version.major, version.minor) > (con.major, con.minor)
    return version > con


def _at_most(version: Version, asked: Comparator) -> bool:
    con = asked.version
    if asked.given == 3:
        return version <= con
    if asked.given == 1:
        return version.major <= con.major
    return (version.major, version.minor) <= (con.major, con.minor)


def _tilde(version: Version, asked: Comparator) -> bool:
    con = asked.version
    if version < con:
        return False
    if asked.given in (0, 3) and (con.major, con.minor, con.patch) == (0, 0, 0):
        return True
    return version.major == con.major and (asked.given == 1 or version.minor == con.minor)


def _caret(version: Version, asked: Comparator) -> bool:
    con = asked.version
    if version < con or version.major != con.major:
        return False
    if con.major > 0 or asked.given == 1:
        return True
    if version.minor != con.minor:
        return False
    return con.minor > 0 or asked.given == 2 or version.patch == con.patch


_OPERATORS: Final[dict[str, Callable[[Version, Comparator], bool]]] = {
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    "<": lambda version, asked: version < asked.version,
    ">=": lambda version, asked: version >= asked.version,
    "=>": lambda version, asked: version >= asked.version,
    "<=": _at_most,
    "=<": _at_most,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}
