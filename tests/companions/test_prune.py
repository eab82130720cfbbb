"""``sync --prune``: what left the source goes, with consent only, and nothing that stays loses anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import Ran
from tests.companions.world import SBOM, Ends, artifact, digest_tag, fallback
from tests.copy.world import OCI, OCI_INDEX, Pair, assert_complete, fresh, image, index, named
from tests.faults import respond
from tests.registries import Registry
from tests.sync.world import Place


def tags_of(registry: Registry, repo: str) -> list[str]:
    """Sorted; none where there is no repository."""
    with registry.client() as probe:
        found = probe.request("GET", f"/v2/{repo}/tags/list")
    return sorted(found.json()["tags"] or []) if found.status == 200 else []


def _entry(place: Place, repo: str, to: str, more: str = "prune: true") -> str:
    return f'  - {{from: "{place.source.host}/{repo}", to: "{place.destination.host}/{to}", {more}}}\n'


def _sync(place: Place, *entries: str, words: tuple[str, ...] = ("--prune",)) -> Ran:
    text = "fastcopy: 1\nimages:\n" + "".join(entries)
    report = str(place.files / "report.json")
    return place.sync("--config", place.file(text, "sync.yaml"), "--report", report, *words)


@pytest.fixture
def repo(place: Place) -> str:
    """A repository at the source with the tags 1 and 2."""
    name = fresh("prune/a")
    for tag in ("1", "2"):
        image(place.source, name, tag, sizes=(300,))
    return name


@pytest.fixture
def to(place: Place) -> str:
    """A repository at the destination that has 1, and gone, which the source has not."""
    name = fresh("prune/b")
    for tag in ("1", "gone"):
        image(place.destination, name, tag, layers=[f"{name} {tag}".encode()])
    return name


def test_a_tag_that_left_the_source_is_deleted(place: Place, repo: str, to: str) -> None:
    """And named: in the log and in the report."""
    ran = _sync(place, _entry(place, repo, to))
    assert ran.code == 0, ran.err
    assert tags_of(place.destination, to) == ["1", "2"]
    name = f"docker://{place.destination.host}/{to}:gone"
    assert f'Deleted image="{name}"' in ran.err
    assert "1 tags deleted" in ran.err
    assert place.report()["pruned"] == [name]


@pytest.mark.parametrize(("more", "words"), [("prune: true", ()), ("prune: false", ("--prune",)), ("prune: false", ())])
def test_both_consents_are_needed(place: Place, repo: str, to: str, more: str, words: tuple[str, ...]) -> None:
    """The configuration's and the command line's; --prune with nothing to prune is a mistake, told before the start."""
    ran = _sync(place, _entry(place, repo, to, more), words=words)
    assert tags_of(place.destination, to)[-1] == "gone"
    assert ran.code == (64 if words else 0)
    assert ("without --prune" in ran.err) == (more == "prune: true")


def test_a_dry_run_names_what_would_go_and_deletes_nothing(place: Place, repo: str, to: str) -> None:
    """Would have deleted."""
    ran = _sync(place, _entry(place, repo, to), words=("--prune", "--dry-run"))
    assert ran.code == 0, ran.err
    assert f'"Would have deleted" image="docker://{place.destination.host}/{to}:gone"' in ran.err
    assert tags_of(place.destination, to) == ["1", "gone"]


def test_one_entry_without_consent_keeps_the_repository(place: Place, repo: str, to: str) -> None:
    """Whose tags they are cannot be told."""
    other = fresh("prune/a")
    image(place.source, other, "x", sizes=(300,))
    ran = _sync(place, _entry(place, repo, to), _entry(place, other, to, "prune: false"))
    assert ran.code == 0, ran.err
    assert tags_of(place.destination, to) == ["1", "2", "gone", "x"]


def test_two_entries_with_consent_keep_each_others_tags(place: Place, repo: str, to: str) -> None:
    """What either selects stays."""
    other = fresh("prune/a")
    image(place.source, other, "x", sizes=(300,))
    ran = _sync(place, _entry(place, repo, to), _entry(place, other, to))
    assert ran.code == 0, ran.err
    assert tags_of(place.destination, to) == ["1", "2", "x"]


def test_what_the_selection_leaves_out_goes(place: Place, repo: str, to: str) -> None:
    """The destination mirrors the selection, not the source."""
    assert _sync(place, _entry(place, repo, to, 'prune: true, include: ["2"]')).code == 0
    assert tags_of(place.destination, to) == ["2"]


def test_immutable_and_digest_tags_stay(place: Place, repo: str, to: str) -> None:
    """Declared never to move: never deleted either; signatures go with what they sign, not by themselves."""
    old = image(place.destination, to, "v1", layers=[b"old"])
    signature = digest_tag(place.destination, old, "sig")
    assert _sync(place, _entry(place, repo, to, 'prune: true, immutable: ["v*"]')).code == 0
    assert tags_of(place.destination, to) == sorted(["1", "2", "v1", signature.tag])


def test_nothing_goes_where_an_image_failed(place: Place, repo: str, to: str) -> None:
    """The others of the run are pruned."""
    entry = _entry(place, repo, to, 'prune: true, tags: ["1", "9"]')
    fine = fresh("prune/b")
    image(place.destination, fine, "gone", layers=[b"gone"])
    ran = _sync(place, entry, _entry(place, repo, fine))
    assert ran.code == 3
    assert tags_of(place.destination, to) == ["1", "gone"]
    assert tags_of(place.destination, fine) == ["1", "2"]
    (told,) = place.report()["spared"]
    assert told["destination"] == f"docker://{place.destination.host}/{to}"
    assert ":9 is not there" in told["why"]


def test_nothing_goes_where_a_source_could_not_be_listed(place: Place, repo: str, to: str) -> None:
    """An entry that cannot be read might have kept the tag."""
    ran = _sync(place, _entry(place, repo, to), _entry(place, "prune/no/such/repository", to))
    assert ran.code == 3
    assert tags_of(place.destination, to) == ["1", "2", "gone"]
    assert "could not be read" in place.report()["spared"][0]["why"]


def test_another_repository_is_pruned_although_one_could_not_be_listed(place: Place, repo: str, to: str) -> None:
    """What is known to write elsewhere is no reason."""
    ran = _sync(place, _entry(place, repo, to), _entry(place, "prune/no/such/repository", fresh("prune/b")))
    assert ran.code == 3
    assert tags_of(place.destination, to) == ["1", "2"]


def test_an_empty_selection_empties_nothing_unless_it_is_told_to(place: Place, repo: str, to: str) -> None:
    """A pattern that fits nothing is more often a mistake than a wish."""
    entry = _entry(place, repo, to, 'prune: true, include: ["nothing*"]')
    ran = _sync(place, entry)
    assert ran.code == 0, ran.err
    assert tags_of(place.destination, to) == ["1", "gone"]
    assert f"nothing of docker://{place.source.host}/{repo} is selected" in ran.err
    ran = _sync(place, entry, words=("--prune=even-empty",))
    assert ran.code == 0, ran.err
    assert tags_of(place.destination, to) == []


def test_an_empty_selection_protects_what_another_entry_writes(place: Place, repo: str, to: str) -> None:
    """Two entries, one repository: one of them finds nothing, so its tags may be among those that would go."""
    empty = _entry(place, repo, to, 'prune: true, include: ["nothing*"]')
    assert _sync(place, empty, _entry(place, repo, to, 'prune: true, include: ["2"]')).code == 0
    assert tags_of(place.destination, to) == ["1", "2", "gone"]


def test_a_kept_tag_with_the_same_manifest_keeps_it(place: Place, repo: str, to: str) -> None:
    """Where tags can be deleted the tag goes alone; where only manifests can, it stays, with a warning."""
    kept = image(place.destination, to, "v1", layers=[b"both"])
    with place.destination.client() as probe:
        probe.push_manifest(to, "twin", kept.raw, OCI)
    ran = _sync(place, _entry(place, repo, to, 'prune: true, immutable: ["v*"]'))
    assert ran.code == 0, ran.err
    assert_complete(place.destination, to, kept, "v1")
    by_tag = place.destination.kind == "embedded"
    assert ("twin" in tags_of(place.destination, to)) == (not by_tag)
    assert ("the tag v1 has the same manifest" in ran.err) == (not by_tag)
    assert "gone" not in tags_of(place.destination, to)


def test_an_instance_of_a_kept_index_is_not_deleted(place: Place, to: str) -> None:
    """Its own tag left the source; deleted by digest it would break the index."""
    source = fresh("prune/a")
    made = index(place.source, source, "all", sizes=(300,))
    assert _sync(place, _entry(place, source, to, "prune: true, all_platforms: true")).code == 0
    ran = _sync(place, _entry(place, source, to, 'prune: true, all_platforms: true, include: ["all"]'))
    assert ran.code == 0, ran.err
    assert_complete(place.destination, to, made, "all")


def test_a_manifest_that_several_tags_share_goes_with_the_last(place: Place, repo: str, to: str) -> None:
    """Two that go together need not wait for each other."""
    made = image(place.destination, to, "x1", layers=[b"x"])
    with place.destination.client() as probe:
        probe.push_manifest(to, "x2", made.raw, OCI)
    assert _sync(place, _entry(place, repo, to)).code == 0
    assert tags_of(place.destination, to) == ["1", "2"]
    assert len(place.report()["pruned"]) == 3


def test_a_referrer_of_a_kept_image_is_not_deleted_by_its_tag(tags: Ends, tmp_path: Path) -> None:
    """Somebody tagged an SBOM; by digest it would go for good."""
    place = Place(tmp_path, tags.source, tags.destination)
    source, to = fresh("prune/a"), fresh("prune/b")
    image(tags.source, source, "1", layers=[b"same"], config={"for": "all"})
    kept = image(tags.destination, to, "1", layers=[b"same"], config={"for": "all"})
    sbom = artifact(tags.destination, kept, SBOM, tag="sbom")
    with tags.destination.client() as probe:  # nobody lists it any more
        empty = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        probe.push_manifest(to, fallback(kept.digest), empty, OCI_INDEX)
    ran = _sync(place, _entry(place, source, to))
    assert ran.code == 0, ran.err
    assert named(tags.destination, to, "sbom") == sbom.digest
    assert "it refers to what" in ran.err


def test_several_destinations_are_pruned_each(place: Place, repo: str, to: str) -> None:
    """Every target of an entry."""
    other = fresh("prune/b")
    image(place.destination, other, "gone", layers=[b"gone"])
    host = place.destination.host
    entry = f'  - {{from: "{place.source.host}/{repo}", to: ["{host}/{to}", "{host}/{other}"], prune: true}}\n'
    assert _sync(place, entry).code == 0
    assert tags_of(place.destination, to) == tags_of(place.destination, other) == ["1", "2"]


def test_a_registry_that_deletes_nothing_is_a_failure_of_its_own(apis: Pair, both: Ends, tmp_path: Path) -> None:
    """The images are there; the run is not complete, and one line says why."""
    place = Place(tmp_path, both.source, both.destination)
    source, to = fresh("prune/a"), fresh("prune/b")
    image(both.source, source, "1", sizes=(300,))
    image(both.destination, to, "gone", layers=[b"gone"])
    apis.at_destination.add(respond(403, "DENIED"), method="DELETE")
    ran = _sync(place, _entry(place, source, to))
    assert ran.code == 3
    assert tags_of(both.destination, to) == ["1", "gone"]
    assert f"Error pruning docker://{both.destination.host}/{to}" in ran.err
    (told,) = place.report()["unpruned"]
    assert (told["destination"], told["class"]) == (f"docker://{both.destination.host}/{to}", "denied")


def test_fail_fast_prunes_nothing(place: Place, repo: str, to: str) -> None:
    """A run that was stopped knows nothing of what is left."""
    entry = f'  - {{from: "{place.source.host}/{repo}", to: "{place.destination.host}/{to}x", tags: ["9"]}}\n'
    ran = _sync(place, entry, _entry(place, repo, to), words=("--prune", "--fail-fast"))
    assert ran.code != 0
    assert "gone" in tags_of(place.destination, to)
