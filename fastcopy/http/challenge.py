"""WWW-Authenticate: what a registry asks for.

Owns the grammar of RFC 9110 11.3 as servers really use it: several header lines, several challenges per line, commas
and equal signs inside quotes. Knows no scheme: what Bearer or Basic mean is the business of `auth`.
Law: never raises and never loops, whatever the bytes; what cannot be understood is skipped up to the next comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SKIP = re.compile(r"[\s,]*")
_NAME = re.compile(_WORD)
_PARAM = re.compile(rf"({_WORD})[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)(?:\"|\\?$)|([^\s,\"]*))", re.DOTALL)
_TOKEN68 = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)")
_REST = re.compile(r"[^,]*")


class Challenge(NamedTuple):
    """One challenge: a scheme in lower case and its parameters, names in lower case (the first of equals wins)."""

    scheme: str
    params: dict[str, str]

    def __str__(self) -> str:
        """The challenge as a server would send it."""
        quoted = (f'{name}="{_quote(value)}"' for name, value in self.params.items())
        return f"{self.scheme} {', '.join(quoted)}".rstrip()


def parse_challenges(lines: Iterable[str]) -> list[Challenge]:
    """Every challenge of every WWW-Authenticate line, in order."""
    found: list[Challenge] = []
    for line in lines:
        _parse_line(line, found)
    return found


def pick(challenges: Iterable[Challenge], scheme: str) -> Challenge | None:
    """The first challenge of *scheme* (lower case), or None."""
    return next((each for each in challenges if each.scheme == scheme), None)


def _parse_line(line: str, found: list[Challenge]) -> None:
    position, current = 0, None
    while True:
        position = _end(_SKIP, line, position)
        if position >= len(line):
            return
        param = _PARAM.match(line, position)
        if param and current is not None:
            current.params.setdefault(param[1].lower(), _value(param))
            position = param.end()
        elif name := _NAME.match(line, position):
            current = Challenge(name[0].lower(), {})
            found.append(current)
            position = _after_scheme(line, name.end())
        else:
            position = max(_end(_REST, line, position), position + 1)


def _after_scheme(line: str, position: int) -> int:
    """Past a token68 (``Negotiate YIIB…==``), which no scheme we speak uses."""
    token68 = _TOKEN68.match(line, position)
    return token68.end() if token68 else position


def _value(param: re.Match[str]) -> str:
    quoted: str | None = param[2]
    if quoted is None:
        return param[3] or ""
    return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


def _quote(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _end(pattern: re.Pattern[str], line: str, position: int) -> int:
    match = pattern.match(line, position)
    return match.end() if match else position
