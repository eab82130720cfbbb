"""A run with its journal: which one it is, opened before the first image and closed after the last, off the loop."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from fastcopy.events import Message
from fastcopy.options import CopyOptions
from fastcopy.transfer.run import Run

if TYPE_CHECKING:
    from fastcopy.jobs import Job, Rule
    from fastcopy.journal.book import Book


@dataclass(slots=True)
class Ending:
    """How the run ended, as far as its own code can tell."""

    complete: bool | None = None  #: None: it did not come to its end


@asynccontextmanager
async def keeping(run: Run, key: Callable[[], str], command: str) -> AsyncIterator[Ending]:
    """Let *run* take its notes in its journal; raises JournalError when another process is at work on the same run."""
    ending = Ending()
    directory = run.options.journal
    if directory is None:
        yield ending
        return
    from fastcopy.journal.book import open_book

    heard: list[str] = []
    opened = await trio.to_thread.run_sync(partial(open_book, directory, key(), command, heard.append))
    for text in heard:
        run.emit(Message(text, "warning"))
    if opened is None:
        yield ending
        return
    book, lock = opened
    book.tell = lambda text: run.emit(Message(text, "warning"))
    before, run.notes = run.notes, book
    try:
        yield ending
    finally:
        run.notes = before
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(_close, book, ending))
        book.hear()
        lock.close()


def _close(book: Book, ending: Ending) -> None:
    book.close({None: "interrupted", True: "done", False: "incomplete"}[ending.complete])


def key_of(copy: CopyOptions, rules: Sequence[Rule], jobs: Sequence[Job], *names: str) -> str:
    """Which run this is: the same for the same images and the same options that change bytes, in any process."""
    text = "\n".join([_plain(copy), *map(_plain, rules), *(job.key for job in jobs), *names])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> str:
    """A text of a value that does not depend on the process: only what takes part in comparisons, and no secrets.

    As whom and how a registry is reached does not make it another run.
    """
    from fastcopy.jobs import Access

    if isinstance(value, Access):
        return ""
    if is_dataclass(value):
        shown = [
            f"{item.name}={_plain(getattr(value, item.name))}" for item in fields(value) if item.compare and item.repr
        ]
        return f"{type(value).__name__}({', '.join(shown)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(each)}" for key, each in sorted(value.items())) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return repr(value)
