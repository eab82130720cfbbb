"""Opening one of the files, and the one thread that writes to it.

Law: whoever puts a statement never waits and never hears of a failure; the first failure ends the writing for good,
and `failure` says why.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from fastcopy.journal.schema import APPLICATION, VERSION

#: Statements are written together once so many wait, or the first has waited so long (seconds): what a kill may cost.
#: A commit to a WAL takes 11 us, a thread's waking ten times that: a hundred a second are 1 % of a core.
BATCH, LINGER = 256, 0.01
#: A file that another process writes is waited for this long (milliseconds).
BUSY: Final = 500

Statement = tuple[str, tuple[Any, ...]]


class Unusable(Exception):
    """The file cannot be used; the text says why, `damaged` that it is not a database of ours any more."""

    def __init__(self, why: str, *, damaged: bool = False) -> None:
        super().__init__(why)
        self.damaged = damaged


#: What sqlite says of a file that is not what it should be; everything else (no room, no right, busy) is not its fault.
_DAMAGED: Final = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def unusable(error: sqlite3.Error) -> Unusable:
    """What *error* means for the file."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return Unusable(f"it is damaged: {_words(error)}", damaged=True)
    return Unusable(_words(error))


def connect(path: Path, schema: str, *, wal: bool) -> sqlite3.Connection:
    """Open *path*, made with mode 0600 if it is new; raises Unusable."""
    fresh = not path.exists()
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY / 1000, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise Unusable(_words(error)) from None
    try:
        _prepare(connection, schema, wal=wal)
        return connection
    except BaseException:
        connection.close()
        if fresh:  # nothing half-made stays behind
            path.unlink(missing_ok=True)
        raise


def _prepare(connection: sqlite3.Connection, schema: str, *, wal: bool) -> None:
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        if not version and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            _create(connection, schema)
        elif owner != APPLICATION:
            raise Unusable("it is not a file of fastcopy's", damaged=True)
        elif version > VERSION:
            raise Unusable(f"it was written by a newer fastcopy (format {version}, this one knows {VERSION})")
        elif version < VERSION:
            raise Unusable(f"it was written by an older fastcopy (format {version})", damaged=True)
        elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise Unusable(f"it is damaged: {found}", damaged=True)
        # Only now: what is not ours is not changed.
        connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
        # NORMAL: a process that is killed loses nothing, a machine that loses power the last moments.
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error as error:
        raise unusable(error) from None


def _create(connection: sqlite3.Connection, schema: str) -> None:
    stamp = f"PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE; {schema} {stamp} COMMIT;")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


def _storable(value: Any) -> Any:
    """*value* without bytes that were no UTF-8 (a file name in a command line): SQLite takes none of them."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


class Writer:
    """The thread that owns a connection once it is running; `close` ends it with everything written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[Statement | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fastcopy journal", daemon=True)
        self.failure = ""  #: why nothing is written any more
        self._thread.start()

    def put(self, sql: str, *values: Any) -> None:
        """Write this some time soon, in the order of calls."""
        if not self.failure:
            self._queue.put((sql, values))

    def close(self, patience: float = 5.0) -> None:
        """Write what waits, at most for *patience* seconds, and close the file."""
        self._queue.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._gather()
            if batch and not self.failure:
                self._write(batch)
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _gather(self) -> tuple[list[Statement], bool]:
        batch: list[Statement] = []
        item = self._queue.get()
        until = time.monotonic() + LINGER
        while item is not None:
            batch.append(item)
            try:
                left = max(0.0, until - time.monotonic())
                item = self._queue.get(timeout=left) if len(batch) < BATCH and left else self._queue.get_nowait()
            except queue.Empty:
                return batch, False
            if len(batch) >= BATCH and item is not None:
                batch.append(item)
                return batch, False
        return batch, True

    def _write(self, batch: Iterable[Statement]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, values in batch:
                self._connection.execute(sql, [_storable(value) for value in values])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.failure = _words(error)
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
