"""What ours has and docker-registry has not: referrers, filters, pages of tags, several tags at once, knobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastcopy.serve import Behaviour
from tests.registries import Probe, embedded_registry
from tests.serve.helpers import BIG, INDEX, OCI, OCTETS, descriptor, fresh_repo, image, sha, start


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Probe]:
    """A probe of ours."""
    with request.getfixturevalue("embedded_plain").client() as probe:
        yield probe


@pytest.fixture
def repo() -> str:
    """A repository nobody else uses."""
    return fresh_repo()


def behaving(tmp_path: Path, **knobs: Any) -> Any:
    """Ours with another behaviour."""
    return embedded_registry(tmp_path, behaviour=Behaviour(**knobs))


def referrers(client: Probe, repo: str, digest: str, query: str = "") -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The referrers and the headers they came with."""
    answer = client.request("GET", f"/v2/{repo}/referrers/{digest}{query}")
    assert answer.status == 200
    assert answer.headers["content-type"] == INDEX
    return answer.json()["manifests"], answer.headers


def test_a_referrer_is_listed_with_its_type_and_annotations(client: Probe, repo: str) -> None:
    """Digest, size, artifactType and annotations, as image-spec describes."""
    subject = descriptor(client, repo, image(client, repo))
    extra = {"subject": subject, "artifactType": "x/signature", "annotations": {"who": "me"}}
    digest = image(client, repo, "", b"sig", **extra)
    (found,), _ = referrers(client, repo, subject["digest"])
    assert found == {**descriptor(client, repo, digest), "artifactType": "x/signature", "annotations": {"who": "me"}}


def test_pushing_a_referrer_says_so(client: Probe, repo: str) -> None:
    """OCI-Subject in the answer: the client need not keep the fallback tag. The subject need not exist."""
    config = {"mediaType": "x/y", **client.push_blob(repo, b"{}")}
    missing = sha(b"nowhere")
    subject = {"mediaType": OCI, "digest": missing, "size": 7}
    raw = json.dumps({"schemaVersion": 2, "config": config, "layers": [], "subject": subject}).encode()
    answer = client.request("PUT", f"/v2/{repo}/manifests/{sha(raw)}", raw, {"Content-Type": OCI})
    assert (answer.status, answer.headers["oci-subject"]) == (201, missing)
    assert len(referrers(client, repo, missing)[0]) == 1


def test_the_filter_is_applied_and_announced(client: Probe, repo: str) -> None:
    """Two types, one asked for."""
    subject = descriptor(client, repo, image(client, repo))
    for kind in ("x/sbom", "x/signature"):
        image(client, repo, "", kind.encode(), subject=subject, artifactType=kind)
    found, headers = referrers(client, repo, subject["digest"], "?artifactType=x/sbom")
    assert [item["artifactType"] for item in found] == ["x/sbom"]
    assert headers["oci-filters-applied"] == "artifactType"


def test_no_referrers_are_an_empty_list_even_in_no_repository(client: Probe) -> None:
    """Never 404: that would mean the API is missing."""
    assert referrers(client, "no/such/thing", sha(b"x"))[0] == []


def test_a_deleted_referrer_is_not_listed(client: Probe, repo: str) -> None:
    """Nor is it after its subject is gone."""
    subject = descriptor(client, repo, image(client, repo))
    digest = image(client, repo, "", b"sig", subject=subject)
    client.request("DELETE", f"/v2/{repo}/manifests/{digest}")
    assert referrers(client, repo, subject["digest"])[0] == []


def test_a_registry_without_referrers_is_404_and_silent(tmp_path: Path) -> None:
    """As docker-registry: no OCI-Subject either."""
    with behaving(tmp_path, referrers=False) as registry, registry.client() as client:
        subject = descriptor(client, "a", image(client, "a"))
        config = {"mediaType": "x/y", **client.push_blob("a", b"{}")}
        raw = json.dumps({"schemaVersion": 2, "config": config, "layers": [], "subject": subject}).encode()
        answer = client.request("PUT", f"/v2/a/manifests/{sha(raw)}", raw, {"Content-Type": OCI})
        assert "oci-subject" not in answer.headers
        assert client.request("GET", f"/v2/a/referrers/{subject['digest']}").status == 404


def test_tags_come_in_pages(client: Probe, repo: str) -> None:
    """Sorted, n at a time, with a Link that works."""
    for tag in ("b", "a", "d", "c"):
        image(client, repo, tag)
    seen, target = [], f"/v2/{repo}/tags/list?n=3"
    while target:
        answer = client.request("GET", target)
        seen.append(answer.json()["tags"])
        target = answer.headers.get("link", "").partition(">")[0].lstrip("<")
    assert seen == [["a", "b", "c"], ["d"]]


@pytest.mark.parametrize(("query", "status"), [("?n=0", 200), ("?n=x", 400), ("?last=zzz", 200)])
def test_odd_pages(client: Probe, repo: str, query: str, status: int) -> None:
    """n=0 and a `last` beyond the end are empty, not errors."""
    image(client, repo)
    answer = client.request("GET", f"/v2/{repo}/tags/list{query}")
    assert answer.status == status
    assert status != 200 or answer.json()["tags"] == []


def test_one_put_may_carry_several_tags(client: Probe, repo: str) -> None:
    """PUT by digest with ?tag=, each confirmed by OCI-Tag."""
    raw = client.request("GET", f"/v2/{repo}/manifests/{image(client, repo)}").body
    answer = client.request("PUT", f"/v2/{repo}/manifests/{sha(raw)}?tag=x&tag=y", raw, {"Content-Type": OCI})
    assert answer.status == 201
    assert client.request("GET", f"/v2/{repo}/tags/list").json()["tags"] == ["v1", "x", "y"]


def test_a_blob_in_one_post(client: Probe, repo: str) -> None:
    """POST ?digest= with the body: 201 at once."""
    answer = client.request("POST", f"/v2/{repo}/blobs/uploads/?digest={sha(BIG)}", BIG, OCTETS)
    assert answer.status == 201
    assert client.request("GET", f"/v2/{repo}/blobs/{sha(BIG)}").body == BIG


def test_a_registry_that_takes_no_single_post_says_202(tmp_path: Path) -> None:
    """Nothing is kept; the upload is open (docker-registry)."""
    with behaving(tmp_path, single_post=False) as registry, registry.client() as client:
        answer = client.request("POST", f"/v2/a/blobs/uploads/?digest={sha(BIG)}", BIG, OCTETS)
        assert answer.status == 202
        done = client.request("PUT", f"{answer.headers['location']}?digest={sha(BIG)}", BIG, OCTETS)
        assert done.status == 201


def test_a_mount_without_from_finds_the_blob(client: Probe, repo: str) -> None:
    """Anywhere on the registry."""
    digest = client.push_blob(repo, repo.encode())["digest"]
    other = fresh_repo()
    assert client.request("POST", f"/v2/{other}/blobs/uploads/?mount={digest}").status == 201


@pytest.mark.parametrize("size", [(4 << 20) + 1, 5 << 20])
def test_a_manifest_above_4_mib_is_413(client: Probe, repo: str, size: int) -> None:
    """By its announced length, and when it is sent in chunks."""
    answer = client.request("PUT", f"/v2/{repo}/manifests/v1", b" " * size, {"Content-Type": OCI})
    assert answer.status == 413


def test_a_manifest_of_exactly_4_mib_is_taken(client: Probe, repo: str) -> None:
    """The limit is what the specification asks for."""
    config = {"mediaType": "x/y", **client.push_blob(repo, b"{}")}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": []}).encode()
    raw += b" " * ((4 << 20) - len(raw))
    assert client.request("PUT", f"/v2/{repo}/manifests/v1", raw, {"Content-Type": OCI}).status == 201
    assert client.request("GET", f"/v2/{repo}/manifests/v1").body == raw


def test_chunk_limits_are_announced_and_held(tmp_path: Path) -> None:
    """OCI-Chunk-Min-Length, and 416 above the largest chunk (GHCR)."""
    with behaving(tmp_path, chunk_minimum=10, chunk_maximum=100) as registry, registry.client() as client:
        answer = client.request("POST", "/v2/a/blobs/uploads/")
        assert answer.headers["oci-chunk-min-length"] == "10"
        assert client.request("PATCH", answer.headers["location"], b"x" * 101, OCTETS).status == 416
        assert client.request("PATCH", answer.headers["location"], b"x" * 100, OCTETS).status == 202


def test_knobs_of_other_registries(tmp_path: Path) -> None:
    """No chunks, no mounts, no deletes, absolute locations, shared blobs."""
    knobs = {"chunked": False, "mounts": False, "deletes": False, "absolute_locations": True, "global_blobs": True}
    with behaving(tmp_path, **knobs) as registry, registry.client() as client:
        digest = image(client, "a")
        location = start(client, "a")
        assert location.startswith(f"http://{registry.host}/v2/a/blobs/uploads/")
        assert client.request("PATCH", location, b"x", OCTETS).status == 405
        blob = sha(b"layer")
        assert client.request("POST", f"/v2/b/blobs/uploads/?mount={blob}&from=a").status == 202
        assert client.request("HEAD", f"/v2/b/blobs/{blob}").status == 200
        assert client.request("DELETE", f"/v2/a/manifests/{digest}").status == 405


def test_a_registry_that_ignores_ranges_sends_everything(tmp_path: Path) -> None:
    """200, as a pull-through cache on a miss."""
    with behaving(tmp_path, ranges=False) as registry, registry.client() as client:
        digest = client.push_blob("a", BIG)["digest"]
        got = client.request("GET", f"/v2/a/blobs/{digest}", headers={"Range": "bytes=5-9"})
        assert (got.status, got.body) == (200, BIG)
