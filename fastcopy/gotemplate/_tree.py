"""The nodes of a parsed template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Place:
    """Line (from 1) and column (bytes, from 0), for messages."""

    line: int
    column: int


NOWHERE = Place(0, 0)


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: string, number, true, false or nil."""

    value: str | int | float | bool | None
    text: str
    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Dot:
    """The cursor."""

    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        return "."


@dataclass(frozen=True, slots=True)
class Function:
    """A function by name."""

    name: str
    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Variable:
    """``$`` or ``$name``."""

    name: str
    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields of something: ``.A.B`` (of dot), ``$x.A``, ``(pipeline).A``."""

    base: Operand
    names: tuple[str, ...]
    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        base = "" if isinstance(self.base, Dot) else str(self.base)
        return base + "".join(f".{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Command:
    """An operand and its arguments."""

    operands: tuple[Operand, ...]

    @property
    def place(self) -> Place:
        """Where its first operand stands."""
        return self.operands[0].place

    def __str__(self) -> str:
        return " ".join(map(str, self.operands))


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands joined by ``|``, and the variables that take the result."""

    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    declares: bool = True
    place: Place = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        left = f"{', '.join(self.variables)} {':=' if self.declares else '='} " if self.variables else ""
        return f"({left}{' | '.join(map(str, self.commands))})"


Operand: TypeAlias = Constant | Dot | Function | Variable | Chain | Pipe


@dataclass(frozen=True, slots=True)
class Text:
    """Text to copy."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline to evaluate, and to print unless it sets a variable."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` or ``range``."""

    word: str
    pipe: Pipe
    body: Nodes
    otherwise: Nodes


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``continue``."""

    word: str


@dataclass(frozen=True, slots=True)
class Call:
    """``template "name" pipeline``."""

    name: str
    pipe: Pipe | None
    place: Place = field(default=NOWHERE, compare=False)


Node: TypeAlias = Text | Action | Branch | Jump | Call
Nodes: TypeAlias = tuple[Node, ...]
