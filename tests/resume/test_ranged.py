"""Parts of an upload and ranges of a download at once: each part has a ring, a resumed one begins in the middle."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastcopy.transfer import ranges
from tests.copy.relay import relay_to
from tests.copy.world import HASTY, Pair, assert_complete, fresh, seen
from tests.faults import drop_download, drop_upload, ignore_range
from tests.resume.conftest import PART
from tests.resume.world import Lasting, again, body_bytes

pytestmark = pytest.mark.usefixtures("_in_miniature", "_wide")
SIZE = 6 * PART + 999


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loopback counts as slow, pieces are small."""
    for name, value in {
        "RANGED_MIN": PART,
        "FIRST_PIECE": PART // 4,
        "PIECE": PART // 8,
        "SLAB": 16 * 1024,
        "WIDE_PART": PART // 2,
        "FAST_ENOUGH": float("inf"),
        "STARVED": -1.0,
        "RAMP_EVERY": 0.02,
        "CUT_AFTER": 0.5,
    }.items():
        monkeypatch.setattr(ranges, name, value)


def test_a_slow_source_is_read_by_ranges_into_every_part(pair: Pair) -> None:
    """More than one request for each part, every byte once and in order."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    pair.arrives(made, repo=repo)
    gets = [each for each in seen(made.registry, made.repo, "GET", "blobs") if made.layer in each.rest]
    assert len(gets) > 6 * 4
    assert {each.status for each in gets} == {206}
    assert len(seen(pair.destination, repo, "PATCH", "blobs/uploads", 202)) == 7


@pytest.mark.parametrize("part", [1, 3, 6])
def test_a_broken_part_goes_on_by_ranges(pair: Pair, part: int) -> None:
    """What the registry has beyond the note is hashed again, by one request; the ring begins where bytes lack."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    at = 500 if part == 6 else 100_000
    rule = pair.at_destination.add(drop_upload(at), method="PATCH", path="/uploads/", times=1, skip=part + 1)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    small = sum(len(data) for digest, data in made.blobs.items() if digest != made.layer)
    assert body_bytes(pair.destination, repo) == SIZE + small


@pytest.mark.parametrize("skip", [0, 1, 7])
def test_breaks_on_both_sides_cost_nothing_but_time(pair: Pair, skip: int) -> None:
    """A piece that breaks, and an upload that breaks."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_source.add(drop_download(5_000), method="GET", path=made.layer, times=2, skip=skip)
    with relay_to(pair.destination.host) as relay:
        relay.cuts = [("up", 2 * PART + 12_345), ("up", PART)]
        outcome = again(made, replace(pair.destination, host=relay.host), repo, notes, run_options=HASTY)
        assert outcome.error is None
        assert relay.broken == 2
    assert_complete(pair.destination, repo, made)


def test_a_source_without_ranges_still_fills_the_parts(pair: Pair) -> None:
    """200 to the first Range: the whole blob comes over one connection, part after part."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    pair.at_source.add(ignore_range(), method="GET", path=made.layer)
    pair.at_destination.add(drop_upload(9_000), method="PATCH", path="/uploads/", times=1, skip=4)
    pair.arrives(made, repo=repo)
