"""The thread that writes a journal: it ends with its run, and takes whatever text a command line may have."""

from __future__ import annotations

import threading

from tests.copy.world import fresh, image
from tests.journal.world import status, sync
from tests.sync.world import Place


def _writers() -> int:
    return sum(each.name == "fastcopy journal" for each in threading.enumerate())


def test_a_run_without_anything_to_note_leaves_no_thread(place: Place) -> None:
    """The cache of a run in which nothing changed is not written: nor is a thread begun for it at the end."""
    base, to = fresh("writer/a"), fresh("writer/b")
    image(place.source, f"{base}/i0")
    for expected in ("Copied", "Already there"):
        ran = sync(place, "i0:1\n", base, to)
        assert ran.code == 0, ran.err
        assert expected in ran.err
        assert _writers() == 0


def test_a_file_name_that_is_not_utf_8_does_not_end_the_journal(place: Place) -> None:
    """SQLite takes no lone surrogates; the command that `status` shows has them written out."""
    base, to = fresh("writer/a"), fresh("writer/b")
    image(place.source, f"{base}/i0")
    name = place.file("i0:1\n", "im\udcff.txt")
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    ran = place.sync("--list", name, *ends, "--journal", str(place.files / "journal"))
    assert ran.code == 0, ran.err
    (seen,) = status(place)
    assert (seen["state"], seen["images"]) == ("done", {"copied": 1})
    assert r"im\udcff.txt" in seen["command"]
