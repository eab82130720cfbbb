"""Template text to tokens: text outside the braces, and words inside them.

Owns delimiters, trim markers, comments and literals, as text/template's lexer has them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from fastcopy.errors import UsageError
from fastcopy.gotemplate._tree import Place

Sort = Literal["text", "open", "close", "field", "variable", "word", "dot", "string", "char", "number", "op", "end"]


class TemplateError(UsageError):
    """A --format template cannot be parsed, or asks the data for something it has not."""

    slug, exit_code = "template", 1


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its sort and text, its line, its column (from 0, in bytes) and whether white space precedes it."""

    sort: Sort
    text: str
    line: int
    column: int = 0
    spaced: bool = False

    @property
    def place(self) -> Place:
        """For messages."""
        return Place(self.line, self.column)


_INSIDE: Final = re.compile(
    r"""
    (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
  | (?P<char>'(?:[^'\\\n]|\\.)+')
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
      |(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(?![\w.]))
  | (?P<field>\.[^\W\d]\w*)
  | (?P<variable>\$\w*)
  | (?P<word>[^\W\d]\w*)
  | (?P<dot>\.)
  | (?P<op>:=|[=|(),])
    """,
    re.VERBOSE,
)
_NUMBER_START: Final = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F_]*|[\d_]*\.?[\d_]*)\w?")
_COMMENT: Final = re.compile(r"\{\{(-\s)?\s*/\*.*?\*/(\s-)?\}\}", re.DOTALL)
_CLOSE: Final = re.compile(r"-?\}\}")
_SPACE: Final = re.compile(r"\s+")
#: What may follow a word, so that `.a"b"` is no two operands.
_TERMINATORS: Final = frozenset(" \t\r\n.|:),(") | {""}


def lex(text: str, name: str) -> Iterator[Token]:
    """The tokens of *text*; raises TemplateError in Go's words, *name* being the template's."""
    at, trim = 0, False
    while True:
        start = text.find("{{", at)
        outside = text[at:] if start < 0 else text[at:start]
        outside = outside.lstrip(" \t\r\n") if trim else outside
        if start >= 0 and _trims_left(text, start):
            outside = outside.rstrip(" \t\r\n")
        if outside:
            yield Token("text", outside, _line(text, at))
        if start < 0:
            yield Token("end", "", _line(text, len(text)))
            return
        comment = _COMMENT.match(text, start)
        if comment:
            at, trim = comment.end(), bool(comment[2])
            continue
        yield Token("open", "{{", _line(text, start), _column(text, start))
        at, trim = yield from _inside(text, start + 2 + 2 * _trims_left(text, start), name)


def _trims_left(text: str, start: int) -> bool:
    return text.startswith("-", start + 2) and text[start + 3 : start + 4].isspace()


def _inside(text: str, at: int, name: str) -> Generator[Token, None, tuple[int, bool]]:
    """Tokens up to the right delimiter; returns where the text goes on and whether it is trimmed."""
    open_parens = 0
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        line = _line(text, at)
        close = _CLOSE.match(text, at)
        if close and (space or close[0] == "}}"):
            if open_parens:
                raise TemplateError(f"template: {name}:{line}: unclosed left paren")
            yield Token("close", "}}", line, _column(text, at))
            return close.end(), close[0] != "}}"
        found = _INSIDE.match(text, at)
        if found is None:
            raise TemplateError(f"template: {name}:{line}: {_complaint(text, at)}")
        open_parens += (found[0] == "(") - (found[0] == ")")
        if open_parens < 0:
            raise TemplateError(f"template: {name}:{line}: unexpected right paren")
        sort: Sort = found.lastgroup  # type: ignore[assignment]
        yield Token(sort, found[0], line, _column(text, at), bool(space))
        at = found.end()
        after = text[at : at + 1]
        if sort in ("field", "variable", "word") and not (after in _TERMINATORS or text.startswith("}}", at)):
            raise TemplateError(f"template: {name}:{line}: bad character U+{ord(after):04X} {after!r}")


def _complaint(text: str, at: int) -> str:
    if at >= len(text):
        return "unclosed action"
    if text.startswith("/*", at):
        return "unclosed comment" if "*/" not in text[at:] else "comment ends before closing delimiter"
    first = text[at]
    if first in "\"'`":
        return {'"': "unterminated quoted string", "'": "unterminated character constant"}.get(
            first, "unterminated raw quoted string"
        )
    if first.isdigit() or first in "+-":
        found = _NUMBER_START.match(text, at)
        return f'bad number syntax: "{found[0] if found else first}"'
    return f"unrecognized character in action: U+{ord(first):04X} {first!r}"


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _column(text: str, at: int) -> int:
    return len(text[text.rfind("\n", 0, at) + 1 : at].encode("utf-8", "replace"))
