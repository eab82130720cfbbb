"""``--referrers``: all that refers to an image arrives with it, listed, verbatim, and cheaply the second time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fastcopy.serve import Behaviour
from fastcopy.serve.message import Body, Handler, Head, Middleware, Reply
from tests.companions.world import (
    SBOM,
    SIGNATURE,
    Ends,
    artifact,
    asked,
    assert_there,
    digests,
    fallback,
    has_api,
    listed,
    listing,
    put_listing,
)
from tests.copy.world import OCI_INDEX, Pair, assert_complete, cli, fresh, image, index, named
from tests.faults import hang_up, respond, with_header
from tests.registries import embedded_registry
from tests.sync.world import Place


def test_what_refers_to_an_image_arrives_with_it_whoever_has_the_api(ends: Ends) -> None:
    """A signature, an SBOM and the SBOM's signature: verbatim, by digest, listed under their subjects."""
    made, to = ends.image(), fresh("with/to")
    signature, sbom = artifact(ends.source, made, SIGNATURE), artifact(ends.source, made, SBOM)
    deeper = artifact(ends.source, sbom, SIGNATURE)
    ran = ends.copy(made, to, "--referrers")
    assert ran.code == 0, ran.err
    assert_complete(ends.destination, to, made)
    assert_there(ends.destination, to, signature, sbom, deeper)
    assert listed(ends.destination, to, made.digest) == digests([signature, sbom])
    assert listed(ends.destination, to, sbom.digest) == [deeper.digest]


def test_the_list_says_what_the_specification_wants_said(ends: Ends) -> None:
    """Media type, digest, size, artifact type and annotations of each referrer."""
    made, to = ends.image(), fresh("with/to")
    sbom = artifact(ends.source, made, SBOM, "spdx")
    assert ends.copy(made, to, "--referrers").code == 0
    (entry,) = listing(ends.destination, to, made.digest)
    assert entry == sbom.entry | {"artifactType": SBOM, "annotations": {"org.example.content": "spdx"}}


def test_the_instances_of_an_index_bring_theirs(ends: Ends) -> None:
    """Referrers of the index and of each of its images."""
    made, to = index(ends.source, fresh("with/r"), sizes=(500,)), fresh("with/to")
    of_index = artifact(ends.source, made, SIGNATURE)
    of_children = [artifact(ends.source, child, SIGNATURE) for child in made.children]
    assert ends.copy(made, to, "--referrers", "--all").code == 0
    assert listed(ends.destination, to, made.digest) == [of_index.digest]
    for child, signature in zip(made.children, of_children, strict=True):
        assert listed(ends.destination, to, child.digest) == [signature.digest]
    assert_there(ends.destination, to, of_index, *of_children)


def test_an_instance_alone_brings_its_own_only(both: Ends) -> None:
    """The index is not at the destination: what refers to it would dangle."""
    made, to = index(both.source, fresh("with/r"), sizes=(500,)), fresh("with/to")
    artifact(both.source, made, SIGNATURE)
    mine = artifact(both.source, made.children[0], SIGNATURE)
    other = artifact(both.source, made.children[1], SIGNATURE)
    assert both.copy(made, to, "--referrers", "--override-arch", "amd64").code == 0
    assert listed(both.destination, to, made.children[0].digest) == [mine.digest]
    assert listed(both.destination, to, made.digest) == listed(both.destination, to, made.children[1].digest) == []
    assert not named(both.destination, to, other.digest)


def test_nothing_is_asked_for_without_the_flag(both: Ends) -> None:
    """A plain copy is a plain copy."""
    made, to = both.image(), fresh("with/to")
    artifact(both.source, made, SIGNATURE)
    assert both.copy(made, to).code == 0
    assert listed(both.destination, to, made.digest) == []
    assert not [rest for _, rest in asked(both.source, made.repo, 0) if rest.startswith(("referrers", "tags"))]


def test_an_unchanged_image_without_referrers_costs_one_more_request(both: Ends) -> None:
    """The source is asked once; there is nothing to compare at the destination."""
    made, to = both.image(), fresh("with/to")
    assert both.copy(made, to, "--referrers").code == 0
    at_source, at_destination = both.counts()
    assert both.copy(made, to, "--referrers").code == 0
    assert asked(both.source, made.repo, at_source) == [
        ("GET", "manifests/1"),
        ("GET", f"referrers/{made.digest}"),
    ]
    assert asked(both.destination, to, at_destination) == [("HEAD", "manifests/1")]


def test_an_unchanged_image_with_a_referrer_compares_the_lists(both: Ends) -> None:
    """One list each; the referrer itself is asked for its own referrers, and read by nobody."""
    made, to = both.image(), fresh("with/to")
    signature = artifact(both.source, made, SIGNATURE)
    assert both.copy(made, to, "--referrers").code == 0
    at_source, at_destination = both.counts()
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 0
    assert sorted(asked(both.source, made.repo, at_source)) == sorted(
        [("GET", "manifests/1"), ("GET", f"referrers/{made.digest}"), ("GET", f"referrers/{signature.digest}")]
    )
    assert asked(both.destination, to, at_destination) == [("HEAD", "manifests/1"), ("GET", f"referrers/{made.digest}")]


def test_a_signature_that_came_later_is_copied_although_the_image_is_there(ends: Ends) -> None:
    """The image is unchanged, what belongs to it is not."""
    made, to = ends.image(), fresh("with/to")
    first = artifact(ends.source, made, SIGNATURE, "first")
    assert ends.copy(made, to, "--referrers").code == 0
    second = artifact(ends.source, made, SIGNATURE, "second")
    assert ends.copy(made, to, "--referrers").code == 0
    assert listed(ends.destination, to, made.digest) == digests([first, second])
    assert_there(ends.destination, to, first, second)


def test_only_the_types_that_were_asked_for(ends: Ends) -> None:
    """--referrer-type stands for --referrers; several add up."""
    made, to, many = ends.image(), fresh("with/to"), fresh("with/to")
    kinds = {kind: artifact(ends.source, made, kind) for kind in (SIGNATURE, SBOM, "application/vnd.other")}
    assert ends.copy(made, to, "--referrer-type", SBOM).code == 0
    assert listed(ends.destination, to, made.digest) == [kinds[SBOM].digest]
    assert ends.copy(made, many, "--referrers", "--referrer-type", SBOM, "--referrer-type", SIGNATURE).code == 0
    assert listed(ends.destination, many, made.digest) == digests([kinds[SBOM], kinds[SIGNATURE]])


def test_a_registry_that_ignores_the_filter_is_filtered_here(tmp_path: Any, both: Ends) -> None:
    """OCI-Filters-Applied is an offer, not a promise."""
    with embedded_registry(tmp_path, behaviour=Behaviour(filters=False)) as source:
        made, to = image(source, fresh("with/r"), sizes=(500,)), fresh("with/to")
        artifact(source, made, SIGNATURE)
        sbom = artifact(source, made, SBOM)
        assert Ends(source, both.destination).copy(made, to, "--referrer-type", SBOM).code == 0
    assert listed(both.destination, to, made.digest) == [sbom.digest]


def test_one_type_is_asked_for_by_name(both: Ends) -> None:
    """The registry filters where it can: one request, one parameter."""
    made = both.image()
    assert both.copy(made, fresh("with/to"), "--referrer-type", SBOM).code == 0
    assert ("GET", f"referrers/{made.digest}?artifactType=application%2Fvnd.example.sbom") in asked(
        both.source, made.repo, 0
    )


def _paged(size: int, *, endless: bool = False) -> Middleware:
    """Lists of referrers in pages of *size*, with Link; *endless*: the last page leads to the first."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        path, _, query = head.target.partition("?")
        first = int(query.partition("page=")[2] or 0)
        reply = await proceed(replace(head, target=path), body)
        assert isinstance(reply.body, bytes)
        document = json.loads(reply.body)
        rest = document["manifests"][first + size :]
        document["manifests"] = document["manifests"][first : first + size]
        following = first + size if rest else 0
        links = [("Link", f'<{path}?page={following}>; rel="next"')] if rest or endless else []
        return Reply.json(200, document, *links, kind=OCI_INDEX)

    return fault


def test_a_long_list_is_read_page_by_page(apis: Pair, both: Ends) -> None:
    """Link is followed to the end."""
    made, to = both.image(), fresh("with/to")
    all_of_them = [artifact(both.source, made, SBOM, str(number)) for number in range(7)]
    rule = apis.at_source.add(_paged(3), path="/referrers/")
    assert both.copy(made, to, "--referrers").code == 0
    assert rule.hits >= 3
    assert listed(both.destination, to, made.digest) == digests(all_of_them)


def test_a_list_without_end_is_refused(apis: Pair, both: Ends) -> None:
    """The image is there, and one line says what is wrong."""
    made, to = both.image(), fresh("with/to")
    artifact(both.source, made, SBOM)
    apis.at_source.add(_paged(1, endless=True), path=f"/referrers/{made.digest}")
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 1
    assert "has no end" in ran.fatal
    assert "the image is copied, but" in ran.fatal
    assert_complete(both.destination, to, made)


def test_a_list_on_another_host_is_refused(apis: Pair, both: Ends) -> None:
    """Credentials stay at home."""
    made, to = both.image(), fresh("with/to")
    elsewhere = with_header("Link", f'<http://127.0.0.2:1/v2/{made.repo}/referrers/x>; rel="next"')
    apis.at_source.add(elsewhere, path="/referrers/")
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 1
    assert "another host" in ran.fatal


def test_a_list_that_lies_is_found_out_and_ends(apis: Pair, both: Ends) -> None:
    """Two manifests listed as each other's referrers: what does not name its subject is not copied, and no loop."""
    made, to = both.image(), fresh("with/to")
    sbom = artifact(both.source, made, SBOM)

    async def lie(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        assert isinstance(reply.body, bytes)
        return Reply.json(200, json.loads(reply.body) | {"manifests": [made.entry]}, kind=OCI_INDEX)

    apis.at_source.add(lie, path=f"/referrers/{sbom.digest}")
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 1
    assert "listed as a referrer of what it does not refer to" in ran.fatal
    assert_complete(both.destination, to, made)
    assert listed(both.destination, to, made.digest) == [sbom.digest]


def test_referrers_of_referrers_have_a_bound(both: Ends) -> None:
    """Ten deep is too deep: told, with the image in place."""
    made, to = both.image(), fresh("with/to")
    chain = [made]
    for number in range(10):
        chain.append(artifact(both.source, chain[-1], SIGNATURE, str(number)))
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 1
    assert "nested more than 8 deep" in ran.fatal
    assert_complete(both.destination, to, made)
    assert_there(both.destination, to, *chain[1:9])


@pytest.mark.real("docker-registry")
def test_the_tag_keeps_what_others_have_listed(tags: Ends) -> None:
    """Entries, their unknown fields and the index's annotations stay; ours are added once."""
    made, to = tags.image(), fresh("with/to")
    ours = artifact(tags.source, made, SIGNATURE)
    there = image(tags.destination, to, "1", layers=[b"another"])
    theirs = artifact(tags.destination, replace(made, repo=to), SBOM, "theirs")
    put_listing(tags.destination, to, made.digest, [theirs.entry | {"x-unknown": [1]}, there.entry])
    for _ in range(2):
        assert tags.copy(made, to, "--referrers").code == 0
        entries = listing(tags.destination, to, made.digest)
        assert [each["digest"] for each in entries] == [theirs.digest, there.digest, ours.digest]
        assert entries[0]["x-unknown"] == [1]


@pytest.mark.real("docker-registry")
def test_two_that_write_one_list_at_once_lose_nothing(tags: Ends, tmp_path: Any) -> None:
    """Two repositories with the same image and different referrers, copied into one at once: all are listed."""
    to, layer = fresh("with/to"), [b"the same everywhere"]
    sources = [image(tags.source, fresh("with/r"), "1", layers=layer, config={"for": "all"}) for _ in range(6)]
    assert len({each.digest for each in sources}) == 1
    theirs = [artifact(tags.source, each, SIGNATURE, str(n)) for n, each in enumerate(sources)]
    lines = [f"{each.ref}={tags.destination.ref(to, f't{n}')}" for n, each in enumerate(sources)]
    place = Place(tmp_path, tags.source, tags.destination)
    ran = place.sync("--list", place.file("\n".join(lines)), "--referrers")
    assert ran.code == 0, ran.err
    assert listed(tags.destination, to, sources[0].digest) == digests(theirs)
    assert_there(tags.destination, to, *theirs)


@pytest.mark.real("docker-registry")
def test_a_list_that_names_what_is_gone_is_healed(tags: Ends) -> None:
    """Without the API a list proves nothing: each referrer is looked for."""
    made, to = tags.image(), fresh("with/to")
    signature = artifact(tags.source, made, SIGNATURE)
    assert tags.copy(made, to, "--referrers").code == 0
    with tags.destination.client() as probe:
        assert probe.request("DELETE", f"/v2/{to}/manifests/{signature.digest}").status == 202
    assert tags.copy(made, to, "--referrers").code == 0
    assert_there(tags.destination, to, signature)
    assert listed(tags.destination, to, made.digest) == [signature.digest]


@pytest.mark.real("docker-registry")
def test_the_api_is_looked_for_once(tags: Ends) -> None:
    """A registry that has said 404 is not asked by that road again in the run."""
    made = index(tags.source, fresh("with/r"), platforms=("amd64", "arm64", "s390x"), sizes=(300,))
    ran = tags.copy(made, fresh("with/to"), "--referrers", "--all", "--image-parallel-copies", "1")
    assert ran.code == 0
    roads = [rest for _, rest in asked(tags.source, made.repo, 0)]
    assert sum(rest.startswith("referrers/") for rest in roads) <= 4  # those under way when the answer came
    assert sum(rest.startswith("manifests/sha256-") for rest in roads) == 4


@pytest.mark.real("docker-registry")
def test_a_tag_that_is_no_list_is_a_failure(tags: Ends) -> None:
    """The specification wants a failure, and nobody's image is overwritten."""
    made, to = tags.image(), fresh("with/to")
    artifact(tags.source, made, SIGNATURE)
    squatter = image(tags.destination, to, fallback(made.digest), layers=[b"mine"])
    ran = tags.copy(made, to, "--referrers")
    assert ran.code == 1
    assert "is not an index" in ran.fatal
    assert named(tags.destination, to, fallback(made.digest)) == squatter.digest
    assert_complete(tags.destination, to, made)


def test_a_registry_that_does_not_say_that_it_lists_gets_the_tag_as_well(apis: Pair, both: Ends) -> None:
    """OCI-Subject decides, whatever the API answers (distribution-spec, pushing manifests with subject)."""
    made, to = both.image(), fresh("with/to")
    signature = artifact(both.source, made, SIGNATURE)
    apis.at_destination.add(with_header("OCI-Subject", None), method="PUT")
    assert both.copy(made, to, "--referrers").code == 0
    with both.destination.client() as probe:
        found = probe.request("GET", f"/v2/{to}/manifests/{fallback(made.digest)}").json()
    assert [each["digest"] for each in found["manifests"]] == [signature.digest]


def test_a_referrer_that_fails_fails_the_image_and_leaves_it_there(apis: Pair, both: Ends) -> None:
    """One line with what is missing; what can be copied is."""
    made, to = both.image(), fresh("with/to")
    broken, fine = artifact(both.source, made, SBOM), artifact(both.source, made, SIGNATURE)
    apis.at_source.add(
        respond(404, "BLOB_UNKNOWN"), path=f"/blobs/{max(broken.blobs, key=lambda b: len(broken.blobs[b]))}"
    )
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 1
    assert f"the image is copied, but its referrer {broken.digest} is not" in ran.fatal
    assert_complete(both.destination, to, made)
    assert listed(both.destination, to, made.digest) == [fine.digest]


def test_a_source_that_denies_the_list_is_no_source_without_referrers(apis: Pair, both: Ends) -> None:
    """403 is not 404: what cannot be read is not taken for nothing."""
    made, to = both.image(), fresh("with/to")
    apis.at_source.add(respond(403, "DENIED"), path="/referrers/")
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 1
    assert "the image is copied, but what refers to" in ran.fatal
    assert_complete(both.destination, to, made)


def test_what_refers_to_a_converted_image_is_left_out_with_a_warning(ends: Ends) -> None:
    """It would point at nothing. With --preserve-digests nothing is converted."""
    made, to = ends.image(docker=True), fresh("with/to")
    artifact(ends.source, made, SIGNATURE)
    ran = ends.copy(made, to, "--referrers", "--format", "oci")
    assert ran.code == 0, ran.err
    assert "so its 1 referrers are not copied" in ran.err
    assert named(ends.destination, to) not in ("", made.digest)
    assert listed(ends.destination, to, made.digest) == []


def test_tags_of_one_image_ask_for_its_referrers_once(place: Place) -> None:
    """A run remembers what it has asked and copied."""
    repo, to = fresh("with/r"), fresh("with/to")
    made = [image(place.source, repo, tag, layers=[b"one"], config={"for": "all"}) for tag in ("1", "1.2", "latest")]
    signature = artifact(place.source, made[0], SIGNATURE)
    name, before = repo.removeprefix("with/"), len(place.source.requests())
    ran = place.listed([f"{name}:{each.tag}" for each in made], "--referrers", base="with", to=to)
    assert ran.code == 0, ran.err
    target = f"{to}/{name}"
    assert listed(place.destination, target, made[0].digest) == [signature.digest]
    road = f"referrers/{made[0].digest}" if has_api(place.source) else f"manifests/{fallback(made[0].digest)}"
    assert [rest for _, rest in asked(place.source, repo, before)].count(road) == 1
    put = ("PUT", f"manifests/{signature.digest}")
    assert asked(place.destination, target, 0).count(put) == 1


def test_a_place_that_holds_one_image_is_refused_before_anything_moves(both: Ends, tmp_path: Any) -> None:
    """dir: has no room beside an image."""
    made = both.image()
    before = both.counts()
    ran = _to(made, f"dir:{tmp_path}/out", both)
    assert ran.code == 1
    assert "referrers and digest tags need a registry or an oci: layout" in ran.fatal
    assert asked(both.source, made.repo, before[0]) == []


def _to(made: Any, destination: str, ends: Ends) -> Any:
    from tests.cli.support import run
    from tests.copy.world import flags

    return run("copy", *flags(ends.source, ends.destination), "--referrers", made.ref, destination)


def test_two_destinations_get_them_from_one_download(both: Ends, tmp_path: Any) -> None:
    """Each blob of a referrer is read once, each list once per destination."""
    made, to, too = both.image(), fresh("with/to"), fresh("with/to")
    signature = artifact(both.source, made, SIGNATURE)
    place = Place(tmp_path, both.source, both.destination)
    targets = f"[{both.destination.host}/{to}, {both.destination.host}/{too}]"
    text = f'fastcopy: 1\nimages:\n  - {{from: "{both.source.host}/{made.repo}:1", to: {targets}, referrers: true}}\n'
    ran = place.sync("--config", place.file(text, "c.yaml"))
    assert ran.code == 0, ran.err
    for repo in (to, too):
        assert listed(both.destination, repo, made.digest) == [signature.digest]
        assert_there(both.destination, repo, signature)
    reads = [rest for method, rest in asked(both.source, made.repo, 0) if method == "GET" and rest.startswith("blobs/")]
    assert sorted(reads) == sorted(f"blobs/{digest}" for digest in {**made.blobs, **signature.blobs})


def test_a_list_says_for_itself_what_the_command_line_leaves_open(place: Place) -> None:
    """`referrers` of an entry wins over --referrers; the others follow the command line."""
    made, quiet = (image(place.source, fresh("with/r"), sizes=(300,)) for _ in range(2))
    for each in (made, quiet):
        artifact(place.source, each, SIGNATURE)
    to = fresh("with/to")
    text = f"""
fastcopy: 1
images:
  - {{from: "{place.source.host}/{made.repo}:1", to: "{place.destination.host}/{to}/a"}}
  - {{from: "{place.source.host}/{quiet.repo}:1", to: "{place.destination.host}/{to}/b", referrers: false}}
"""
    ran = place.sync(
        "--config", place.file(text, "c.yaml"), "--referrers", "--report", str(place.files / "report.json")
    )
    assert ran.code == 0, ran.err
    assert len(listed(place.destination, f"{to}/a", made.digest)) == 1
    assert listed(place.destination, f"{to}/b", quiet.digest) == []


def test_regsyncs_keys_do_what_they_say(place: Place) -> None:
    """`referrers`, `referrerFilters` and `digestTags` of a regsync.yml."""
    made, to = image(place.source, fresh("with/r"), sizes=(300,)), fresh("with/to")
    artifact(place.source, made, SIGNATURE)
    sbom = artifact(place.source, made, SBOM)
    text = f"""
version: 1
sync:
  - source: {place.source.host}/{made.repo}:1
    target: {place.destination.host}/{to}:1
    type: image
    referrers: true
    referrerFilters: [{{artifactType: {SBOM}}}]
"""
    ran = place.sync("--config", place.file(text, "regsync.yml"))
    assert ran.code == 0, ran.err
    assert listed(place.destination, to, made.digest) == [sbom.digest]


def test_a_failure_is_in_the_report(apis: Pair, both: Ends, tmp_path: Any) -> None:
    """The image's status is failed, its name points to the image all the same."""
    made = both.image()
    artifact(both.source, made, SBOM)
    apis.at_source.add(respond(403, "DENIED"), path="/referrers/")
    place = Place(tmp_path, both.source, both.destination)
    to = fresh("with/to")
    report = str(tmp_path / "report.json")
    ran = place.sync(
        "--list", place.file(f"{made.ref}={both.destination.ref(to, '1')}"), "--referrers", "--report", report
    )
    assert ran.code != 0
    (told,) = place.report()["images"]
    assert (told["status"], told["class"]) == ("failed", "denied")
    assert named(both.destination, to) == made.digest
    assert cli(made, both.destination, to).code == 0


def test_a_whole_repository_brings_the_lists_as_lists_not_as_images(place: Place) -> None:
    """Where the source has no API its tags include the lists; they are made at the destination, not copied."""
    made, to = image(place.source, fresh("with/r"), sizes=(300,)), fresh("with/to")
    sbom = artifact(place.source, made, SBOM)
    text = (
        f'fastcopy: 1\nimages:\n  - {{from: "{place.source.host}/{made.repo}", to: "{place.destination.host}/{to}"}}\n'
    )
    ran = place.sync("--config", place.file(text, "c.yaml"), "--referrers")
    assert ran.code == 0, ran.err
    assert "1 images: 1 copied" in ran.err
    assert listed(place.destination, to, made.digest) == [sbom.digest]
    assert bool(named(place.destination, to, fallback(made.digest))) == (not has_api(place.destination))


def _web_page() -> Middleware:
    async def fault(_head: Head, _body: Body, _proceed: Handler) -> Reply:
        return Reply(200, [("Content-Type", "text/html; charset=utf-8")], b"<html>a single page</html>")

    return fault


@pytest.mark.parametrize("status", [0, 400, 404, 405, 501])
def test_every_way_to_have_no_api_is_understood(apis: Pair, both: Ends, status: int) -> None:
    """Refusals that registries are known to give, and a web page for any path (0): the tag is asked instead."""
    made, to = both.image(), fresh("with/to")
    sbom = artifact(both.source, made, SBOM)
    entry = sbom.entry | {"artifactType": SBOM}
    put_listing(both.source, made.repo, made.digest, [entry])
    apis.at_source.add(respond(status) if status else _web_page(), path="/referrers/")
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 0, ran.err
    assert listed(both.destination, to, made.digest) == [sbom.digest]


def test_a_busy_registry_is_waited_for(apis: Pair, both: Ends) -> None:
    """Lists are asked for again like anything else: 503, 429, a connection that breaks."""
    made, to = both.image(), fresh("with/to")
    sbom = artifact(both.source, made, SBOM)
    apis.at_source.add(respond(503), path="/referrers/", times=1)
    apis.at_source.add(hang_up(), path="/referrers/", times=1, skip=1)
    apis.at_destination.add(respond(429, "TOOMANYREQUESTS", retry_after=0), path="/referrers/", times=1)
    ran = both.copy(made, to, "--referrers")
    assert ran.code == 0, ran.err
    assert listed(both.destination, to, made.digest) == [sbom.digest]


def test_credentials_reach_the_api_as_anything_else(tmp_path: Any) -> None:
    """A registry with tokens: the scope of a pull is enough to list."""
    with embedded_registry(tmp_path / "a", "token") as source, embedded_registry(tmp_path / "b", "token") as target:
        made, to = image(source, fresh("with/r"), sizes=(500,)), fresh("with/to")
        sbom = artifact(source, made, SBOM)
        ran = Ends(source, target).copy(made, to, "--referrers", "--digest-tags")
        assert ran.code == 0, ran.err
        assert listed(target, to, made.digest) == [sbom.digest]
