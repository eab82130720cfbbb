"""A layout that is carried: filled from a registry, filled again, then emptied into another registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import Ran
from tests.copy.world import assert_complete, fresh
from tests.sync.world import Place, moved


def _fill(place: Place, base: str, layout: Path, *lines: str) -> Ran:
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"oci:{layout}"]
    return place.sync("--list", place.file("".join(f"{line}\n" for line in lines)), *ends)


def _references(layout: Path) -> set[str]:
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    return {each["annotations"]["org.opencontainers.image.ref.name"] for each in entries}


def test_a_list_goes_into_one_layout_and_out_of_it(any_place: Place) -> None:
    """Path and tag are the reference; --scoped keeps the path on the way out; every byte arrives."""
    base, far, layout = fresh("carry"), fresh("far"), any_place.files / "layout"
    made = any_place.images(f"{base}/team", 3)
    ran = _fill(any_place, base, layout, "team/i0:1", "team/i1:1", "team/i2:1")
    assert ran.code == 0, ran.err
    assert _references(layout) == {"team/i0:1", "team/i1:1", "team/i2:1"}
    words = ["--src", "oci", "--dest", "docker", "--scoped", f"oci:{layout}", f"{any_place.destination.host}/{far}"]
    ran = any_place.sync(*words)
    assert ran.code == 0, ran.err
    for number, image in enumerate(made):
        assert_complete(any_place.destination, f"{far}/team/i{number}", image)


def test_the_second_trip_carries_what_is_new(any_place: Place) -> None:
    """Blobs that the layout has are not downloaded again, blobs that the registry has are not uploaded again."""
    base, far, layout = fresh("carry"), fresh("far"), any_place.files / "layout"
    shared = [b"shared by all of them" * 5000]
    first = any_place.images(base, 2, shared=shared)
    assert _fill(any_place, base, layout, "i0:1", "i1:1").code == 0
    out = ["--src", "oci", "--dest", "docker", "--scoped", str(layout), f"{any_place.destination.host}/{far}"]
    assert any_place.sync(*out).code == 0
    any_place.images(base, 2, shared=shared, tag="2")
    assert _fill(any_place, base, layout, "i0:1", "i1:1", "i0:2", "i1:2").code == 0
    assert any_place.sync(*out).code == 0
    downloaded, uploaded = moved(any_place.source, "GET", base), moved(any_place.destination, "PUT", far)
    assert set(first[0].blobs) <= set(downloaded)
    assert max(downloaded.values()) == 1
    assert max(uploaded.values()) == 1
    assert _references(layout) == {"i0:1", "i1:1", "i0:2", "i1:2"}


def test_a_repository_goes_into_a_layout_by_skopeos_arguments(place: Place) -> None:
    """--dest oci names the images as --dest dir names their directories; --append-suffix changes the reference."""
    base, layout = fresh("carry"), place.files / "layout"
    place.images(base, 1)
    place.images(base, 1, tag="2")
    ran = place.sync("--src=docker", "--dest=oci", "--append-suffix=-x", f"{place.source.host}/{base}/i0", str(layout))
    assert ran.code == 0, ran.err
    assert _references(layout) == {"i0:1-x", "i0:2-x"}


def test_a_bare_tag_is_an_image_named_like_the_layout(place: Place) -> None:
    """What skopeo writes with `oci:DIR:TAG` has no repository of its own."""
    base, far, layout = fresh("carry"), fresh("far"), place.files / "app"
    (image,) = place.images(base, 1)
    assert place.sync("--list", place.file(f"{place.source.host}/{base}/i0:1=oci:{layout}:v1\n")).code == 0
    ran = place.sync("--src=oci", "--dest=docker", str(layout), f"{place.destination.host}/{far}")
    assert ran.code == 0, ran.err
    assert_complete(place.destination, f"{far}/app", image, "v1")


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (None, "no such file or directory"),
        ("{", "is not JSON"),
        ('{"manifests": 7}', "manifests is not a list"),
        ('{"schemaVersion": 2, "manifests": []}', "No images to sync found"),
    ],
)
def test_a_layout_that_cannot_be_read_is_one_line(place: Place, index: str | None, said: str) -> None:
    """Missing, damaged, empty."""
    layout = place.files / "layout"
    layout.mkdir()
    if index is not None:
        (layout / "index.json").write_text(index)
    ran = place.sync("--src=oci", "--dest=docker", str(layout), f"{place.destination.host}/x")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert said in ran.err
