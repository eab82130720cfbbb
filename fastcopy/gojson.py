"""Go's encoding/json, as far as byte-equal output needs it.

Owns escaping, indentation, raw members and RFC 3339 times. Converted manifests and configs must have the digests that
containers/image would give them, and `inspect` must print what skopeo prints, so the bytes are Go's.
Refuses to know the documents' types (`gostruct` does).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import total_ordering
from typing import Any, Final

from fastcopy.errors import BadManifest

_HTML: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_LINES: Final = {"\u2028": "\\u2028", "\u2029": "\\u2029"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[^"\s]+', re.DOTALL)
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DECODER = json.JSONDecoder()


def dumps(value: Any, *, indent: int = 0, html: bool = True) -> str:
    """Encode plain Python values; dictionaries keep their order (Go sorts maps: see `sorted_map`)."""
    text = json.dumps(
        value,
        ensure_ascii=False,
        indent=indent or None,
        separators=(",", ": ") if indent else (",", ":"),
        default=_default,
    )
    return escape(_SURROGATE.sub("\ufffd", text), html=html)


def escape(text: str, *, html: bool = True) -> str:
    """What Go escapes in strings beyond Python; valid on whole documents, as these occur in strings only."""
    for found, written in (_HTML | _LINES if html else _LINES).items():
        text = text.replace(found, written)
    return text


def sorted_map(value: Mapping[str, Any]) -> dict[str, Any]:
    """A Go map in the order in which Go writes it."""
    return dict(sorted(value.items()))


def compact(text: str) -> str:
    """A document without white space, its strings and numbers as they were (json.RawMessage)."""
    return escape("".join(token[0] for token in _TOKENS.finditer(text)))


def members(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as raw text (map[string]json.RawMessage); *text* is valid JSON."""
    found: dict[str, str] = {}
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        found[key] = text[start:end]
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return found


def join_members(found: Mapping[str, str]) -> str:
    """The object of raw *found* members, compact, keys sorted as Go sorts maps."""
    return "{" + ",".join(f"{dumps(key)}:{compact(raw)}" for key, raw in sorted(found.items())) + "}"


@total_ordering
class Time:
    """A time.Time read from JSON: an instant with nanoseconds and the offset it was written with."""

    __slots__ = ("nanosecond", "whole")

    def __init__(self, whole: datetime, nanosecond: int = 0) -> None:
        self.whole = whole
        self.nanosecond = nanosecond

    @classmethod
    def parse(cls, text: str) -> Time:
        """Read RFC 3339; raises BadManifest."""
        found = _RFC3339.fullmatch(text)
        if not found:
            raise BadManifest(f'parsing time "{text[:60]}" as RFC 3339: cannot parse it')
        try:
            whole = datetime(*(int(part) for part in found.groups()[:6]), tzinfo=_zone(found[8]))  # type: ignore[arg-type,misc]
        except ValueError as problem:
            raise BadManifest(f'parsing time "{text[:60]}": {problem}') from None
        return cls(whole, int(((found[7] or "") + "0" * 9)[:9]))

    @property
    def fraction(self) -> str:
        """``.123`` without trailing zeros, or nothing."""
        return f".{self.nanosecond:09d}".rstrip("0") if self.nanosecond else ""

    @property
    def offset(self) -> str:
        """``+0200``."""
        return self.whole.strftime("%z")[:5]

    def rfc3339(self) -> str:
        """RFC3339Nano, as Go marshals it."""
        zone = "Z" if self.offset == "+0000" else f"{self.offset[:3]}:{self.offset[3:]}"
        return f"{self._date()}T{self._clock()}{self.fraction}{zone}"

    def unix(self) -> int:
        """Seconds since 1970."""
        return round((self.whole - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))

    def _date(self) -> str:
        return f"{self.whole.year:04d}-{self.whole.month:02d}-{self.whole.day:02d}"

    def _clock(self) -> str:
        return f"{self.whole.hour:02d}:{self.whole.minute:02d}:{self.whole.second:02d}"

    def __str__(self) -> str:
        """As fmt prints it: ``2006-01-02 15:04:05.999999999 -0700 MST``."""
        name = "UTC" if self.offset == "+0000" else self.offset
        return f"{self._date()} {self._clock()}{self.fraction} {self.offset} {name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Time) and (self.whole, self.nanosecond) == (other.whole, other.nanosecond)

    def __lt__(self, other: Time) -> bool:
        return (self.whole, self.nanosecond) < (other.whole, other.nanosecond)

    def __hash__(self) -> int:
        return hash((self.whole, self.nanosecond))


#: time.Time's zero value, which Go writes where a config has no date and the field is no pointer.
ZERO_TIME: Final = Time(datetime(1, 1, 1, tzinfo=UTC))


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _default(value: Any) -> Any:
    if isinstance(value, Time):
        return value.rfc3339()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
