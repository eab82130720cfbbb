"""`inspect` and `list-tags` print what skopeo prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastcopy import media
from fastcopy.descriptor import Digest
from fastcopy.errors import BadManifest, Unsupported
from fastcopy.gostruct import Struct, StructType
from fastcopy.gotemplate import TemplateError
from fastcopy.inspecting import config, inspect, is_json, show, tag_list
from fastcopy.manifest import Manifest
from tests.values.support import docker_image, index_of, oci_image, schema1_image, skopeo, write_dir

IMAGES = {"docker": docker_image, "oci": oci_image, "schema1": schema1_image}


def read(kind: str) -> tuple[Manifest, bytes | None, list[bytes]]:
    """An image of a kind, its config, its blobs."""
    raw, blobs = IMAGES[kind]()
    manifest = Manifest.parse(raw)
    return manifest, None if manifest.v1 else blobs[0], blobs


def as_old_as(theirs: str, mine: Struct) -> Struct:
    """Without LayersData where the skopeo at hand is older than 1.10 and has none."""
    fields = tuple(each for each in mine.type.fields if each.name != "LayersData" or "LayersData" in theirs)
    return Struct(StructType(mine.type.name, fields), mine.values)


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("template", ["", "json"])
def test_skopeo_prints_the_same_document(tmp_path: Path, kind: str, template: str) -> None:
    """The default output, byte for byte."""
    manifest, raw, blobs = read(kind)
    layout = write_dir(tmp_path / "i", manifest.raw, blobs)
    theirs = skopeo("inspect", *(["--format", template] if template else []), f"dir:{layout}")
    assert show(as_old_as(theirs, inspect(manifest, raw)), template) == theirs


def test_layers_are_described_one_by_one() -> None:
    """LayersData: type, digest, size and annotations; schema 1 knows the digest only."""
    manifest, raw, blobs = read("oci")
    assert json.loads(show(inspect(manifest, raw)))["LayersData"][1] == {
        "MIMEType": media.OCI_LAYER + "+gzip",
        "Digest": Digest.of(blobs[2]),
        "Size": len(blobs[2]),
        "Annotations": {"x": "y<"},
    }
    manifest, raw, blobs = read("schema1")
    found = json.loads(show(inspect(manifest, raw)))
    assert found["LayersData"][0] == {"MIMEType": "", "Digest": Digest.of(blobs[2]), "Size": -1, "Annotations": None}
    assert found["Tag"] == "t"


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("kind", IMAGES)
def test_skopeo_prints_the_same_config(tmp_path: Path, kind: str) -> None:
    """`--config`: image-spec's struct, four spaces."""
    manifest, raw, blobs = read(kind)
    layout = write_dir(tmp_path / "i", manifest.raw, blobs)
    assert show(config(manifest, raw)) == skopeo("inspect", "--config", f"dir:{layout}")


TEMPLATES = [
    "{{.Digest}} {{.Os}}/{{.Architecture}}",
    "{{.Created}} {{.Labels}} {{.Env}}",
    "{{range .Layers}}{{.}} {{end}}",
    "{{range $i, $l := .Layers}}{{$i}}:{{$l}};{{else}}none{{end}}{{range .RepoTags}}x{{else}}none{{end}}",
    "{{len .Env}} {{index .Env 1}} {{.Labels.z}} {{.Labels.none}}",
    '{{if eq .Os "linux"}}yes{{else}}no{{end}} {{printf "%10s|%-8v|%q" .Os .DockerVersion .Architecture}}',
    '{{.Created.Format "2006-01-02"}} {{html "<"}}{{urlquery .Labels}}',
    "{{with .Labels}}{{.a}}{{end}}{{slice .Architecture 1 3}}",
]


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("template", TEMPLATES)
def test_skopeo_makes_the_same_of_a_template(tmp_path: Path, template: str) -> None:
    """What every packaged skopeo knows of --format."""
    manifest, raw, blobs = read("oci")
    layout = write_dir(tmp_path / "i", manifest.raw, blobs)
    assert show(inspect(manifest, raw), template) == skopeo("inspect", "--format", template, f"dir:{layout}")


def test_the_document_names_repository_index_digest_and_tags() -> None:
    """docker:// images have a name and tags; the digest is the one the name stands for."""
    manifest, raw, _ = read("oci")
    index = Digest.of(index_of(media.OCI_INDEX, (manifest.raw, media.OCI_MANIFEST, {})))
    printed = show(inspect(manifest, raw, digest=index, name="quay.io/x/y", tags=["1", "2"]))
    found = json.loads(printed)
    assert (found["Name"], found["Digest"], found["RepoTags"]) == ("quay.io/x/y", index, ["1", "2"])
    assert list(found) == [
        "Name", "Digest", "RepoTags", "Created", "DockerVersion", "Labels", "Architecture", "Os", "Layers",
        "LayersData", "Env",
    ]  # fmt: skip
    assert json.loads(show(inspect(manifest, raw, tags=None)))["RepoTags"] is None


def test_what_an_image_does_not_say_is_null_or_zero() -> None:
    """OCI has no date: null; Docker's struct has a zero time."""
    raw, blobs = oci_image({"os": "linux"})
    assert json.loads(show(inspect(Manifest.parse(raw), blobs[0])))["Created"] is None
    raw, blobs = docker_image({"os": "linux"})
    assert json.loads(show(inspect(Manifest.parse(raw), blobs[0])))["Created"] == "0001-01-01T00:00:00Z"


def test_an_artifact_is_refused_in_skopeos_words() -> None:
    """There is no image to describe; --raw still works, it needs none of this."""
    raw, _ = oci_image(config={"mediaType": "x/y", "digest": Digest.of(b""), "size": 0}, artifactType="a/b")
    for ask in (inspect, config):
        with pytest.raises(Unsupported) as caught:
            ask(Manifest.parse(raw), b"{}")
        assert caught.value.message == 'unsupported image-specific operation on artifact with type "a/b"'


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"os": 1}', b'{"created": "x"}', b'{"config": []}', b'{"history": {}}'])
def test_a_broken_config_is_one_clear_error(raw: bytes) -> None:
    """A config of the wrong types is named, not shown as something else."""
    manifest, _, _ = read("oci")
    with pytest.raises(BadManifest):
        inspect(manifest, raw)


def test_a_config_that_spells_its_fields_otherwise_is_read_as_go_reads_it() -> None:
    """encoding/json matches names without regard to case."""
    manifest, _, _ = read("oci")
    found = json.loads(show(inspect(manifest, b'{"OS": "linux", "Config": {"env": ["A=1"], "Labels": null}}')))
    assert (found["Os"], found["Env"], found["Labels"]) == ("linux", ["A=1"], None)


def test_tags_are_listed_under_their_repository() -> None:
    """docker-archive has no repository."""
    assert tag_list("docker.io/library/x", ["1"]) == (
        '{\n    "Repository": "docker.io/library/x",\n    "Tags": [\n        "1"\n    ]\n}\n'
    )
    assert tag_list("", []) == '{\n    "Tags": []\n}\n'


def test_json_may_be_asked_for_in_three_ways() -> None:
    """json, {{json}} and {{json.}} are no templates; {{json .}} is one."""
    assert [is_json(text) for text in ("json", " {{ json }} ", "{{json.}}", "{{json .}}", "")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    manifest, raw, _ = read("oci")
    document = inspect(manifest, raw)
    assert (
        show(document, "{{json .}}")
        == json.dumps(json.loads(show(document)), ensure_ascii=False, separators=(",", ":")) + "\n"
    )
    with pytest.raises(TemplateError, match="skopeo inspect:1"):
        show(document, "{{")
