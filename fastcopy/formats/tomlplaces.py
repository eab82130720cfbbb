"""Where the keys of a TOML file stand. `tomllib` parses and validates; this file only follows, and only for messages.

It reads headers and ``key = value`` lines of a file already known to be valid, steps over strings and brackets, and
does not look inside inline tables and arrays: what is in there is placed at its key.
"""

from __future__ import annotations

import re

Step = str | int
Path = tuple[Step, ...]
Place = tuple[int, int]

_SIMPLE_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = rf"{_SIMPLE_KEY}(?:[ \t]*\.[ \t]*{_SIMPLE_KEY})*"
_PART = re.compile(_SIMPLE_KEY)
_LINE = re.compile(rf"[ \t]*(?:(?P<open>\[\[?)[ \t]*(?P<table>{_KEY})[ \t]*\]\]?|(?P<key>{_KEY})[ \t]*=[ \t]*)")
#: One token of a value: a string of the four kinds, a comment, a bracket, or anything else up to the next of those.
_VALUE = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[{]|[\]}]|\n|[^"\'#\[\]{}\n]+',
    re.DOTALL,
)


def toml_places(text: str) -> tuple[dict[Path, Place], dict[Path, Place]]:
    """Places of values and of keys, by path."""
    places: dict[Path, Place] = {(): (1, 1)}
    keys: dict[Path, Place] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    offset = 0
    while offset < len(text):
        match = _LINE.match(text, offset)
        if match and match["table"]:
            table = _enter(_path(match["table"]), match["open"] == "[[", counts)
            _note(places, keys, table, _place(text, match.start("open")))
            offset = _line_end(text, match.end())
        elif match:
            path = (*table, *_path(match["key"]))
            keys[path] = _place(text, match.start("key"))
            places[path] = _place(text, match.end())
            offset = _value_end(text, match.end())
        else:
            offset = _line_end(text, offset)
    return places, keys


def _note(places: dict[Path, Place], keys: dict[Path, Place], table: Path, place: Place) -> None:
    """A header places its table and every table around it that has no place yet."""
    places[table] = keys[table] = place
    for length in range(1, len(table)):
        places.setdefault(table[:length], place)


def _enter(path: Path, array: bool, counts: dict[Path, int]) -> Path:
    """The table a header opens: names are followed by the index of the array element they are in."""
    entered: Path = ()
    for at, step in enumerate(path):
        entered = (*entered, step)
        if array and at == len(path) - 1:
            counts[entered] = counts.get(entered, -1) + 1
        if entered in counts:
            entered = (*entered, counts[entered])
    return entered


def _path(text: str) -> Path:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in _PART.findall(text))


def _place(text: str, offset: int) -> Place:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _line_end(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, offset: int) -> int:
    """The offset of the line after a value that begins at *offset*."""
    depth = 0
    while offset < len(text):
        token = _VALUE.match(text, offset)
        if not token:
            return _line_end(text, offset)
        offset = token.end()
        depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))
        if token[0] == "\n" and depth <= 0:
            break
    return offset
