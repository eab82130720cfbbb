"""What every registry promises, asked of docker-registry and of ours alike: a difference is a bug of ours."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator

import pytest

from tests.registries import Answer, Probe, Registry

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
OCTETS = {"Content-Type": "application/octet-stream"}
BLOB = bytes(range(256)) * 1200
_names = (f"contract/r{number}" for number in itertools.count())


@pytest.fixture
def client(registry: Registry) -> Iterator[Probe]:
    """A probe of the registry under test."""
    with registry.client() as probe:
        yield probe


@pytest.fixture
def repo() -> str:
    """A repository nobody else uses."""
    return next(_names)


def sha(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of data."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def start(client: Probe, repo: str) -> str:
    """Open an upload; returns its location."""
    answer = client.request("POST", f"/v2/{repo}/blobs/uploads/")
    assert answer.status == 202
    return answer.headers["location"]


def closing(location: str, digest: str) -> str:
    """The location of the closing PUT."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def image(client: Probe, repo: str, tag: str = "v1") -> str:
    """Push a small image; returns its digest."""
    config = client.push_blob(repo, b'{"architecture":"amd64","os":"linux"}')
    layer = client.push_blob(repo, BLOB)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {"mediaType": CONFIG, **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}],
    }
    return client.push_manifest(repo, tag, manifest, OCI)


def get_manifest(client: Probe, repo: str, reference: str, method: str = "GET") -> Answer:
    """Ask for a manifest with a full Accept."""
    return client.request(method, f"/v2/{repo}/manifests/{reference}", headers={"Accept": f"{OCI}, {INDEX}"})


def test_base_endpoint_answers_or_challenges(registry: Registry, client: Probe) -> None:
    """GET /v2/ is 200, or 401 with a challenge of the right scheme."""
    answer = client.request("GET", "/v2/", auth=False)
    if registry.credentials is None:
        assert answer.status == 200
        return
    assert answer.status == 401
    assert answer.code == "UNAUTHORIZED"
    scheme = "Basic" if registry.flavour == "basic" else "Bearer"
    assert answer.headers["www-authenticate"].startswith(f"{scheme} realm=")


def test_a_blob_comes_back_byte_for_byte(client: Probe, repo: str) -> None:
    """POST and PUT store a blob; HEAD and GET agree on its size and digest."""
    digest = client.push_blob(repo, BLOB)["digest"]
    target = f"/v2/{repo}/blobs/{digest}"
    head, got = client.request("HEAD", target), client.request("GET", target)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(BLOB)), b"")
    assert head.headers["docker-content-digest"] == digest
    assert (got.status, got.body) == (200, BLOB)
    assert got.headers["content-type"] == "application/octet-stream"


def test_an_empty_blob_is_a_blob(client: Probe, repo: str) -> None:
    """Zero bytes are content too."""
    digest = client.push_blob(repo, b"")["digest"]
    got = client.request("GET", f"/v2/{repo}/blobs/{digest}")
    assert (got.status, got.body) == (200, b"")


def test_an_unknown_blob_is_404_blob_unknown(client: Probe, repo: str) -> None:
    """The specification's code, in a JSON body."""
    answer = client.request("GET", f"/v2/{repo}/blobs/{sha(b'nobody has this')}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


def test_a_blob_is_seen_only_in_its_repository(client: Probe, repo: str) -> None:
    """Without a mount another repository does not have it."""
    digest = client.push_blob(repo, repo.encode())["digest"]
    assert client.request("HEAD", f"/v2/{next(_names)}/blobs/{digest}").status == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=100-65635", 100, 65635), ("bytes=-7", len(BLOB) - 7, len(BLOB) - 1),
     ("bytes=300000-", 300000, len(BLOB) - 1), ("bytes=307000-99999999", 307000, len(BLOB) - 1)],
)  # fmt: skip
def test_one_range_is_served_as_206(client: Probe, repo: str, asked: str, first: int, last: int) -> None:
    """RFC 9110 14: closed, open and suffix ranges."""
    digest = client.push_blob(repo, BLOB)["digest"]
    got = client.request("GET", f"/v2/{repo}/blobs/{digest}", headers={"Range": asked})
    assert (got.status, got.body) == (206, BLOB[first : last + 1])
    assert got.headers["content-range"] == f"bytes {first}-{last}/{len(BLOB)}"


def test_a_range_beyond_the_end_is_416(client: Probe, repo: str) -> None:
    """And tells the size."""
    digest = client.push_blob(repo, BLOB)["digest"]
    target = f"/v2/{repo}/blobs/{digest}"
    got = client.request("GET", target, headers={"Range": f"bytes={len(BLOB)}-{len(BLOB) + 9}"})
    assert (got.status, got.headers["content-range"]) == (416, f"bytes */{len(BLOB)}")


@pytest.mark.parametrize("asked", ["bytes=9-3", "furlongs=1-2", "bytes=-"])
def test_a_senseless_range_never_yields_partial_content(client: Probe, repo: str, asked: str) -> None:
    """200 with everything (RFC 9110 14.2 lets a server ignore it), or 416 as Go's file server says."""
    digest = client.push_blob(repo, BLOB)["digest"]
    got = client.request("GET", f"/v2/{repo}/blobs/{digest}", headers={"Range": asked})
    assert got.status == 416 or (got.status, got.body) == (200, BLOB)


def test_a_blob_that_is_already_known_is_304(client: Probe, repo: str) -> None:
    """If-None-Match with the digest as entity tag."""
    digest = client.push_blob(repo, BLOB)["digest"]
    got = client.request("GET", f"/v2/{repo}/blobs/{digest}", headers={"If-None-Match": f'"{digest}"'})
    assert (got.status, got.body) == (304, b"")


def test_a_streamed_patch_then_an_empty_put(client: Probe, repo: str) -> None:
    """Docker's way: one PATCH without Content-Range, then the digest."""
    patched = client.request("PATCH", start(client, repo), BLOB, OCTETS)
    assert (patched.status, patched.headers["range"]) == (202, f"0-{len(BLOB) - 1}")
    done = client.request("PUT", closing(patched.headers["location"], sha(BLOB)))
    assert done.status == 201
    assert done.headers["docker-content-digest"] == sha(BLOB)


def test_chunks_in_order_make_a_blob(client: Probe, repo: str) -> None:
    """PATCH with Content-Range twice, the last bytes in the PUT, and an honest status between."""
    location, cuts = start(client, repo), (0, 100_000, 250_000, len(BLOB))
    for first, end in itertools.pairwise(cuts[:-1]):
        headers = {**OCTETS, "Content-Range": f"{first}-{end - 1}"}
        patched = client.request("PATCH", location, BLOB[first:end], headers)
        assert (patched.status, patched.headers["range"]) == (202, f"0-{end - 1}")
        asked = client.request("GET", patched.headers["location"])
        assert (asked.status, asked.headers["range"]) == (204, f"0-{end - 1}")
        location = asked.headers["location"]
    rest = BLOB[cuts[-2] :]
    assert client.request("PUT", closing(location, sha(BLOB)), rest, OCTETS).status == 201
    assert client.request("GET", f"/v2/{repo}/blobs/{sha(BLOB)}").body == BLOB


def test_a_wrong_digest_is_refused_and_stores_nothing(client: Probe, repo: str) -> None:
    """400 DIGEST_INVALID; neither digest exists afterwards."""
    mine, wrong = repo.encode() * 1000, sha(b"something else")
    answer = client.request("PUT", closing(start(client, repo), wrong), mine, OCTETS)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    for digest in (wrong, sha(mine)):
        assert client.request("HEAD", f"/v2/{repo}/blobs/{digest}").status == 404


def test_a_malformed_digest_is_400(client: Probe, repo: str) -> None:
    """The grammar is checked before anything else."""
    answer = client.request("PUT", closing(start(client, repo), "sha256:short"), BLOB, OCTETS)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_an_unknown_upload_is_404(client: Probe, repo: str) -> None:
    """BLOB_UPLOAD_UNKNOWN (docker-registry: or INVALID, when the state is missing)."""
    target = f"/v2/{repo}/blobs/uploads/0b1c2d3e-0000-4000-8000-000000000000"
    answer = client.request("PUT", closing(target, sha(BLOB)), BLOB, OCTETS)
    assert answer.status == 404
    assert answer.code in ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID")


def test_a_cancelled_upload_is_gone(client: Probe, repo: str) -> None:
    """DELETE is 204, and then the upload is unknown."""
    location = start(client, repo)
    assert client.request("DELETE", location).status == 204
    assert client.request("GET", location).status == 404


def test_a_blob_is_mounted_from_another_repository(client: Probe, repo: str) -> None:
    """201 without a byte of body; the blob is then in both."""
    digest, other = client.push_blob(repo, BLOB)["digest"], next(_names)
    answer = client.request("POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={repo}")
    assert answer.status == 201
    assert re.search(rf"/v2/{other}/blobs/{digest}$", answer.headers["location"])
    assert client.request("GET", f"/v2/{other}/blobs/{digest}").body == BLOB


def test_a_mount_that_cannot_be_opens_an_upload(client: Probe, repo: str) -> None:
    """202 with a Location that works."""
    mine = repo.encode()
    answer = client.request("POST", f"/v2/{repo}/blobs/uploads/?mount={sha(mine)}&from=contract/nowhere")
    assert answer.status == 202
    assert client.request("PUT", closing(answer.headers["location"], sha(mine)), mine, OCTETS).status == 201


def test_a_manifest_comes_back_verbatim(client: Probe, repo: str) -> None:
    """By tag and by digest; bytes, type, length and digest as they were put."""
    digest = image(client, repo)
    for reference in ("v1", digest):
        got, head = get_manifest(client, repo, reference), get_manifest(client, repo, reference, "HEAD")
        assert got.status == head.status == 200
        assert sha(got.body) == digest == got.headers["docker-content-digest"] == head.headers["docker-content-digest"]
        assert got.headers["content-type"] == head.headers["content-type"] == OCI
        assert head.headers["content-length"] == str(len(got.body))


def test_odd_white_space_in_a_manifest_survives(client: Probe, repo: str) -> None:
    """Nothing is re-serialised."""
    config = client.push_blob(repo, b"{}")
    text = f'{{ "schemaVersion" : 2,\n\t"mediaType":"{OCI}",\n"config": {json.dumps({"mediaType": CONFIG, **config})},'
    raw = (text + '"layers":[  ] , "annotations":{"b":"2","a":"\\u00fc"}}\n').encode()
    client.push_manifest(repo, "odd", raw, OCI)
    assert get_manifest(client, repo, "odd").body == raw


def test_a_manifest_with_a_missing_blob_is_refused(client: Probe, repo: str) -> None:
    """400 MANIFEST_BLOB_UNKNOWN, and no tag."""
    config = {"mediaType": CONFIG, "digest": sha(repo.encode()), "size": len(repo)}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": []}).encode()
    answer = client.request("PUT", f"/v2/{repo}/manifests/bad", raw, {"Content-Type": OCI})
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert get_manifest(client, repo, "bad").status == 404


def test_an_index_needs_its_children(client: Probe, repo: str) -> None:
    """Refused while a child is missing, taken afterwards."""
    digest = image(client, repo)
    size = len(get_manifest(client, repo, digest).body)
    child = {"mediaType": OCI, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": "amd64"}}
    good = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
    bad = {**good, "manifests": [child, {**child, "digest": sha(repo.encode())}]}
    answer = client.request("PUT", f"/v2/{repo}/manifests/all", json.dumps(bad).encode(), {"Content-Type": INDEX})
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    made = client.push_manifest(repo, "all", good, INDEX)
    assert get_manifest(client, repo, "all").headers["docker-content-digest"] == made


def test_a_manifest_under_a_foreign_digest_is_refused(client: Probe, repo: str) -> None:
    """400 DIGEST_INVALID."""
    raw = get_manifest(client, repo, image(client, repo)).body
    target = f"/v2/{repo}/manifests/{sha(b'another')}"
    answer = client.request("PUT", target, raw, {"Content-Type": OCI})
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]"])
def test_a_manifest_that_is_not_one_is_400(client: Probe, repo: str, raw: bytes) -> None:
    """MANIFEST_INVALID."""
    answer = client.request("PUT", f"/v2/{repo}/manifests/v1", raw, {"Content-Type": OCI})
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_an_unknown_manifest_is_404_manifest_unknown(client: Probe, repo: str) -> None:
    """For a tag and for a digest, in a repository that exists."""
    image(client, repo)
    for reference in ("nope", sha(b"nope")):
        answer = get_manifest(client, repo, reference)
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


def test_a_tag_moves(client: Probe, repo: str) -> None:
    """The last put wins, and the old manifest stays under its digest."""
    first = image(client, repo)
    second = client.push_manifest(repo, "v1", get_manifest(client, repo, first).body + b"\n", OCI)
    assert get_manifest(client, repo, "v1").headers["docker-content-digest"] == second
    assert get_manifest(client, repo, first).status == 200


def test_tags_are_listed(client: Probe, repo: str) -> None:
    """All of them, under the repository's name."""
    raw = get_manifest(client, repo, image(client, repo, "b")).body
    for tag in ("a", "C", "10", "9"):
        client.push_manifest(repo, tag, raw, OCI)
    listed = client.request("GET", f"/v2/{repo}/tags/list")
    assert listed.status == 200
    assert listed.json()["name"] == repo
    assert sorted(listed.json()["tags"]) == ["10", "9", "C", "a", "b"]


def test_an_unknown_repository_has_no_tags(client: Probe, repo: str) -> None:
    """404 NAME_UNKNOWN."""
    answer = client.request("GET", f"/v2/{repo}/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_the_catalogue_pages(client: Probe, repo: str) -> None:
    """n and Link walk through every repository once."""
    for name in (f"{repo}/a", f"{repo}/b", f"{repo}/c"):
        image(client, name)
    seen: list[str] = []
    target = "/v2/_catalog?n=2"
    for _ in range(500):
        answer = client.request("GET", target)
        assert answer.status == 200
        seen += answer.json()["repositories"]
        if "link" not in answer.headers:
            break
        found = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers["link"])
        assert found
        target = found[1]
    assert len(seen) == len(set(seen))
    assert {f"{repo}/a", f"{repo}/b", f"{repo}/c"} <= set(seen)


def test_a_deleted_manifest_takes_its_tags_along(client: Probe, repo: str) -> None:
    """202, then 404 by digest and by tag."""
    digest = image(client, repo)
    assert client.request("DELETE", f"/v2/{repo}/manifests/{digest}").status == 202
    assert get_manifest(client, repo, digest).status == 404
    assert get_manifest(client, repo, "v1").status == 404
    assert client.request("DELETE", f"/v2/{repo}/manifests/{digest}").status == 404


def test_a_deleted_blob_is_gone(client: Probe, repo: str) -> None:
    """202, then 404; a second delete finds nothing."""
    digest = client.push_blob(repo, repo.encode())["digest"]
    target = f"/v2/{repo}/blobs/{digest}"
    assert client.request("DELETE", target).status == 202
    assert client.request("HEAD", target).status == 404
    assert client.request("DELETE", target).status == 404


def test_an_invalid_name_is_refused(client: Probe) -> None:
    """400 NAME_INVALID, or 404 where routing already knows better."""
    answer = client.request("GET", "/v2/UPPER/tags/list", auth=False)
    assert answer.status in (400, 401, 404)


def test_a_method_that_does_not_exist_is_405(client: Probe, repo: str) -> None:
    """And Allow names those that do."""
    digest = client.push_blob(repo, b"x")["digest"]
    assert client.request("POST", f"/v2/{repo}/blobs/{digest}").status == 405


def test_many_requests_share_a_connection(client: Probe, repo: str) -> None:
    """Keep-alive holds over uploads, errors, 304 and HEAD."""
    image(client, repo)
    link = client._link
    for method, target in [
        ("HEAD", f"/v2/{repo}/manifests/v1"),
        ("GET", f"/v2/{repo}/manifests/nope"),
        ("POST", f"/v2/{repo}/blobs/uploads/"),
        ("GET", f"/v2/{repo}/tags/list"),
    ]:
        client.request(method, target)
    assert client._link is link is not None
