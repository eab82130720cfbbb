"""regsync's dialect of version ranges (`semverRange`, regclient's own reader), read into the same question.

Versions have any number of numeric parts (``1.2.3.4``); a missing part counts as zero. A range is comparators that
must all hold, with ``=``, ``>``, ``>=``, ``<``, ``<=``, ``^`` and ``~`` but neither ``||`` nor wildcards; pre-releases
are ordinary versions, and runs of digits inside them compare as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from fastcopy.errors import UsageError

_DOTTED = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)(?:-([^+]*))?(?:\+.*)?", re.DOTALL)
#: Go's int; and no tag is longer than 128 characters.
_LARGEST: Final = 2**63 - 1
_LONGEST: Final = 256
_RUNS = re.compile(r"([0-9]+)")
_PART = re.compile(r"(>=|<=|[><=^~])?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Dotted:
    """A version of any length."""

    parts: tuple[int, ...]
    pre: str = ""

    @property
    def precedence(self) -> tuple[Any, ...]:
        """The sort key; trailing zeros do not count, and a release stands above its pre-releases."""
        significant = self.parts
        while significant and not significant[-1]:
            significant = significant[:-1]
        return significant, not self.pre, tuple(_runs(field) for field in self.pre.split(".")) if self.pre else ()

    def part(self, index: int) -> int:
        """The numeric part at *index*, zero where there is none."""
        return self.parts[index] if index < len(self.parts) else 0


def _runs(field: str) -> tuple[Any, ...]:
    return tuple((index % 2, int(run) if index % 2 else run) for index, run in enumerate(_RUNS.split(field)))


@dataclass(frozen=True, slots=True)
class DottedRange:
    """Alternatives of bounds that must all hold."""

    alternatives: tuple[tuple[tuple[str, Dotted], ...], ...]

    def admits(self, version: Dotted) -> bool:
        """Whether *version* lies inside one alternative."""
        at = version.precedence
        return any(all(_COMPARE[sign](at, bound.precedence) for sign, bound in group) for group in self.alternatives)


_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda left, right: left == right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


@lru_cache(maxsize=4096)
def parse_dotted(text: str) -> Dotted | None:
    """Read *text* as regclient reads a version; None when it is none."""
    found = _DOTTED.fullmatch(text)
    parts = tuple(map(int, found[1].split("."))) if found and len(text) <= _LONGEST else ()
    return Dotted(parts, found[2] or "") if found and parts and max(parts) <= _LARGEST else None


@lru_cache(maxsize=512)
def parse_regclient(text: str) -> DottedRange:
    """Parse a `semverRange`; raises UsageError."""
    groups = [tuple(bound for part in group.split() for bound in _bounds(part)) for group in text.split("||")]
    if not all(groups):
        raise UsageError("empty version range")
    return DottedRange(tuple(groups))


def _bounds(part: str) -> list[tuple[str, Dotted]]:
    match = _PART.fullmatch(part)
    sign, version = (match[1] or "=", parse_dotted(match[2])) if match else ("", None)
    if version is None:
        raise UsageError(f'improper version range "{part}"')
    if sign == "^":
        return [(">=", version), ("<", _after_caret(version))]
    if sign == "~":
        return [(">=", version), ("<", Dotted((version.part(0), version.part(1) + 1, 0)))]
    return [(sign, version)]


def _after_caret(version: Dotted) -> Dotted:
    """The first version that ``^`` no longer admits: the leftmost part that is not zero may not change."""
    major, minor, patch = (version.part(index) for index in range(3))
    if major > 0:
        return Dotted((major + 1, 0, 0))
    return Dotted((0, minor + 1, 0)) if minor > 0 else Dotted((0, 0, patch + 1))
