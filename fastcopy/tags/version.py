"""Versions in tags: parsed as tolerantly as skopeo does, ordered by Semantic Versioning 2.0.0 section 11.

Two readers, because two tools disagree on what a version is: `parse` (Masterminds/semver v3 `NewVersion`: ``v1``,
``1.2-alpine``) for skopeo and our own formats, `parse_padded` (blang/semver `ParseTolerant`: ``01.2`` is padded and
stripped, ``1.2-alpine`` is none) for dregsy. Both answer None for a tag that is no version: such tags are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache, total_ordering
from typing import Final

_WORD: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_LOOSE = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-({_WORD}))?(?:\+({_WORD}))?")
#: Longest text Masterminds/semver reads (MaxVersionLen); a tag has at most 128 characters anyway.
_LONGEST: Final = 256
#: Segments are unsigned 64-bit numbers there; larger ones are no versions.
_LARGEST: Final = 2**64 - 1

_Part = tuple[int, int, str]


@total_ordering
@dataclass(frozen=True, eq=False)
class Version:
    """``major.minor.patch[-pre][+build]``; build metadata takes no part in comparisons (semver.org, item 10)."""

    major: int
    minor: int = 0
    patch: int = 0
    pre: str = ""
    build: str = ""

    @cached_property
    def precedence(self) -> tuple[int, int, int, bool, tuple[_Part, ...]]:
        """The sort key: a release stands above its pre-releases."""
        return self.major, self.minor, self.patch, not self.pre, precedence_of(self.pre)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.precedence == other.precedence

    def __lt__(self, other: Version) -> bool:
        return self.precedence < other.precedence

    def __hash__(self) -> int:
        return hash(self.precedence)


def precedence_of(pre: str) -> tuple[_Part, ...]:
    """Sort key of a pre-release: numbers below words, fewer fields below more (semver.org, item 11.4)."""
    return tuple(_part(text) for text in pre.split(".")) if pre else ()


def _part(text: str) -> _Part:
    numeric = text.isdecimal() and int(text) <= _LARGEST
    return (0, int(text), "") if numeric else (1, 0, text)


@lru_cache(maxsize=4096)
def parse(text: str) -> Version | None:
    """Read *text* as Masterminds/semver v3 reads a version; None when it is none."""
    found = _LOOSE.fullmatch(text) if len(text) <= _LONGEST else None
    if not found:
        return None
    major, minor, patch, pre, build = found.groups(default="")
    first, second, third = int(major), int(minor or 0), int(patch or 0)
    if max(first, second, third) > _LARGEST or _zero_padded(pre):
        return None
    return Version(first, second, third, pre, build)


@lru_cache(maxsize=4096)
def parse_padded(text: str) -> Version | None:
    """Read *text* as blang/semver's `ParseTolerant` reads a version; None when it is none."""
    parts = text.strip().removeprefix("v").split(".", 2)
    parts = [_without_zeros(part) for part in parts]
    if len(parts) < 3:
        if set(parts[-1]) & {"-", "+"}:
            return None
        parts += ["0"] * (3 - len(parts))
    return parse(".".join(parts)) if parts[0].isdecimal() and parts[1].isdecimal() else None


def _without_zeros(part: str) -> str:
    """Drop leading zeros but keep one digit in front."""
    if len(part) < 2:
        return part
    bare = part.lstrip("0")
    return bare if bare[:1].isdecimal() else "0" + bare


def _zero_padded(pre: str) -> bool:
    """Whether a numeric pre-release field has leading zeros, which semver.org item 9 forbids."""
    return any(len(field) > 1 and field[0] == "0" and field.isdecimal() for field in pre.split("."))
