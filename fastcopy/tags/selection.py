"""A selection: which references of one repository a rule copies.

Verbatim names come first and are never filtered; then the listed tags that pass `include` (one matches), `require`
(all match) and `exclude` (none matches), in the registry's order; `newest` keeps only the N newest of those, newest
first. "Newest" is by version, not by time, because a tag list carries no time: versions (Masterminds' tolerant
reading) in SemVer order, then the tags that are no versions, in natural order (numbers inside compared as numbers),
all below any version. Equal versions (``1.2``, ``v1.2.0``) are ordered naturally. `dregsy_limit` keeps the rule of
dregsy's ``keep: latest N`` instead: names count, and where there are versions only those are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fastcopy.descriptor import is_digest
from fastcopy.errors import UsageError
from fastcopy.names import is_tag
from fastcopy.tags.pattern import Pattern
from fastcopy.tags.version import parse, parse_padded

_DIGITS: Final = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class Name:
    """One reference asked for by name: a tag, a digest, or both (the digest is copied, the tag names the copy)."""

    tag: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", str(self.digest))  # a Digest would be no plain text to YAML and JSON

    @classmethod
    def parse(cls, text: str) -> Name:
        """``1.0``, ``sha256:…`` or ``1.0@sha256:…``; raises UsageError."""
        tag, at, digest = text.partition("@")
        if not at and is_digest(text):
            return cls(digest=text)
        if (at and not is_digest(digest)) or not (is_tag(tag) or (at and not tag)):
            raise UsageError(f'"{text}" is neither a tag nor a digest')
        return cls(tag, digest)

    def __str__(self) -> str:
        return f"{self.tag}@{self.digest}" if self.tag and self.digest else self.tag or self.digest


@dataclass(frozen=True, slots=True)
class Selection:
    """What to take of a repository; the module's docstring says how. `newest` 0 means all of them."""

    names: tuple[Name, ...] = ()
    everything: bool = False  #: take the listed tags although no pattern is given
    include: tuple[Pattern, ...] = ()
    require: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    newest: int = 0
    dregsy_limit: bool = False  #: `newest` counts as dregsy counts

    @property
    def needs_tags(self) -> bool:
        """Whether the repository's tag list must be fetched."""
        filters = self.include or self.require or self.exclude or (self.newest and not self.names)
        return self.everything or bool(filters)

    def admits(self, tag: str) -> bool:
        """Whether a listed tag passes the filters (`newest` aside)."""
        return (
            (not self.include or any(one.matches(tag) for one in self.include))
            and all(one.matches(tag) for one in self.require)
            and not any(one.matches(tag) for one in self.exclude)
        )

    def pick(self, tags: Iterable[str]) -> tuple[Name, ...]:
        """The references to copy, given the repository's *tags*; each once. Entries that are no tags are dropped."""
        listed = [tag for tag in dict.fromkeys(tags) if is_tag(tag) and self.admits(tag)] if self.needs_tags else []
        if self.newest and not self.dregsy_limit:
            listed = newest_first(listed)[: self.newest]
        named = {name.tag for name in self.names if name.tag}
        picked = (*dict.fromkeys(self.names), *(Name(tag) for tag in listed if tag not in named))
        return limited_as_dregsy(picked, self.newest) if self.newest and self.dregsy_limit else picked


def newest_first(tags: Iterable[str]) -> list[str]:
    """*tags*, newest version first."""
    return sorted(tags, key=age_key, reverse=True)


def limited_as_dregsy(names: tuple[Name, ...], limit: int) -> tuple[Name, ...]:
    """All names that are no versions and the *limit* highest versions; without versions, the last *limit* by text."""
    versions = {name: version for name in names if (version := parse_padded(str(name)))}
    if not versions:
        return tuple(sorted(names, key=str)[-limit:])
    highest = sorted(versions, key=lambda name: versions[name].precedence, reverse=True)[:limit]
    return tuple(name for name in names if name not in versions or name in highest)


def age_key(tag: str) -> tuple[Any, ...]:
    """Sort key, oldest first: natural order for words, then versions."""
    version = parse(tag)
    return (version is not None, version.precedence if version else (), natural_key(tag))


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort key that compares runs of digits as numbers: ``r9`` before ``r10``; ties by the text itself."""
    pieces = _DIGITS.split(text)
    return (*((index % 2, int(piece) if index % 2 else piece) for index, piece in enumerate(pieces)), (2, text))
