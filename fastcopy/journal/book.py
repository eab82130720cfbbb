"""The notes of a run, kept: in memory for whoever asks, on disk by the writers' threads.

What is short (open uploads, variants, facts) is read when the book is opened. Which blobs are where is looked up when
an image asks for it, in a thread, one hand-over for all blobs that ask at once: a run in which nothing has changed
reads nothing of it. The loop touches memory alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from fastcopy.descriptor import Digest
from fastcopy.errors import FastcopyError
from fastcopy.journal import places, schema
from fastcopy.journal.database import Unusable, Writer, connect, unusable
from fastcopy.transfer.notes import Notes, OpenUpload, Recoded

Tell = Callable[[str], None]
_Blob = tuple[str, Digest]  #: host and digest


class Book(Notes):
    """A run's journal, and the cache where it can be had. Close it."""

    @property
    def lasting(self) -> bool:
        return self._run is not None

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._run: Shelf | None = None
        self._cache: Shelf | None = None
        self.tell = tell
        self._places: dict[_Blob, dict[str, None]] = defaultdict(dict)
        self._arrived: set[tuple[str, str, Digest]] = set()
        self._recalled: set[_Blob] = set()
        self._question: Question | None = None
        self._former: list[Shelf] = []  #: those in which somebody noted places before
        self._grew = False  #: whether anything was put into the cache

    def checkpoint(self, upload: OpenUpload) -> None:
        super().checkpoint(upload)
        self._write(
            "INSERT OR REPLACE INTO upload VALUES (?, ?, ?, ?, ?, ?)",
            upload.host, upload.place, upload.digest, upload.location, upload.offset, upload.state,
        )  # fmt: skip

    def closed(self, host: str, place: str, digest: Digest) -> None:
        if super().open_upload(host, place, digest) is not None:
            super().closed(host, place, digest)
            self._write("DELETE FROM upload WHERE host=? AND place=? AND digest=?", host, place, digest)

    def arrived(self, host: str, place: str, digest: Digest, size: int) -> None:
        self.closed(host, place, digest)
        if not host or (host, place, digest) in self._arrived:
            return
        self._arrived.add((host, place, digest))
        self._places[host, digest][place] = None
        self._write("INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)", host, place, digest, size)
        self._share("INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)", host, digest, place, int(time.time()))

    async def recall(self, host: str, digest: Digest) -> None:
        blob = (host, digest)
        if blob in self._recalled or not self._former:
            return
        self._recalled.add(blob)
        if self._question is not None:
            self._question.blobs.append(blob)
            await self._question.answered.wait()
            return
        question = self._question = Question([blob])
        try:
            await trio.lowlevel.checkpoint()  # the other blobs of the image are about to ask
            self._question = None
            await trio.to_thread.run_sync(self._look_up, question.blobs)
        finally:
            self._question = None if self._question is question else self._question
            question.answered.set()

    def _look_up(self, blobs: Sequence[_Blob]) -> None:
        """Runs in a thread. A file that cannot be read now knows nothing."""
        for shelf in self._former:
            for blob, place in shelf.places_of(blobs):
                self._places[blob].setdefault(place)

    def places(self, host: str, digest: Digest) -> Sequence[str]:
        return tuple(self._places.get((host, digest), ()))

    def lost(self, host: str, place: str, digest: Digest) -> None:
        self._arrived.discard((host, place, digest))
        if self._places.get((host, digest), {}).pop(place, self) is not self:
            where = "DELETE FROM blob WHERE host=? AND digest=? AND place=?"
            self._write(where, host, digest, place)
            self._share(where, host, digest, place)

    def became(self, digest: Digest, compression: str, level: int | None, made: Recoded) -> None:
        super().became(digest, compression, level, made)
        self._share(
            "INSERT OR REPLACE INTO recoded VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            digest, compression, _stored(level), made.digest, made.size, made.diff_id,
            json.dumps(dict(made.annotations)), int(time.time()),
        )  # fmt: skip

    def learnt(self, host: str, name: str, value: str) -> None:
        if self.fact(host, name) != value:
            super().learnt(host, name, value)
            self._share("INSERT OR REPLACE INTO fact VALUES (?, ?, ?)", host, name, value)

    def image(self, key: str, source: str, destination: str, state: str, **told: str) -> None:
        self._write(
            "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?, ?, ?)",
            key, source, destination, state,
            told.get("source_digest", ""), told.get("digest", ""), told.get("error", ""),
        )  # fmt: skip

    def _write(self, sql: str, *values: object) -> None:
        self._put(self._run, sql, values)

    def _share(self, sql: str, *values: object) -> None:
        self._grew = True
        self._put(self._cache, sql, values)

    def _put(self, shelf: Shelf | None, sql: str, values: tuple[object, ...]) -> None:
        if shelf is not None:
            shelf.writer.put(sql, *values)
            self._hear(shelf)

    def hear(self) -> None:
        """Tell what has not been told of failures to write."""
        for shelf in (self._run, self._cache):
            if shelf is not None:
                self._hear(shelf)

    def _hear(self, shelf: Shelf) -> None:
        """Tell once that *shelf* is no longer written; a cache that others are busy with is nobody's concern."""
        failure = shelf.failure
        if failure and not shelf.told:
            shelf.told = True
            if shelf is self._run or not _busy(failure):
                self.tell(f"{shelf.path} can no longer be written ({failure}): {shelf.loss}")

    def load_run(self, shelf: Shelf) -> None:
        """Read what a former process of this run wrote; raises Unusable."""
        for host, place, digest, location, offset, state in shelf.rows("SELECT * FROM upload"):
            super().checkpoint(OpenUpload(host, place, Digest(digest), location, offset, state))
        self._run = shelf
        self._ask_later(shelf)

    def load_cache(self, shelf: Shelf) -> None:
        """Read what other runs wrote; raises Unusable."""
        for digest, compression, level, new, size, diff_id, notes, _ in shelf.rows("SELECT * FROM recoded"):
            made = Recoded(Digest(new), size, Digest(diff_id), json.loads(notes))
            self._recoded[Digest(digest), compression, _read_level(level)] = made
        for host, name, value in shelf.rows("SELECT * FROM fact"):
            self._facts[host, name] = value
        self._cache = shelf
        self._ask_later(shelf)

    def _ask_later(self, shelf: Shelf) -> None:
        if shelf.rows("SELECT 1 FROM blob LIMIT 1"):
            self._former.append(shelf)

    def begin(self, command: str) -> None:
        """Note that a process works on the run."""
        self._write(
            "INSERT INTO run VALUES (1, ?, NULL, ?, ?, 'running') ON CONFLICT (id) DO UPDATE "
            "SET began=excluded.began, ended=NULL, pid=excluded.pid, command=excluded.command, state='running'",
            time.time(), os.getpid(), command,
        )  # fmt: skip
        self._write("DELETE FROM image")

    def close(self, state: str) -> None:
        """Note how the run ended (done, incomplete, interrupted), and write everything; then `hear`."""
        self._write("UPDATE run SET ended=?, state=?", time.time(), state)
        if self._grew:
            for sql in schema.TRIM:
                self._share(sql)
        for shelf in (self._run, self._cache):
            if shelf is not None:
                shelf.close()


#: What a run is without its journal, and without the cache.
GOING_ON = "the run goes on without it; interrupted, it would start its unfinished blobs anew"
CACHELESS = "the run goes on without it; blobs that other repositories of the destination have may be sent again"


def _busy(failure: str) -> bool:
    """Whether it is only that another process writes: no reason to tell anybody about a cache."""
    return "locked" in failure


#: No level, as a key of a table: NULLs are never equal to each other.
_DEFAULT_LEVEL = -1000


def _stored(level: int | None) -> int:
    return _DEFAULT_LEVEL if level is None else level


def _read_level(stored: int) -> int | None:
    return None if stored == _DEFAULT_LEVEL else stored


@dataclass(slots=True)
class Question:
    """Blobs that are looked up together."""

    blobs: list[_Blob]
    answered: trio.Event = field(default_factory=trio.Event)


class Shelf:
    """One open file: read at first, then written by its thread; places are looked up beside that."""

    def __init__(self, path: Path, sql: str, *, wal: bool) -> None:
        self.path, self.told = path, False
        self.loss = CACHELESS if sql == schema.CACHE else GOING_ON
        self._connection = connect(path, sql, wal=wal)
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()

    @property
    def writer(self) -> Writer:
        """Begins to write; there is nothing to be read any more."""
        if self._writer is None:
            self._writer = Writer(self._connection)
        return self._writer

    @property
    def failure(self) -> str:
        """Why nothing is written any more; "" as long as all is well, or nothing was to be written."""
        return self._writer.failure if self._writer is not None else ""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read, before anything is written; raises Unusable."""
        try:
            return self._connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise unusable(error) from None

    def places_of(self, blobs: Sequence[_Blob]) -> list[tuple[_Blob, str]]:
        """Where *blobs* once were, by a connection of its own; nothing when that cannot be learnt."""
        try:
            with self._reading:
                file = self._reader = self._reader or _reader(self.path)
                return [
                    (blob, place)
                    for blob in blobs
                    for (place,) in file.execute("SELECT place FROM blob WHERE host=? AND digest=?", blob)
                ]
        except sqlite3.Error:
            return []

    def close(self) -> None:
        """Write everything and close."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()
        else:
            self._connection.close()


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0.1, check_same_thread=False)


def open_book(directory: Path, key: str, command: str, tell: Tell) -> tuple[Book, places.Lock] | None:
    """The notes of run *key*; None, once *tell* has heard why, when they cannot be kept.

    Raises JournalError when another process is at work on the same run.
    """
    path = places.run_file(directory, key)
    try:
        places.make(directory)
        lock = places.Lock(path)
    except OSError as error:
        tell(f"no journal can be kept in {directory} ({(error.strerror or str(error)).lower()}): {GOING_ON}")
        return None
    book = Book(tell)
    remote = places.is_remote(directory)
    if not _shelved(path, schema.RUN, tell, book.load_run, wal=not remote):
        lock.close()
        return None
    if not remote:
        _shelved(places.cache_file(directory), schema.CACHE, tell, book.load_cache, wal=True)
    book.begin(command)
    places.sweep(directory, time.time())
    return book, lock


def _shelved(path: Path, sql: str, tell: Tell, load: Callable[[Shelf], None], *, wal: bool) -> bool:
    """Open and read a file, made anew when it is damaged; False, once *tell* has heard why, when it cannot be used."""
    try:
        _read(path, sql, load, wal=wal)
        return True
    except Unusable as problem:
        reason, loss = str(problem), CACHELESS if sql == schema.CACHE else GOING_ON
        if not problem.damaged:
            if sql == schema.RUN or not _busy(reason):
                tell(f"{path} cannot be used ({reason}): {loss}")
            return False
    try:
        aside = places.set_aside(path)
        tell(f"{path} was set aside as {aside.name} and begun anew: {reason}")
        _read(path, sql, load, wal=wal)
        return True
    except (OSError, Unusable) as error:
        tell(f"{path} cannot be used ({reason}; {error}): {loss}")
        return False


def _read(path: Path, sql: str, load: Callable[[Shelf], None], *, wal: bool) -> None:
    shelf = Shelf(path, sql, wal=wal)
    try:
        load(shelf)
    except (ValueError, TypeError, FastcopyError) as error:  # rows that nobody of us wrote
        shelf.close()
        raise Unusable(f"it is damaged: {error}", damaged=True) from None
    except Unusable:
        shelf.close()
        raise
