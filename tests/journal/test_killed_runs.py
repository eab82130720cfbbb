"""SIGKILL, and the same command again: what had arrived does not move again, also into other repositories."""

from __future__ import annotations

import pytest

from tests.cli.support import run
from tests.copy.world import assert_complete, content, fresh, image
from tests.journal.world import noted, process, status, sync, until, words
from tests.sync.world import Place, moved

LINES = "".join(f"i{n}:1\n" for n in range(4))


@pytest.mark.slow
@pytest.mark.parametrize("arrived", [1, 3, 6])
def test_after_a_kill_no_finished_blob_moves_again(any_place: Place, arrived: int) -> None:
    """Four images share two layers; whichever blobs the registry had taken are neither read nor sent once more."""
    base, to = fresh("kill/a"), fresh("kill/b")
    shared = [content(2_000_000, f"{base} {n}") for n in range(2)]
    made = [
        image(any_place.source, f"{base}/i{n}", layers=[*shared, content(1_000_000, f"{base} own {n}")])
        for n in range(4)
    ]
    arguments = words(any_place, LINES, base, to)
    with process([*arguments, "--bwlimit", "5MiB/s"]) as running:
        until(lambda: sum(moved(any_place.destination, "PUT", f"{to}/").values()) >= arrived, running)
        before = moved(any_place.destination, "PUT", f"{to}/")
        # What has arrived is noted within milliseconds; the other bodies are in full flow.
        until(lambda: noted(any_place) >= set(before), running)
        running.kill()
        running.wait()
    read = moved(any_place.source, "GET", f"{base}/")

    ran = sync(any_place, LINES, base, to)

    assert ran.code == 0, ran.err
    after, read_after = moved(any_place.destination, "PUT", f"{to}/"), moved(any_place.source, "GET", f"{base}/")
    assert {digest: after[digest] for digest in before} == dict(before)
    assert {digest: read_after[digest] - read[digest] for digest in before} == dict.fromkeys(before, 0)
    for n, each in enumerate(made):
        assert_complete(any_place.destination, f"{to}/i{n}", each)


def test_status_tells_a_killed_run_from_a_running_one_and_from_one_that_is_done(place: Place) -> None:
    """Whether its process lives is asked of the lock, not of a number that another process may have by now."""
    base, to = fresh("kill/a"), fresh("kill/b")
    image(place.source, f"{base}/i0", sizes=(1_000_000,))
    arguments = words(place, "i0:1\n", base, to)
    with process([*arguments, "--bwlimit", "100KiB/s"]) as running:
        until(lambda: any(f"/{to}/" in target for _, target, _ in place.destination.requests()), running)
        (during,) = status(place)
        running.kill()
        running.wait()
    (killed,) = status(place)
    assert sync(place, "i0:1\n", base, to).code == 0
    (done,) = status(place)

    assert (during["state"], during["pid"]) == ("running", running.pid)
    assert during["command"].endswith(f"images.txt to {place.destination.host}/{to}")
    assert killed["state"] == "interrupted"
    assert (done["state"], done["images"]) == ("done", {"copied": 1})


def test_failed_images_are_seen_in_status(place: Place) -> None:
    """An image that failed is named with its reason; the run is incomplete and the same command goes on."""
    base, to = fresh("kill/a"), fresh("kill/b")
    image(place.source, f"{base}/i0")
    assert sync(place, "i0:1\nmissing:1\n", base, to).code == 3
    (seen,) = status(place)
    assert (seen["state"], seen["images"]) == ("incomplete", {"copied": 1, "failed": 1})
    assert seen["failed"][0]["source"].endswith(f"{base}/missing:1")
    assert "unknown" in seen["failed"][0]["error"]
    shown = run("status", "--journal", str(place.files / "journal"), seen["key"][:6])
    assert "images   1 done, 1 failed, 0 left" in shown.out
    assert f"failed   docker://{place.source.host}/{base}/missing:1" in shown.out
    assert run("status", "--journal", str(place.files / "journal"), "no-such-run").code == 10
