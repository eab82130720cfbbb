"""What a flag is, and what a command line has been understood as.

Owns the values `Flag`, `Kind` and `Parsed`. Knows no particular flag (flagtable.py) and no grammar (parser.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fastcopy.cli import govalues as go


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value: how it is read, what help calls it, what `--flag` alone means ("" : it needs a value)."""

    shown: str
    read: Callable[[str], Any]
    alone: str = ""
    gathers: bool = False  #: given again, values add up instead of replacing each other


STRING = Kind("string", go.text)
PATH = Kind("string", go.path)
BOOL = Kind("", go.boolean, alone="true")
INT = Kind("int", go.integer)
UINT = Kind("uint", go.unsigned)
DURATION = Kind("duration", go.duration)
STRINGS = Kind("strings", go.strings, gathers=True)
INTS = Kind("ints", go.integers, gathers=True)
SIZE = Kind("SIZE", go.size)
RATE = Kind("RATE", go.rate)


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. Either `to` names fields of Options, or `refused` says why not, or the command reads it itself.

    `to` is a dotted path ("run.retries"), several joined by commas; a field in angle brackets ("<source.credentials>")
    is filled by build.py together with others. `no_effect` is why an accepted flag changes nothing.
    """

    name: str
    kind: Kind
    help: str
    to: str = ""
    short: str = ""
    shown: str = ""
    hidden: bool = False
    refused: str = ""
    no_effect: str = ""
    ours: bool = False  #: skopeo does not have it
    warning: str = ""

    @property
    def display(self) -> str:
        """As error texts name it: ``--quiet`` or ``-q, --quiet``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    @property
    def placeholder(self) -> str:
        """What help shows behind the name."""
        return self.shown or self.kind.shown


@dataclass(slots=True)
class Parsed:
    """A command line, understood: values by flag name (only those given) and positionals in order."""

    values: dict[str, Any] = field(default_factory=dict)
    positionals: list[str] = field(default_factory=list)
    flags: dict[str, Flag] = field(default_factory=dict)

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self.values

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the flag, or *default* when it was not given."""
        return self.values.get(name, default)

    def put(self, flag: Flag, value: Any) -> None:
        """Record a value; the last one wins unless the kind gathers."""
        if flag.kind.gathers and flag.name in self.values:
            value = self.values[flag.name] + value
        self.values[flag.name] = value
        self.flags[flag.name] = flag


class FlagSet:
    """Flags by name and by letter; a later flag hides an earlier one of the same name."""

    def __init__(self, flags: Iterable[Flag]) -> None:
        self.by_name = {flag.name: flag for flag in flags}
        self.by_short = {flag.short: flag for flag in self.by_name.values() if flag.short}

    def names(self) -> list[str]:
        """Every name that help shows."""
        return [name for name, flag in self.by_name.items() if not flag.hidden and not flag.refused]
