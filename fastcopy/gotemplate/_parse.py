"""Tokens to a tree: Go's text/template grammar.

Owns the nodes and the errors of syntax, undefined functions and variables included (Go finds those while parsing).
Refuses to know values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import ClassVar, Final, NoReturn, TypeVar

from fastcopy.gotemplate._lex import TemplateError, Token, lex
from fastcopy.gotemplate._literals import number, unescape, unquote
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
    Text,
    Variable,
)

T = TypeVar("T")
#: Nesting of control structures and parentheses; Go's own limit for the latter is 1000 on 64-bit machines.
MAX_DEPTH: Final = 100


_CONTROL: Final = frozenset({"if", "with", "range", "end", "else", "define", "block", "template", "break", "continue"})


@dataclass(slots=True)
class Parser:
    """One parse; `templates` collects what `define` and `block` name."""

    name: str
    tokens: list[Token]
    functions: Collection[str]
    at: int = 0
    scopes: list[str] = field(default_factory=lambda: ["$"])
    loops: int = 0
    depth: int = 0
    templates: dict[str, Nodes] = field(default_factory=dict)

    def fail(self, message: str) -> NoReturn:
        """Raise in Go's form."""
        raise TemplateError(f"template: {self.name}:{self.peek().line}: {message}")

    def peek(self) -> Token:
        """The next token, left there."""
        return self.tokens[min(self.at, len(self.tokens) - 1)]

    def take(self) -> Token:
        """The next token."""
        token = self.peek()
        self.at += 1
        return token

    def expect(self, sort: str, context: str) -> Token:
        """The next token, which must be of *sort*."""
        if self.peek().sort != sort:
            self.unexpected(context)
        return self.take()

    def unexpected(self, context: str) -> NoReturn:
        """Complain about the next token."""
        token = self.peek()
        self.fail(f"unexpected {_shown(token)} in {context}")

    def literal(self, read: Callable[[str], T], token: Token) -> T:
        """A literal's value; what *read* has to say against it becomes this parser's complaint."""
        try:
            return read(token.text)
        except ValueError as problem:
            self.fail(str(problem))

    # Lists of nodes

    def nodes(self, inside: str) -> tuple[Nodes, str]:
        """Nodes up to ``end`` or ``else`` (or the end of the text when *inside* is ""), and which it was."""
        found: list[Node] = []
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail("too deeply nested")
        while True:
            token = self.take()
            if token.sort == "end":
                if inside:
                    self.fail("unexpected EOF")
                self.depth -= 1
                return tuple(found), ""
            if token.sort == "text":
                found.append(Text(token.text))
                continue
            word = self.peek().text if self.peek().sort == "word" else ""
            if word in ("end", "else") and self.peek().sort == "word":
                if not inside:
                    self.fail(f"unexpected {{{{{word}}}}}")
                self.take()
                self.depth -= 1
                return tuple(found), word
            node = self.action(word)
            if node is not None:
                found.append(node)

    def action(self, word: str) -> Node | None:
        """One action; the left delimiter is taken."""
        if word in _CONTROL:
            self.take()
            if word in ("if", "with", "range"):
                return self.branch(word)
            if word == "template":
                return self.call()
            if word in ("define", "block"):
                return self.define(word)
            return self.jump(word)
        pipe = self.pipeline("command", "close")
        return Action(pipe)

    def jump(self, word: str) -> Jump:
        """``break`` and ``continue``."""
        if not self.loops:
            self.fail(f"{{{{{word}}}}} outside {{{{range}}}}")
        self.expect("close", word)
        return Jump(word)

    def branch(self, word: str) -> Branch:
        """``if``, ``with``, ``range`` with their ``else`` chains."""
        outer = len(self.scopes)
        pipe = self.pipeline(word, "close")
        self.loops += word == "range"
        body, stop = self.nodes(word)
        self.loops -= word == "range"
        otherwise: Nodes = ()
        if stop == "else":
            nested = self.peek().text if self.peek().sort == "word" else ""
            if nested == word and word in ("if", "with"):
                self.take()
                otherwise = (self.branch(nested),)
                del self.scopes[outer:]
                return Branch(word, pipe, body, otherwise)
            self.expect("close", "else")
            otherwise, stop = self.nodes(word)
            if stop != "end":
                self.fail("expected end; found {{else}}")
        self.expect("close", "end")
        del self.scopes[outer:]
        return Branch(word, pipe, body, otherwise)

    def call(self) -> Call:
        """``template "name" [pipeline]``."""
        token = self.expect("string", "template clause")
        name = self.literal(unquote, token)
        pipe = None if self.peek().sort == "close" else self.pipeline("template", "close")
        if pipe is None:
            self.take()
        return Call(name, pipe, token.place)

    def define(self, word: str) -> Call | None:
        """``define`` and ``block``: a template of its own, which ``block`` also calls."""
        token = self.expect("string", f"{word} clause")
        name = self.literal(unquote, token)
        pipe = self.pipeline("block", "close") if word == "block" else None
        if pipe is None:
            self.expect("close", "define clause")
        elif self.depth > MAX_DEPTH:
            self.fail("too deeply nested")
        if word == "define" and self.depth > 1:
            self.fail("unexpected {{define}}")
        scopes, loops, self.scopes, self.loops = self.scopes, self.loops, ["$"], 0
        body, stop = self.nodes(word)
        if stop != "end":
            self.fail(f"unexpected {{{{else}}}} in {word}")
        self.expect("close", "end")
        self.scopes, self.loops = scopes, loops
        if self.templates.get(name):
            self.fail(f'template: multiple definition of template "{name}"')
        self.templates[name] = body
        return Call(name, pipe, token.place) if pipe else None

    # Pipelines

    def pipeline(self, context: str, stop: str) -> Pipe:
        """A pipeline up to a token of sort *stop* (or ``)``), which is taken."""
        place = self.peek().place
        variables, declares = self.declarations(context)
        commands: list[Command] = []
        while not (self.peek().sort == stop or (stop == ")" and self.peek().text == ")")):
            if self.peek().sort in ("end", "close") or self.peek().text in ("|", ")", ",", "=", ":="):
                self.unexpected(context)
            commands.append(self.command(context))
            if self.peek().text == "|":
                self.take()
        self.take()
        if not commands:
            self.fail(f"missing value for {context}")
        for command in commands[1:]:
            if isinstance(command.operands[0], Constant | Dot):
                self.fail("non executable command in pipeline stage 2")
        return Pipe(tuple(commands), tuple(variables), declares, place)

    def declarations(self, context: str) -> tuple[list[str], bool]:
        """``$x :=``, ``$x =``, and in range ``$i, $x :=``."""
        start, found = self.at, list[str]()
        while self.peek().sort == "variable":
            found.append(self.take().text)
            after = self.peek()
            if after.sort == "op" and after.text in (":=", "="):
                self.take()
                declares = after.text == ":="
                self.scopes += found if declares else ()
                return found, declares
            if not (after.text == "," and context == "range" and len(found) == 1):
                break
            self.take()
        self.at = start
        return [], True

    def known(self, variable: str) -> None:
        """Refuse variables nobody declared."""
        if variable not in self.scopes:
            self.fail(f'undefined variable "{variable}"')

    def command(self, context: str) -> Command:
        """Operands up to ``|``, ``)`` or the delimiter."""
        operands: list[Operand] = []
        while True:
            token = self.peek()
            if token.sort == "close" or token.text in ("|", ")"):
                break
            if operands and not token.spaced and token.text != "(":
                self.unexpected("operand")
            operands.append(self.operand(context))
        if not operands:
            self.fail("empty command")
        return Command(tuple(operands))

    def operand(self, context: str) -> Operand:
        """A term and the fields that follow it directly."""
        term = self.term(context)
        names: list[str] = []
        place = self.peek().place  # Go places a chain where its second part begins
        while self.peek().sort == "field" and not self.peek().spaced:
            names.append(self.take().text[1:])
        if names and isinstance(term, Constant):
            self.fail(f"unexpected . after term {term.text!r}")
        if not names:
            return term
        if isinstance(term, Chain):
            return Chain(term.base, (*term.names, *names), place)
        return Chain(term, tuple(names), place)

    def term(self, context: str) -> Operand:
        """One term."""
        token = self.peek()
        if token.text == "(" and token.sort == "op":
            return self.parenthesized()
        read = self._TERMS.get(token.sort)
        if read is None:
            self.unexpected("operand" if context == "command" else context)
        return read(self, self.take(), context)

    def parenthesized(self) -> Pipe:
        """A pipeline in parentheses."""
        self.take()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail("max expression depth exceeded")
        inner = self.pipeline("parenthesized pipeline", ")")
        self.depth -= 1
        return inner

    def variable(self, token: Token) -> Variable:
        """A variable that has been declared."""
        self.known(token.text)
        return Variable(token.text, token.place)

    _TERMS: ClassVar[dict[str, Callable[[Parser, Token, str], Operand]]] = {
        "field": lambda self, token, _: Chain(Dot(token.place), (token.text[1:],), token.place),
        "dot": lambda self, token, _: Dot(token.place),
        "variable": lambda self, token, _: self.variable(token),
        "string": lambda self, token, _: Constant(self.literal(unquote, token), token.text, token.place),
        "char": lambda self, token, _: Constant(ord(self.character(token)), token.text, token.place),
        "number": lambda self, token, _: Constant(self.literal(number, token), token.text, token.place),
        "word": lambda self, token, context: self.word(token, context),
    }

    def character(self, token: Token) -> str:
        """The one character of ``'x'``."""
        inner = self.literal(lambda text: unescape(text[1:-1]), token)
        if len(inner) != 1:
            self.fail(f"malformed character constant: {token.text}")
        return inner

    def word(self, token: Token, context: str) -> Operand:
        """true, false, nil or a function."""
        if token.text in ("true", "false"):
            return Constant(token.text == "true", token.text, token.place)
        if token.text == "nil":
            return Constant(None, "nil", token.place)
        if token.text in _CONTROL:
            self.at -= 1
            self.unexpected(context)
        if token.text not in self.functions:
            self.fail(f'function "{token.text}" not defined')
        return Function(token.text, token.place)


def _shown(token: Token) -> str:
    """A token as Go's complaints quote it."""
    if token.sort == "end":
        return "EOF"
    if token.sort == "dot" or token.text in _CONTROL | {"nil"}:
        return f"<{token.text}>"
    return f'"{token.text[:10]}"...' if len(token.text) > 10 else f'"{token.text}"'


def parse(text: str, name: str, functions: Collection[str]) -> tuple[Nodes, dict[str, Nodes]]:
    """The tree of *text* and the templates it defines; raises TemplateError in Go's form."""
    parser = Parser(name, list(lex(text, name)), functions)
    body, _ = parser.nodes("")
    return body, parser.templates
