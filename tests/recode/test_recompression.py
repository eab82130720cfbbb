"""Recompression between registries: what arrives, what is refused, what is not done twice."""

from __future__ import annotations

import gzip
import json
import threading
from typing import Any

import pytest
import trio

from fastcopy import api
from fastcopy.codecs.base import CHUNKED
from fastcopy.errors import IntegrityError, Unsupported, UsageError
from fastcopy.transports._manners import Manners
from tests.copy import world
from tests.copy.world import DOCKER, OCI, OCI_LAYER, Pair, fresh
from tests.recode import images
from tests.recode.images import TARS

ZSTD_LAYER = OCI_LAYER.replace("gzip", "zstd")


def copied(pair: Pair, made: world.Made, **more: Any) -> tuple[str, world.Outcome]:
    """Copy, or raise what went wrong; the repository it went to."""
    repo = fresh("recode/to")
    outcome = pair.copy(made, repo, **more)
    if outcome.error is not None:
        raise outcome.error
    return repo, outcome


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("level", [None, 1, 9])
def test_gzip_becomes_zstd(pair: Pair, docker: bool, level: int | None) -> None:
    """Every layer inflates to what it was; an image of Docker's becomes OCI's, for Docker's has no zstd."""
    made = images.image(pair.source, docker=docker)
    repo, outcome = copied(pair, made, compression_format="zstd", compression_level=level)
    found, media_type = images.manifest(pair.destination, repo)
    assert media_type == OCI
    assert [each["mediaType"] for each in found["layers"]] == [ZSTD_LAYER] * 2
    assert images.layers(pair.destination, repo) == list(TARS)
    assert outcome.report is not None
    assert outcome.report.digest_map == {made.digest: world.named(pair.destination, repo)}


def test_it_works_over_tls(tls_pair: Pair) -> None:
    """The same road, encrypted on both sides."""
    repo, _ = copied(tls_pair, images.image(tls_pair.source), compression_format="zstd")
    assert images.layers(tls_pair.destination, repo) == list(TARS)


def test_zstd_becomes_gzip_and_docker_again(pair: Pair) -> None:
    """The way back, with --format."""
    made = images.image(pair.source)
    there, _ = copied(pair, made, compression_format="zstd")
    again = world.Made(pair.destination, there, "1", b"", OCI, {})
    repo = fresh("recode/back")
    outcome = world.copy(again, pair.source, repo, compression_format="gzip", format="v2s2")
    assert outcome.error is None
    _, media_type = images.manifest(pair.source, repo)
    assert media_type == DOCKER
    assert images.layers(pair.source, repo) == list(TARS)


def test_uncompressed_layers_stay_so_between_registries(pair: Pair) -> None:
    """Manifests travel verbatim unless another form is asked for; containers/image would compress."""
    entry = OCI_LAYER.removesuffix("+gzip")
    plain = world.image(pair.source, layers=list(TARS), config=images.config(*TARS))
    found, _ = images.manifest(pair.source, plain.repo)
    for layer in found["layers"]:
        layer["mediaType"] = entry
    made = world.image(
        pair.source, plain.repo, layers=list(TARS), config=images.config(*TARS), change={"layers": found["layers"]}
    )
    repo, _ = copied(pair, made)
    arrived, _ = images.manifest(pair.destination, repo)
    assert [each["mediaType"] for each in arrived["layers"]] == [entry] * 2
    assert images.layers(pair.destination, repo) == list(TARS)


def test_what_has_the_format_already_stays_as_it_is(pair: Pair) -> None:
    """Nothing is recompressed into what it is."""
    made = images.image(pair.source)
    repo, outcome = copied(pair, made, compression_format="gzip")
    world.assert_complete(pair.destination, repo, made)
    assert outcome.report is not None
    assert outcome.report.digest_map == {}


def test_the_same_layer_is_recompressed_once(pair: Pair) -> None:
    """Twice in one image it is one upload."""
    made = images.image(pair.source, (TARS[1], TARS[1]))
    repo, _ = copied(pair, made, compression_format="zstd")
    assert world.uploads(pair.destination, repo) == 2  # the layer and the config
    assert images.layers(pair.destination, repo) == [TARS[1]] * 2


def test_an_index_points_to_what_its_instances_became(pair: Pair) -> None:
    """Children first, then the list with their new digests and the mark of zstd."""
    gzipped = [images.image(pair.source, config=images.config(*TARS, architecture=name)) for name in ("amd64", "arm64")]
    repo = gzipped[0].repo
    entries: list[dict[str, Any]] = []
    with pair.source.client() as probe:
        for child in gzipped:
            for data in child.blobs.values():
                probe.push_blob(repo, data)
            probe.push_manifest(repo, child.digest, child.raw, child.media_type)
            entries.append(child.entry | {"platform": {"os": "linux", "architecture": f"a{len(entries)}"}})
        raw = json.dumps({"schemaVersion": 2, "mediaType": world.OCI_INDEX, "manifests": entries}).encode()
        probe.push_manifest(repo, "all", raw, world.OCI_INDEX)
    index = world.Made(pair.source, repo, "all", raw, world.OCI_INDEX, {})
    to, outcome = copied(pair, index, compression_format="zstd", multi_arch="all")
    arrived, _ = images.manifest(pair.destination, to)
    assert outcome.report is not None
    assert len(outcome.report.digest_map) == 3
    for entry, child in zip(arrived["manifests"], gzipped, strict=True):
        assert entry["digest"] == outcome.report.digest_map[child.digest]
        assert entry["annotations"] == {"io.github.containers.compression.zstd": "true"}
        assert images.layers(pair.destination, to, entry["digest"]) == list(TARS)


def fails(pair: Pair, made: world.Made, **more: Any) -> Exception:
    """The error of a copy that must leave nothing under the name."""
    repo = fresh("recode/fails")
    outcome = pair.copy(made, repo, **more)
    assert outcome.error is not None
    assert world.named(pair.destination, repo) == ""
    return outcome.error


def test_a_layer_that_is_not_what_the_config_says_is_refused(pair: Pair) -> None:
    """The uncompressed digest is held against the config."""
    made = images.image(pair.source, config=images.config(TARS[1], TARS[0]))
    error = fails(pair, made, compression_format="zstd")
    assert isinstance(error, IntegrityError)
    assert error.side == "source"
    assert "but the config says" in error.message


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_truncated_layer_is_refused(pair: Pair, kept: float) -> None:
    """Its own digest is right, what it holds is not."""
    whole = gzip.compress(TARS[1], mtime=0)
    made = images.image(pair.source, (TARS[1],), layers=[whole[: int(len(whole) * kept)]])
    error = fails(pair, made, compression_format="zstd")
    assert isinstance(error, IntegrityError)
    assert (error.side, "ends too early" in error.message) == ("source", True)


def test_a_damaged_layer_is_refused(pair: Pair) -> None:
    """A byte inside differs."""
    damaged = bytearray(gzip.compress(TARS[1], mtime=0))
    damaged[len(damaged) // 2] ^= 0xFF
    error = fails(pair, images.image(pair.source, (TARS[1],), layers=[bytes(damaged)]), compression_format="zstd")
    assert isinstance(error, IntegrityError)
    assert error.side == "source"


def test_preserved_digests_refuse_recompression(pair: Pair) -> None:
    """In containers/image's words."""
    error = fails(pair, images.image(pair.source), compression_format="zstd", preserve_digests=True)
    assert isinstance(error, Unsupported)
    assert 'which we cannot do: "Instructed to preserve digests"' in error.message


def test_a_level_that_does_not_exist_is_refused(pair: Pair) -> None:
    """Before anything is uploaded."""
    made = images.image(pair.source)
    repo, _ = copied(pair, made, compression_format="zstd")
    again = world.Made(pair.destination, repo, "1", b"", OCI, {})
    outcome = world.copy(again, pair.source, fresh("recode/level"), compression_format="gzip", compression_level=12)
    assert isinstance(outcome.error, UsageError)


def test_zstd_chunked_carries_its_annotations(pair: Pair) -> None:
    """The manifest says where the tables are; asked for again, nothing changes; as gzip they are gone."""
    repo, _ = copied(pair, images.image(pair.source), compression_format="zstd:chunked")
    raw, _ = images.manifest(pair.destination, repo)
    assert all(f"{CHUNKED}manifest-checksum" in layer["annotations"] for layer in raw["layers"])
    again = world.Made(pair.destination, repo, "1", b"", OCI, {})
    for name, same in (("zstd:chunked", True), ("zstd", True), ("gzip", False)):
        to = fresh("recode/chunked")
        assert world.copy(again, pair.source, to, compression_format=name).error is None
        layers = images.manifest(pair.source, to)[0]["layers"]
        assert (layers == raw["layers"]) is same
        assert same or not any(layer.get("annotations") for layer in layers)


def test_registries_that_limit_bodies_get_parts(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of unknown length goes as parts with Content-Range where a streamed body is refused."""
    monkeypatch.setattr(
        "fastcopy.transports._upload.manners_of", lambda _: Manners(chunk=400_000, put_limit=10_000_000)
    )
    repo, _ = copied(pair, images.image(pair.source), compression_format="zstd")
    assert images.layers(pair.destination, repo) == list(TARS)
    assert len(world.seen(pair.destination, repo, "PATCH", "blobs/uploads")) > 3


def test_cancellation_leaves_no_thread_and_no_name(pair: Pair) -> None:
    """In the middle of a layer that is compressed slowly."""
    made, repo = images.image(pair.source, (images.tar("huge", 60_000_000),)), fresh("recode/cancelled")
    chosen = world.options(pair.source, pair.destination, compression_format="zstd", compression_level=19)
    before = {each.name for each in threading.enumerate() if not each.name.startswith("trio")}

    async def main() -> bool:
        with trio.move_on_after(1.0) as scope:
            await api.copy_async(made.ref, pair.destination.ref(repo, "1"), chosen)
        return scope.cancelled_caught

    assert trio.run(main)
    assert world.named(pair.destination, repo) == ""
    assert {each.name for each in threading.enumerate() if not each.name.startswith("trio")} <= before
