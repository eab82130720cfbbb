"""Reading manifests as a registry must: what they refer to, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy import media
from fastcopy.descriptor import Digest
from fastcopy.serve.manifests import examine
from fastcopy.serve.message import Refusal
from tests.serve.helpers import refusal_of

A, B, C = (Digest.of(letter) for letter in (b"a", b"b", b"c"))
IMAGE: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media.OCI_MANIFEST,
    "config": {"mediaType": "application/vnd.example", "digest": A, "size": 1},
    "layers": [{"mediaType": media.OCI_LAYER, "digest": B, "size": 1}],
}


def raw(**changes: Any) -> bytes:
    """The image with changes; None removes."""
    return json.dumps({key: value for key, value in {**IMAGE, **changes}.items() if value is not None}).encode()


def test_config_and_layers_are_what_an_image_refers_to() -> None:
    """In order, each once."""
    assert examine(raw(layers=[*IMAGE["layers"], *IMAGE["layers"]]), media.OCI_MANIFEST).blobs == (A, B)


def test_layers_that_live_elsewhere_are_not_demanded() -> None:
    """Foreign layers with urls."""
    foreign = {
        "mediaType": media.DOCKER_FOREIGN + ".gzip",
        "digest": C,
        "size": 1,
        "urls": ["https://elsewhere.test/c"],
    }
    assert examine(raw(layers=[foreign]), media.OCI_MANIFEST).blobs == (A,)


def test_a_layer_of_ours_with_urls_is_still_demanded() -> None:
    """urls alone excuse nothing."""
    layer = {"mediaType": media.OCI_LAYER, "digest": C, "size": 1, "urls": ["https://elsewhere.test/c"]}
    assert examine(raw(layers=[layer]), media.OCI_MANIFEST).blobs == (A, C)


def test_children_keep_the_media_type_the_index_gives_them() -> None:
    """Their own bytes need not repeat it."""
    index = {"schemaVersion": 2, "manifests": [{"mediaType": media.OCI_MANIFEST, "digest": B, "size": 1}]}
    assert examine(json.dumps(index).encode(), media.OCI_INDEX).children == ((B, media.OCI_MANIFEST),)


def test_the_artifact_type_falls_back_to_the_configs() -> None:
    """image-spec: artifactType, or else config.mediaType."""
    assert examine(raw(), "").artifact_type == "application/vnd.example"
    assert examine(raw(artifactType="x/y"), "").artifact_type == "x/y"


def test_schema_1_layers_are_blob_sums() -> None:
    """Signed or not."""
    old = {"schemaVersion": 1, "fsLayers": [{"blobSum": A}, {"blobSum": B}, {"blobSum": A}]}
    assert examine(json.dumps(old).encode(), media.SCHEMA1_SIGNED).blobs == (A, B)


def test_parameters_of_a_content_type_do_not_count() -> None:
    """; charset=utf-8 is not part of a media type."""
    assert examine(raw(), media.OCI_MANIFEST + "; charset=utf-8").media_type == media.OCI_MANIFEST


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (raw(), media.DOCKER_MANIFEST),
        (raw(mediaType=None), ""),
        (raw(manifests=[]), media.OCI_MANIFEST),
        (raw(layers={}), media.OCI_MANIFEST),
        (raw(layers=["x"]), media.OCI_MANIFEST),
        (raw(config=[1]), media.OCI_MANIFEST),
        (b"[" * 100_000, media.OCI_MANIFEST),
        (b'"text"', media.OCI_MANIFEST),
        (b"\xff\xfe", media.OCI_MANIFEST),
    ],
)
def test_ambiguous_or_shapeless_manifests_are_refused(body: bytes, kind: str) -> None:
    """400 MANIFEST_INVALID."""
    with pytest.raises(Refusal) as caught:
        examine(body, kind)
    assert (caught.value.status, caught.value.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("digest", ["", "sha256:zz", "md5:00", None, 7])
def test_a_malformed_digest_inside_is_refused(digest: object) -> None:
    """400 DIGEST_INVALID: it would become a path."""
    with pytest.raises(Refusal) as caught:
        examine(raw(config={"digest": digest}), media.OCI_MANIFEST)
    assert caught.value.code == "DIGEST_INVALID"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["config", "layers", "manifests", "subject", "digest", "annotations"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_breaks_the_reader(value: object) -> None:
    """Every document is an entry or a Refusal."""
    refusal = refusal_of(lambda: examine(json.dumps(value).encode(), media.OCI_MANIFEST))
    assert refusal is None or refusal.status == 400
