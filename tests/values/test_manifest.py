"""Manifests are kept verbatim, and refused when two readers could differ about them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy import media, schema1, strictjson
from fastcopy.convert import _schema1 as schema1_writer
from fastcopy.descriptor import Digest, Platform
from fastcopy.errors import BadManifest, DigestMismatch, FastcopyError, Unsupported
from fastcopy.manifest import MAX_MANIFEST, Manifest
from tests.values.support import GZIPPED, docker_image, index_of, oci_image, schema1_image

RAW, BLOBS = oci_image()


def changed(raw: bytes = RAW, **fields: Any) -> bytes:
    """The document with fields added or (None: removed) replaced."""
    document = json.loads(raw) | fields
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def test_the_bytes_are_kept_as_they_came() -> None:
    """raw is the input itself, and the digest is its."""
    manifest = Manifest.parse(RAW, media.OCI_MANIFEST)
    assert manifest.raw is RAW
    assert manifest.digest == Digest.of(RAW)
    assert (manifest.descriptor.size, manifest.descriptor.media_type) == (len(RAW), media.OCI_MANIFEST)


def test_config_and_layers_are_descriptors_in_order() -> None:
    """What an image points at, base layer first."""
    manifest = Manifest.parse(RAW)
    assert manifest.config is not None
    assert [blob.digest for blob in manifest.blobs()] == [Digest.of(blob) for blob in BLOBS]
    assert manifest.layers[0].annotations == {"x": "y<"}
    assert (manifest.kind, manifest.is_image, manifest.annotations) == ("image", True, {"k": "v"})


def test_a_blob_named_twice_is_copied_once() -> None:
    """blobs() holds every digest once; layers keep the repetition, which is part of the image."""
    layers = json.loads(RAW)["layers"]
    manifest = Manifest.parse(changed(layers=[*layers, layers[0]]))
    assert (len(manifest.layers), len(manifest.blobs())) == (3, 3)


def test_a_foreign_layer_with_urls_is_left_where_it_is() -> None:
    """Foreign layers are not copied, unless they have no URLs to be found at."""
    layers = json.loads(RAW)["layers"]
    foreign = [layer | {"mediaType": media.OCI_NONDISTRIBUTABLE + "+gzip"} for layer in layers]
    manifest = Manifest.parse(changed(layers=[foreign[0] | {"urls": ["https://x.example/l"]}, foreign[1]]))
    assert [blob.digest for blob in manifest.foreign] == [Digest.of(GZIPPED[0])]
    assert [blob.digest for blob in manifest.blobs()] == [Digest.of(BLOBS[0]), Digest.of(GZIPPED[1])]


def test_an_index_has_children_with_platforms() -> None:
    """Children keep order, platform and annotations."""
    platform = {"os": "linux", "architecture": "arm", "variant": "v7"}
    raw = index_of(media.OCI_INDEX, (RAW, media.OCI_MANIFEST, {"platform": platform, "annotations": {"a": "b"}}))
    index = Manifest.parse(raw)
    assert (index.kind, index.is_index, index.is_image, index.blobs()) == ("index", True, False, ())
    assert index.children[0].platform == Platform("linux", "arm", "v7")
    assert index.children[0].annotations == {"a": "b"}


def test_an_artifact_of_unknown_types_passes() -> None:
    """Unknown config, layer and artifact types do not stop a copy; it is just no image."""
    document = json.loads(RAW)
    config = document["config"] | {"mediaType": "application/vnd.example.thing+json"}
    layers = [layer | {"mediaType": "x/y"} for layer in document["layers"]]
    raw = changed(config=config, layers=layers, artifactType="a/b", subject=document["config"])
    manifest = Manifest.parse(raw, media.OCI_MANIFEST)
    assert (manifest.is_image, manifest.artifact_type, len(manifest.blobs())) == (False, "a/b", 3)
    assert manifest.subject is not None


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=utf-8", "x/unknown"])
def test_a_content_type_that_says_nothing_leaves_it_to_the_body(content_type: str) -> None:
    """CDNs serve manifests as text/plain; the body tells what it is."""
    assert Manifest.parse(RAW, content_type).media_type == media.OCI_MANIFEST
    assert Manifest.parse(docker_image()[0], content_type).media_type == media.DOCKER_MANIFEST
    assert Manifest.parse(changed(mediaType=None), content_type).media_type == media.OCI_MANIFEST
    assert Manifest.parse(schema1_image()[0], content_type).media_type == media.SCHEMA1
    bare_index = index_of(media.OCI_INDEX, (RAW, media.OCI_MANIFEST, {}), mediaType=None)
    assert Manifest.parse(bare_index, content_type).media_type == media.OCI_INDEX


BAD = {
    "manifests beside layers": changed(manifests=[]),
    "fsLayers beside layers": changed(fsLayers=[]),
    "a name in other case": changed(Layers=[]),
    "a name that folds to another": RAW.replace(b'"schemaVersion"', rb'"layer\u017f": [], "schemaVersion"'),
    "a descriptor's name in other case": changed(config=json.loads(RAW)["config"] | {"Digest": "sha256:" + "0" * 64}),
    "a key twice": RAW.replace(b'"schemaVersion": 2,', b'"schemaVersion": 2, "schemaVersion": 2,'),
    "an impossible size": changed(config=json.loads(RAW)["config"] | {"size": -5}),
    "a size that is no number": changed(config=json.loads(RAW)["config"] | {"size": "5"}),
    "a digest with a path": changed(config=json.loads(RAW)["config"] | {"digest": "sha256:../../x"}),
    "an unknown algorithm": changed(config=json.loads(RAW)["config"] | {"digest": "md5:" + "0" * 32}),
    "no config": changed(config=None),
    "layers that are no list": changed(layers={}),
    "schema version 1 in an image": changed(schemaVersion=1),
    "not JSON": b"{",
    "not an object": b"[]",
    "not UTF-8": b'{"a": "\xff"}',
    "NaN": b'{"a": NaN}',
    "an utf-16 document": RAW.decode().encode("utf-16"),
    "too deep": b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
    "too large": b'{"a": "' + b"x" * MAX_MANIFEST + b'"}',
    "too many entries": changed(layers=[json.loads(RAW)["layers"][0]] * 10_001),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_an_ambiguous_or_broken_manifest_is_refused(raw: bytes) -> None:
    """CVE-2021-41190 and its relatives, limits, and plain damage."""
    with pytest.raises(BadManifest):
        Manifest.parse(raw, media.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (RAW, media.DOCKER_MANIFEST),
        (RAW, media.OCI_INDEX),
        (RAW, media.SCHEMA1_SIGNED),
        (schema1_image()[0], media.OCI_MANIFEST),
    ],
)
def test_a_body_that_contradicts_its_content_type_is_refused(raw: bytes, content_type: str) -> None:
    """Neither of the two is believed."""
    with pytest.raises(BadManifest):
        Manifest.parse(raw, content_type)


def test_a_manifest_of_another_world_is_unsupported() -> None:
    """An unknown mediaType in the body is named in the message."""
    with pytest.raises(Unsupported, match=r"vnd\.example"):
        Manifest.parse(b'{"schemaVersion": 2, "mediaType": "application/vnd.example"}')


def test_the_wanted_digest_is_checked_in_its_own_algorithm() -> None:
    """sha512 is verified as sha512; anything else is a mismatch that names both."""
    wanted = Digest.of(RAW, "sha512")
    assert Manifest.parse(RAW, digest=wanted).digest == wanted
    with pytest.raises(DigestMismatch, match="expected sha256:0000"):
        Manifest.parse(RAW, digest=Digest("sha256:" + "0" * 64))


def test_keys_that_are_free_may_look_like_fields() -> None:
    """Annotations and unknown fields may be called anything."""
    assert Manifest.parse(changed(annotations={"Config": "1", "config": "2"}, other={"Size": 1})).is_image


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "config",
                        "layers",
                        "manifests",
                        "schemaVersion",
                        "mediaType",
                        "digest",
                        "size",
                        "signatures",
                        "history",
                        "fsLayers",
                    ]
                )
                | st.text(),
                inner,
            )
        ),
        max_leaves=20,
    ).map(lambda found: json.dumps(found).encode())
)
def test_any_bytes_are_a_manifest_or_an_error_of_ours(raw: bytes) -> None:
    """Parsing never fails in another way."""
    for content_type in ("", media.OCI_MANIFEST, media.OCI_INDEX, media.SCHEMA1_SIGNED):
        try:
            Manifest.parse(raw, content_type)
        except FastcopyError:
            continue


# Schema 1


def test_schema_1_layers_come_base_first_with_their_history() -> None:
    """The document lists the top first; empty entries are marked."""
    raw, blobs = schema1_image()
    manifest = Manifest.parse(raw)
    assert manifest.v1 is not None
    assert [layer.digest for layer in manifest.layers] == [Digest.of(blob) for blob in reversed(blobs)]
    assert [layer.empty for layer in manifest.v1.layers] == [False, True, False]
    assert (manifest.v1.name, manifest.v1.tag, manifest.v1.top.id) == ("foo/bar", "t", "c" * 64)


def test_a_signed_schema_1_has_the_digest_of_its_payload() -> None:
    """Signatures are no part of the digest; asking by the digest of all bytes works too."""
    raw, _ = schema1_image()
    signed = schema1_writer.sign(raw.strip())
    manifest = Manifest.parse(signed, media.SCHEMA1)
    assert (manifest.media_type, manifest.digest) == (media.SCHEMA1_SIGNED, Digest.of(raw.strip()))
    assert Manifest.parse(signed, digest=Digest.of(signed)).digest == Digest.of(signed)
    assert schema1.payload(signed) == raw.strip()


def test_a_signature_cannot_cover_another_document() -> None:
    """The payload that the digest covers must say what the document says."""
    signed = schema1_writer.sign(schema1_image()[0].strip())
    with pytest.raises(BadManifest, match="differs from its signed payload"):
        Manifest.parse(signed.replace(b'"signatures":', b'"extra": 1, "signatures":'))
    with pytest.raises(DigestMismatch):
        Manifest.parse(signed.replace(b'"foo/bar"', b'"bar/foo"', 1), digest=Digest.of(schema1_image()[0].strip()))


def test_a_layer_id_repeated_by_its_neighbour_is_read_once_and_copied_twice() -> None:
    """containers/image drops the newer of two; the registry still wants both blobs."""
    document = json.loads(schema1_image()[0])
    other = Digest.of(b"other")
    document["fsLayers"].insert(0, {"blobSum": other})
    document["history"].insert(0, document["history"][0])
    manifest = Manifest.parse(json.dumps(document).encode())
    assert len(manifest.layers) == 3
    assert other in {blob.digest for blob in manifest.blobs()}


def _history(*ids: tuple[str, str]) -> bytes:
    """A schema 1 manifest with these (id, parent), top first."""
    return json.dumps(
        {
            "schemaVersion": 1,
            "fsLayers": [{"blobSum": "sha256:" + "0" * 64}] * len(ids),
            "history": [{"v1Compatibility": json.dumps({"id": i, "parent": p})} for i, p in ids],
        }
    ).encode()


A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (_history(), "no FSLayers in manifest"),
        (_history(("x", "")), 'image ID "x" is invalid'),
        (_history((A, B)), "Invalid parent ID in the base layer of the image"),
        (_history((A, B), (B, A), (A, "")), f"ID {A} appears multiple times in manifest"),
        (_history((A, C), (B, "")), f'Invalid parent ID. Expected {B}, got "{C}"'),
        (b'{"schemaVersion": 1, "fsLayers": [], "history": [{}]}', "length of history not equal to number of layers"),
    ],
)
def test_a_schema_1_history_that_does_not_hang_together_is_refused(raw: bytes, message: str) -> None:
    """containers/image's rules in its words."""
    with pytest.raises(BadManifest) as caught:
        Manifest.parse(raw)
    assert caught.value.message == message


def test_brackets_in_strings_are_no_nesting() -> None:
    """The depth limit counts structure only."""
    assert strictjson.load(json.dumps({"a": "[" * 300 + '\\"{' * 9}).encode(), limit=4096, what="x")["a"]
