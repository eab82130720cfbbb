"""Listing and copying at the same time."""

from __future__ import annotations

import trio

from fastcopy.cli.show.plain import plain_text
from fastcopy.cli.show.progress import Progress
from fastcopy.events import CopyStarted, Snapshot, SyncedImage, SyncPlanned
from fastcopy.serve.message import Body, Handler, Head, Middleware, Refusal, Reply
from tests.copy.world import Pair, assert_complete, fresh, image, named
from tests.registries import Registry
from tests.sync.world import Place


def _after(registry: Registry, *repos: str) -> Middleware:
    """Answer only when *registry* has been given a manifest in each of *repos*; with 500 when that never happens."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        for _ in range(1200):
            put = [target for method, target, status in registry.requests() if method == "PUT" and status == 201]
            if all(any(f"/v2/{repo}/manifests/" in target for target in put) for repo in repos):
                return await proceed(head, body)
            await trio.sleep(0.05)
        return Refusal(500, "UNKNOWN", "nothing was copied while tags were being listed").reply()

    return fault


def test_images_are_copied_while_other_repositories_are_being_listed(place: Place, pair: Pair) -> None:
    """A repository that answers last holds up nobody: not what is named in full, not what was listed before it."""
    base, to = fresh("overlap/a"), fresh("overlap/b")
    made = {name: image(place.source, f"{base}/{name}") for name in ("named", "quick", "late")}
    waits = _after(place.destination, f"{to}/named", f"{to}/quick")
    pair.at_source.add(waits, path=f"/{base}/late/tags/list")
    ran = place.listed(["late:*", "named:1", "quick:*"], "--report", str(place.files / "report.json"), base=base, to=to)
    assert ran.code == 0, ran.err
    for name, each in made.items():
        assert_complete(place.destination, f"{to}/{name}", each)
    shown = [each["source"].rpartition("/")[2] for each in place.report()["images"]]
    assert shown == ["late:1", "named:1", "quick:1"], "the report keeps the list's order"
    assert "Copied 2/2 so far" in ran.err
    assert 'Copied 3/3"' in ran.err


def test_a_collision_that_shows_only_in_a_tag_list_fails_that_image_alone(place: Place) -> None:
    """What the list names in full is copied; the other source is named, and not offered for the next run."""
    base, to = fresh("overlap/a"), fresh("overlap/b")
    first = image(place.source, f"{base}/x/app")
    image(place.source, f"{base}/y/app")
    image(place.source, f"{base}/y/app", "2")
    failed = place.files / "failed.txt"
    words = ["--rename", "{name}", "--failed", str(failed), "--report", str(place.files / "report.json")]
    ran = place.listed(["y/app:*", "x/app:1"], *words, base=base, to=to)
    assert ran.code == 3
    assert_complete(place.destination, f"{to}/app", first)
    assert named(place.destination, f"{to}/app", "2"), "other tags of the same repository are not concerned"
    assert [line for line in failed.read_text().splitlines() if not line.startswith("#")] == []
    (rule,) = place.report()["rules"]
    assert rule["class"] == "collision"
    assert "two sources for one destination" in rule["error"]
    assert rule["source"] == place.source.ref(f"{base}/y/app", "1")
    assert "two sources for one destination" in ran.err


def test_progress_says_so_far_while_repositories_are_being_listed() -> None:
    """Totals grow; an estimate is a lower bound until all is known."""
    progress = Progress()
    progress.event(CopyStarted("", "", _Meters()))
    progress.event(SyncPlanned(images=1, sources=1, listing=2))
    progress.event(SyncedImage("s", "d", "copied"))
    progress.sample(0.0)
    progress.sample(1.0)
    assert plain_text(progress).endswith("1 of 1 images so far, at least 5.0s left")
    progress.event(SyncPlanned(images=1, sources=1, listing=0))
    assert plain_text(progress).endswith("1 of 1 images, 5.0s left")


class _Meters:
    """A hundred bytes a second, five hundred to go."""

    def __init__(self) -> None:
        self.calls = 0

    def snapshot(self) -> Snapshot:
        self.calls += 1
        return Snapshot(bytes_in=100 * self.calls, planned=500)
