"""Layouts carry what belongs to an image: there and back, for other tools and for `serve`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Ran, run
from tests.companions.world import (
    SBOM,
    SIGNATURE,
    Ends,
    artifact,
    assert_there,
    digest_tag,
    digests,
    fallback,
    listed,
)
from tests.copy.world import OCI, OCI_INDEX, Made, assert_complete, flags, fresh, image, named
from tests.registries import embedded_registry
from tests.sync.world import Place

WITH = ("--referrers", "--digest-tags")


def _copy(ends: Ends, source: str, destination: str, *words: str) -> Ran:
    return run("copy", *flags(ends.source, ends.destination), "--retry-delay=10ms", *words, source, destination)


def _index(layout: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return found


def _names(layout: Path) -> list[str]:
    return [each["annotations"]["org.opencontainers.image.ref.name"] for each in _index(layout)]


def _signed(ends: Ends) -> tuple[Made, list[Made], Made, Made]:
    """An image with two referrers, one of them signed, and a digest tag."""
    made = ends.image()
    referrers = [artifact(ends.source, made, SIGNATURE), artifact(ends.source, made, SBOM)]
    return made, referrers, artifact(ends.source, referrers[1], SIGNATURE), digest_tag(ends.source, made, "sig")


def test_everything_goes_into_a_layout_and_out_of_it_again(ends: Ends, tmp_path: Path) -> None:
    """Registry, layout, registry: the same bytes under the same names, listed."""
    made, referrers, deeper, tag = _signed(ends)
    layout, to = f"oci:{tmp_path}/l:app", fresh("with/to")
    assert _copy(ends, made.ref, layout, *WITH).code == 0
    ran = _copy(ends, layout, ends.destination.ref(to, "1"), *WITH)
    assert ran.code == 0, ran.err
    assert_complete(ends.destination, to, made)
    assert listed(ends.destination, to, made.digest) == digests(referrers)
    assert listed(ends.destination, to, referrers[1].digest) == [deeper.digest]
    assert_there(ends.destination, to, *referrers, deeper, tag)
    assert named(ends.destination, to, tag.tag) == tag.digest


def test_a_layout_names_what_it_holds_as_a_registry_without_the_api_does(both: Ends, tmp_path: Path) -> None:
    """The image, its digest tag, and one index per subject; a second copy changes nothing."""
    made, referrers, _, tag = _signed(both)
    for _ in range(2):
        assert _copy(both, made.ref, f"oci:{tmp_path}/l:app", *WITH).code == 0
        expected = ["app", tag.tag, fallback(made.digest), fallback(referrers[1].digest)]
        assert sorted(_names(tmp_path / "l")) == sorted(expected)
    entry = next(each for each in _index(tmp_path / "l") if each["mediaType"] == OCI_INDEX)
    assert (tmp_path / "l" / "blobs" / entry["digest"].replace(":", "/")).exists()


def test_a_layout_of_a_nameless_image_is_refused(both: Ends, tmp_path: Path) -> None:
    """With more than one entry in the index nobody could name it any more."""
    made = both.image()
    ran = _copy(both, made.ref, f"oci:{tmp_path}/l", "--referrers")
    assert ran.code == 1
    assert "each needs one (oci:PATH:NAME)" in ran.fatal


@pytest.mark.real("skopeo")
def test_skopeo_reads_the_image_out_of_such_a_layout(both: Ends, tmp_path: Path) -> None:
    """What lies beside it disturbs nobody."""
    made, *_ = _signed(both)
    assert _copy(both, made.ref, f"oci:{tmp_path}/l:app", *WITH).code == 0
    command = ["skopeo", "--insecure-policy", "inspect", "--raw", f"oci:{tmp_path}/l:app"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == made.raw


def test_referrers_that_other_tools_left_untagged_are_found(both: Ends, tmp_path: Path) -> None:
    """oras lists a referrer in index.json itself, without a name."""
    made, to = both.image(), fresh("with/to")
    sbom = artifact(both.source, made, SBOM)
    layout = tmp_path / "l"
    assert _copy(both, made.ref, f"oci:{layout}:app").code == 0
    document = json.loads((layout / "index.json").read_text())
    document["manifests"].append(sbom.entry)
    (layout / "index.json").write_text(json.dumps(document))
    for digest, data in {sbom.digest: sbom.raw, **sbom.blobs}.items():
        (layout / "blobs" / digest.replace(":", "/")).write_bytes(data)
    ran = _copy(both, f"oci:{layout}:app", both.destination.ref(to, "1"), "--referrer-type", SBOM)
    assert ran.code == 0, ran.err
    assert listed(both.destination, to, made.digest) == [sbom.digest]


def test_serve_lists_what_such_a_layout_holds(both: Ends, tmp_path: Path) -> None:
    """A carried layout is a registry with the API."""
    made, referrers, *_ = _signed(both)
    assert _copy(both, made.ref, f"oci:{tmp_path}/l:app", *WITH).code == 0
    with embedded_registry(tmp_path / "s", directory=tmp_path / "l", name="carried") as served:
        assert listed(served, "carried", made.digest) == digests(referrers)
        with served.client() as probe:
            found = probe.request("GET", f"/v2/carried/manifests/{referrers[0].digest}", headers={"Accept": OCI})
        assert found.body == referrers[0].raw


def test_many_images_are_carried_with_all_that_belongs_to_them(place: Place) -> None:
    """sync into one layout, and out of it: referrers and signatures are no images, and go where theirs goes."""
    ends, base, to = Ends(place.source, place.destination), fresh("with/carried"), fresh("with/to")
    made = [image(place.source, f"{base}/i{number}", sizes=(400 + number,)) for number in range(3)]
    referrers = [artifact(place.source, each, SBOM) for each in made]
    signatures = [digest_tag(place.source, each, "sig") for each in made]
    layout = place.files / "media"
    words = ["--from", f"{place.source.host}/{base}", "--to", f"oci:{layout}", *WITH]
    ran = place.sync("--list", place.file("".join(f"i{n}:1\n" for n in range(3))), *words)
    assert ran.code == 0, ran.err
    out = ["--src", "oci", "--dest", "docker", "--keep-going", *WITH]
    ran = place.sync(*out, str(layout), f"{place.destination.host}/{to}")
    assert ran.code == 0, ran.err
    for number, each in enumerate(made):
        repo = f"{to}/i{number}"
        assert_complete(ends.destination, repo, each)
        assert listed(ends.destination, repo, each.digest) == [referrers[number].digest]
        assert named(ends.destination, repo, signatures[number].tag) == signatures[number].digest


def test_a_layout_that_serve_wrote_is_read(both: Ends, tmp_path: Path) -> None:
    """Its names are repository:tag, untagged manifests repository@digest."""
    with embedded_registry(tmp_path / "s", directory=tmp_path / "l") as served:
        made = image(served, fresh("with/served"), sizes=(500,))
        sbom, signature = artifact(served, made, SBOM), digest_tag(served, made, "sig")
    to = fresh("with/to")
    ran = _copy(both, f"oci:{tmp_path}/l:{made.repo}:1", both.destination.ref(to, "1"), *WITH)
    assert ran.code == 0, ran.err
    assert listed(both.destination, to, made.digest) == [sbom.digest]
    assert named(both.destination, to, signature.tag) == signature.digest
