"""Walk a template's tree over data: text/template's execution.

Owns scopes, fields, calls and the places in messages. Output is a string; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from fastcopy.gojson import Time
from fastcopy.gostruct import Struct
from fastcopy.gotemplate import _fmt, _funcs, _time
from fastcopy.gotemplate._lex import TemplateError
from fastcopy.gotemplate._tree import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    Constant,
    Dot,
    Function,
    Jump,
    Node,
    Nodes,
    Operand,
    Pipe,
    Place,
    Text,
    Variable,
)
from fastcopy.gotemplate._values import (
    ABSENT,
    MISSING,
    Boxed,
    Int64,
    Map,
    Method,
    Missing,
    Nil,
    Slice,
    lift,
    plain,
    truth,
    type_name,
)

#: Output of one template in characters, and depth of `template` calls (Go: 100 000 frames).
MAX_OUTPUT: Final = 16 << 20
MAX_CALLS: Final = 100
#: Steps of one execution: loops in loops over large ranges end in an error, not in a hang.
MAX_STEPS: Final = 1_000_000


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Given:
    """What an operand is applied to: arguments still to be evaluated with *dot*, and what was piped in."""

    operands: tuple[Operand, ...]
    dot: Any
    final: Any = ABSENT

    def __len__(self) -> int:
        return len(self.operands) + (self.final is not ABSENT)


@dataclass(slots=True)
class Run:
    """One execution."""

    name: str
    templates: Mapping[str, Nodes]
    out: list[str] = field(default_factory=list)
    length: int = 0
    steps: int = 0
    calls: int = 0
    scope: list[tuple[str, Any]] = field(default_factory=list)
    current: str = ""

    def fail(self, place: Place, node: object, message: str) -> NoReturn:
        """Raise in Go's form."""
        where = f"{self.name}:{place.line}:{place.column}"
        raise TemplateError(f'template: {where}: executing "{self.current}" at <{node}>: {message}')

    def write(self, text: str) -> None:
        """Add to the output."""
        self.length += len(text)
        if self.length > MAX_OUTPUT:
            raise TemplateError(f"template: {self.name}: the output exceeds {MAX_OUTPUT} characters")
        self.out.append(text)

    def step(self) -> None:
        """Count work done."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TemplateError(f"template: {self.name}: more than {MAX_STEPS} steps")

    # Nodes

    def template(self, name: str, dot: Any) -> None:
        """Execute the template *name* with a scope of its own."""
        outer_scope, outer_name = self.scope, self.current
        self.scope, self.current = [("$", dot)], name
        self.walk(self.templates[name], dot)
        self.scope, self.current = outer_scope, outer_name

    def walk(self, nodes: Nodes, dot: Any) -> None:
        """Execute *nodes* with *dot*."""
        for node in nodes:
            self.step()
            self.visit(node, dot)

    def visit(self, node: Node, dot: Any) -> None:
        """Execute one node."""
        match node:
            case Text():
                self.write(node.text)
            case Action():
                value = self.pipe(node.pipe, dot)
                if not node.pipe.variables:
                    self.write(_fmt.fprint(value))
            case Branch(word="range"):
                self.loop(node, dot)
            case Branch():
                self.branch(node, dot)
            case Jump():
                raise _Break if node.word == "break" else _Continue
            case Call():
                self.call_template(node, dot)

    def call_template(self, node: Call, dot: Any) -> None:
        """``{{template}}``."""
        if node.name not in self.templates:
            self.fail(node.place, f'{{{{template "{node.name}"}}}}', f'template "{node.name}" not defined')
        self.calls += 1
        if self.calls > MAX_CALLS:
            self.fail(node.place, f'{{{{template "{node.name}"}}}}', "exceeded maximum template depth")
        self.template(node.name, self.pipe(node.pipe, dot) if node.pipe else MISSING)
        self.calls -= 1

    def branch(self, node: Branch, dot: Any) -> None:
        """``if`` and ``with``."""
        mark = len(self.scope)
        value = self.pipe(node.pipe, dot)
        if truth(value):
            self.walk(node.body, value if node.word == "with" else dot)
        else:
            self.walk(node.otherwise, dot)
        del self.scope[mark:]

    def loop(self, node: Branch, dot: Any) -> None:
        """``range``."""
        mark = len(self.scope)
        value = plain(self.pipe(node.pipe, dot))
        pairs = self.pairs(node, value)
        try:
            for key, item in pairs:
                self.turn(node, key, item)
        except _Break:
            pass
        if not pairs:
            self.walk(node.otherwise, dot)
        del self.scope[mark:]

    def turn(self, node: Branch, key: Any, item: Any) -> None:
        """One turn of a loop: set the loop's variables, then walk the body with the item as dot."""
        self.step()
        names = node.pipe.variables
        for name, value in zip(names, (key, item) if len(names) > 1 else (item,), strict=False):
            self.assign(name, value, node.pipe)
        mark = len(self.scope)
        try:
            self.walk(node.body, item)
        except _Continue:
            pass
        finally:
            del self.scope[mark:]

    def pairs(self, node: Branch, value: Any) -> Any:
        """What a range goes over: pairs of index or key and element."""
        if isinstance(value, Slice):
            box = Boxed if value.element == "interface {}" else (lambda item: item)
            return [(number, box(item)) for number, item in enumerate(value.items or ())]
        if isinstance(value, Map):
            return value.sorted()
        if type(value) in (int, Int64):
            if len(node.pipe.variables) > 1:
                self.fail(node.pipe.place, node.pipe, f"can't use {value} to iterate over more than one variable")
            return _Counted(max(value, 0))
        if isinstance(value, Missing):
            return []
        return self.fail(node.pipe.place, str(node.pipe)[1:-1], f"range can't iterate over {_fmt.fprint(value)}")

    # Values

    def assign(self, name: str, value: Any, pipe: Pipe) -> None:
        """Set the innermost variable called *name*."""
        for at in range(len(self.scope) - 1, -1, -1):
            if self.scope[at][0] == name:
                self.scope[at] = (name, value)
                return
        last = pipe.commands[-1].operands[-1]
        self.fail(last.place, last, f"undefined variable: {name}")

    def variable(self, node: Variable) -> Any:
        """The value of a variable."""
        for name, value in reversed(self.scope):
            if name == node.name:
                return value
        return self.fail(node.place, node, f"undefined variable: {node.name}")

    def pipe(self, pipe: Pipe, dot: Any) -> Any:
        """A pipeline's value; its variables are set on the way."""
        value: Any = ABSENT
        for command in pipe.commands:
            self.step()
            value = self.command(command, dot, value)
            value = value.target if isinstance(value, Boxed) and len(pipe.commands) > 1 else value
        for name in pipe.variables:
            if pipe.declares:
                self.scope.append((name, value))
            else:
                self.assign(name, value, pipe)
        return value

    def command(self, command: Command, dot: Any, final: Any) -> Any:
        """An operand applied to its arguments, *final* being what was piped in."""
        first, given = command.operands[0], _Given(command.operands[1:], dot, final)
        if isinstance(first, Function):
            return self.function(first, command, given)
        if isinstance(first, Chain):
            return self.chain(first, given)
        if len(given):
            self.fail(first.place, first, f"can't give argument to non-function {first}")
        if isinstance(first, Constant) and first.value is None:
            self.fail(first.place, first, "nil is not a command")
        return self.operand(first, dot)

    def operand(self, node: Operand, dot: Any) -> Any:
        """An operand standing alone."""
        match node:
            case Constant():
                return Nil() if node.value is None else node.value
            case Dot():
                return dot
            case Variable():
                return self.variable(node)
            case Chain():
                return self.chain(node, _Given((), dot))
            case Function():
                return self.function(node, node, _Given((), dot))
            case Pipe():
                return self.pipe(node, dot)

    def chain(self, node: Chain, given: _Given) -> Any:
        """Fields of fields; the last may be a method and take the arguments."""
        if isinstance(node.base, Constant):
            self.fail(node.place, node, f"indirection through explicit nil in {node}")
        value = self.operand(node.base, given.dot)
        for name in node.names[:-1]:
            value = self.field(node, value, name, _Given((), given.dot))
        return self.field(node, value, node.names[-1], given)

    def field(self, node: Chain, receiver: Any, name: str, given: _Given) -> Any:
        """A struct's field, a map's entry, or a method of a time."""
        if isinstance(receiver, Missing):
            return MISSING
        inner = plain(receiver)
        method = _time.method(inner, name) if isinstance(inner, Time) else None
        if method is not None:
            return self.method(node, method, given)
        if isinstance(inner, Struct) and (found := _field(inner, name)) is not MISSING:
            if len(given):
                self.fail(node.place, node, f"{name} has arguments but cannot be invoked as function")
            return found
        if isinstance(inner, Map):
            if len(given):
                self.fail(node.place, node, f"{name} is not a method but has arguments")
            return (inner.items or {}).get(name, MISSING)
        if isinstance(inner, Nil) and inner.type.startswith("*"):
            self.fail(node.place, node, f"nil pointer evaluating {inner.type}.{name}")
        return self.fail(node.place, node, f"can't evaluate field {name} in type {type_name(receiver)}")

    def method(self, node: Chain, method: Method, given: _Given) -> Any:
        """Call a time's method: its only parameters are strings."""
        wanted = method.arguments
        if len(given) != wanted:
            self.fail(node.place, node, f"wrong number of args for {method.name}: want {wanted} got {len(given)}")
        return method.call(*self.arguments(node, given, ("string",) * wanted))

    def function(self, node: Function, whole: object, given: _Given) -> Any:
        """Call a function by name; *whole* is the command for messages."""
        if node.name in _funcs.SHORT_CIRCUIT:
            return self.short_circuit(node, given)
        builtin = _funcs.FUNCTIONS[node.name]
        wanted = len(builtin.types)
        if len(given) < wanted or (len(given) > wanted and not builtin.rest):
            least, shown = ("at least ", len(given.operands)) if builtin.rest else ("", len(given))
            self.fail(node.place, node, f"wrong number of args for {node.name}: want {least}{wanted} got {shown}")
        values = self.arguments(node, given, builtin.types + (builtin.rest,) * (len(given) - wanted))
        try:
            result = builtin.call(*values)
            if isinstance(result, str) and len(result) > MAX_OUTPUT:
                raise _funcs.Refusal(f"the result exceeds {MAX_OUTPUT} characters")
            return result
        except _funcs.Refusal as problem:
            message = str(problem)
            if given.operands:
                message = message.replace("non-function of", f"non-function {_bare(given.operands[0])} of")
            return self.fail(node.place, whole, f"error calling {node.name}: {message}")

    def short_circuit(self, node: Function, given: _Given) -> Any:
        """``and`` and ``or``."""
        if not len(given):
            self.fail(node.place, node, f"wrong number of args for {node.name}: want at least 1 got 0")
        value: Any = MISSING
        for argument in given.operands:
            value = self.operand(argument, given.dot)
            value = MISSING if isinstance(value, Nil) and value.type == Nil().type else value
            if truth(value) == _funcs.SHORT_CIRCUIT[node.name]:
                return value
        return value if given.final is ABSENT else given.final

    def arguments(self, node: Operand, given: _Given, types: tuple[str, ...]) -> list[Any]:
        """Evaluate and check arguments; the piped-in value is the last."""
        values = [
            self.argument(operand, self.operand(operand, given.dot), kind)
            for operand, kind in zip(given.operands, types, strict=False)
        ]
        return values if given.final is ABSENT else [*values, self.argument(node, given.final, types[-1])]

    def argument(self, node: Operand, value: Any, kind: str) -> Any:
        """One argument, fit for its parameter."""
        try:
            return _funcs.check(value, kind, str(node) if isinstance(node, Constant) else "")
        except _funcs.Refusal as problem:
            return self.fail(node.place, node, str(problem))


@dataclass(frozen=True, slots=True)
class _Counted:
    """range over an int: no list of it is made."""

    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return ((number, number) for number in range(self.count))


def _bare(node: Operand) -> str:
    """A pipeline without its parentheses."""
    return str(node)[1:-1] if isinstance(node, Pipe) else str(node)


def _field(struct: Struct, name: str) -> Any:
    """A field as a template value, promoted ones included; MISSING when there is none."""
    for each in struct.type.fields:
        if each.name == name:
            return lift(struct.values[name], each.type)
    for each in struct.type.fields:
        if each.embedded and (found := _field(struct.values[each.name], name)) is not MISSING:
            return found
    return MISSING


def execute(nodes: Nodes, templates: Mapping[str, Nodes], data: Any, name: str) -> str:
    """The output of *nodes* over *data*; raises TemplateError."""
    run = Run(name, {**templates, name: nodes})
    try:
        run.template(name, data)
    except RecursionError:
        raise TemplateError(f"template: {name}: too deeply nested") from None
    return "".join(run.out)
