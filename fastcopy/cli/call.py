"""One call of the program: what a command is given, and how its failure becomes a line and an exit code.

Owns the wording of the fatal line. Knows no command.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastcopy.cli.flags import Parsed
from fastcopy.cli.log import Log
from fastcopy.cli.streams import Streams
from fastcopy.errors import Bug, FastcopyError, Interrupted, ManifestUnknown

if TYPE_CHECKING:
    from fastcopy.cli.commandtable import Command
    from fastcopy.cli.show import Show
    from fastcopy.options import Options

#: The commands whose exit codes are fastcopy's own (docs/errors.md); skopeo's exit with 0, 1, 2 or 130.
OWN_EXIT_CODES = frozenset({"serve", "convert", "status", "plan"})


@dataclass
class Call:
    """What a command works with. `sides` names source and destination for error texts."""

    program: str
    command: Command
    parsed: Parsed
    streams: Streams
    log: Log
    sides: dict[str, str] = field(default_factory=dict)
    prefix: str = ""  #: what skopeo puts before any failure of this command
    show: Show | None = None
    own_codes: bool = False  #: this call of a command of skopeo's is one that skopeo could not have been given
    on_drain: Callable[[], None] | None = None  #: called at SIGTERM: finish what is in flight, begin nothing new
    on_interrupt: Callable[[], None] | None = None  #: called at the first Ctrl-C, where that is no failure

    @property
    def shim(self) -> bool:
        """Whether we were called as skopeo."""
        return self.program == "skopeo"

    @property
    def trace(self) -> Callable[[str], None] | None:
        """Where request lines go: to the log with --debug, else nowhere."""
        return self.log.debug if self.log.debugging else None

    def options(self) -> Options:
        """Options as the command line asks; raises UsageError or Unsupported."""
        from fastcopy.cli.build import options_of

        return options_of(self.parsed)

    def arguments(self, count: int, otherwise: str) -> list[str]:
        """The positionals, exactly *count* of them; raises WrongArguments with skopeo's text *otherwise*."""
        if len(self.parsed.positionals) != count:
            raise WrongArguments(otherwise)
        return self.parsed.positionals


class Terminated(FastcopyError):
    """SIGTERM ended a command that could not be drained; the exit code is the one a shell gives for it."""

    slug, exit_code = "terminated", 128 + signal.SIGTERM


class WrongArguments(FastcopyError):
    """The number of positionals is wrong."""

    slug = "usage"


def leaf(error: BaseException) -> BaseException:
    """The failure that says most of a group of failures: ours before strangers', the first of its kind."""
    leaves = list(_leaves(error))
    ours = [each for each in leaves if isinstance(each, FastcopyError) and not isinstance(each, Bug)]
    return (ours or leaves)[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def exit_code(error: FastcopyError, command: str, *, own: bool = False) -> int:
    """0, 1, 2 or 130 for skopeo's commands: 2 when the registry says that the manifest does not exist."""
    if isinstance(error, Interrupted):
        return 130
    if own or command in OWN_EXIT_CODES or isinstance(error, Terminated):
        return error.exit_code
    return 2 if any(isinstance(each, ManifestUnknown) for each in _chain(error)) else 1


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def fatal_text(error: FastcopyError, call: Call) -> str:
    """The text of the fatal line: skopeo's prefix, the side at fault, what happened, a hint."""
    text = str(error)
    name = call.sides.get(error.side, "")
    if call.prefix:  # it names the image already
        return call.prefix + text.removeprefix(f"initializing {error.side} {name}: ").removeprefix(call.prefix)
    if name and name not in text:
        phase = "" if call.show is None or call.show.began else "initializing "
        text = f"{phase}{error.side} {name}: {text}"
    return text
