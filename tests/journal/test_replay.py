"""What a kill leaves behind: the state after some of the notes, in their order, never another."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy.descriptor import Digest
from fastcopy.jobs import Access, Job, Rule
from fastcopy.journal import places
from fastcopy.journal.book import Book, open_book
from fastcopy.migrate.journaling import key_of
from fastcopy.options import CopyOptions, Credentials
from fastcopy.transfer.notes import OpenUpload, Recoded

DIGESTS = [Digest(f"sha256:{letter * 64}") for letter in "abc"]
BLOB = st.tuples(st.just("r.lan"), st.sampled_from(["one", "two"]), st.sampled_from(DIGESTS))
NOTE = st.one_of(
    st.tuples(st.just("checkpoint"), BLOB, st.integers(1, 1 << 40)),
    st.tuples(st.just("closed"), BLOB, st.just(0)),
    st.tuples(st.just("arrived"), BLOB, st.integers(0, 1 << 40)),
    st.tuples(st.just("lost"), BLOB, st.just(0)),
    st.tuples(st.just("image"), BLOB, st.just(0)),
)
Note = tuple[str, tuple[str, str, Digest], int]
State = tuple[frozenset[tuple[object, ...]], ...]


def _tell(book: Book, note: Note) -> None:
    what, blob, number = note
    if what == "checkpoint":
        book.checkpoint(OpenUpload(*blob, f"/v2/x?_state={number}", number, b"midstate"))
    elif what == "arrived":
        book.arrived(*blob, number)
    elif what == "image":
        book.image(blob[2], "docker://a", "docker://b", "copied")
    else:
        getattr(book, what)(*blob)


def _prefixes(notes: list[Note]) -> Iterator[State]:
    """The states that the file may have, each after one more statement."""
    uploads: dict[object, int] = {}
    blobs: dict[object, int] = {}
    images: set[object] = set()

    def state() -> State:
        return (
            frozenset((*key, offset) for key, offset in uploads.items()),  # type: ignore[misc]
            frozenset((*key, size) for key, size in blobs.items()),  # type: ignore[misc]
            frozenset((each,) for each in images),
        )

    yield state()
    for what, blob, number in notes:
        if what == "checkpoint":
            uploads[blob] = number
        elif what in ("closed", "arrived"):
            uploads.pop(blob, None)
            yield state()
            if what == "arrived":
                blobs.setdefault(blob, number)
        elif what == "lost":
            blobs.pop(blob, None)
        else:
            images.add(blob[2])
        yield state()


def _stored(path: Path) -> State:
    file = sqlite3.connect(path)
    try:
        return (
            frozenset(file.execute("SELECT host, place, digest, offset FROM upload")),
            frozenset(file.execute("SELECT host, place, digest, size FROM blob")),
            frozenset(file.execute("SELECT key FROM image")),
        )
    finally:
        file.close()


@settings(max_examples=40)
@given(st.lists(NOTE, max_size=40), st.integers(0, 40), st.floats(0, 0.015))
def test_a_kill_at_any_moment_leaves_the_state_after_some_of_the_notes(
    notes: list[Note], at: int, pause: float
) -> None:
    """The files as they are at that moment, opened anew: a prefix, whatever was in the writer's hands."""
    with tempfile.TemporaryDirectory() as name:
        base, left = Path(name) / "a", Path(name) / "b"
        opened = open_book(base, "k", "sync", lambda text: None)
        assert opened is not None
        book, lock = opened
        for note in notes[:at]:
            _tell(book, note)
        time.sleep(pause)
        left.mkdir()
        for each in sorted(base.glob("run-*"), key=lambda path: len(path.name)):  # the file before its log
            if not each.name.endswith("-shm"):
                shutil.copy(each, left / each.name)
        for note in notes[at:]:
            _tell(book, note)
        book.close("done")
        lock.close()
        everything = list(_prefixes(notes))
        assert _stored(places.run_file(left, "k")) in _prefixes(notes[:at])
        assert _stored(places.run_file(base, "k")) == everything[-1]


@given(st.lists(NOTE, max_size=20))
def test_the_next_process_knows_what_the_former_one_noted(notes: list[Note]) -> None:
    """Open uploads at once, places when they are asked for."""
    with tempfile.TemporaryDirectory() as name:
        for told in (notes, []):
            opened = open_book(Path(name), "k", "sync", lambda text: None)
            assert opened is not None
            book, lock = opened
            for note in told:
                _tell(book, note)
            if not told:
                uploads, blobs, _ = list(_prefixes(notes))[-1]
                _holds(book, uploads, blobs)
            book.close("done")
            lock.close()


def _holds(book: Book, uploads: frozenset[tuple[object, ...]], blobs: frozenset[tuple[object, ...]]) -> None:
    async def ask() -> None:
        async with trio.open_nursery() as nursery:  # at once, as the blobs of an image do
            for digest in DIGESTS:
                nursery.start_soon(book.recall, "r.lan", digest)

    trio.run(ask)
    for digest in DIGESTS:
        assert set(book.places("r.lan", digest)) == {place for _, place, each, _ in blobs if each == digest}
        for place in ("one", "two"):
            found = book.open_upload("r.lan", place, digest)
            offsets = [offset for _, at, each, offset in uploads if (at, each) == (place, digest)]
            assert [found.offset] == offsets if found else not offsets


async def test_whoever_asks_while_others_are_answered_waits_for_the_answer(tmp_path: Path) -> None:
    """And a cancelled question leaves nobody waiting."""
    opened = open_book(tmp_path, "k", "sync", lambda text: None)
    assert opened is not None
    book, lock = opened
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.recall, "r.lan", DIGESTS[0])
        nursery.start_soon(book.recall, "r.lan", DIGESTS[1])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with trio.fail_after(10):
        await book.recall("r.lan", DIGESTS[2])
    book.close("done")
    lock.close()


def test_recompressed_layers_and_facts_are_remembered_by_the_next_run(tmp_path: Path) -> None:
    """In the cache, whichever run learnt them; without a level is a level of its own."""
    made = Recoded(DIGESTS[1], 10, DIGESTS[2])
    for key in ("one", "two"):
        opened = open_book(tmp_path, key, "sync", lambda text: None)
        assert opened is not None
        book, lock = opened
        if key == "one":
            book.became(DIGESTS[0], "zstd", None, made)
            book.learnt("r.lan", "resumes", "yes")
        assert book.recoded(DIGESTS[0], "zstd", None) == made
        assert book.recoded(DIGESTS[0], "zstd", 3) is None
        assert book.fact("r.lan", "resumes") == "yes"
        book.close("done")
        lock.close()


def test_a_run_is_the_same_as_whomever_it_asks_and_another_when_bytes_may_differ() -> None:
    """Credentials may change between two attempts; platforms, formats, images make another run."""

    def job(**more: object) -> Job:
        return Job("docker://a.lan/r:1", "docker://b.lan/r:1", **more)  # type: ignore[arg-type]

    somebody = Access(credentials=Credentials("me", "secret"), tls_verify=False)
    rules = [Rule("docker://a.lan/r", access=access) for access in (Access(), somebody)]
    plain = CopyOptions()
    assert key_of(plain, rules[:1], [job()]) == key_of(plain, rules[1:], [job(source_access=somebody)])
    others = {
        key_of(plain, rules[:1], [job()]),
        key_of(plain, [], [job()]),
        key_of(plain, rules[:1], []),
        key_of(CopyOptions(format="oci"), rules[:1], [job()]),
        key_of(CopyOptions(multi_arch="all"), rules[:1], [job()]),
    }
    assert len(others) == 5
