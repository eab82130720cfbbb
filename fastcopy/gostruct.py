"""Go structs as data: decode JSON into one, encode it again with Go's field order and omitempty.

Owns the rules of encoding/json for typed values: names match without regard to case, null leaves a field alone,
unknown fields are dropped, empty ones omitted where the type says so. Refuses to know any particular type
(`imageconfig` and `convert` have the tables).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from fastcopy.errors import BadManifest
from fastcopy.gojson import ZERO_TIME, Time, sorted_map

Scalar = Literal["string", "int", "*int", "bool", "time", "*time", "bytes"]
Container = Literal["[]string", "strslice", "map", "set"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its Go name, its JSON name, its type, and whether it is left out when empty."""

    name: str
    json: str
    type: Kind
    omit: bool = False
    embedded: bool = False


@dataclass(frozen=True, slots=True)
class StructType:
    """A struct type: its name as Go's messages spell it, and its fields in order."""

    name: str
    fields: tuple[Field, ...]

    def flat(self) -> tuple[Field, ...]:
        """Its JSON fields, those of embedded structs in their place."""
        return tuple(
            inner
            for own in self.fields
            for inner in (own.type.flat() if own.embedded and isinstance(own.type, StructType) else (own,))
        )


@dataclass(frozen=True, slots=True)
class SliceOf:
    """[]T of structs."""

    item: StructType


@dataclass(frozen=True, slots=True)
class PointerTo:
    """*T of a struct; None is nil."""

    item: StructType


Kind: TypeAlias = Scalar | Container | StructType | SliceOf | PointerTo

_ZERO: Final[dict[str, Any]] = {"string": "", "int": 0, "bool": False, "time": ZERO_TIME}
_PYTHON: Final[dict[str, type]] = {"string": str, "int": int, "*int": int, "bool": bool, "bytes": str}
_JSON_NAMES: Final = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


@dataclass(slots=True)
class Struct:
    """A value of a struct type; `values` is keyed by Go field names."""

    type: StructType
    values: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str) -> Any:
        """The field called *name*, also one promoted from an embedded struct; raises KeyError."""
        if name in self.values:
            return self.values[name]
        for own in self.type.fields:
            if own.embedded and name in self.values[own.name].values:
                return self.values[own.name][name]
        raise KeyError(name)


def zero(kind: Kind) -> Any:
    """Go's zero value: "" and 0, nil as None, a struct of zero values."""
    if isinstance(kind, StructType):
        return Struct(kind, {each.name: zero(each.type) for each in kind.fields})
    return _ZERO.get(kind) if isinstance(kind, str) else None


def decode(kind: StructType, document: Any) -> Struct:
    """Unmarshal a decoded JSON object; raises BadManifest naming the field whose type does not fit."""
    return _decode_struct(kind, document, kind.name)


def encode(value: Any, kind: Kind | None = None) -> Any:
    """Marshal to plain Python values in Go's order, ready for `gojson.dumps`."""
    if isinstance(value, Struct):
        return {
            each.json: encode(value.get(each.name), each.type)
            for each in value.type.flat()
            if not (each.omit and _is_empty(value.get(each.name), each.type))
        }
    if kind == "set" and value is not None:
        return {key: {} for key in sorted(value)}
    if isinstance(value, Mapping):
        return sorted_map(value)
    return [encode(item) for item in value] if isinstance(value, list) else value


def _is_empty(value: Any, kind: Kind) -> bool:
    """omitempty's rule: false, 0, "", nil and empty containers; never a struct."""
    return value is None if kind == "*int" else not (isinstance(kind, StructType) or kind == "time" or value)


def _decode_struct(kind: StructType, document: Any, path: str) -> Struct:
    if document is None:
        return zero(kind)  # type: ignore[no-any-return]
    _expect(document, dict, path, kind.name)
    folded = {key.casefold(): value for key, value in document.items()} | document
    return Struct(kind, {each.name: _field(each, document, folded, path) for each in kind.fields})


def _field(each: Field, document: Any, folded: Mapping[str, Any], path: str) -> Any:
    if each.embedded and isinstance(each.type, StructType):
        return _decode_struct(each.type, document, path)
    found = folded.get(each.json, folded.get(each.json.casefold()))
    return zero(each.type) if found is None else _decode(each.type, found, f"{path}.{each.json}")


def _decode(kind: Kind, found: Any, path: str) -> Any:
    if isinstance(kind, StructType):
        return _decode_struct(kind, found, path)
    if isinstance(kind, PointerTo):
        return _decode_struct(kind.item, found, path)
    if isinstance(kind, SliceOf):
        _expect(found, list, path, f"[]{kind.item.name}")
        return [_decode_struct(kind.item, item, path) for item in found]
    return _CONTAINERS[kind](found, path) if kind in _CONTAINERS else _scalar(kind, found, path)


def _scalar(kind: str, found: Any, path: str) -> Any:
    if kind in ("time", "*time"):
        _expect(found, str, path, "time.Time")
        return Time.parse(found)
    _expect(found, _PYTHON[kind], path, kind)
    return found


def _strings(found: Any, path: str) -> list[str]:
    _expect(found, list, path, "[]string")
    return ["" if item is None else _scalar("string", item, path) for item in found]


def _string_map(found: Any, path: str) -> dict[str, str]:
    _expect(found, dict, path, "map[string]string")
    return {key: "" if item is None else _scalar("string", item, path) for key, item in found.items()}


def _string_set(found: Any, path: str) -> dict[str, None]:
    _expect(found, dict, path, "map[string]struct {}")
    for item in found.values():
        if item is not None:
            _expect(item, dict, path, "struct {}")
    return dict.fromkeys(found)


def _one_or_more(found: Any, path: str) -> list[str]:
    """Docker's strslice: a single string stands for a list of one."""
    return [found] if isinstance(found, str) else _strings(found, path)


_CONTAINERS: Final[dict[Any, Any]] = {
    "[]string": _strings,
    "strslice": _one_or_more,
    "map": _string_map,
    "set": _string_set,
}


def _expect(found: Any, python: type, path: str, kind: str) -> None:
    if type(found) is not python:
        name = _JSON_NAMES.get(type(found), "value")
        raise BadManifest(f"json: cannot unmarshal {name} into Go struct field {path} of type {kind}")
