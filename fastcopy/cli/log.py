"""Log lines on stderr, spelled as skopeo's logger (logrus) spells them.

Owns the two spellings: key=value where stderr is a file or a pipe, coloured words on a terminal. Knows no command.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal, TextIO

from fastcopy.cli.govalues import quote

Level = Literal["debug", "info", "warning", "error", "fatal"]
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9\-._/@^+]+")
#: Terminal spelling: the word and its SGR colour.
_TERMINAL = {"debug": ("DEBU", 37), "info": ("INFO", 36), "warning": ("WARN", 33), "error": ("ERRO", 31),
             "fatal": ("FATA", 31)}  # fmt: skip
_MESSAGE_COLUMNS = 44


class Log:
    """Writes log lines to *stream*; lines below *level* (debug only with --debug) are dropped."""

    def __init__(
        self,
        stream: TextIO,
        *,
        terminal: bool,
        debug: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._terminal = terminal
        self._now = now
        self._clock = clock
        self._start = clock()
        self.debugging = debug
        self.paused: Callable[[str], None] | None = None  #: a live display that must print the line itself

    def debug(self, message: str, **fields: object) -> None:
        """Only shown with --debug."""
        if self.debugging:
            self._write("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Something worth knowing."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Something that may be a mistake."""
        self._write("warning", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """A failure after which the run goes on."""
        self._write("error", message, fields)

    def fatal(self, message: str, **fields: object) -> None:
        """The failure that ends the run; the caller exits."""
        self._write("fatal", message, fields)

    def _write(self, level: Level, message: str, fields: dict[str, object]) -> None:
        line = self._on_terminal(level, message, fields) if self._terminal else self._in_file(level, message, fields)
        if self.paused is not None:
            self.paused(line)
            return
        self._stream.write(line + "\n")
        self._stream.flush()

    def _in_file(self, level: Level, message: str, fields: dict[str, object]) -> str:
        moment = self._now().isoformat(timespec="seconds").replace("+00:00", "Z")
        parts = [f'time="{moment}" level={level} msg={_value(message)}']
        return " ".join(parts + [f"{key}={_value(str(fields[key]))}" for key in sorted(fields)])

    def _on_terminal(self, level: Level, message: str, fields: dict[str, object]) -> str:
        word, colour = _TERMINAL[level]
        seconds = int(self._clock() - self._start)
        head = f"\x1b[{colour}m{word}\x1b[0m[{seconds:04d}] {message.rstrip():<{_MESSAGE_COLUMNS}} "
        return head + " ".join(f"\x1b[{colour}m{key}\x1b[0m={_value(str(fields[key]))}" for key in sorted(fields))


def _value(text: str) -> str:
    return text if _PLAIN_VALUE.fullmatch(text) else quote(text)
