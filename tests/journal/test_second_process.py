"""One journal, one process; different runs share a directory and the cache."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

from fastcopy.journal import places
from tests.cli.support import run
from tests.copy.world import assert_complete, content, fresh, image
from tests.journal.world import journal, process, status, sync, until, words
from tests.sync.world import Place, moved


def test_a_second_process_on_the_same_run_is_refused_with_one_line_that_names_the_first(place: Place) -> None:
    """And leaves the first alone; another list in the same directory goes ahead."""
    base, to = fresh("lock/a"), fresh("lock/b")
    made = image(place.source, f"{base}/i0", sizes=(1_000_000,))
    arguments = words(place, "i0:1\n", base, to, "--bwlimit", "500KiB/s")
    with process(arguments) as running:
        until(lambda: any(f"/{to}/" in target for _, target, _ in place.destination.requests()), running)
        refused = run(*arguments)
        other = sync(place, "i0:1\n", base, f"{to}/other")
        assert running.wait(60) == 0
    assert refused.code == 10
    assert len(refused.err.splitlines()) == 1
    assert f"process {running.pid}" in refused.err
    assert "--no-journal" in refused.err
    assert other.code == 0, other.err
    assert_complete(place.destination, f"{to}/i0", made)
    assert {each["state"] for each in status(place)} == {"done"}


def test_whoever_only_looks_at_a_lock_is_not_taken_for_a_run(tmp_path: Path) -> None:
    """`status` holds it for a moment; a run that begins just then waits for it."""
    path = places.run_file(tmp_path, "k")
    looking = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [looking]).start()
    lock = places.Lock(path)
    assert places.is_locked(path)
    lock.close()
    assert not places.is_locked(path)


def test_a_blob_that_another_run_brought_is_mounted(real_place: Place) -> None:
    """The cache is shared: the second list moves no byte of the layers that the first one brought elsewhere."""
    base, to, elsewhere = fresh("share/a"), fresh("share/b"), fresh("share/c")
    made = image(real_place.source, f"{base}/i0", layers=[content(400_000, base)])
    assert sync(real_place, "i0:1\n", base, to).code == 0
    ran = sync(real_place, "i0:1\n", base, elsewhere)
    assert ran.code == 0, ran.err
    assert not moved(real_place.destination, "PUT", f"{elsewhere}/")
    assert_complete(real_place.destination, f"{elsewhere}/i0", made)


def test_only_their_owner_may_read_the_files(place: Place) -> None:
    """A Location can be worth as much as a password."""
    base = fresh("mode/a")
    image(place.source, f"{base}/i0")
    assert sync(place, "i0:1\n", base, fresh("mode/b")).code == 0
    directory = journal(place).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in directory.iterdir()} == {0o600}


def test_old_and_too_many_journals_go_but_none_that_is_in_use(tmp_path: Path) -> None:
    """Thirty days, a hundred runs; a lock protects."""
    now = time.time()
    for number in range(places.KEPT + 3):
        path = places.run_file(tmp_path, f"{number:03}")
        path.touch()
        os.utime(path, (now - number, now - number))
    for key, age in (("old", places.OLD + 60), ("used", places.OLD + 60)):
        path = places.run_file(tmp_path, key)
        path.touch()
        os.utime(path, (now - age, now - age))
    lock = places.Lock(places.run_file(tmp_path, "used"))
    places.sweep(tmp_path, now)
    lock.close()
    kept = {path.stem.removeprefix("run-") for path in places.runs(tmp_path)}
    assert kept == {f"{number:03}" for number in range(places.KEPT)} | {"used"}
