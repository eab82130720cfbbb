"""End to end, between real registries: what is copied is the source's bytes, whatever its shape."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fastcopy.errors import NotThere
from fastcopy.options import Options, RunOptions
from fastcopy.platforms import Platform
from tests.copy.world import (
    HASTY,
    OCI,
    OCI_LAYER,
    Made,
    Pair,
    access,
    assert_blobs,
    assert_complete,
    content,
    copy,
    digest_of,
    fresh,
    image,
    index,
    named,
    seen,
    uploads,
)
from tests.registries import FLAVOURS, Registry, docker_registry

real = pytest.mark.real


def _registry(request: pytest.FixtureRequest, kind: str, flavour: str) -> Registry:
    found: Registry = request.getfixturevalue(f"{kind}_{flavour}")
    return found


@real
@pytest.mark.parametrize("target", FLAVOURS)
@pytest.mark.parametrize("origin", FLAVOURS)
def test_an_image_goes_from_any_registry_to_any_other(request: pytest.FixtureRequest, origin: str, target: str) -> None:
    """Plain, TLS, Basic and token registries in every pairing: digests equal, bytes equal."""
    source, destination = _registry(request, "docker", origin), _registry(request, "embedded", target)
    made, repo = image(source), fresh("copy/to")
    outcome = copy(made, destination, repo)
    assert outcome.error is None
    assert outcome.report is not None
    assert (outcome.report.digest, outcome.report.media_type) == (made.digest, OCI)
    assert outcome.report.bytes_copied == sum(map(len, made.blobs.values()))
    assert_complete(destination, repo, made)


@real
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_both_families_of_media_types_arrive_verbatim(
    request: pytest.FixtureRequest, flavour: str, docker: bool
) -> None:
    """OCI and Docker manifests keep their bytes and types."""
    destination = _registry(request, "docker", flavour)
    made, repo = image(_registry(request, "embedded", flavour), docker=docker), fresh("copy/to")
    assert copy(made, destination, repo).error is None
    assert_complete(destination, repo, made)


@real
@pytest.mark.parametrize("docker", [False, True], ids=["index", "manifest-list"])
def test_all_takes_every_instance_and_the_index(docker_plain: Registry, docker_tls: Registry, docker: bool) -> None:
    """--all: the index's own bytes, every child, every blob; a shared layer is uploaded once."""
    made, repo = index(docker_plain, docker=docker), fresh("copy/to")
    outcome = copy(made, docker_tls, repo, multi_arch="all")
    assert outcome.error is None
    assert_complete(docker_tls, repo, made)
    assert uploads(docker_tls, repo) == len(made.blobs)


@real
@pytest.mark.parametrize(("override", "which"), [({"override_arch": "arm64"}, 1), ({"override_arch": "amd64"}, 0)])
def test_system_takes_the_instance_that_the_overrides_name(
    docker_plain: Registry, docker_tls: Registry, override: dict[str, str], which: int
) -> None:
    """The destination's name points to that instance's manifest, and to nothing of the others."""
    made, repo = index(docker_plain), fresh("copy/to")
    outcome = copy(made, docker_tls, repo, override_os="linux", **override)
    assert outcome.error is None
    assert_complete(docker_tls, repo, made.children[which])
    assert uploads(docker_tls, repo) == len(made.children[which].blobs)


def test_an_instance_that_does_not_exist_is_the_sources_fault(pair: Pair) -> None:
    """No instance for the platform: one error, exit code 1, no name at the destination."""
    made, repo = index(pair.source), fresh("copy/to")
    outcome = copy(made, pair.destination, repo, override_os="linux", override_arch="s390x")
    assert outcome.error is not None
    assert 'architecture "s390x"' in str(outcome.error)
    assert named(pair.destination, repo) == ""


def test_index_only_writes_the_index_where_its_children_are(embedded_plain: Registry, embedded_tls: Registry) -> None:
    """index-only copies no instance: refused where they are missing, done where they are there."""
    made, repo = index(embedded_plain), fresh("copy/to")
    first = copy(made, embedded_tls, repo, multi_arch="index-only")
    assert first.error is not None
    assert first.error.side == "destination"
    assert named(embedded_tls, repo) == ""
    assert copy(made, embedded_tls, repo, "whole", multi_arch="all").error is None
    assert copy(made, embedded_tls, repo, multi_arch="index-only").error is None
    assert named(embedded_tls, repo) == made.digest


def test_a_platform_list_takes_those_instances_only(embedded_plain: Registry, docker_tls: Registry) -> None:
    """os/arch,os/arch: the index as it is, those instances, and no blob of the others (a sparse index)."""
    made, repo = index(embedded_plain, platforms=("amd64", "arm64", "riscv64")), fresh("copy/to")
    wanted = (Platform("linux", "amd64"), Platform("linux", "riscv64"))
    outcome = copy(made, docker_tls, repo, multi_arch="all", platforms=wanted)
    left_out = set(made.children[1].blobs) - set(made.children[0].blobs)
    asked = {each.rest for each in seen(docker_tls, repo, "PUT", "blobs/uploads")}
    assert not any(digest in rest for digest in left_out for rest in asked)
    for child in (made.children[0], made.children[2]):
        assert_blobs(docker_tls, repo, child)
    # docker-registry accepts no index with children missing: that is the destination's word, and no name is given
    if outcome.error is None:
        assert named(docker_tls, repo) == made.digest
    else:
        assert outcome.error.side == "destination"
        assert named(docker_tls, repo) == ""


def test_an_index_inside_an_index_goes_along(embedded_plain: Registry, embedded_tls: Registry) -> None:
    """Indexes nest; all of it is copied."""
    repo = fresh()
    inner = index(embedded_plain, repo)
    raw = json.dumps({"schemaVersion": 2, "mediaType": inner.media_type, "manifests": [inner.entry]}).encode()
    with embedded_plain.client() as probe:
        probe.push_manifest(repo, "outer", raw, inner.media_type)
    outer, target = replace(inner, raw=raw, tag="outer", children=(inner,)), fresh("copy/to")
    assert copy(outer, embedded_tls, target, multi_arch="all").error is None
    assert_complete(embedded_tls, target, outer)


@real
def test_an_artifact_goes_like_an_image(docker_plain: Registry, embedded_tls: Registry) -> None:
    """Unknown config and layer types never stop a copy."""
    made, repo = image(docker_plain), fresh()
    manifest = json.loads(made.raw) | {"artifactType": "application/vnd.example.thing"}
    manifest["config"]["mediaType"] = "application/vnd.example.config+toml"
    manifest["layers"][0]["mediaType"] = "text/x-recipe"
    artifact = replace(made, raw=json.dumps(manifest).encode(), tag="thing")
    with docker_plain.client() as probe:
        probe.push_manifest(made.repo, "thing", artifact.raw, OCI)
    assert copy(artifact, embedded_tls, repo).error is None
    assert_complete(embedded_tls, repo, artifact)


@real
@pytest.mark.parametrize("kind", ["docker", "embedded"])
def test_an_empty_layer_is_a_layer(request: pytest.FixtureRequest, kind: str) -> None:
    """Zero bytes are copied, on the loop's road."""
    source, destination = _registry(request, kind, "plain"), _registry(request, kind, "tls")
    made, repo = image(source, layers=[b"", b"x"]), fresh("copy/to")
    assert copy(made, destination, repo).error is None
    assert_complete(destination, repo, made)


@real
def test_a_layer_that_occurs_twice_moves_once(docker_plain: Registry, docker_tls: Registry) -> None:
    """The same digest in two places of a manifest is one blob."""
    same = content(400_000, "twice")
    made, repo = image(docker_plain, layers=[same, b"between", same]), fresh("copy/to")
    assert copy(made, docker_tls, repo).error is None
    assert_complete(docker_tls, repo, made)
    assert len(seen(docker_plain, made.repo, "GET", "blobs")) == len(made.blobs) == 3


def test_sha512_blobs_are_verified_and_copied(embedded_plain: Registry, embedded_tls: Registry) -> None:
    """A descriptor may use sha512; small and large blobs alike."""
    repo = fresh()
    small, large = content(1000, "512s"), content(700_000, "512l")
    with embedded_plain.client() as probe:
        for data in (small, large):
            location = probe.request("POST", f"/v2/{repo}/blobs/uploads/").headers["location"]
            done = probe.request("PUT", f"{location}?digest={digest_of(data, 'sha512')}", data)
            assert done.status == 201
    layers = [
        {"mediaType": OCI_LAYER, "digest": digest_of(data, "sha512"), "size": len(data)} for data in (small, large)
    ]
    made = image(embedded_plain, repo, layers=[], change={"layers": layers})
    made.blobs.update({digest_of(data, "sha512"): data for data in (small, large)})
    target = fresh("copy/to")
    outcome = copy(made, embedded_tls, target)
    assert outcome.error is None
    assert_complete(embedded_tls, target, made)


@real
@pytest.mark.slow
@pytest.mark.parametrize(("origin", "target"), [("plain", "tls"), ("tls", "plain")])
def test_a_large_layer_by_ranges_arrives_whole(request: pytest.FixtureRequest, origin: str, target: str) -> None:
    """Above 64 MiB the first piece is asked for by Range; what arrives is the blob."""
    source, destination = _registry(request, "docker", origin), _registry(request, "docker", target)
    made, repo = image(source, sizes=((65 << 20) + 17,)), fresh("copy/to")
    assert copy(made, destination, repo).error is None
    assert_complete(destination, repo, made)
    assert len(seen(source, made.repo, "GET", "blobs", 206)) >= 2
    assert uploads(destination, repo) == 2


@pytest.mark.parametrize("size", [262_143, 262_144, 262_145, (1 << 20) + 1])
def test_the_border_between_the_two_roads_loses_nothing(
    embedded_plain: Registry, embedded_tls: Registry, size: int
) -> None:
    """Just below and just above 256 KiB."""
    made, repo = image(embedded_plain, sizes=(size,)), fresh("copy/to")
    assert copy(made, embedded_tls, repo).error is None
    assert_complete(embedded_tls, repo, made)


def test_a_copy_by_digest_needs_no_tag_at_the_source(embedded_plain: Registry, embedded_tls: Registry) -> None:
    """docker://…@sha256:… names the manifest itself."""
    made, repo = replace(image(embedded_plain), tag=""), fresh("copy/to")
    assert copy(made, embedded_tls, repo).error is None
    assert_complete(embedded_tls, repo, made)


@real
@pytest.mark.slow
def test_a_signed_schema_1_image_of_docker_registry_keeps_its_digest(tmp_path: Path) -> None:
    """Made and signed by skopeo, verified by docker-registry, copied to another one: the same payload."""
    old = {"compatibility": {"schema1": {"enabled": True}}}
    with docker_registry(tmp_path / "a", **old) as source, docker_registry(tmp_path / "b", **old) as destination:
        made = image(source, docker=True, config={"history": [{"created": "2024-01-01T00:00:00Z"}] * 2})
        flat = ["--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s1"]
        subprocess.run(["skopeo", "copy", "-q", *flat, made.ref, source.ref(made.repo, "old")], check=True, timeout=60)
        repo, old_one = fresh("copy/to"), replace(made, tag="old")
        assert copy(old_one, destination, repo).error is None
        with source.client() as one, destination.client() as other:
            was, now = (
                probe.request("GET", f"/v2/{name}") for probe, name in
                ((one, f"{made.repo}/manifests/old"), (other, f"{repo}/manifests/1"))
            )  # fmt: skip
        assert was.headers["content-type"].endswith("manifest.v1+prettyjws")
        # docker-registry signs anew with each answer, so that the digest of what is signed is what can be compared
        assert now.headers["docker-content-digest"] == was.headers["docker-content-digest"]
        assert now.json() | {"signatures": 0} == was.json() | {"signatures": 0}


def test_a_schema_1_image_is_copied_as_it_is(embedded_plain: Registry) -> None:
    """Signed schema 1: its bytes, its type and its layers, whose sizes nobody announced."""
    repo, target = fresh(), fresh("copy/to")
    layers = [content(300_000, "v1-a"), content(5_000, "v1-b")]
    made = _schema1(embedded_plain, repo, layers)
    outcome = copy(made, embedded_plain, target)
    assert outcome.error is None
    with embedded_plain.client() as probe:
        found = probe.request("GET", f"/v2/{target}/manifests/1")
        assert found.body == made.raw
    assert_blobs(embedded_plain, target, made)


def _schema1(registry: Registry, repo: str, layers: list[bytes]) -> Made:
    """Signed as docker did it: a JWS whose payload is the manifest up to its signatures."""

    def b64(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    with registry.client() as probe:
        digests = [probe.push_blob(repo, data)["digest"] for data in layers]
    parents = [{"parent": f"{n + 1:064x}"} for n in range(len(layers) - 1)] + [{}]
    body = {
        "schemaVersion": 1, "name": repo, "tag": "1", "architecture": "amd64",
        "fsLayers": [{"blobSum": digest} for digest in reversed(digests)],
        "history": [
            {"v1Compatibility": json.dumps({"id": f"{n:064x}", "os": "linux"} | parent)}
            for n, parent in enumerate(parents)
        ],
    }  # fmt: skip
    text = json.dumps(body, indent=3)
    head, tail = text[:-2], "\n}"
    protected = b64(json.dumps({"formatLength": len(head), "formatTail": b64(tail.encode()), "time": "x"}).encode())
    signatures = [{"header": {"alg": "ES256"}, "signature": "AA", "protected": protected}]
    raw = (head + ',\n   "signatures": ' + json.dumps(signatures) + tail).encode()
    media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    with registry.client() as probe:
        done = probe.request("PUT", f"/v2/{repo}/manifests/1", raw, {"Content-Type": media_type})
        assert done.status == 201, done
    return Made(registry, repo, "1", raw, media_type, {digest_of(data): data for data in layers})


def test_a_missing_tag_is_exit_code_2_material(embedded_plain: Registry, embedded_tls: Registry) -> None:
    """What does not exist is said to be the source's, as NotThere."""
    made = image(embedded_plain)
    outcome = copy(replace(made, tag="nope"), embedded_tls, fresh("copy/to"))
    assert isinstance(outcome.error, NotThere)
    assert outcome.error.side == "source"
    assert outcome.error.exit_code == 2


@real
def test_many_layers_at_once_stay_within_the_parallel_limit(docker_plain: Registry, docker_tls: Registry) -> None:
    """--image-parallel-copies 2: all layers arrive; the limit is only a limit."""
    made, repo = image(docker_plain, sizes=[300_000 + n for n in range(12)]), fresh("copy/to")
    limited = RunOptions(parallel=2, retry_delay=HASTY.retry_delay)
    assert copy(made, docker_tls, repo, run_options=limited).error is None
    assert_complete(docker_tls, repo, made)


@pytest.mark.parametrize("docker", [False, True])
def test_h2_carries_metadata_and_bodies_alike(embedded_tls: Registry, embedded_token: Registry, docker: bool) -> None:
    """--http 2 on both sides: the same bytes."""
    made, repo = index(embedded_tls, docker=docker), fresh("copy/to")
    both = Options(source=access(embedded_tls, http="2"), destination=access(embedded_token, http="2"), run=HASTY)
    both = replace(both, copy=replace(both.copy, multi_arch="all"))
    assert copy(made, embedded_token, repo, options=both).error is None
    assert_complete(embedded_token, repo, made)
    versions = {each.http for each in list(embedded_token.server.log) if repo in each.target and each.bytes_in}
    assert versions == {"2"}
