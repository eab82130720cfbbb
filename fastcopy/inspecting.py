"""What `inspect` and `list-tags` print: skopeo's documents, byte for byte.

Owns the shape of skopeo's inspect output and the choice between JSON and a template. Refuses to know where manifests
come from and where the text goes; `--raw` needs none of this, the bytes are the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from fastcopy import gojson, gostruct, imageconfig
from fastcopy.convert import artifact_message, schema2_config
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, Unsupported
from fastcopy.gostruct import Field, SliceOf, Struct, StructType
from fastcopy.manifest import Manifest

_LAYER: Final = StructType(
    "types.ImageInspectLayer",
    (
        Field("MIMEType", "MIMEType", "string"),
        Field("Digest", "Digest", "string"),
        Field("Size", "Size", "int"),
        Field("Annotations", "Annotations", "map"),
    ),
)
OUTPUT: Final = StructType(
    "inspect.Output",
    (
        Field("Name", "Name", "string", omit=True),
        Field("Tag", "Tag", "string", omit=True),
        Field("Digest", "Digest", "string"),
        Field("RepoTags", "RepoTags", "[]string"),
        Field("Created", "Created", "*time"),
        Field("DockerVersion", "DockerVersion", "string"),
        Field("Labels", "Labels", "map"),
        Field("Architecture", "Architecture", "string"),
        Field("Os", "Os", "string"),
        Field("Layers", "Layers", "[]string"),
        Field("LayersData", "LayersData", SliceOf(_LAYER)),
        Field("Env", "Env", "[]string"),
    ),
)
_TAGS: Final = StructType(
    "main.tagListOutput", (Field("Repository", "Repository", "string", omit=True), Field("Tags", "Tags", "[]string"))
)
#: skopeo takes these for "no template" (common's report package).
_JSON_FORMAT = re.compile(r"\s*(?:json|\{\{\s*json\.?\s*\}\})\s*")


def inspect(
    image: Manifest,
    config_raw: bytes | None,
    *,
    digest: Digest | None = None,
    name: str = "",
    tags: Sequence[str] | None = (),
) -> Struct:
    """skopeo's inspect document of an image (never an index) and its config.

    *digest* is that of the manifest the name stands for, an index's where one was chosen from; *name* the repository,
    empty for places without one; *tags* is None where the registry refuses to list them.
    Raises Unsupported for artifacts, BadManifest for a broken config.
    """
    found = _from_schema1(image) if image.kind == "schema1" else _from_config(image, config_raw)
    found |= {
        "Name": name,
        "Digest": str(digest or image.digest),
        "RepoTags": None if tags is None else list(tags),
        "Layers": [str(layer.digest) for layer in image.layers],
        "LayersData": [_layer(layer) for layer in image.layers],
    }
    return Struct(OUTPUT, {each.name: gostruct.zero(each.type) for each in OUTPUT.fields} | found)


def config(image: Manifest, config_raw: bytes | None) -> Struct:
    """`inspect --config`: the config as image-spec's struct. Raises as `inspect`."""
    if image.v1 is not None:
        # Nobody knows the diff IDs of schema 1 without reading its layers: skopeo prints empty ones.
        unknown = [""] * sum(not layer.empty for layer in image.v1.layers)
        return imageconfig.read_oci(schema2_config(image.v1, unknown))
    return imageconfig.read_oci(_config_of(image, config_raw))


def show(document: Struct, template: str = "") -> str:
    """The text to print: JSON with four spaces, or *template* (Go's text/template) applied. Raises TemplateError."""
    if not template or is_json(template):
        return gojson.dumps(gostruct.encode(document), indent=4) + "\n"
    from fastcopy import gotemplate

    return gotemplate.report(template, [document], name="skopeo inspect")


def tag_list(repository: str, tags: Sequence[str]) -> str:
    """`list-tags`' document; *repository* is empty for docker-archive."""
    return show(Struct(_TAGS, {"Repository": repository, "Tags": list(tags)}))


def is_json(template: str) -> bool:
    """Whether a --format means the default JSON."""
    return bool(_JSON_FORMAT.fullmatch(template))


def _layer(layer: Descriptor) -> Struct:
    annotations = None if layer.annotations is None else dict(layer.annotations)
    return Struct(
        _LAYER,
        {"MIMEType": layer.media_type, "Digest": str(layer.digest), "Size": layer.size, "Annotations": annotations},
    )


def _config_of(image: Manifest, raw: bytes | None) -> bytes:
    if not image.is_image:
        raise Unsupported(artifact_message(image))
    if raw is None:
        raise BadManifest("the image's config is missing")
    return raw


def _from_config(image: Manifest, raw: bytes | None) -> dict[str, Any]:
    raw = _config_of(image, raw)
    docker = imageconfig.read_docker(raw)
    if image.media_type.startswith("application/vnd.docker."):
        return _of_docker(docker)
    oci = imageconfig.read_oci(raw)
    return {
        "Created": oci["Created"],
        "DockerVersion": docker["DockerVersion"],
        "Labels": oci["Config"]["Labels"],
        "Architecture": oci.get("Architecture"),
        "Os": oci.get("OS"),
        "Env": oci["Config"]["Env"],
    }


def _from_schema1(image: Manifest) -> dict[str, Any]:
    assert image.v1 is not None
    top = gostruct.decode(imageconfig.DOCKER_V1_IMAGE, image.v1.top.compat)
    return {"Tag": image.v1.tag, **_of_docker(top)}


def _of_docker(found: Struct) -> dict[str, Any]:
    run = found["Config"]
    return {
        "Created": found["Created"],
        "DockerVersion": found["DockerVersion"],
        "Labels": run["Labels"] if run else None,
        "Architecture": found["Architecture"],
        "Os": found["OS"],
        "Env": run["Env"] if run else None,
    }
