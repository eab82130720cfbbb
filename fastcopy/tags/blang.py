"""dregsy's dialect of version ranges (blang/semver v4 `ParseRange`), read into the values of `constraint`.

It differs from Masterminds: versions must be written in full or end in ``x``, there is no ``~``, ``^``, comma or
hyphen range, a bare ``!`` means "not", and pre-releases are ordinary versions.
"""

from __future__ import annotations

import re
from functools import lru_cache

from fastcopy.errors import UsageError
from fastcopy.tags.constraint import Comparator, Constraint
from fastcopy.tags.version import Version, parse

_TERM = re.compile(r"(?P<op>[<>=!]*) *(?P<version>[0-9][^ ]*) *")
_WILD = re.compile(r"([0-9]+)(?:\.([0-9]+))?\.x")
_FULL = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+([-+].*)?")
_PLAIN = {"": "=", "=": "=", "==": "=", "!": "!=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


@lru_cache(maxsize=512)
def parse_blang(text: str) -> Constraint:
    """Parse a blang/semver range; raises UsageError."""
    return Constraint(text, tuple(_group(part, text) for part in text.split("||")), pre_releases=True)


def _group(part: str, whole: str) -> tuple[Comparator, ...]:
    found: list[Comparator] = []
    rest = part.strip(" ")
    while rest or not found:
        match = _TERM.match(rest)
        if not match or match["op"] not in _PLAIN:
            raise UsageError(f'improper version range "{whole.strip()}"')
        found += _comparators(_PLAIN[match["op"]], match["version"], whole)
        rest = rest[match.end() :]
    return tuple(found)


def _comparators(operator: str, text: str, whole: str) -> list[Comparator]:
    wild = _WILD.fullmatch(text)
    if wild:
        return _widened(operator, *_bounds(wild))
    version = parse(text) if _FULL.fullmatch(text) else None
    if version is None:
        raise UsageError(f'"{text}" in version range "{whole.strip()}" is not of the form 1.2.3, 1.2.x or 1.x')
    return [Comparator(operator, version)]


def _bounds(wild: re.Match[str]) -> tuple[Version, Version]:
    """The first version inside ``1.2.x`` and the first one above it."""
    major, minor = int(wild[1]), wild[2]
    if minor is None:
        return Version(major), Version(major + 1)
    return Version(major, int(minor)), Version(major, int(minor) + 1)


def _widened(operator: str, first: Version, after: Version) -> list[Comparator]:
    match operator:
        case "=":
            return [Comparator(">=", first), Comparator("<", after)]
        case "!=":
            # blang builds "below and above" of it, which no version satisfies: nobody can have meant that.
            raise UsageError(f'"!={first.major}.x" style exclusions match nothing in dregsy; write two ranges with ||')
        case ">":
            return [Comparator(">=", after)]
        case "<=":
            return [Comparator("<", after)]
    return [Comparator(operator, first)]
