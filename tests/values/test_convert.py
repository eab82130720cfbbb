"""Converted manifests have the bytes that containers/image gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastcopy import gojson, media
from fastcopy.convert import convert, index_subset, rewrite_index
from fastcopy.convert._schema1 import EMPTY_DIGEST, EMPTY_LAYER
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, Unsupported
from fastcopy.manifest import Manifest
from fastcopy.platforms import host
from tests.values.support import (
    DIFF_IDS,
    GZIPPED,
    config,
    docker_image,
    index_of,
    oci_image,
    schema1_image,
    skopeo,
    write_dir,
)

FORMATS = {"oci": media.OCI_MANIFEST, "v2s2": media.DOCKER_MANIFEST, "v2s1": media.SCHEMA1_SIGNED}
IMAGES: dict[str, Callable[[], tuple[bytes, list[bytes]]]] = {
    "docker": docker_image,
    "oci": oci_image,
    "schema1": schema1_image,
}


def converted(raw: bytes, blobs: list[bytes], to: str, **options: Any) -> Any:
    """Convert with everything a conversion may need."""
    manifest = Manifest.parse(raw)
    if manifest.v1 is not None:
        sizes = {Digest.of(blob): len(blob) for blob in blobs}
        options |= {
            "diff_ids": [DIFF_IDS[0], Digest.of(b""), DIFF_IDS[1]],
            "layers": [Descriptor(layer.digest, sizes[layer.digest]) for layer in manifest.layers],
        }
    return convert(manifest, None if manifest.v1 else blobs[0], to, **options)


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("source", IMAGES)
@pytest.mark.parametrize("target", FORMATS)
def test_skopeo_writes_the_same_manifest(tmp_path: Path, source: str, target: str) -> None:
    """`skopeo copy --format` between dir: layouts: equal manifests and configs, but for schema 1's signature."""
    raw, blobs = IMAGES[source]()
    layout = write_dir(tmp_path / "source", raw, blobs)
    assert skopeo("copy", "-q", "--format", target, f"dir:{layout}", f"dir:{tmp_path / 'target'}") == ""
    theirs = (tmp_path / "target/manifest.json").read_bytes()
    mine = converted(raw, blobs, FORMATS[target])
    if target == "v2s1":
        assert Manifest.parse(theirs).digest == mine.digest
        assert Manifest.parse(mine.raw, media.SCHEMA1_SIGNED).digest == mine.digest
    else:
        assert theirs == mine.raw
        assert (tmp_path / "target" / mine.config.digest.hex).read_bytes() == mine.config_raw


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("kind", [media.OCI_INDEX, media.DOCKER_LIST])
@pytest.mark.parametrize("target", ["oci", "v2s2"])
def test_skopeo_writes_the_same_list(tmp_path: Path, kind: str, target: str) -> None:
    """`skopeo copy --all --format`: children converted, the list rewritten with their new digests."""
    images = [docker_image(), oci_image(config(author="other"))]
    platforms: list[dict[str, Any]] = [
        {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1<2", "os.features": ["x"]},
        {"os": "linux", "architecture": "amd64"},
    ]
    entries = [
        (raw, Manifest.parse(raw).media_type, {"platform": each})
        for (raw, _), each in zip(images, platforms, strict=True)
    ]
    extra = {"annotations": {"k": "<v>"}} if kind == media.OCI_INDEX else {}
    index = index_of(kind, *entries, **extra)
    blobs = [blob for _, found in images for blob in found]
    layout = write_dir(tmp_path / "source", index, blobs, [raw for raw, _ in images])
    assert skopeo("copy", "-q", "--all", "--format", target, f"dir:{layout}", f"dir:{tmp_path / 'target'}") == ""
    children = {Digest.of(raw): converted(raw, found, FORMATS[target]).descriptor for raw, found in images}
    to = media.OCI_INDEX if target == "oci" else media.DOCKER_LIST
    assert rewrite_index(Manifest.parse(index), children, to).raw == (tmp_path / "target/manifest.json").read_bytes()


@pytest.mark.parametrize("source", ["docker", "oci"])
def test_an_image_that_needs_no_change_keeps_its_bytes(source: str) -> None:
    """Never re-serialise what is as it should be."""
    raw, blobs = IMAGES[source]()
    manifest = Manifest.parse(raw)
    found = convert(manifest, blobs[0], manifest.media_type)
    assert (found.raw, found.digest, found.config_changed) == (raw, manifest.digest, False)


def test_a_docker_config_becomes_an_oci_config() -> None:
    """Docker's own fields go, order and escapes are Go's, and the variant stands where image-spec 1.1 puts it."""
    raw, blobs = docker_image(
        {"variant": "v8", "os": "linux", "architecture": "arm64", "Id": "x", "config": {"Cmd": ["\b\f<"], "Tty": True}}
    )
    found = converted(raw, blobs, media.OCI_MANIFEST)
    assert found.config_changed
    assert found.config_raw.decode() == (
        r'{"architecture":"arm64","os":"linux","variant":"v8","config":{"Cmd":["\b\f\u003c"]},'
        r'"rootfs":{"type":"","diff_ids":null}}'
    )


def test_a_round_trip_through_oci_keeps_the_config() -> None:
    """OCI -> Docker -> OCI: the config blob is the same, and so is the manifest of the second OCI."""
    raw, blobs = docker_image()
    oci = converted(raw, blobs, media.OCI_MANIFEST)
    back = convert(Manifest.parse(oci.raw), oci.config_raw, media.DOCKER_MANIFEST)
    again = convert(Manifest.parse(back.raw), back.config_raw, media.OCI_MANIFEST)
    assert back.config.digest == oci.config.digest
    assert (again.raw, again.config_changed) == (oci.raw, False)


def test_recompressed_layers_get_the_types_of_their_compression() -> None:
    """A Docker image recompressed with zstd becomes OCI; its annotations are the layers' own."""
    raw, blobs = docker_image()
    layers = [
        Descriptor(Digest.of(b"z"), 7, media.OCI_LAYER + "+zstd", annotations={"a": "b"}),
        Descriptor(Digest.of(b"u"), 9, media.DOCKER_LAYER),
    ]
    found = json.loads(converted(raw, blobs, media.OCI_MANIFEST, layers=layers).raw)["layers"]
    assert [layer["mediaType"] for layer in found] == [media.OCI_LAYER + "+zstd", media.OCI_LAYER]
    assert (found[0]["annotations"], found[0]["size"], "annotations" in found[1]) == ({"a": "b"}, 7, False)


def test_layers_edited_in_place_keep_the_rest_of_the_manifest() -> None:
    """Annotations, subject and artifact type of an OCI manifest survive recompression."""
    raw, blobs = oci_image(artifactType="a/b", subject={"mediaType": "x", "digest": Digest.of(b"s"), "size": 1})
    layers = [Descriptor(Digest.of(b"z"), 7, media.OCI_LAYER + "+zstd")] * 2
    found = json.loads(converted(raw, blobs, media.OCI_MANIFEST, layers=layers).raw)
    assert (found["artifactType"], found["annotations"], found["subject"]["size"]) == ("a/b", {"k": "v"}, 1)
    assert list(found) == ["schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"]


def test_foreign_layers_stay_foreign() -> None:
    """foreign <-> nondistributable, with their URLs."""
    document = json.loads(docker_image()[0])
    document["layers"][0] |= {"mediaType": media.DOCKER_FOREIGN + ".gzip", "urls": ["https://x.example/l?a=1&b=2"]}
    oci = converted(json.dumps(document).encode(), docker_image()[1], media.OCI_MANIFEST)
    first = json.loads(oci.raw)["layers"][0]
    assert first["mediaType"] == media.OCI_NONDISTRIBUTABLE + "+gzip"
    assert (first["urls"], b"\\u0026b=2" in oci.raw) == (["https://x.example/l?a=1&b=2"], True)
    back = convert(Manifest.parse(oci.raw), oci.config_raw, media.DOCKER_MANIFEST)
    assert json.loads(back.raw)["layers"][0] == document["layers"][0]


def _typed(layer: str, **extra: Any) -> tuple[bytes, list[bytes]]:
    """An OCI image whose layers are of one type."""
    raw, blobs = oci_image(**extra)
    document = json.loads(raw)
    for each in document["layers"]:
        each["mediaType"] = layer
    return json.dumps(document).encode(), blobs


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (_typed(media.OCI_LAYER + "+zstd"), "zstd compression is not supported for docker images"),
        (_typed(media.OCI_LAYER + "+gzip+encrypted"), "are not supported in docker images"),
        (_typed("x/y"), 'Unknown media type during manifest conversion: "x/y"'),
        (
            oci_image(config={"mediaType": "x/y", "digest": Digest.of(b""), "size": 0}),
            'unsupported image-specific operation on artifact with type "x/y"',
        ),
        (
            oci_image(config={"mediaType": media.DOCKER_CONFIG, "digest": Digest.of(b""), "size": 0}),
            "invalid mixed OCI image with Docker v2s2 config",
        ),
    ],
)
def test_what_docker_cannot_express_is_refused(image: tuple[bytes, list[bytes]], message: str) -> None:
    """In containers/image's words, for both of Docker's formats."""
    for to in (media.DOCKER_MANIFEST, media.SCHEMA1_SIGNED):
        with pytest.raises(Unsupported) as caught:
            convert(Manifest.parse(image[0]), image[1][0], to)
        assert message in caught.value.message


def test_the_wrong_number_of_layers_is_refused() -> None:
    """Edits must cover every layer."""
    raw, blobs = oci_image()
    with pytest.raises(BadManifest, match="layer count changed from 2 to 1"):
        convert(Manifest.parse(raw), blobs[0], media.OCI_MANIFEST, layers=[Descriptor(Digest.of(b""), 0)])


# Schema 1


def test_the_empty_layer_is_what_its_digest_says() -> None:
    """The blob that every registry has seen."""
    assert Digest.of(EMPTY_LAYER) == EMPTY_DIGEST


def test_a_config_from_before_docker_1_8_3_is_written_anew() -> None:
    """Old v1Compatibility strings lack fields; later ones are kept member by member, numbers as they were."""
    old = converted(*schema1_image("1.7.0"), media.DOCKER_MANIFEST).config_raw
    new = converted(*schema1_image("1.10.0"), media.DOCKER_MANIFEST).config_raw
    assert (b'"AttachStdout":false' in old, b'"unknown"' in old) == (True, False)
    assert (b'"AttachStdout"' in new, b'"unknown":1.5' in new) == (False, True)


def test_schema_1_needs_the_diff_ids() -> None:
    """Nobody else knows them."""
    with pytest.raises(BadManifest, match="uncompressed digest of every layer"):
        convert(Manifest.parse(schema1_image()[0]), None, media.OCI_MANIFEST)


def test_schema_1_is_signed_and_verifies() -> None:
    """The throw-away signature is a valid ES256 signature of the payload."""
    from base64 import urlsafe_b64decode

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    raw, blobs = docker_image()
    found = converted(raw, blobs, media.SCHEMA1_SIGNED, name="foo/bar", tag="t")
    document = json.loads(found.raw)
    (signature,) = document["signatures"]

    def plain(text: str) -> bytes:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))

    def number(text: str) -> int:
        return int.from_bytes(plain(text), "big")

    jwk = signature["header"]["jwk"]
    key = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1()).public_key()
    mac = plain(signature["signature"])
    der = encode_dss_signature(int.from_bytes(mac[:32], "big"), int.from_bytes(mac[32:], "big"))
    parsed = Manifest.parse(found.raw, media.SCHEMA1_SIGNED)
    from fastcopy.convert._schema1 import _base64url
    from fastcopy.schema1 import payload

    signed = f"{signature['protected']}.{_base64url(payload(found.raw))}".encode()
    key.verify(der, signed, ec.ECDSA(hashes.SHA256()))
    assert (document["name"], document["tag"], parsed.digest) == ("foo/bar", "t", found.digest)
    assert found.extra_blobs == {EMPTY_DIGEST: EMPTY_LAYER}
    assert len(jwk["kid"]) == 59


def test_schema_1_gets_another_name() -> None:
    """A copy of schema 1 embeds the destination's name; layers may be replaced."""
    raw, blobs = schema1_image()
    found = converted(raw, blobs, media.SCHEMA1_SIGNED, name="x/y", tag="z")
    assert (json.loads(found.raw)["name"], json.loads(found.raw)["tag"]) == ("x/y", "z")
    assert {blob.digest for blob in Manifest.parse(found.raw).blobs()} == {Digest.of(blob) for blob in blobs}


# Lists


def _index(kind: str = media.OCI_INDEX, **extra: Any) -> bytes:
    one, two = ({"platform": {"os": "linux", "architecture": each}} for each in ("amd64", "arm64"))
    return index_of(kind, (GZIPPED[0], media.OCI_MANIFEST, one), (GZIPPED[1], media.OCI_MANIFEST, two), **extra)


def test_a_subset_keeps_order_annotations_and_all_else() -> None:
    """--strip-removed-platforms: only the entries go."""
    index = Manifest.parse(_index(annotations={"a": "b"}))
    found = index_subset(index, {Digest.of(GZIPPED[1])})
    assert [child.digest for child in Manifest.parse(found.raw).children] == [Digest.of(GZIPPED[1])]
    assert json.loads(found.raw)["annotations"] == {"a": "b"}
    assert index_subset(index, {child.digest for child in index.children}).raw is index.raw
    with pytest.raises(Unsupported, match="filtered out all platforms"):
        index_subset(index, set())


def test_an_index_without_changes_keeps_its_bytes() -> None:
    """Replacing a child by itself is no change."""
    index = Manifest.parse(_index())
    assert rewrite_index(index, {index.children[0].digest: index.children[0]}).raw is index.raw
    with pytest.raises(BadManifest, match="has no instance"):
        rewrite_index(index, {Digest.of(b"?"): index.children[0]})
    with pytest.raises(Unsupported, match="is not a list type"):
        convert(index, None, media.OCI_MANIFEST)


def test_a_replaced_child_gains_annotations() -> None:
    """A recompressed instance is marked as zstd among what it was marked with."""
    index = Manifest.parse(_index())
    new = Descriptor(
        Digest.of(b"n"), 5, media.OCI_MANIFEST, annotations={"io.github.containers.compression.zstd": "true"}
    )
    found = Manifest.parse(rewrite_index(index, {index.children[1].digest: new}).raw).children
    assert (found[0], found[1].digest, found[1].size) == (index.children[0], new.digest, 5)
    assert found[1].annotations == new.annotations
    assert found[1].platform == index.children[1].platform


def test_an_entry_without_platform_gets_the_hosts_in_a_docker_list() -> None:
    """Docker's lists cannot do without."""
    index = Manifest.parse(index_of(media.OCI_INDEX, (GZIPPED[0], media.OCI_MANIFEST, {})))
    found = Manifest.parse(rewrite_index(index, {}, media.DOCKER_LIST).raw)
    assert found.children[0].platform is not None
    assert found.children[0].platform.architecture == host().architecture


# Go's JSON


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05.100+00:00", "2020-01-02T03:04:05.1Z"),
        ("2020-01-02T03:04:05.123456789-07:30", "2020-01-02T03:04:05.123456789-07:30"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_as_go_writes_them(text: str, written: str) -> None:
    """RFC3339Nano: no trailing zeros, Z for offset zero."""
    assert gojson.Time.parse(text).rfc3339() == written


@pytest.mark.parametrize("text", ["", "2020", "2020-13-02T03:04:05Z", "2020-01-02 03:04:05Z", "2020-01-02T03:04:05"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Go refuses these too."""
    with pytest.raises(BadManifest):
        gojson.Time.parse(text)


def test_raw_members_keep_their_spelling() -> None:
    """json.RawMessage: white space goes, numbers and escapes stay, HTML is escaped."""
    found = gojson.members(' { "b" : [ 1.50 , "\\u00e9 <" ] ,\n "a":{ } , "c" : null } ')
    assert gojson.join_members(found) == '{"a":{},"b":[1.50,"\\u00e9 \\u003c"],"c":null}'
    assert gojson.members("{}") == {}
