"""The part of Go's text/template that regsync's files use: one value per ``{{ }}``, and pipes through few functions.

``{{env "NAME"}}``, ``{{file "/path"}}``, ``{{.Sync.Source}}``, ``{{ "text" }}``, piped through `default "x"`, `lower`,
`upper`, `trimSpace`. Anything else is refused by name. Unlike there, a variable that is not set and a file that cannot
be read are errors unless `default` follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fastcopy.errors import BadConfig, UsageError

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`|(\||[^\s|"`]+))""")
_FILTERS: Final[dict[str, Callable[[str], str]]] = {"lower": str.lower, "upper": str.upper, "trimSpace": str.strip}


@dataclass(frozen=True, slots=True)
class Words:
    """What a template may refer to; *read* returns a file's text or raises BadConfig."""

    environment: Mapping[str, str]
    read: Callable[[str], str]
    fields: Mapping[str, str] = field(default_factory=dict)  #: ``.Sync.Source`` -> its value


def render(text: str, words: Words) -> str:
    """*text* with its actions replaced; raises UsageError."""
    if "{{" not in text:
        return text
    done: list[str] = []
    position = 0
    for match in _ACTION.finditer(text):
        before = text[position : match.start()]
        done.append(before.rstrip() if match[1] else before)
        done.append(_evaluate(match[2], words))
        position = match.end()
        if match[3]:
            position += len(text[position:]) - len(text[position:].lstrip())
    rest = text[position:]
    if "{{" in rest:
        raise UsageError("unclosed action {{ in template")
    return "".join(done) + rest


def origin(text: str) -> str:
    """``env:NAME`` or ``file:PATH`` when *text* is that and nothing else, else the empty string."""
    found = re.fullmatch(r"\{\{-?\s*(env|file)\s+\"([^\"\\]+)\"\s*-?\}\}", text.strip())
    return f"{found[1]}:{found[2]}" if found else ""


def _split(action: str) -> list[list[tuple[str, bool]]]:
    """Commands of a pipeline, each a list of (word, is quoted)."""
    commands: list[list[tuple[str, bool]]] = [[]]
    position = 0
    while action[position:].strip():
        match = _WORD.match(action, position)
        if not match:
            raise UsageError(f"cannot read template action {{{{{action}}}}}")
        position = match.end()
        if match[3] == "|":
            commands.append([])
        elif match[3] is not None:
            commands[-1].append((match[3], False))
        else:
            raw = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[1])
            commands[-1].append((raw, True))
    return commands


def _evaluate(action: str, words: Words) -> str:
    first, *filters = _split(action)
    fallback = next((command[1][0] for command in filters if len(command) == 2 and command[0][0] == "default"), None)
    try:
        value = _value(first, words)
    except (UsageError, BadConfig):
        if fallback is None:
            raise
        value = fallback
    for command in filters:
        value = _filtered(value, command)
    return value


def _value(command: list[tuple[str, bool]], words: Words) -> str:
    match command:
        case [(text, True)]:
            return text
        case [("env", False), (name, True)]:
            if name not in words.environment:
                raise UsageError(f"environment variable {name} is not set")
            return words.environment[name]
        case [("file", False), (path, True)]:
            return words.read(path).strip()
        case [(name, False)] if name in words.fields:
            return words.fields[name]
    said = " ".join(word for word, _ in command)
    raise UsageError(f'template action "{said}" is not supported', hint="env, file and .Sync fields are")


def _filtered(value: str, command: list[tuple[str, bool]]) -> str:
    match command:
        case [("default", False), (fallback, True)]:
            return value or fallback
        case [(name, False)] if name in _FILTERS:
            return _FILTERS[name](value)
    raise UsageError(f'template function "{command[0][0] if command else ""}" is not supported')
