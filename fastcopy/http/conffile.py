"""Reading configuration files: TOML, YAML and JSON, with errors that name file, line and column.

Owns the parsers' differences. Refuses to know what the files mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastcopy.errors import BadConfig

#: No configuration file that people write comes near this; it keeps a device file from filling the memory.
LIMIT = 16 << 20


def read_text(path: Path) -> str:
    """The text of *path*. Raises FileNotFoundError as it is, BadConfig for everything else."""
    try:
        with path.open("rb") as file:
            raw = file.read(LIMIT + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from None
    if len(raw) > LIMIT:
        raise BadConfig(f"{path}: larger than {LIMIT} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}: line {line}: not UTF-8") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML document. Raises FileNotFoundError, BadConfig."""
    text = read_text(path)
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{path}: {_place(str(error))}") from None
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{path}: {error}") from None


def _place(message: str) -> str:
    """``Invalid value (at line 3, column 7)`` in the order of the other parsers."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    if not found:
        return message
    where = f"line {found[2]}, column {found[3]}" if found[2] else "end of file"
    return f"{where}: {found[1]}"


def read_yaml(path: Path) -> Any:
    """A YAML document, plain types only. Raises BadConfig, also when the file does not exist (it was named)."""
    import yaml

    try:
        return yaml.safe_load(read_text(path))
    except FileNotFoundError:
        raise BadConfig(f"{path}: no such file or directory") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadConfig(f"{path}: {where}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadConfig(f"{path}: {str(error).splitlines()[0]}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty file is an empty one. Raises FileNotFoundError, BadConfig."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str, *, unique: bool = False) -> dict[str, Any]:
    """A JSON object out of *text*; *where* names it in messages; *unique* refuses a key given twice."""
    if not text.strip():
        return {}
    try:
        document = json.loads(text, object_pairs_hook=_unique if unique else None)
    except json.JSONDecodeError as error:
        raise BadConfig(f"{where}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise BadConfig(f"{where}: {error}") from None
    if not isinstance(document, dict):
        raise BadConfig(f"{where}: not a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {twice[:80]!r}")
    return found


def section(document: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """The object *name* of a document; empty when absent or null. Raises BadConfig when it is something else."""
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadConfig(f"{where}: {name} is not an object")
    return value
