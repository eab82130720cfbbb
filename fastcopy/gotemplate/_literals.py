"""Go's literals: strings, characters, numbers. Raise ValueError with Go's words."""

from __future__ import annotations

import ast
import re
from typing import Final

_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


def unquote(text: str) -> str:
    """A Go string literal's value."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "")
    return unescape(text[1:-1])


def unescape(text: str) -> str:
    """*text* with Go's escapes replaced; raises ValueError."""

    def value(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        if code or found[4]:
            point = int(code, 16) if code else int(found[4], 8)
            if point > 0x10FFFF:
                raise ValueError("invalid syntax")
            return chr(point)
        if found[5] not in _ESCAPES:
            raise ValueError("invalid syntax")
        return _ESCAPES[found[5]]

    return _ESCAPE.sub(value, text)


def number(text: str) -> int | float:
    """A Go number literal; imaginary ones are not among the tokens."""
    digits = text.replace("_", "")
    try:
        if re.fullmatch(r"[+-]?0[0-7]+", digits):
            return int(digits, 8)
        value = ast.literal_eval(digits.lstrip("+"))
    except (ValueError, SyntaxError):
        raise ValueError(f'bad number syntax: "{text}"') from None
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f'integer overflow: "{text}"')
    assert isinstance(value, int | float)
    return value
