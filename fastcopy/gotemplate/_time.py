"""time.Time's methods that a template may call, and Go's layouts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from fastcopy.gojson import ZERO_TIME, Time
from fastcopy.gotemplate._values import Int64, Method

# fmt: off
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)
# fmt: on
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LAYOUT: Final = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|_2006|__2|_2|002|01|02|03|04|05|06|15|1|2|3|4|5|PM|pm"
    r"|[-Z]07:00:00|[-Z]070000|[-Z]07:00|[-Z]0700|[-Z]07|[.,](?:0+|9+)(?!\d)"
)


def layout(value: Time, text: str) -> str:
    """time.Time.Format."""
    return _LAYOUT.sub(lambda found: _part(value, found[0]), text)


def method(value: Time, name: str) -> Method | None:
    """The method called *name*, if a template may call it."""
    if name == "Format":
        return Method(name, lambda text: layout(value, text), 1)
    read = _METHODS.get(name)
    return read and Method(name, lambda: read(value), 0)


def _twelve(value: Time) -> int:
    return value.whole.hour % 12 or 12


def _month(value: Time) -> str:
    return _MONTHS[value.whole.month - 1]


def _weekday(value: Time) -> str:
    return _DAYS[value.whole.weekday()]


def _year_day(value: Time) -> int:
    return value.whole.timetuple().tm_yday


_PARTS: Final[dict[str, Callable[[Time], Any]]] = {
    "January": _month,
    "Jan": lambda v: _month(v)[:3],
    "Monday": _weekday,
    "Mon": lambda v: _weekday(v)[:3],
    "MST": lambda v: "UTC" if v.offset == "+0000" else v.offset,
    "2006": lambda v: f"{v.whole.year:04d}",
    "_2006": lambda v: f"_{v.whole.year:04d}",
    "06": lambda v: f"{v.whole.year % 100:02d}",
    "01": lambda v: f"{v.whole.month:02d}",
    "1": lambda v: v.whole.month,
    "02": lambda v: f"{v.whole.day:02d}",
    "_2": lambda v: f"{v.whole.day:2d}",
    "2": lambda v: v.whole.day,
    "002": lambda v: f"{_year_day(v):03d}",
    "__2": lambda v: f"{_year_day(v):3d}",
    "15": lambda v: f"{v.whole.hour:02d}",
    "03": lambda v: f"{_twelve(v):02d}",
    "3": _twelve,
    "04": lambda v: f"{v.whole.minute:02d}",
    "4": lambda v: v.whole.minute,
    "05": lambda v: f"{v.whole.second:02d}",
    "5": lambda v: v.whole.second,
    "PM": lambda v: "PM" if v.whole.hour >= 12 else "AM",
    "pm": lambda v: "pm" if v.whole.hour >= 12 else "am",
}


def _part(value: Time, token: str) -> str:
    if token in _PARTS:
        return str(_PARTS[token](value))
    if token[0] in ".,":
        digits = f"{value.nanosecond:09d}"[: len(token) - 1]
        if token[1] == "9":
            digits = digits.rstrip("0")
        return token[0] + digits if digits else ""
    return _zone(value, token)


def _zone(value: Time, token: str) -> str:
    offset = value.offset
    if token[0] == "Z" and offset == "+0000":
        return "Z"
    colon = ":" if ":" in token else ""
    parts = {"07": [offset[:3]], "0700": [offset[:3], offset[3:]], "070000": [offset[:3], offset[3:], "00"]}
    return colon.join(parts[token[1:].replace(":", "")])


def _utc(value: Time) -> Time:
    return Time(value.whole.astimezone(UTC), value.nanosecond)


_METHODS: Final[dict[str, Callable[[Time], Any]]] = {
    "String": str,
    "Unix": lambda v: Int64(v.unix()),
    "UnixMilli": lambda v: Int64(v.unix() * 1000 + v.nanosecond // 10**6),
    "UnixNano": lambda v: Int64(v.unix() * 10**9 + v.nanosecond),
    "Year": lambda v: v.whole.year,
    "Month": _month,
    "Day": lambda v: v.whole.day,
    "Hour": lambda v: v.whole.hour,
    "Minute": lambda v: v.whole.minute,
    "Second": lambda v: v.whole.second,
    "Nanosecond": lambda v: v.nanosecond,
    "YearDay": _year_day,
    "Weekday": _weekday,
    "IsZero": lambda v: (v.whole, v.nanosecond) == (datetime(1, 1, 1, tzinfo=UTC), ZERO_TIME.nanosecond),
    "UTC": _utc,
}
