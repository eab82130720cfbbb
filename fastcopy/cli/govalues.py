"""How Go's flag values are spelled: booleans, integers, durations, slices, quoted strings.

Owns the grammar of values and the texts of its errors (strconv and time say them in skopeo's place; scripts match
them). Knows no flag.
"""

from __future__ import annotations

import re
from pathlib import Path

from fastcopy.errors import UsageError

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_INT64 = 1 << 63
_DURATION_MAX_NS = _INT64 - 1
#: More digits than a 64-bit number has, and few enough for int() to be quick.
_DIGITS = 25
_UNIT_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(\.[0-9]*)?([^0-9.]*)")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kKmMgGtT]?)(i?)([bB]?)")
_ESCAPES = {7: r"\a", 8: r"\b", 12: r"\f", 10: r"\n", 13: r"\r", 9: r"\t", 11: r"\v", 34: r"\"", 92: r"\\"}


class BadValue(UsageError):
    """A flag's value does not follow its grammar; the parser adds the flag's name."""

    slug = "bad-value"


def quote(text: str) -> str:
    """Go's ``%q``: double quotes, escapes for what cannot be printed."""
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    code = ord(char)
    if code in _ESCAPES:
        return _ESCAPES[code]
    if char.isprintable():
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xD800 <= code < 0xE000:  # an argument that was not UTF-8 arrives as a lone surrogate
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def text(value: str) -> str:
    """Any string."""
    return value


def path(value: str) -> Path | None:
    """A path; an empty one is none, as in skopeo."""
    return Path(value) if value else None


def boolean(value: str) -> bool:
    """``strconv.ParseBool``."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise BadValue(f"strconv.ParseBool: parsing {quote(value)}: invalid syntax")


def integer(value: str) -> int:
    """``strconv.ParseInt`` of 64 bits, base 0."""
    number = _number(value, "ParseInt")
    if not -_INT64 <= number < _INT64:
        raise BadValue(f"strconv.ParseInt: parsing {quote(value)}: value out of range")
    return number


def unsigned(value: str) -> int:
    """``strconv.ParseUint`` of 64 bits, base 0."""
    if value[:1] in ("-", "+"):
        raise BadValue(f"strconv.ParseUint: parsing {quote(value)}: invalid syntax")
    number = _number(value, "ParseUint")
    if number >= 2 * _INT64:
        raise BadValue(f"strconv.ParseUint: parsing {quote(value)}: value out of range")
    return number


def _number(value: str, who: str) -> int:
    # Go's base 0 knows 0x, 0o, 0b, a leading 0 for octal, and underscores between digits; int(…, 0) lacks the third.
    digits = value.lstrip("+-")
    legal = value.isascii() and value == value.strip() and len(value) - len(digits) <= 1
    try:
        if not legal:
            raise ValueError(value)
        octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
        return int(value, 8) if octal else int(value, 0)
    except ValueError:
        raise BadValue(f"strconv.{who}: parsing {quote(value)}: invalid syntax") from None


def duration(value: str) -> float:
    """``time.ParseDuration``, in seconds: ``1h30m``, ``1.5s``, ``-300ms``, ``0``."""
    body = value[1:] if value[:1] in ("-", "+") else value
    if body == "0":
        return 0.0
    total = 0
    rest = body
    while rest or not body:
        amount, rest = _duration_part(rest, value)
        total += amount
        if total > _DURATION_MAX_NS:
            raise BadValue(f"time: invalid duration {quote(value)}")
    return (-total if value.startswith("-") else total) / 1e9


def interval(value: str) -> float:
    """A duration, or a plain number of seconds."""
    return float(value) if value.isascii() and value.isdecimal() else duration(value)


def _duration_part(rest: str, whole: str) -> tuple[int, str]:
    match = _PART.match(rest)
    assert match is not None
    number, fraction, unit = match.group(1), match.group(2) or "", match.group(3)
    if (not number and len(fraction) < 2) or len(number) > _DIGITS or len(fraction) > _DIGITS:
        raise BadValue(f"time: invalid duration {quote(whole)}")
    if not unit:
        raise BadValue(f"time: missing unit in duration {quote(whole)}")
    if unit not in _UNIT_NS:
        raise BadValue(f"time: unknown unit {quote(unit)} in duration {quote(whole)}")
    scale = _UNIT_NS[unit]
    digits = fraction[1:]
    below = int(digits) * scale // 10 ** len(digits) if digits else 0
    return int(number or "0") * scale + below, rest[match.end() :]


def strings(value: str) -> tuple[str, ...]:
    """A pflag string slice: one line of CSV."""
    if not value:
        return ()
    import csv  # the module is small, but only these flags need it

    try:
        rows = list(csv.reader([value], strict=True))
    except csv.Error:
        raise BadValue('parse error on line 1, column 1: bare " in non-quoted-field') from None
    return tuple(rows[0])


def integers(value: str) -> tuple[int, ...]:
    """A pflag int slice: ``0,-1``."""
    return tuple(_atoi(part) for part in value.split(","))


def _atoi(value: str) -> int:
    if not re.fullmatch(rf"[+-]?[0-9]{{1,{_DIGITS}}}", value):
        raise BadValue(f"strconv.Atoi: parsing {quote(value)}: invalid syntax")
    return int(value)


def size(value: str) -> int:
    """A number of bytes: ``1048576``, ``96MiB``, ``96M`` (binary, as memory is), ``1.5G``, ``100MB`` (decimal)."""
    match = _SIZE.fullmatch(value)
    if match is None:
        raise BadValue(f"{quote(value)} is not a size such as 96MiB, 1.5G or 500kB")
    number, prefix, binary, suffix = match.groups()
    base = 1024 if binary or not suffix else 1000
    return int(float(number) * base ** " kmgt".index(prefix.lower() or " "))


def rate(value: str) -> int:
    """Bytes per second: a size, an optional ``/s`` behind it; ``0`` is unlimited."""
    return size(value.removesuffix("/s"))


class OneOf:
    """One word of a few."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, value: str) -> str:
        if value not in self.words:
            raise BadValue(f"must be one of {', '.join(self.words)}")
        return value
