"""Go's text/template for `--format`: what skopeo's users write, with its results and its complaints.

Everything of the language but method calls on values other than times: pipelines, variables, if, range, with, define,
template, block, break, continue, comments, trim markers, text/template's functions and those of containers/common's
report package (join, json, lower, pad, split, title, truncate, upper). What else is asked for is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from fastcopy.gotemplate._exec import execute
from fastcopy.gotemplate._funcs import NAMES
from fastcopy.gotemplate._lex import TemplateError
from fastcopy.gotemplate._parse import parse
from fastcopy.gotemplate._table import align
from fastcopy.gotemplate._values import Slice

__all__ = ["TemplateError", "render", "report"]

_OWN_RANGE: Final = re.compile(r"\{\{\s*range\s*\.\s*\}\}.*\{\{\s*end\s*-?\s*\}\}", re.DOTALL)
_TABLE: Final = re.compile(r"table |\\t| |\\n")
_TABLE_TO: Final = {"table ": "", "\\t": "\t", " ": "\t", "\\n": "\n"}


def render(text: str, data: Any, *, name: str = "template") -> str:
    """*text* executed over *data* (a `gostruct.Struct` or a plain value); raises TemplateError."""
    nodes, templates = parse(text, name, NAMES)
    return execute(nodes, templates, data, name)


def report(text: str, rows: Sequence[Any], *, name: str) -> str:
    """*text* for each of *rows*, as the report package does it for a template given by a user.

    ``\\t`` and ``\\n`` mean tab and newline, a line end is added, "table " aligns columns, and a template that has its
    own ``{{range .}}`` gets all rows at once. Raises TemplateError.
    """
    table = text.startswith("table ")
    bare = text.removeprefix("table ")
    normal = _normalised(text)
    tries = (_ranged(normal, table), _ranged(bare, table))
    data = Slice(list(rows), "interface {}")
    try:
        nodes, templates = parse(tries[0], name, NAMES)
    except TemplateError:
        # A real newline may not stand in a quoted string: then the text is taken as it was given.
        nodes, templates = parse(tries[1], name, NAMES)
    result = execute(nodes, templates, data, name)
    return align(result) if table else result


def _normalised(text: str) -> str:
    if text.startswith("table "):
        text = _TABLE.sub(lambda found: _TABLE_TO[found[0]], text)
    else:
        text = text.replace("\\t", "\t").replace("\\n", "\n")
    return text if text.endswith("\n") else text + "\n"


def _ranged(text: str, always: bool) -> str:
    return text if _OWN_RANGE.search(text) and not always else f"{{{{range .}}}}{text}{{{{end -}}}}"
