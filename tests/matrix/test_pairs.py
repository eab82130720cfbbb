"""Every pair of places, beside skopeo doing the same copy, and the results read by skopeo."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.matrix.world import COMPRESSING, EXACT, PAIRS, World, content
from tests.storage import rich

pytestmark = [pytest.mark.real("podman", "skopeo"), pytest.mark.slow]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_every_pair_of_places_gives_what_skopeo_gives(
    source: str, destination: str, world: World, start: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same manifest, byte for byte, unless a layer had to be compressed; always the same config and contents."""
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    origin, ours, theirs = start(source), world.place(destination), world.place(destination)
    world.fastcopy(origin, ours)
    world.skopeo(origin, theirs)
    mine, other = world.exported(ours), world.exported(theirs)
    assert content(mine) == content(other)
    if source in EXACT:
        assert (mine / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()
    elif destination not in COMPRESSING:
        found = [rich.truly_typed((path / "manifest.json").read_bytes()) for path in (mine, other)]
        assert found[0] == found[1]
