"""Journals that cannot be used: one clear line, and everything arrives all the same."""

from __future__ import annotations

import os
import pwd
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import run
from tests.copy.world import assert_complete, flags, fresh, image
from tests.journal.world import file_system, journal, status, sync, told
from tests.sync.world import Place


def _change(path: Path, sql: str) -> None:
    file = sqlite3.connect(path)
    file.executescript(sql)
    file.close()


def _foreign(path: Path) -> None:
    path.unlink()
    _change(path, "CREATE TABLE x (y); INSERT INTO x VALUES (1)")


#: How a file may look, by a name for the test.
DAMAGE: dict[str, Callable[[Path], object]] = {
    "noise": lambda path: path.write_bytes(os.urandom(8192)),
    "text": lambda path: path.write_text("not a database"),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a page overwritten": lambda path: path.write_bytes(
        path.read_bytes()[:4096] + b"\x55" * 4096 + path.read_bytes()[8192:]
    ),
    "another program's": _foreign,
    "an older version's": lambda path: _change(path, "PRAGMA user_version = 1"),
    "rows of nobody's": lambda path: _change(
        path,
        "INSERT INTO upload VALUES ('h', 'p', 'no digest', 'l', 'x', 'y')"
        if path.name.startswith("run")
        else "INSERT INTO recoded (digest, compression, level, new_digest, size, diff_id, seen, annotations) "
        "VALUES ('no digest', 'zstd', 1, 'n', 'x', 'd', 1, '{')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", ["run-*.sqlite", "cache.sqlite"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_set_aside_with_one_line_and_replaced(place: Place, which: str, how: str) -> None:
    """The run goes on, its images arrive, the old file is kept for whoever wants to look, the next run is silent."""
    base, to = fresh("bad/a"), fresh("bad/b")
    image(place.source, f"{base}/i0")
    assert sync(place, "i0:1\n", base, to).code == 0
    path = journal(place, which)
    DAMAGE[how](path)
    damaged = path.read_bytes()
    second = image(place.source, f"{base}/i0", sizes=(2_000,))

    shown = run("status", "--journal", str(path.parent))
    ran = sync(place, "i0:1\n", base, to)
    again = sync(place, "i0:1\n", base, to)

    assert shown.code == 0
    assert ran.code == 0, ran.err
    assert len(told(ran, path)) == 1, ran.err
    assert "set aside" in told(ran, path)[0]
    assert_complete(place.destination, f"{to}/i0", second)
    assert path.with_suffix(".damaged").read_bytes() == damaged
    assert told(again, path) == []
    assert status(place)[0]["state"] == "done"


@pytest.mark.parametrize("which", ["run-*.sqlite", "cache.sqlite"])
def test_a_file_of_a_newer_version_is_left_alone(place: Place, which: str) -> None:
    """One line; not a byte of it changes, so that the newer version can go on with it."""
    base, to = fresh("bad/a"), fresh("bad/b")
    made = image(place.source, f"{base}/i0")
    assert sync(place, "i0:1\n", base, to).code == 0
    path = journal(place, which)
    _change(path, "PRAGMA user_version = 99")
    newer = path.read_bytes()
    ran = sync(place, "i0:1\n", base, f"{to}/x" if which == "cache.sqlite" else to)
    assert ran.code == 0, ran.err
    assert len(told(ran, path)) == 1, ran.err
    assert "format 99" in told(ran, path)[0]
    assert path.read_bytes() == newer
    assert_complete(place.destination, f"{to}/i0", made)


def test_a_directory_that_cannot_be_made_costs_one_line(place: Place) -> None:
    """A file is in its way."""
    base, to = fresh("bad/a"), fresh("bad/b")
    made = image(place.source, f"{base}/i0")
    (place.files / "journal").write_text("in the way")
    ran = sync(place, "i0:1\n", base, to)
    assert ran.code == 0, ran.err
    assert len(told(ran, place.files / "journal")) == 1, ran.err
    assert_complete(place.destination, f"{to}/i0", made)


def test_a_read_only_file_system_costs_one_line(place: Place) -> None:
    """Whatever the user is allowed to do."""
    base, to = fresh("bad/a"), fresh("bad/b")
    made = image(place.source, f"{base}/i0")
    with file_system(place.files / "journal", "ro,size=1m") as mounted:
        if not mounted:
            pytest.skip("mounting needs root")
        ran = sync(place, "i0:1\n", base, to)
    assert ran.code == 0, ran.err
    assert len(told(ran, place.files / "journal")) == 1, ran.err
    assert "read-only file system" in ran.err
    assert_complete(place.destination, f"{to}/i0", made)


@pytest.mark.slow
@pytest.mark.parametrize("room", [8, 48, 128, 320])
def test_a_disk_that_fills_up_in_the_middle_of_a_run_stops_no_image(place: Place, room: int) -> None:
    """At most one line for the journal and one for the cache, each once, whenever it happens."""
    base, to = fresh("full/a"), fresh("full/b")
    made = [image(place.source, f"{base}/i{n}", sizes=[300] * 20) for n in range(20)]
    lines = "".join(f"i{n}:1\n" for n in range(20))
    with file_system(place.files / "journal", f"size={room}k") as mounted:
        if not mounted:
            pytest.skip("mounting needs root")
        ran = sync(place, lines, base, to)
        again = sync(place, lines, base, to)
    assert ran.code == 0, ran.err
    assert 1 <= len(told(ran, place.files / "journal")) <= 2, ran.err
    assert len(told(ran, "journal/run-")) <= 1
    assert len(told(ran, "journal/cache.sqlite")) <= 1
    assert again.code == 0, again.err
    for n, each in enumerate(made):
        assert_complete(place.destination, f"{to}/i{n}", each)


def test_without_a_home_one_line_says_how_to_name_a_directory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that no file knows, as containers have them."""

    def unknown(_: int) -> object:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    base, to = fresh("homeless/a"), fresh("homeless/b")
    made = image(place.source, f"{base}/i0")
    ran = place.listed(["i0:1"], base=base, to=to)
    assert ran.code == 0, ran.err
    assert len([line for line in ran.err.splitlines() if "no journal is kept" in line and "--journal" in line]) == 1
    assert_complete(place.destination, f"{to}/i0", made)


def test_without_a_journal_nothing_is_written_and_a_single_copy_opens_no_database(place: Place) -> None:
    """--no-journal, --dry-run and `copy` leave no trace."""
    base, to = fresh("none/a"), fresh("none/b")
    made = image(place.source, f"{base}/i0")
    listed = ["--list", place.file("i0:1\n"), "--from", f"{place.source.host}/{base}"]
    known = flags(place.source, place.destination)
    for more in (["--no-journal"], ["--dry-run"]):
        assert run("sync", *listed, "--to", f"{place.destination.host}/{to}", *known, *more).code == 0
    code = (
        "import sys; from fastcopy.cli import main; c = main(sys.argv); sys.exit(c or 9 * ('sqlite3' in sys.modules))"
    )
    command = [sys.executable, "-c", code, "copy", *known, made.ref, place.destination.ref(to, "2")]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    assert not list(place.files.rglob("*.sqlite"))
