"""Go's fmt: %v and friends for the values a template can meet.

Owns verbs, flags, width and precision, and Go's way to complain inside the output (``%!d(string=x)``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastcopy.gojson import Time
from fastcopy.gostruct import Struct
from fastcopy.gotemplate._values import Boxed, Int64, Map, Missing, Nil, Pointer, Slice, lift, plain, type_name

#: Go's limit for width and precision.
MAX_WIDTH: Final = 1_000_000
_DIRECTIVE: Final = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d+|\*)?)?(?P<verb>.|\Z)", re.DOTALL
)
_DOT: Final = re.compile(r"%[-+# 0]*(?:\d+|\*)?\.")


def fprint(value: Any) -> str:
    """What a template prints for *value*: ``%v``, with ``<no value>`` for nothing."""
    return "<no value>" if isinstance(value, Missing) else verb_v(plain(value))


def sprint(values: Sequence[Any]) -> str:
    """fmt.Sprint: a space between operands neither of which is a string."""
    text = ""
    for before, value in zip((None, *values), values, strict=False):
        between = text and not isinstance(value, str) and not isinstance(before, str)
        text += (" " if between else "") + verb_v(value)
    return text


def sprintln(values: Sequence[Any]) -> str:
    """fmt.Sprintln."""
    return " ".join(verb_v(value) for value in values) + "\n"


def sprintf(layout: str, values: Sequence[Any]) -> str:
    """fmt.Sprintf."""
    left = list(values)
    text = _DIRECTIVE.sub(lambda found: _directive(found, left), layout)
    if left:
        extra = ", ".join("<nil>" if _is_nil(v) else f"{type_name(v)}={verb_v(v)}" for v in left)
        text += f"%!(EXTRA {extra})"
    return text


def verb_v(value: Any) -> str:
    """``%v``."""
    return _compose(value, _Spec("v"))


@dataclass(frozen=True, slots=True)
class _Spec:
    """One directive; Go pads and truncates every scalar by itself, not the whole."""

    verb: str
    flags: str = ""
    width: int | None = None
    precision: int | None = None

    def pad(self, text: str) -> str:
        """*text* in the directive's width."""
        if self.width is None:
            return text
        return text.ljust(self.width) if "-" in self.flags else text.rjust(self.width, "0" if self.zeros else " ")

    @property
    def zeros(self) -> bool:
        """Whether to fill with zeros."""
        return "0" in self.flags and "-" not in self.flags


def _compose(value: Any, spec: _Spec, top: bool = True) -> str:
    """Format the scalars of slices, maps and structs, in Go's brackets."""
    if isinstance(value, Boxed):
        return _compose(value.target, spec, top)
    if isinstance(value, Pointer):
        inner = value.target
        return ("&" if top and isinstance(inner, Struct) else "") + _compose(inner, spec, top)
    if isinstance(value, Slice):
        return f"[{' '.join(_compose(item, spec, False) for item in value.items or ())}]"
    if isinstance(value, Map):
        entries = (f"{_scalar(key, spec)}:{_compose(item, spec, False)}" for key, item in value.sorted())
        return f"map[{' '.join(entries)}]"
    if isinstance(value, Struct):
        return f"{{{' '.join(_fields(value, spec))}}}"
    return _scalar(value, spec)


def _fields(value: Struct, spec: _Spec) -> Iterator[str]:
    named = spec.verb == "v" and "+" in spec.flags
    for each in value.type.fields:
        label = f"{each.name}:" if named else ""
        yield label + _compose(lift(value.values[each.name], each.type), spec, False)


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
    return problem + wrong + _format(left.pop(0), _Spec(verb, flags, width, precision))


def _number(text: str | None, left: list[Any], complaint: str) -> tuple[int | None, str]:
    if text != "*":
        if text is None or (len(text) <= 7 and int(text) <= MAX_WIDTH):
            return (None if text is None else int(text)), ""
        return None, complaint
    if left and type(left[0]) in (int, Int64) and abs(left[0]) <= MAX_WIDTH:
        return left.pop(0), ""
    if left:
        left.pop(0)
    return None, complaint


def _format(value: Any, spec: _Spec) -> str:
    if spec.verb == "T":
        return spec.pad(type_name(value))
    if spec.verb == "v" and "#" in spec.flags:
        raise ValueError("%#v is not supported")
    if _is_nil(value):
        return spec.pad("<nil>") if spec.verb == "v" else f"%!{spec.verb}(<nil>)"
    return _compose(value, spec)


def _scalar(value: Any, spec: _Spec) -> str:
    """One scalar, or Go's complaint that the verb does not suit it."""
    if isinstance(value, Time):
        value = str(value)
    if isinstance(value, Nil | Missing):
        return spec.pad("<nil>") if spec.verb == "v" else f"%!{spec.verb}({type_name(value)}=<nil>)"
    text = _SCALARS[type(value)](value, spec)
    if text is None:
        plain_spec = _Spec("v", spec.flags, spec.width, spec.precision)
        return f"%!{spec.verb}({type_name(value)}={_scalar(value, plain_spec)})"
    if not isinstance(value, str | bool) and spec.zeros and spec.width and (spec.precision is None or "." in text):
        sign = text[:1] if text[:1] in ("+", "-", " ") else ""
        return sign + text[len(sign) :].rjust(spec.width - len(sign), "0")
    return spec.pad(text)


def _boolean(value: bool, spec: _Spec) -> str | None:
    return str(value).lower() if spec.verb in "tv" else None


def _string(value: str, spec: _Spec) -> str | None:
    verb, flags, precision = spec.verb, spec.flags, spec.precision
    if precision is not None and verb in "sqv":
        value = value[:precision]
    if verb in "sv":
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


def _integer(value: int, spec: _Spec) -> str | None:
    verb, flags, precision = spec.verb, spec.flags, spec.precision
    codes = {"v": "d", "d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
    if verb in ("c", "q"):
        char = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
        return char if verb == "c" else f"'{quote(char)[1:-1]}'" if char != "'" else "'\\''"
    if verb == "U":
        shown = chr(value) if "#" in flags and 0 <= value <= 0x10FFFF else "\0"
        return f"U+{value % (1 << 64):04X}" + (f" '{shown}'" if shown.isprintable() else "")
    if verb not in codes:
        return None
    digits = format(abs(value), codes[verb]).rjust(precision or 0, "0")
    prefixes = {"x": "0x", "X": "0X", "b": "0b", "o": "0"}
    prefix = "0o" if verb == "O" else prefixes.get(verb, "") if "#" in flags else ""
    return _sign(value < 0, flags) + prefix + digits


def _float(value: float, spec: _Spec) -> str | None:
    verb, flags, precision = spec.verb.replace("v", "g"), spec.flags, spec.precision
    if verb not in "eEfFgG":
        return None
    if verb in "gG" and precision is None:
        text = _shortest(abs(value))
        return _sign(value < 0, flags) + (text.upper() if verb == "G" else text)
    return _sign(value < 0, flags) + format(abs(value), f".{6 if precision is None else precision}{verb}")


def _sign(negative: bool, flags: str) -> str:
    return "-" if negative else "+" if "+" in flags else " " if " " in flags else ""


_SCALARS: Final[dict[type, Callable[[Any, _Spec], str | None]]] = {
    bool: _boolean,
    int: _integer,
    Int64: _integer,
    float: _float,
    str: _string,
}


def _is_nil(value: Any) -> bool:
    return isinstance(value, Missing) or (isinstance(value, Nil) and value.type == "untyped nil")
