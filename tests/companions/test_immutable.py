"""`immutable` tags: present at the destination means done, and the source is asked for nothing but a list of tags."""

from __future__ import annotations

import pytest

from tests.companions.world import SIGNATURE, artifact, asked, listed
from tests.copy.world import fresh, image, named
from tests.sync.world import Place

TAGS = ("v1.0.0", "v1.1.0", "v2.0.0")


def _config(place: Place, repo: str, to: str, more: str) -> str:
    ends = f'from: "{place.source.host}/{repo}", to: "{place.destination.host}/{to}"'
    return place.file(f"fastcopy: 1\nimages:\n  - {{{ends}, {more}}}\n", "sync.yaml")


@pytest.mark.parametrize("select", ['include: ["v*"]', r'include: ["regex:^v[0-9.]+$"]', 'include: ["semver:>=1"]', ""])
@pytest.mark.parametrize("immutable", ["v*", "regex:^v", "semver:*"])
def test_a_rule_reads_the_tags_once_and_no_manifest(place: Place, select: str, immutable: str) -> None:
    """By glob, expression, version or all of them: one GET of the list, whatever moved at the source since."""
    repo, to = fresh("fixed/a"), fresh("fixed/b")
    made = {tag: image(place.source, repo, tag, sizes=(200,)) for tag in TAGS}
    config = _config(place, repo, to, ", ".join(filter(None, [select, f'immutable: ["{immutable}"]'])))
    assert place.sync("--config", config).code == 0
    image(place.source, repo, TAGS[0], sizes=(201,))  # moved all the same
    before = len(place.source.requests())
    ran = place.sync("--config", config)
    assert ran.code == 0, ran.err
    assert "3 already there" in ran.err
    assert asked(place.source, repo, before) == [("GET", "tags/list")]
    for tag, each in made.items():
        assert named(place.destination, to, tag) == each.digest


def test_tags_by_name_ask_the_source_for_nothing(place: Place) -> None:
    """Not even whether it is there."""
    repo, to = fresh("fixed/a"), fresh("fixed/b")
    for tag in TAGS:
        image(place.source, repo, tag, sizes=(200,))
    config = _config(place, repo, to, 'tags: [v1.0.0, v2.0.0], immutable: ["v*"]')
    assert place.sync("--config", config).code == 0
    before = len(place.source.requests())
    assert place.sync("--config", config).code == 0
    assert place.source.requests()[before:] == []


def test_an_immutable_tag_that_is_missing_is_copied(place: Place) -> None:
    """Only what is there is done; the others are copied as ever."""
    repo, to = fresh("fixed/a"), fresh("fixed/b")
    made = [image(place.source, repo, tag, sizes=(200,)) for tag in TAGS]
    config = _config(place, repo, to, 'immutable: ["v*"]')
    assert place.sync("--config", config).code == 0
    with place.destination.client() as probe:
        assert probe.request("DELETE", f"/v2/{to}/manifests/{made[1].digest}").status == 202
    before = len(place.source.requests())
    ran = place.sync("--config", config)
    assert "1 copied" in ran.err
    assert named(place.destination, to, TAGS[1]) == made[1].digest
    roads = {rest for _, rest in asked(place.source, repo, before) if rest.startswith("manifests/")}
    assert roads == {f"manifests/{TAGS[1]}"}


def test_immutable_means_done_with_everything_that_belongs_to_it(place: Place) -> None:
    """The source is not asked for referrers either: what must stay current must not be declared immutable."""
    repo, to = fresh("fixed/a"), fresh("fixed/b")
    made = image(place.source, repo, "v1", sizes=(200,))
    config = _config(place, repo, to, 'tags: [v1], immutable: ["v*"], referrers: true')
    assert place.sync("--config", config).code == 0
    artifact(place.source, made, SIGNATURE)
    before = len(place.source.requests())
    assert place.sync("--config", config).code == 0
    assert place.source.requests()[before:] == []
    assert listed(place.destination, to, made.digest) == []
