"""The functions of a --format template: text/template's own and those of containers/common's report package.

Owns their arguments' types and their complaints. A `Refusal` becomes a TemplateError once the place is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote_plus

from fastcopy.gojson import Time, dumps
from fastcopy.gostruct import Struct
from fastcopy.gotemplate import _fmt
from fastcopy.gotemplate._values import Int64, Map, Missing, Nil, Slice, json_form, plain, truth, type_name


class Refusal(Exception):
    """What a function has against its arguments."""


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function and the types of its arguments ("any", "string", "int", "[]string"); a rest after them if `rest`."""

    call: Callable[..., Any]
    types: tuple[str, ...]
    rest: str = ""


def _index(item: Any, *keys: Any) -> Any:
    if isinstance(item, Missing) or (isinstance(item, Nil) and item.type == "untyped nil"):
        raise Refusal("index of untyped nil")
    for given in keys:
        item, key = plain(item), plain(given)
        if isinstance(item, Nil):
            raise Refusal("index of nil pointer")
        if isinstance(item, Map):
            item = _entry(item, key)
        elif isinstance(item, Slice | str):
            items = item.encode() if isinstance(item, str) else item.items or []
            item = items[_position(key, len(items) - 1)]
        else:
            raise Refusal(f"can't index item of type {type_name(item)}")
    return item


def _entry(item: Map, key: Any) -> Any:
    if isinstance(key, Missing | Nil):
        raise Refusal("value is nil; should be of type string")
    if not isinstance(key, str):
        raise Refusal(f"value has type {type_name(key)}; should be string")
    return (item.items or {}).get(key, item.zero())


def _position(key: Any, last: int) -> int:
    if type(key) not in (int, Int64):
        if isinstance(key, Missing | Nil):
            raise Refusal("cannot index slice/array with nil")
        raise Refusal(f"cannot index slice/array with type {type_name(key)}")
    if not 0 <= key <= last:
        raise Refusal(f"index out of range: {key}")
    return int(key)


def _slice(item: Any, *ends: Any) -> Any:
    item = plain(item)
    if isinstance(item, Missing | Nil):
        raise Refusal(f"slice of {'nil pointer' if isinstance(item, Nil) and '*' in item.type else 'untyped nil'}")
    if len(ends) > 3:
        raise Refusal(f"too many slice indexes: {len(ends)}")
    if not isinstance(item, Slice | str):
        raise Refusal(f"can't slice item of type {type_name(item)}")
    if isinstance(item, str) and len(ends) == 3:
        raise Refusal("cannot 3-index slice a string")
    whole: Any = item.encode() if isinstance(item, str) else item.items or []
    first, *others = *(_position(plain(end), len(whole)) for end in ends), *([] if ends else [0])
    bounds = [first, *(others or [len(whole)])]
    for low, high in pairwise(bounds):
        if low > high:
            raise Refusal(f"invalid slice index: {low} > {high}")
    cut = whole[bounds[0] : bounds[1]]
    return cut.decode("utf-8", "replace") if isinstance(item, str) else Slice(cut, item.element)


def _len(item: Any) -> int:
    item = plain(item)
    if isinstance(item, Nil) and "*" in item.type:
        raise Refusal("len of nil pointer")
    if isinstance(item, str):
        return len(item.encode("utf-8", "replace"))
    if not isinstance(item, Slice | Map):
        raise Refusal(f"len of type {type_name(item)}")
    return len(item)


def _kind(value: Any) -> str:
    """Go's basic kinds; "" for all others."""
    return {bool: "bool", int: "int", Int64: "int", float: "float", str: "string"}.get(type(value), "")


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise Refusal("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(left: Any, right: Any) -> bool:
    if _kind(left) != _kind(right):
        if _is_invalid(left) or _is_invalid(right):
            return False
        raise Refusal(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")
    if _kind(left):
        return bool(left == right)
    if type(left) is not type(right) and not (_is_invalid(left) or _is_invalid(right)):
        shown = f"{_fmt.verb_v(left)}: {type_name(left)}, {type_name(right)}: {_fmt.verb_v(right)}"
        raise Refusal(f"non-comparable types {shown}")
    if _is_nil(left) or _is_nil(right):
        return _is_nil(left) == _is_nil(right)
    if isinstance(right, Slice | Map):
        raise Refusal(f"non-comparable type {_fmt.verb_v(right)}: {type_name(right)}")
    return bool(left == right)


def _is_invalid(value: Any) -> bool:
    return isinstance(value, Missing) or (isinstance(value, Nil) and value.type == "untyped nil")


def _is_nil(value: Any) -> bool:
    return isinstance(value, Nil | Missing) or (isinstance(value, Slice | Map) and value.items is None)


def _lt(left: Any, right: Any) -> bool:
    for each in (left, right):
        if not _kind(each):
            raise Refusal("invalid type for comparison")
    if _kind(left) != _kind(right):
        raise Refusal(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")
    if isinstance(left, bool):
        raise Refusal("invalid type for comparison")
    return bool(left < right)


def _call(function: Any, *_: Any) -> Any:
    if isinstance(function, Missing | Nil):
        raise Refusal("call of nil")
    raise Refusal(f"non-function of type {type_name(function)}")


def _text(values: Sequence[Any]) -> str:
    """The text that html, js and urlquery escape."""
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return _fmt.sprint(["<no value>" if _is_invalid(value) else plain(value) for value in values])


_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
_JS: Final = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _printf(layout: str, *values: Any) -> str:
    try:
        return _fmt.sprintf(layout, values)
    except ValueError as problem:
        raise Refusal(str(problem)) from None


def _html(*values: Any) -> str:
    return "".join(_HTML.get(char, char) for char in _text(values))


def _js(*values: Any) -> str:
    return "".join(_JS.get(char) or (char if char.isprintable() else f"\\u{ord(char):04X}") for char in _text(values))


def _title(text: str) -> str:
    """strings.Title: upper case after anything that is no letter, digit or underscore."""
    return re.sub(r"(?<!\w)\w", lambda found: found[0].title(), text)


def _truncate(text: str, length: int) -> str:
    raw = text.encode()
    if length < 0 <= len(raw):
        raise Refusal(f"runtime error: slice bounds out of range [:{length}]")
    return text if len(raw) < length else raw[:length].decode("utf-8", "replace")


def _pad(text: str, before: int, after: int) -> str:
    if text and min(before, after) < 0:
        raise Refusal("strings: negative Repeat count")
    if max(before, after) > _fmt.MAX_WIDTH:
        raise Refusal("strings: Repeat output length overflow")
    return " " * before + text + " " * after if text else text


def _split(text: str, separator: str) -> Slice:
    return Slice(text.split(separator) if separator else list(text))


FUNCTIONS: Final[dict[str, Builtin]] = {
    "call": Builtin(_call, ("any",), "any"),
    "html": Builtin(_html, (), "any"),
    "index": Builtin(_index, ("any",), "any"),
    "slice": Builtin(_slice, ("any",), "any"),
    "js": Builtin(_js, (), "any"),
    "len": Builtin(_len, ("any",)),
    "not": Builtin(lambda value: not truth(value), ("any",)),
    "print": Builtin(lambda *values: _fmt.sprint(values), (), "any"),
    "printf": Builtin(_printf, ("string",), "any"),
    "println": Builtin(lambda *values: _fmt.sprintln(values), (), "any"),
    "urlquery": Builtin(lambda *values: quote_plus(_text(values)), (), "any"),
    "eq": Builtin(_eq, ("any",), "any"),
    "ne": Builtin(lambda left, right: not _eq(left, right), ("any", "any")),
    "lt": Builtin(_lt, ("any", "any")),
    "le": Builtin(lambda left, right: _lt(left, right) or _eq(left, right), ("any", "any")),
    "gt": Builtin(lambda left, right: not (_lt(left, right) or _eq(left, right)), ("any", "any")),
    "ge": Builtin(lambda left, right: not _lt(left, right), ("any", "any")),
    "join": Builtin(lambda items, separator: separator.join(items.items or ()), ("[]string", "string")),
    "json": Builtin(lambda value: dumps(json_form(value), html=False), ("any",)),
    "lower": Builtin(str.lower, ("string",)),
    "pad": Builtin(_pad, ("string", "int", "int")),
    "split": Builtin(_split, ("string", "string")),
    "title": Builtin(_title, ("string",)),
    "truncate": Builtin(_truncate, ("string", "int")),
    "upper": Builtin(str.upper, ("string",)),
}
#: `and` and `or` evaluate only as many arguments as they need.
SHORT_CIRCUIT: Final = {"and": False, "or": True}
NAMES: Final = frozenset(FUNCTIONS) | frozenset(SHORT_CIRCUIT)
_ACCEPTS: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int,
    "[]string": lambda value: isinstance(value, Slice) and value.element == "string",
}


def check(value: Any, kind: str, literal: str) -> Any:
    """*value* fit for a parameter of type *kind*; *literal* is how it was written when it is a constant."""
    if kind == "any":
        return plain(value) if not isinstance(plain(value), Struct | Time) else value
    value = plain(value)
    if _ACCEPTS[kind](value):
        return value
    if literal == "nil":
        raise Refusal(f"cannot assign nil to {kind}")
    if literal and kind == "[]string":
        raise Refusal(f"can't handle {literal} for arg of type {kind}")
    if literal:
        raise Refusal(f"expected {'integer' if kind == 'int' else kind}; found {literal}")
    if _is_invalid(value):
        if kind == "[]string":
            return Slice(None)
        raise Refusal(f"invalid value; expected {kind}")
    raise Refusal(f"wrong type for value; expected {kind}; got {type_name(value)}")
