"""Values as a template sees them: Go's kinds on top of Python's.

Owns what Python cannot tell by itself: a nil slice from a nil map, a missing map entry from nil, static types for
messages and %T. Refuses to know templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastcopy.gojson import Time
from fastcopy.gostruct import PointerTo, SliceOf, Struct, StructType, encode


@dataclass(frozen=True, slots=True)
class Slice:
    """A Go slice; `items` is None for nil."""

    items: list[Any] | None
    element: str = "string"

    def __len__(self) -> int:
        return len(self.items or ())


@dataclass(frozen=True, slots=True)
class Map:
    """A Go map with string keys; `items` is None for nil."""

    items: Mapping[str, Any] | None
    element: str = "string"

    def __len__(self) -> int:
        return len(self.items or ())

    def sorted(self) -> list[tuple[str, Any]]:
        """The entries in the order in which Go prints and ranges over them."""
        return sorted((self.items or {}).items())

    def zero(self) -> Any:
        """What `index` finds under a key that is not there."""
        return "" if self.element == "string" else EMPTY


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer that is not nil; printing and fields look through it."""

    target: Any


@dataclass(frozen=True, slots=True)
class Boxed:
    """A value in an ``interface {}``: transparent but for messages about its fields."""

    target: Any


@dataclass(frozen=True, slots=True)
class Nil:
    """A nil pointer of a type, or untyped nil."""

    type: str = "untyped nil"


@dataclass(frozen=True, slots=True)
class Missing:
    """No value at all: a map has no such key. Prints as ``<no value>``."""


@dataclass(frozen=True, slots=True)
class Args:
    """Marks an argument as absent (no value was piped in)."""


class Int64(int):
    """An int64, where a plain int is Go's int: they differ in messages and %T only."""

    __slots__ = ()


MISSING: Final = Missing()
EMPTY: Final = Struct(StructType("struct {}", ()))
ABSENT: Final = Args()


@dataclass(frozen=True, slots=True)
class Method:
    """A method bound to its receiver, with its number of arguments."""

    name: str
    call: Any = field(repr=False)
    arguments: int


def lift(value: Any, kind: Any) -> Any:
    """A struct's field (`gostruct`) as a template value."""
    if isinstance(kind, SliceOf):
        return Slice(value, kind.item.name)
    if isinstance(kind, PointerTo):
        return Nil(f"*{kind.item.name}") if value is None else Pointer(value)
    match kind:
        case "int":
            return Int64(value)
        case "[]string" | "strslice":
            return Slice(value)
        case "map":
            return Map(value)
        case "set":
            return Map(None if value is None else dict.fromkeys(value, EMPTY), "struct {}")
        case "*time":
            return Nil("*time.Time") if value is None else Pointer(value)
        case "*int":
            return Nil("*int") if value is None else Pointer(value)
    return value


def type_name(value: Any) -> str:
    """%T."""
    if isinstance(value, Struct):
        return value.type.name
    if isinstance(value, Boxed):
        return "interface {}"
    if isinstance(value, Slice):
        return f"[]{value.element}"
    if isinstance(value, Map):
        return f"map[string]{value.element}"
    if isinstance(value, Pointer):
        return f"*{type_name(value.target)}"
    if isinstance(value, Nil):
        return "<nil>" if value.type == "untyped nil" else value.type
    names = {
        bool: "bool",
        int: "int",
        Int64: "int64",
        float: "float64",
        str: "string",
        Time: "time.Time",
        Missing: "<nil>",
    }
    return names.get(type(value), type(value).__name__)


def truth(value: Any) -> bool:
    """Go templates' truth: non-zero, non-nil, non-empty; structs always."""
    if isinstance(value, Boxed):
        return truth(value.target)
    if isinstance(value, Struct | Time | Pointer):
        return True
    if isinstance(value, Slice | Map):
        return len(value) > 0
    return bool(value) and not isinstance(value, Nil | Missing)


def plain(value: Any) -> Any:
    """Look through pointers and interfaces."""
    while isinstance(value, Pointer | Boxed):
        value = value.target
    return value


def json_form(value: Any) -> Any:
    """The value for encoding/json."""
    value = plain(value)
    if isinstance(value, Slice):
        return None if value.items is None else [json_form(item) for item in value.items]
    if isinstance(value, Map):
        return None if value.items is None else {key: json_form(item) for key, item in value.sorted()}
    if isinstance(value, Nil | Missing):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return encode(value) if isinstance(value, Struct) else value
