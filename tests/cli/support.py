"""Running the command line inside the test's process, with streams that remember."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from fastcopy.cli import main
from fastcopy.cli.streams import Streams

_TIME = re.compile(r'^time="[^"]*" ', re.MULTILINE)


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Ran:
    """What came out of one call."""

    code: int
    out: str
    err: str

    @property
    def fatal(self) -> str:
        """The last line of stderr without its time."""
        return _TIME.sub("", self.err).rstrip("\n").rpartition("\n")[2]


def streams(inp: str = "", *, terminal: bool = False) -> Streams:
    """stdin with *inp*, and stdout and stderr in memory."""
    kind = Terminal if terminal else io.TextIOWrapper
    out, err = (kind(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    return Streams(io.StringIO(inp), out, err)


def written(stream: io.TextIOBase) -> str:
    """Everything written to a stream of `streams`."""
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


def run(*words: str, inp: str = "", program: str = "fastcopy", terminal: bool = False) -> Ran:
    """``fastcopy words…``"""
    made = streams(inp, terminal=terminal)
    code = main([program, *words], made)
    return Ran(code, written(made.out), written(made.err))
