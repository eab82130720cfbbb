"""The two files in SQL, and their versions. Pure text.

A *run* file belongs to one command over one set of images; `user_version` is its format, `application_id` says whose
it is. The *cache* belongs to everybody who shares the directory.

A file of a newer format is left alone, one of an older format is set aside: it holds hints, nobody converts them.

History: 1 the first; 2 `recoded` keeps annotations.
"""

from __future__ import annotations

from typing import Final

#: "fcpy", so that `file` and a wrong path can be told apart from any other database.
APPLICATION: Final = 0x66637079
VERSION: Final = 2

#: run: one row, who runs and how it ended ("running" of a process that is gone means killed).
#: image: every image of the list by `Job.key`; state is planned, copied, present or failed.
#: upload: what a registry keeps for us: confirmed bytes, where they go on, and the digest's state there.
#: blob: complete at that place, put or seen there by this run.
RUN: Final = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id = 1), began REAL NOT NULL, ended REAL, pid INTEGER NOT NULL,
    command TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE image (
    key TEXT PRIMARY KEY, source TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL,
    source_digest TEXT NOT NULL DEFAULT '', digest TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE upload (
    host TEXT, place TEXT, digest TEXT, location TEXT NOT NULL, offset INTEGER NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (host, place, digest)) WITHOUT ROWID;
CREATE TABLE blob (
    host TEXT, place TEXT, digest TEXT, size INTEGER NOT NULL, PRIMARY KEY (host, digest, place)) WITHOUT ROWID;
"""

#: blob: once complete at that place: where a mount is worth a try.
#: recoded: what a layer became in another compression, so that the variant at the destination is found again.
#: fact: what was learnt of a host's manners.
CACHE: Final = """
CREATE TABLE blob (
    host TEXT, digest TEXT, place TEXT, seen INTEGER NOT NULL, PRIMARY KEY (host, digest, place)) WITHOUT ROWID;
CREATE TABLE recoded (
    digest TEXT, compression TEXT, level INTEGER, new_digest TEXT NOT NULL, size INTEGER NOT NULL,
    diff_id TEXT NOT NULL, annotations TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (digest, compression, level)
) WITHOUT ROWID;
CREATE TABLE fact (host TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (host, name)) WITHOUT ROWID;
"""

#: Rows of the cache's tables that are kept, the newest: about 30 MB.
CACHE_ROWS: Final = 100_000
TRIM: Final = tuple(
    f"DELETE FROM {table} WHERE seen < (SELECT seen FROM {table} ORDER BY seen DESC LIMIT 1 OFFSET {CACHE_ROWS})"  # noqa: S608 - our own names
    for table in ("blob", "recoded")
)
