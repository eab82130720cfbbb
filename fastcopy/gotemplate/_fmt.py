"""Go's fmt: %v and friends for the values a template can meet.

Owns verbs, flags, width and precision, and Go's way to complain inside the output (``%!d(string=x)``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from fastcopy.gojson import Time, dumps
from fastcopy.gostruct import Struct
from fastcopy.gotemplate._values import Boxed, Map, Missing, Nil, Pointer, Slice, lift, plain, type_name

_DIRECTIVE: Final = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d+|\*)?)?(?P<verb>.|\Z)", re.DOTALL
)
_DOT: Final = re.compile(r"%[-+# 0]*(?:\d+|\*)?\.")


def fprint(value: Any) -> str:
    """What a template prints for *value*: ``%v``, with ``<no value>`` for nothing."""
    return "<no value>" if isinstance(value, Missing) else verb_v(plain(value), "")


def sprint(values: Sequence[Any]) -> str:
    """fmt.Sprint: a space between operands neither of which is a string."""
    text = ""
    for before, value in zip((None, *values), values, strict=False):
        between = text and not isinstance(value, str) and not isinstance(before, str)
        text += (" " if between else "") + verb_v(value, "")
    return text


def sprintln(values: Sequence[Any]) -> str:
    """fmt.Sprintln."""
    return " ".join(verb_v(value, "") for value in values) + "\n"


def sprintf(layout: str, values: Sequence[Any]) -> str:
    """fmt.Sprintf."""
    left = list(values)
    text = _DIRECTIVE.sub(lambda found: _directive(found, left), layout)
    if left:
        extra = ", ".join("<nil>" if _is_nil(v) else f"{type_name(v)}={verb_v(v, '')}" for v in left)
        text += f"%!(EXTRA {extra})"
    return text


def verb_v(value: Any, flags: str) -> str:
    """``%v`` and, with ``+`` in *flags*, ``%+v``."""
    return _compose(value, lambda leaf: _leaf_v(leaf, flags), flags)


def _compose(value: Any, leaf: Any, flags: str = "", top: bool = True) -> str:
    """Apply *leaf* to the scalars of slices, maps and structs, in Go's brackets."""
    if isinstance(value, Boxed):
        return _compose(value.target, leaf, flags, top)
    if isinstance(value, Pointer):
        inner = value.target
        return ("&" if top and isinstance(inner, Struct) else "") + _compose(inner, leaf, flags, top)
    if isinstance(value, Slice):
        return f"[{' '.join(_compose(item, leaf, flags, False) for item in value.items or ())}]"
    if isinstance(value, Map):
        return f"map[{' '.join(f'{leaf(key)}:{_compose(item, leaf, flags, False)}' for key, item in value.sorted())}]"
    if isinstance(value, Struct):
        named = "+" in flags
        fields = ((each.name, lift(value.values[each.name], each.type)) for each in value.type.fields)
        return f"{{{' '.join((f'{name}:' if named else '') + _compose(v, leaf, flags, False) for name, v in fields)}}}"
    return str(leaf(value))


def _leaf_v(value: Any, flags: str = "") -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return ("+" if "+" in flags and value >= 0 else "") + str(value)
    if isinstance(value, float):
        return _shortest(value)
    return "<nil>" if isinstance(value, Nil | Missing) else str(value)


def _shortest(value: float) -> str:
    """%v of a float64: %g with the exponent from 21 on, at least two digits in it."""
    if not math.isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    digits = repr(value).removesuffix(".0")
    exponent = f"{value:e}".partition("e")[2]
    if -5 <= int(exponent) < 21:
        return digits if "e" not in digits else f"{value:.0f}" if value == int(value) else f"{value:f}".rstrip("0")
    mantissa = repr(value).partition("e")[0].removesuffix(".0")
    return f"{mantissa}e{int(exponent):+03d}"


def _directive(found: re.Match[str], left: list[Any]) -> str:
    flags, verb = found["flags"], found["verb"]
    if verb == "%":
        return "%"
    if not verb:
        return "%!(NOVERB)"
    width, problem = _number(found["width"], left, "%!(BADWIDTH)")
    dotted = _DOT.match(found[0]) is not None
    precision, wrong = _number(found["precision"] or ("0" if dotted else None), left, "%!(BADPREC)")
    if not left:
        return f"{problem}{wrong}%!{verb}(MISSING)"
    if width is not None and width < 0:
        flags, width = flags + "-", -width
    text = _format(left.pop(0), verb, flags, precision, width if "0" in flags and "-" not in flags else None)
    return problem + wrong + _pad(text, width, flags)


def _number(text: str | None, left: list[Any], complaint: str) -> tuple[int | None, str]:
    if text != "*":
        return (None if text is None else int(text)), ""
    if left and type(left[0]) is int:
        return left.pop(0), ""
    if left:
        left.pop(0)
    return None, complaint


def _pad(text: str, width: int | None, flags: str) -> str:
    if width is None:
        return text
    return text.ljust(width) if "-" in flags else text.rjust(width)


def _format(value: Any, verb: str, flags: str, precision: int | None, zeros: int | None) -> str:
    if verb == "T":
        return type_name(value)
    if verb == "v":
        if "#" in flags:
            return f"%!v({type_name(value)}={verb_v(value, '')})"
        return verb_v(value, flags)
    if _is_nil(value):
        return f"%!{verb}(<nil>)"
    return _compose(value, lambda leaf: _scalar(leaf, verb, flags, precision, zeros), flags)


def _scalar(value: Any, verb: str, flags: str, precision: int | None, zeros: int | None) -> str:
    text = None
    if isinstance(value, Time):
        value = str(value) if verb in "sqxX" else value
    if isinstance(value, str):
        text = _string(value, verb, flags, precision)
        return text.rjust(zeros, "0") if text is not None and zeros else _or_bad(text, value, verb)
    if isinstance(value, bool):
        return _or_bad(_leaf_v(value) if verb == "t" else None, value, verb)
    if isinstance(value, int):
        text = _integer(value, verb, flags, precision)
    elif isinstance(value, float):
        text = _float(value, verb, flags, precision)
    if text is not None and zeros and precision is None:
        sign = text[:1] if text[:1] in ("+", "-", " ") else ""
        text = sign + text[len(sign) :].rjust(zeros - len(sign), "0")
    return _or_bad(text, value, verb)


def _or_bad(text: str | None, value: Any, verb: str) -> str:
    return f"%!{verb}({type_name(value)}={_leaf_v(value)})" if text is None else text


def _string(value: str, verb: str, flags: str, precision: int | None) -> str | None:
    if precision is not None and verb in "sq":
        value = value[:precision]
    if verb == "s":
        return value
    if verb == "q":
        return quote(value) if "#" not in flags or "`" in value else f"`{value}`"
    if verb in "xX":
        data = value.encode("utf-8", "replace")[:precision]
        text = data.hex(" ") if " " in flags else data.hex()
        return text.upper() if verb == "X" else text
    return None


def quote(value: str) -> str:
    """strconv.Quote, near enough: Go's escapes, printable characters as they are."""
    short = {
        '"': '\\"',
        "\\": "\\\\",
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
    }
    return '"' + "".join(short.get(c) or (c if c.isprintable() else _escaped(c)) for c in value) + '"'


def _escaped(char: str) -> str:
    point = ord(char)
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _integer(value: int, verb: str, flags: str, precision: int | None) -> str | None:
    codes = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
    if verb in ("c", "q"):
        char = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
        return char if verb == "c" else f"'{quote(char)[1:-1]}'" if char != "'" else "'\\''"
    if verb == "U":
        return f"U+{value:04X}" + (f" '{chr(value)}'" if "#" in flags and chr(value).isprintable() else "")
    if verb not in codes:
        return None
    digits = format(abs(value), codes[verb]).rjust(precision or 0, "0")
    prefixes = {"x": "0x", "X": "0X", "b": "0b", "o": "0"}
    prefix = "0o" if verb == "O" else prefixes.get(verb, "") if "#" in flags else ""
    return _sign(value < 0, flags) + prefix + digits


def _float(value: float, verb: str, flags: str, precision: int | None) -> str | None:
    if verb not in "eEfFgG":
        return None
    if verb in "gG" and precision is None:
        text = _shortest(abs(value))
        return _sign(value < 0, flags) + (text.upper() if verb == "G" else text)
    return _sign(value < 0, flags) + format(abs(value), f".{6 if precision is None else precision}{verb}")


def _sign(negative: bool, flags: str) -> str:
    return "-" if negative else "+" if "+" in flags else " " if " " in flags else ""


def _is_nil(value: Any) -> bool:
    return isinstance(value, Missing) or (isinstance(value, Nil) and value.type == "untyped nil")


def to_json(value: Any) -> str:
    """report's json function: no HTML escaping."""
    return dumps(value, html=False)
