"""The three standard streams: what they are, and writing to them without ever failing a run.

Owns the answer to "is it a terminal" and what happens when the reader of a pipe went away.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TextIO


@dataclass
class Streams:
    """stdin, stdout and stderr."""

    inp: TextIO
    out: TextIO
    err: TextIO

    @classmethod
    def standard(cls) -> Streams:
        """Those of the process; arguments that were not UTF-8 come out as they came in."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="surrogateescape")
        return cls(sys.stdin, sys.stdout, sys.stderr)

    @property
    def out_is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return self.out.isatty()

    @property
    def err_is_terminal(self) -> bool:
        """Whether stderr is a terminal."""
        return self.err.isatty()

    def print(self, line: str) -> None:
        """A line on stdout."""
        _write(self.out, line + "\n")

    def tell(self, line: str) -> None:
        """A line on stderr."""
        _write(self.err, line + "\n")

    def write(self, data: str) -> None:
        """Text on stdout, as it is."""
        _write(self.out, data)

    def write_bytes(self, data: bytes) -> None:
        """Bytes on stdout, as they are."""
        with contextlib.suppress(BrokenPipeError):
            self.out.flush()
            self.out.buffer.write(data)
            self.out.flush()

    def finish(self) -> None:
        """Flush; when a reader is gone, keep the interpreter from complaining about it at exit."""
        for stream in (self.out, self.err):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(stream: TextIO, text: str) -> None:
    # A closed pipe must not stop a copy in the middle: `fastcopy copy … | head -1` still copies.
    with contextlib.suppress(BrokenPipeError):
        stream.write(text)
        stream.flush()
