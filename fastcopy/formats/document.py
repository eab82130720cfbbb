"""Documents: YAML, JSON and TOML read into plain values that remember their line and column.

Owns the syntax and the positions of configuration files; refuses to know what any key means. A scalar written without
quotes keeps its spelling (``1.10`` as a tag stays ``1.10``): `Document.decode` hands strings to msgspec, which turns
them into numbers and booleans where a type asks for them. Every complaint is a BadConfig that begins with
``file:line:column: ``. Sources: yaml.org 1.1 as Go's decoders read it, RFC 8259, toml.io 1.0.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import msgspec

from fastcopy.errors import BadConfig
from fastcopy.formats.tomlplaces import toml_places

T = TypeVar("T")
Step = str | int
Place = tuple[int, int]
#: Visits of nodes while reading a YAML document; repeated aliases beyond this are an attack ("billion laughs").
_MOST_NODES: Final = 2_000_000
#: No configuration nests deeper; half of Python's own limit of recursion.
_DEEPEST: Final = 400
_AT = re.compile(r" - at `(?:key` in `)?\$(?P<path>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+|\.\.\.)\]")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_WANTS_BOOL = re.compile(r"Expected `bool(?: \| null)?`, got `str`")
_CORE: Final = "tag:yaml.org,2002:"
_TAGS: Final = {
    "scalar": frozenset({"str", "int", "float", "bool", "null", "timestamp", "merge", "value"}),
    "sequence": frozenset({"seq"}),
    "mapping": frozenset({"map"}),
}
_YAML_BOOLS: Final = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}


@dataclass(slots=True)
class Document:
    """The plain *value* of a file, and where each of its parts stands."""

    name: str
    value: Any
    places: dict[tuple[Step, ...], Place] = field(default_factory=dict)
    keys: dict[tuple[Step, ...], Place] = field(default_factory=dict)
    strict: bool = False  #: scalars are already typed (TOML)

    def where(self, *path: Step, key: bool = False) -> str:
        """``file:line:column`` of the value at *path* (of its key, with *key*), or of the nearest part around it."""
        steps = path
        while steps and steps not in self.places:
            steps = steps[:-1]
        table = self.keys if key and path in self.keys else self.places
        line, column = table.get(steps, (1, 1))
        return f"{self.name}:{line}:{column}"

    def wrong(self, message: object, *path: Step, key: bool = False, hint: str = "") -> BadConfig:
        """The error that *message* is about the part at *path*."""
        return BadConfig(f"{self.where(*path, key=key)}: {message}", hint=hint)

    def get(self, *path: Step) -> Any:
        """The plain value at *path*; None where there is none."""
        value = self.value
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def mapping(self, *path: Step) -> dict[str, Any]:
        """The mapping at *path*, empty where the file says nothing; raises BadConfig for anything else."""
        value = self.get(*path)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(f"expected a mapping, found {_kind(value)}", *path)
        return value

    def decode(self, kind: type[T], *path: Step, without: str = "") -> T:
        """The part at *path*, but for its key *without*, as *kind*; raises BadConfig at the offending value.

        A key without a value counts as not given, as Go's decoders have it.
        """
        value = _without_nulls(self.get(*path))
        if without and isinstance(value, dict):
            value.pop(without, None)
        while True:
            try:
                return msgspec.convert(value, kind, strict=self.strict)
            except msgspec.ValidationError as problem:
                message, steps = _taken_apart(problem)
                if not _mend_bool(message, value, steps):
                    raise self._explained(message, (*path, *steps)) from None

    def _explained(self, message: str, path: tuple[Step, ...]) -> BadConfig:
        unknown = _UNKNOWN_FIELD.match(message)
        if unknown:
            return self.wrong(f'unknown key "{unknown[1]}"', *path, unknown[1], key=True)
        return self.wrong(message[:1].lower() + message[1:].replace("Object", "mapping").replace("`", ""), *path)


def _without_nulls(value: Any) -> Any:
    """A copy in which mappings have no empty values."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _mend_bool(message: str, value: Any, steps: tuple[Step, ...]) -> bool:
    """Replace ``yes`` and ``off`` by the booleans that YAML 1.1 makes of them, where one is expected."""
    if not steps or not _WANTS_BOOL.match(message):
        return False
    for step in steps[:-1]:
        value = value[step]
    text = value[steps[-1]]
    if not isinstance(text, str) or text.lower() not in _YAML_BOOLS:
        return False
    value[steps[-1]] = _YAML_BOOLS[text.lower()]
    return True


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "a single value"


def _taken_apart(problem: msgspec.ValidationError) -> tuple[str, tuple[Step, ...]]:
    """msgspec's message and the path it ends in."""
    text = str(problem)
    found = _AT.search(text)
    if not found:
        return text, ()
    steps: list[Step] = []
    for name, index in _STEP.findall(found["path"]):
        if index == "...":
            break
        steps.append(name or int(index))
    return text[: found.start()], tuple(steps)


def read_yaml(text: str, name: str) -> Document:
    """Parse one YAML document; raises BadConfig for bad syntax, duplicate keys, foreign tags and alias bombs."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_deep(text, name, loader)
        root = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as problem:
        raise _bad_yaml(problem, text, name) from None
    document = Document(name, None)
    if root is not None:
        document.value = _Reader(document).read(root, ())
    return document


def _refuse_deep(text: str, name: str, loader: Any) -> None:
    """Refuse nesting that would end the process: libyaml's composer recurses in C (a crash at 10^6 brackets)."""
    if text.count("[") + text.count("{") < _DEEPEST and all(len(line) < _DEEPEST for line in text.splitlines()):
        return
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        mark: Any = event.start_mark
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise BadConfig(f"{name}:{mark.line + 1}:{mark.column + 1}: bad YAML: nested too deeply")


def _bad_yaml(problem: Any, text: str, name: str) -> BadConfig:
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    if mark:
        line, column = mark.line + 1, mark.column + 1
    else:
        line, column = line_and_column(text, int(getattr(problem, "position", 0)))
    said = getattr(problem, "problem", None) or getattr(problem, "reason", None) or "not readable as YAML"
    if "nesting depth" in str(said):  # libyaml's own limit, in newer versions
        return BadConfig(f"{name}:{line}:{column}: bad YAML: nested too deeply")
    context = getattr(problem, "context", None)
    return BadConfig(f"{name}:{line}:{column}: bad YAML: {f'{context}: ' if context else ''}{said}")


def line_and_column(text: str, offset: int) -> Place:
    """Line and column, from 1, of the character at *offset*."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class _Reader:
    """Walks PyYAML's nodes once, noting places; values keep their spelling."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.visits = 0
        self.open: set[int] = set()

    def read(self, node: Any, path: tuple[Step, ...]) -> Any:
        self.document.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        self.visits += 1
        if self.visits > _MOST_NODES or id(node) in self.open:
            raise self.document.wrong("an alias contains itself, or aliases repeat too much", *path)
        if str(node.tag).removeprefix(_CORE) not in _TAGS[node.id]:
            raise self.document.wrong(f"unexpected YAML tag {node.tag}", *path)
        if node.id == "scalar":
            return self._scalar(node)
        self.open.add(id(node))
        try:
            return self._mapping(node, path) if node.id == "mapping" else self._sequence(node, path)
        finally:
            self.open.discard(id(node))

    def _scalar(self, node: Any) -> str | None:
        return None if node.tag == f"{_CORE}null" and not node.style else str(node.value)

    def _sequence(self, node: Any, path: tuple[Step, ...]) -> list[Any]:
        return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]

    def _mapping(self, node: Any, path: tuple[Step, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            if key_node.id != "scalar":
                raise self.document.wrong("a key must be a single value", *path)
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged += self._merged(value_node, path)
                continue
            key = str(key_node.value)
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in found:
                first = self.document.keys[*path, key][0]
                self.document.places[*path, key] = self.document.keys[*path, key] = place
                raise self.document.wrong(f'key "{key}" is given twice, first on line {first}', *path, key)
            self.document.keys[*path, key] = place
            found[key] = self.read(value_node, (*path, key))
        for other in merged:
            found |= {key: value for key, value in other.items() if key not in found}
        return found

    def _merged(self, node: Any, path: tuple[Step, ...]) -> Iterable[dict[str, Any]]:
        """The mappings behind ``<<``, strongest first."""
        values = [self.read(child, path) for child in (node.value if node.id == "sequence" else [node])]
        if not all(isinstance(value, dict) for value in values):
            raise self.document.wrong("<< must name a mapping or a list of mappings", *path)
        return values


def read_json(text: str, name: str) -> Document:
    """Parse JSON strictly (duplicate keys refused); raises BadConfig. Numbers keep their spelling, as in YAML."""
    try:
        value = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_unique, strict=True
        )
    except json.JSONDecodeError as problem:
        raise BadConfig(f"{name}:{problem.lineno}:{problem.colno}: bad JSON: {problem.msg}") from None
    except RecursionError:
        raise BadConfig(f"{name}:1:1: bad JSON: nested too deeply") from None
    except _GivenTwice as problem:
        _placed(text, name)
        raise BadConfig(f"{name}:1:1: {problem}") from None
    return replace(_placed(text, name) or Document(name, None), value=value)


class _GivenTwice(Exception):
    """A key of a JSON object is repeated."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if any(key == other for other, _ in pairs[:at]))
        raise _GivenTwice(f'key "{twice}" is given twice')
    return found


def _placed(text: str, name: str) -> Document | None:
    """Valid JSON walked as YAML, for its places alone: tabs may only stand between tokens, so they are spaces here.

    None when YAML cannot follow (it has fewer escapes); raises BadConfig for a key given twice.
    """
    try:
        return read_yaml(text.replace("\t", " "), name)
    except BadConfig as problem:
        if "given twice" in problem.message or "nested too deeply" in problem.message:
            raise
        return None


def read_toml(text: str, name: str) -> Document:
    """Parse TOML; raises BadConfig."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(problem), re.DOTALL)
        line, column = (int(found[2]), int(found[3])) if found and found[2] else line_and_column(text, len(text))
        raise BadConfig(f"{name}:{line}:{column}: bad TOML: {found[1] if found else problem}") from None
    places, keys = toml_places(text)
    return Document(name, value, places, keys, strict=True)
