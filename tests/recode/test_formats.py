"""--format and destinations that take some types only: what changes, what does not, skopeo beside it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastcopy.errors import Unsupported
from fastcopy.serve.message import Body, Handler, Head, Middleware, Refusal, Reply
from tests.cli.support import run
from tests.copy import world
from tests.copy.world import DOCKER, DOCKER_LIST, OCI, OCI_INDEX, Pair, fresh
from tests.recode import images
from tests.registries import Registry
from tests.values.support import schema1_image, write_dir

SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def copied(pair: Pair, made: world.Made, **more: Any) -> str:
    """Copy, or raise what went wrong; the repository it went to."""
    repo = fresh("formats/to")
    outcome = pair.copy(made, repo, **more)
    if outcome.error is not None:
        raise outcome.error
    return repo


@pytest.mark.parametrize(("docker", "to", "expected"), [(True, "oci", OCI), (False, "v2s2", DOCKER)])
def test_an_image_becomes_the_other_format(pair: Pair, docker: bool, to: str, expected: str) -> None:
    """The layers stay the same blobs under other types."""
    made = images.image(pair.source, docker=docker)
    repo = copied(pair, made, format=to)
    found, media_type = images.manifest(pair.destination, repo)
    before, _ = images.manifest(pair.source, made.repo)
    assert media_type == expected
    assert [each["digest"] for each in found["layers"]] == [each["digest"] for each in before["layers"]]
    assert images.layers(pair.destination, repo) == list(images.TARS)
    assert images.blob(pair.destination, repo, found["config"]["digest"])


@pytest.mark.parametrize(("docker", "same"), [(True, "v2s2"), (False, "oci")])
def test_an_image_that_has_the_format_keeps_its_bytes(pair: Pair, docker: bool, same: str) -> None:
    """Nothing is written anew that need not be."""
    made = images.image(pair.source, docker=docker)
    world.assert_complete(pair.destination, copied(pair, made, format=same), made)


def test_an_image_becomes_schema_1(pair: Pair) -> None:
    """With the name inside, the empty layer, and every blob there."""
    made = images.image(pair.source)
    repo = copied(pair, made, format="v2s1")
    with pair.destination.client() as probe:
        found = probe.request("GET", f"/v2/{repo}/manifests/1", headers={"Accept": SCHEMA1})
    document = json.loads(found.body)
    assert (document["schemaVersion"], document["name"], document["tag"]) == (1, repo, "1")
    for layer in document["fsLayers"]:
        assert images.blob(pair.destination, repo, layer["blobSum"])


@pytest.mark.parametrize(("docker", "to", "expected"), [(True, "oci", OCI_INDEX), (False, "v2s2", DOCKER_LIST)])
def test_an_index_is_converted_with_its_instances(pair: Pair, docker: bool, to: str, expected: str) -> None:
    """Each entry points to the converted instance and keeps its platform."""
    made = world.index(pair.source, docker=docker)
    repo = copied(pair, made, format=to, multi_arch="all")
    found, media_type = images.manifest(pair.destination, repo)
    assert media_type == expected
    assert [each["platform"]["architecture"] for each in found["manifests"]] == ["amd64", "arm64"]
    for entry in found["manifests"]:
        _, child_type = images.manifest(pair.destination, repo, entry["digest"])
        assert child_type == entry["mediaType"] == (OCI if to == "oci" else DOCKER)


def test_removed_platforms_are_stripped_when_asked(pair: Pair) -> None:
    """And only then: otherwise the index keeps its bytes."""
    from fastcopy.descriptor import Platform

    made = world.index(pair.source)
    some: dict[str, Any] = {"multi_arch": "all", "platforms": (Platform("linux", "arm64"),)}
    repo = copied(pair, made, strip_removed_platforms=True, **some)
    found, _ = images.manifest(pair.destination, repo)
    assert [each["digest"] for each in found["manifests"]] == [made.children[1].digest]


def test_an_artifact_is_never_converted(pair: Pair) -> None:
    """Not into Docker's format, which cannot hold it; into its own it is copied as it is."""
    change = {"config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": "", "size": 0}}
    plain = images.image(pair.source)
    config, _ = images.manifest(pair.source, plain.repo)
    change["config"] = config["config"] | {"mediaType": "application/vnd.example.thing"}
    made = images.image(pair.source, repo=plain.repo, tag="artifact", change=change)
    outcome = pair.copy(made, fresh("formats/artifact"), format="v2s2")
    assert isinstance(outcome.error, Unsupported)
    assert "artifact" in outcome.error.message
    for options in ({"format": "oci"}, {"compression_format": "zstd"}):
        repo = copied(pair, made, **options)
        assert world.named(pair.destination, repo) == made.digest


def test_preserved_digests_refuse_conversion(pair: Pair) -> None:
    """With the type that would be needed and the reason."""
    for made, more in (
        (images.image(pair.source), dict[str, Any]()),
        (world.index(pair.source), {"multi_arch": "all"}),
    ):
        outcome = pair.copy(made, fresh("formats/no"), format="v2s2", preserve_digests=True, **more)
        assert isinstance(outcome.error, Unsupported)
        assert 'we cannot modify it: "Instructed to preserve digests"' in outcome.error.message


def test_a_digest_as_destination_refuses_conversion(pair: Pair) -> None:
    """Another manifest cannot have that digest."""
    made = images.image(pair.source)
    ran = run(
        "copy", *world.flags(pair.source, pair.destination), "--format=v2s2", made.ref,
        f"docker://{pair.destination.host}/formats/pinned@{made.digest}",
    )  # fmt: skip
    assert ran.code == 1
    assert "Destination specifies a digest" in ran.err


def test_the_digest_map_is_written(pair: Pair, tmp_path: object) -> None:
    """Old and new digest on one line, for those who pin them; empty when nothing changed."""
    made, file = images.image(pair.source), f"{tmp_path}/map"
    repo = fresh("formats/map")
    assert pair.cli(made, repo, "1", "--format=v2s2", f"--digest-map={file}").code == 0
    with open(file, encoding="utf-8") as lines:
        assert lines.read() == f"{made.digest} {world.named(pair.destination, repo)}\n"
    assert pair.cli(made, fresh(), "1", f"--digest-map={file}").code == 0
    with open(file, encoding="utf-8") as lines:
        assert lines.read() == ""


def skopeo(*arguments: str) -> str:
    """What skopeo prints; fails when it does."""
    ran = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(("docker", "to"), [(True, "oci"), (False, "v2s2"), (True, "v2s2"), (False, "oci")])
def test_converted_manifests_are_skopeos_byte_for_byte(debian: Registry, docker: bool, to: str) -> None:
    """Digests agree between the tools."""
    made = images.image(debian, docker=docker)
    ours, theirs = fresh("formats/ours"), fresh("formats/theirs")
    assert world.copy(made, debian, ours, format=to).error is None
    tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", "-q", "--insecure-policy", *tls, "--format", to, made.ref, debian.ref(theirs, "1"))
    assert world.named(debian, ours) == world.named(debian, theirs) != ""


def test_a_recompressed_image_is_read_by_skopeo(debian: Registry, tmp_path: object) -> None:
    """Every layer arrives, is unpacked and verified against the config's uncompressed digests."""
    made = images.image(debian, docker=True)
    repo = fresh("formats/zstd")
    assert world.copy(made, debian, repo, compression_format="zstd").error is None
    tls, target = "--src-tls-verify=false", f"dir:{tmp_path}/image"
    skopeo("copy", "-q", "--insecure-policy", tls, "--dest-decompress", debian.ref(repo, "1"), target)
    with open(f"{tmp_path}/image/manifest.json", encoding="utf-8") as file:
        found = json.load(file)
    assert [each["digest"] for each in found["layers"]] == [world.digest_of(each) for each in images.TARS]


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("form", ["v2s2", "oci"])
def test_schema_1_becomes_what_skopeo_makes_of_it(form: str, tmp_path: Path) -> None:
    """Sizes and diff IDs are found in the layers; manifest and config are skopeo's, byte for byte."""
    raw, blobs = schema1_image()
    source = write_dir(tmp_path / "source", raw, blobs)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ran = run("copy", "--format", form, f"dir:{source}", f"dir:{ours}")
    assert ran.code == 0, ran.err
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--format", form, f"dir:{source}", f"dir:{theirs}"],
                   check=True, capture_output=True, timeout=60)  # fmt: skip
    manifest = (ours / "manifest.json").read_bytes()
    assert manifest == (theirs / "manifest.json").read_bytes()
    config = json.loads(manifest)["config"]["digest"].removeprefix("sha256:")
    assert (ours / config).read_bytes() == (theirs / config).read_bytes()
    assert {each.name for each in ours.iterdir()} <= {each.name for each in theirs.iterdir()}


def refusing(part: str, status: int = 400, code: str = "MANIFEST_INVALID") -> Middleware:
    """A registry that takes no manifest whose type has *part* in it."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        if part in (head.headers.get("content-type") or ""):
            return Refusal(status, code, "not this one").reply()
        return await proceed(head, body)

    return fault


@pytest.mark.parametrize(("status", "code"), [(400, "MANIFEST_INVALID"), (415, "UNKNOWN")])
def test_a_registry_that_rejects_a_format_gets_another(pair: Pair, status: int, code: str) -> None:
    """As skopeo: the source's format first, then the others with the same blobs; the changed digest is told."""
    pair.at_destination.add(refusing("oci", status, code), method="PUT", path="/manifests/")
    made, repo = images.image(pair.source), fresh("formats/rejected")
    outcome = pair.copy(made, repo)
    assert outcome.report is not None, outcome.error
    manifest, media_type = images.manifest(pair.destination, repo)
    assert media_type == DOCKER
    assert outcome.report.digest_map == {made.digest: outcome.report.digest}
    assert len(manifest["layers"]) == len(made.blobs) - 1


@pytest.mark.parametrize("more", [{"preserve_digests": True}, {"format": "oci"}])
def test_a_rejected_format_is_final_where_it_may_not_change(pair: Pair, more: dict[str, Any]) -> None:
    """--preserve-digests and --format leave no choice."""
    pair.at_destination.add(refusing("oci"), method="PUT", path="/manifests/")
    outcome = pair.copy(images.image(pair.source), fresh("formats/rejected"), **more)
    assert "not this one" in str(outcome.error)


def test_a_registry_that_takes_no_format_is_told_of_all(pair: Pair) -> None:
    """skopeo's words, with what each attempt was answered."""
    pair.at_destination.add(refusing("manifest"), method="PUT", path="/manifests/")
    outcome = pair.copy(images.image(pair.source), fresh("formats/rejected"))
    text = str(outcome.error)
    assert "Uploading manifest failed, attempted the following formats:" in text
    assert OCI in text
    assert DOCKER in text
    assert getattr(outcome.error, "side", "") == "destination"


def test_a_rejection_is_told_although_the_layers_fit_no_other_format(pair: Pair) -> None:
    """zstd needs OCI's manifest: the registry's own answer stays in the message."""
    pair.at_destination.add(refusing("oci"), method="PUT", path="/manifests/")
    outcome = pair.copy(images.image(pair.source), fresh("formats/rejected"), compression_format="zstd")
    assert "not this one" in str(outcome.error)
    assert "zstd" in str(outcome.error)
