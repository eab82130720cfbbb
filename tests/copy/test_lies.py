"""Sources that lie: about bytes, sizes, types and digests. None of it reaches a name at the destination."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fastcopy.errors import BadManifest, FastcopyError, IntegrityError
from fastcopy.serve import Behaviour
from fastcopy.serve.message import Body, Handler, Head, Middleware, Reply
from tests.copy.world import DOCKER, OCI, OCI_INDEX, Pair, fresh, image, named
from tests.faults import corrupt, resized, with_header
from tests.registries import embedded_registry

SIZES = [50_000, 3_000_000]


@pytest.mark.parametrize("size", SIZES, ids=["small", "large"])
@pytest.mark.parametrize("at", [0, 49_999])
def test_wrong_bytes_are_noticed_and_read_again(pair: Pair, size: int, at: int) -> None:
    """A transmission's fault passes; the destination never gets a digest that is not its bytes'."""
    made = pair.image(sizes=(size,))
    rule = pair.at_source.add(corrupt(at), method="GET", path=made.layer, times=1)
    pair.arrives(made)
    assert rule.hits == 1


@pytest.mark.parametrize("size", SIZES, ids=["small", "large"])
def test_a_source_that_lies_for_ever_is_named(pair: Pair, size: int) -> None:
    """Wrong twice is wrong: skopeo's words, the source's fault."""
    made = pair.image(sizes=(size,))
    rule = pair.at_source.add(corrupt(20), method="GET", path=made.layer)
    pair.fails(made, "Digest did not match", side="source")
    assert rule.hits <= 4


@pytest.mark.parametrize("size", SIZES, ids=["small", "large"])
@pytest.mark.parametrize("by", [1, -1, 1000])
def test_a_wrong_size_is_named(pair: Pair, size: int, by: int) -> None:
    """A body that is honestly longer or shorter than the descriptor says."""
    made = pair.image(sizes=(size,))
    pair.at_source.add(resized(by), method="GET", path=made.layer)
    pair.fails(made, side="source")


def _instead(raw: bytes, media_type: str) -> Middleware:
    async def fault(_head: Head, _body: Body, _proceed: Handler) -> Reply:
        return Reply(200, [("Content-Type", media_type)], raw)

    return fault


def _spoilt(raw: bytes, **change: object) -> bytes:
    return json.dumps(json.loads(raw) | change).encode()


_ODD = {
    "wrong-type": ({}, DOCKER),
    "ambiguous": ({"manifests": []}, OCI),
    "index-with-layers": ({"manifests": []}, OCI_INDEX),
    "schema1-fields": ({"fsLayers": []}, OCI),
    "not-a-type": ({"mediaType": "text/html"}, "text/html"),
}


@pytest.mark.parametrize("case", _ODD)
def test_a_manifest_that_could_be_two_things_is_refused(pair: Pair, case: str) -> None:
    """CVE-2021-41190 and its kin: nothing is pushed."""
    made, repo = pair.image(), fresh("copy/to")
    change, media_type = _ODD[case]
    pair.at_source.add(_instead(_spoilt(made.raw, **change), media_type), method="GET", path="/manifests/")
    outcome = pair.copy(made, repo)
    assert isinstance(outcome.error, FastcopyError)
    assert outcome.error.side == "source"
    assert not [each for each in pair.destination.requests() if repo in each[1] and each[0] != "HEAD"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"schemaVersion":2}', b"<html>sign in</html>"])
def test_a_body_that_is_no_manifest_is_refused(pair: Pair, raw: bytes) -> None:
    """A captive portal answers 200 to everything."""
    made, repo = pair.image(), fresh("copy/to")
    pair.at_source.add(_instead(raw, OCI), method="GET", path="/manifests/")
    outcome = pair.copy(made, repo)
    assert isinstance(outcome.error, FastcopyError)
    assert outcome.error.side == "source"
    assert named(pair.destination, repo) == ""


def test_a_manifest_above_the_limit_is_refused(pair: Pair) -> None:
    """4 MiB and one byte; and it is not read to its end."""
    made = pair.image()
    raw = made.raw + b" " * (4 << 20)
    pair.at_source.add(_instead(raw, OCI), method="GET", path="/manifests/")
    outcome = pair.copy(made, fresh("copy/to"))
    assert outcome.error is not None
    assert outcome.error.side == "source"


def test_a_manifest_of_almost_the_limit_is_copied(pair: Pair) -> None:
    """Annotations of 3.9 MB are legal."""
    pair.arrives(image(pair.source, change={"annotations": {"x": "y" * 3_900_000}}))


def test_a_header_that_contradicts_the_manifest_is_refused(pair: Pair) -> None:
    """Docker-Content-Digest of other bytes."""
    made = pair.image()
    wrong = "sha256:" + "1" * 64
    pair.at_source.add(with_header("Docker-Content-Digest", wrong), method="GET", path="/manifests/")
    outcome = pair.copy(made, fresh("copy/to"))
    assert isinstance(outcome.error, IntegrityError)
    assert outcome.error.side == "source"


@pytest.mark.parametrize("value", ["sha256:" + "2" * 64, "nonsense", None])
def test_a_head_with_a_wrong_digest_hides_nothing(pair: Pair, value: str | None) -> None:
    """HEAD may only conclude "unchanged": with any other word the copy is made."""
    made, repo = pair.image(), fresh("copy/to")
    assert pair.copy(pair.image(), repo).error is None
    pair.at_destination.add(with_header("Docker-Content-Digest", value), method="HEAD", path="/manifests/")
    pair.arrives(made, repo=repo)


def test_a_descriptor_with_a_wrong_size_is_the_sources_lie(pair: Pair, tmp_path: object) -> None:
    """The registry serves the blob as it is; the manifest is wrong about it."""
    with embedded_registry(tmp_path, behaviour=Behaviour(check_references=False)) as source:  # type: ignore[arg-type]
        made = image(source, sizes=(700_000,))
        manifest = json.loads(made.raw)
        manifest["layers"][0]["size"] -= 7
        wrong = replace(made, raw=json.dumps(manifest).encode(), tag="wrong")
        with source.client() as probe:
            probe.push_manifest(made.repo, "wrong", wrong.raw, OCI)
        outcome = pair.copy(wrong, fresh("copy/to"))
    assert isinstance(outcome.error, IntegrityError)
    assert not isinstance(outcome.error, BadManifest)
    assert outcome.error.side == "source"
