"""Lists and configurations of other tools, and our own, read into the rules of `jobs`.

Each format is a pure front end: text in, rules out. This file alone touches the disk: `load` reads a file or standard
input. `detect` recognises a format by its name and content.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from fastcopy.errors import BadConfig
from fastcopy.formats.base import FORMATS, Format, Given, Loaded, no_file
from fastcopy.formats.detection import detect
from fastcopy.formats.document import line_and_column

__all__ = ["FORMATS", "Format", "Given", "Loaded", "convert", "detect", "load", "parse"]

#: Larger "lists" are something else (a layer, an archive); 64 MiB holds half a million lines.
_LARGEST: Final = 64 << 20
Reader = Callable[[str, str, Given], Loaded]


def parse(text: str, name: str, given: Given, format: Format | None = None) -> Loaded:
    """Read *text*; *name* is its file's name in messages. Raises BadConfig, UsageError, or Unsupported."""
    return _reader(format or detect(text, name))(text, name, given)


def convert(text: str, name: str, given: Given, format: Format | None = None) -> tuple[str, tuple[str, ...]]:
    """Native YAML that says the same as *text*, and the remarks and problems of reading it."""
    from fastcopy.formats.native_dump import dump_native

    loaded = parse(text, name, given, format)
    return dump_native(loaded), loaded.warnings + loaded.problems


def load(path: str, given: Given | None = None, format: Format | None = None) -> Loaded:
    """Read the file at *path*, ``-`` for standard input; raises BadConfig as `parse` does."""
    chosen = given or Given()
    if chosen.read is no_file:
        chosen = replace(chosen, read=read_text, environment=chosen.environment or dict(os.environ))
    return parse(read_text(path), "<stdin>" if path == "-" else path, chosen, format)


def read_text(path: str) -> str:
    """The UTF-8 text of *path* (``-``: standard input); raises BadConfig."""
    try:
        data = sys.stdin.buffer.read(_LARGEST + 1) if path == "-" else _read_file(path)
    except OSError as problem:
        raise BadConfig(f"{path}: {problem.strerror or problem}") from None
    if len(data) > _LARGEST:
        raise BadConfig(f"{path}: larger than {_LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line, column = line_and_column(data.decode("latin-1"), problem.start)
        raise BadConfig(f"{path}:{line}:{column}: not UTF-8 text") from None


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(_LARGEST + 1)


def _reader(format: Format) -> Reader:
    """The front end of *format*, imported when it is needed."""
    from fastcopy.formats import dregsy, image_syncer, native, pairs, regsync, skopeo

    match format:
        case "native":
            return native.parse
        case "list":
            return pairs.parse
        case "mapping":
            return lambda text, name, given: pairs.parse(text, name, given, pairs_only=True)
        case "skopeo":
            return skopeo.parse
        case "image-syncer":
            return image_syncer.parse
        case "regsync":
            return regsync.parse
        case "dregsy":
            return dregsy.parse
    raise BadConfig(f"unknown format {format!r}")
