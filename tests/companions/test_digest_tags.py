"""``--digest-tags``: cosign's tags, and any other named after a digest, travel with what they are named after."""

from __future__ import annotations

from tests.companions.world import SIGNATURE, Ends, artifact, asked, assert_there, digest_tag, fallback, listed
from tests.copy.world import Made, Pair, assert_complete, fresh, image, index, named
from tests.faults import respond
from tests.sync.world import Place


def _arrived(ends: Ends, repo: str, *made: Made) -> None:
    """Each digest tag names its manifest, which is there with its blobs."""
    for each in made:
        assert named(ends.destination, repo, each.tag) == each.digest
    assert_there(ends.destination, repo, *made)


def test_signature_attestation_and_sbom_travel_with_the_image(ends: Ends) -> None:
    """Under their tags, byte for byte; what belongs to another image stays."""
    made, other, to = ends.image(), None, fresh("with/to")
    other = image(ends.source, made.repo, "2", sizes=(700,))
    mine = [digest_tag(ends.source, made, suffix) for suffix in ("sig", "att", "sbom", "anything.else")]
    theirs = digest_tag(ends.source, other, "sig")
    ran = ends.copy(made, to, "--digest-tags")
    assert ran.code == 0, ran.err
    assert_complete(ends.destination, to, made)
    _arrived(ends, to, *mine)
    assert not named(ends.destination, to, theirs.tag)


def test_each_instance_of_an_index_has_its_own(ends: Ends) -> None:
    """cosign sign --recursive signs the index and every image in it."""
    made, to = index(ends.source, fresh("with/r"), sizes=(500,)), fresh("with/to")
    signatures = [digest_tag(ends.source, each, "sig") for each in (made, *made.children)]
    assert ends.copy(made, to, "--digest-tags", "--all").code == 0
    _arrived(ends, to, *signatures)


def test_the_signature_of_an_attestation_comes_too(ends: Ends) -> None:
    """What a digest tag names can be signed itself."""
    made, to = ends.image(), fresh("with/to")
    attestation = digest_tag(ends.source, made, "att")
    signature = digest_tag(ends.source, attestation, "sig")
    assert ends.copy(made, to, "--digest-tags").code == 0
    _arrived(ends, to, attestation, signature)


def test_with_referrers_both_roads_are_walked(ends: Ends) -> None:
    """A referrer with a digest tag of its own."""
    made, to = ends.image(), fresh("with/to")
    sbom = artifact(ends.source, made, SIGNATURE)
    signature = digest_tag(ends.source, sbom, "sig")
    assert ends.copy(made, to, "--digest-tags", "--referrers").code == 0
    assert listed(ends.destination, to, made.digest) == [sbom.digest]
    _arrived(ends, to, signature)


def test_the_list_of_referrers_is_no_digest_tag(tags: Ends) -> None:
    """The tag that stands in for the API belongs to --referrers, which knows what it lists."""
    made, to = tags.image(), fresh("with/to")
    artifact(tags.source, made, SIGNATURE)
    assert tags.copy(made, to, "--digest-tags").code == 0
    assert not named(tags.destination, to, fallback(made.digest))


def test_a_signature_that_moved_is_copied_again(ends: Ends) -> None:
    """cosign adds signatures to the manifest behind one tag."""
    made, to = ends.image(), fresh("with/to")
    digest_tag(ends.source, made, "sig", "one")
    assert ends.copy(made, to, "--digest-tags").code == 0
    second = digest_tag(ends.source, made, "sig", "two")
    assert ends.copy(made, to, "--digest-tags").code == 0
    _arrived(ends, to, second)


def test_an_unchanged_signature_costs_a_head_on_each_side(both: Ends) -> None:
    """And one list of tags, for however many images of the repository."""
    made, to = both.image(), fresh("with/to")
    signature = digest_tag(both.source, made, "sig")
    assert both.copy(made, to, "--digest-tags").code == 0
    at_source, at_destination = both.counts()
    assert both.copy(made, to, "--digest-tags").code == 0
    assert asked(both.source, made.repo, at_source) == [
        ("GET", "manifests/1"),
        ("GET", "tags/list"),
        ("HEAD", f"manifests/{signature.tag}"),
    ]
    assert asked(both.destination, to, at_destination) == [
        ("HEAD", "manifests/1"),
        ("HEAD", f"manifests/{signature.tag}"),
    ]


def test_a_repository_is_listed_once_in_a_run(place: Place) -> None:
    """Ten images, one list of tags."""
    repo, to = fresh("with/r"), fresh("with/to")
    made = [image(place.source, repo, f"{number}", layers=[b"%d" % number]) for number in range(10)]
    signatures = [digest_tag(place.source, each, "sig") for each in made]
    before = len(place.source.requests())
    name = repo.removeprefix("with/")
    ran = place.listed([f"{name}:{each.tag}" for each in made], "--digest-tags", base="with", to=to)
    assert ran.code == 0, ran.err
    assert [rest for _, rest in asked(place.source, repo, before) if "tags/list" in rest] == ["tags/list"]
    _arrived(Ends(place.source, place.destination), f"{to}/{name}", *signatures)


def test_tags_of_a_converted_image_are_left_out_with_a_warning(both: Ends) -> None:
    """They are named after a digest that the destination does not have."""
    made, to = both.image(docker=True), fresh("with/to")
    signature = digest_tag(both.source, made, "sig")
    ran = both.copy(made, to, "--digest-tags", "--format", "oci")
    assert ran.code == 0, ran.err
    assert "so its 1 digest tags are not copied" in ran.err
    assert not named(both.destination, to, signature.tag)


def test_a_signature_that_fails_fails_the_image_and_leaves_it_there(apis: Pair, both: Ends) -> None:
    """One line that names the tag."""
    made, to = both.image(), fresh("with/to")
    signature = digest_tag(both.source, made, "sig")
    apis.at_source.add(respond(403, "DENIED"), path=f"/manifests/{signature.tag}", method="GET")
    ran = both.copy(made, to, "--digest-tags")
    assert ran.code == 1
    assert f"the image is copied, but its tag {signature.tag} is not" in ran.fatal
    assert_complete(both.destination, to, made)
