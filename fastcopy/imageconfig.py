"""Image configurations: the OCI and Docker shapes, and the OCI document made from either.

Owns the field tables (order, names, omitempty) of image-spec config.md and of Docker's image config, which decide the
bytes of a converted config and of `inspect --config`. Refuses to know manifests.
"""

from __future__ import annotations

from typing import Any, Final

from fastcopy import gojson, gostruct, strictjson
from fastcopy.descriptor import Digest, Platform
from fastcopy.errors import BadManifest
from fastcopy.gostruct import Field, PointerTo, SliceOf, Struct, StructType

#: Limit of a config that is parsed, in bytes (containers/image's).
MAX_CONFIG: Final = 4 << 20

PLATFORM: Final = StructType(
    "v1.Platform",
    (
        Field("Architecture", "architecture", "string"),
        Field("OS", "os", "string"),
        Field("OSVersion", "os.version", "string", omit=True),
        Field("OSFeatures", "os.features", "[]string", omit=True),
        Field("Variant", "variant", "string", omit=True),
    ),
)
_OCI_RUN: Final = StructType(
    "v1.ImageConfig",
    (
        Field("User", "User", "string", omit=True),
        Field("ExposedPorts", "ExposedPorts", "set", omit=True),
        Field("Env", "Env", "[]string", omit=True),
        Field("Entrypoint", "Entrypoint", "[]string", omit=True),
        Field("Cmd", "Cmd", "[]string", omit=True),
        Field("Volumes", "Volumes", "set", omit=True),
        Field("WorkingDir", "WorkingDir", "string", omit=True),
        Field("Labels", "Labels", "map", omit=True),
        Field("StopSignal", "StopSignal", "string", omit=True),
        Field("ArgsEscaped", "ArgsEscaped", "bool", omit=True),
    ),
)
_OCI_ROOTFS: Final = StructType(
    "v1.RootFS", (Field("Type", "type", "string"), Field("DiffIDs", "diff_ids", "[]string"))
)
_OCI_HISTORY: Final = StructType(
    "v1.History",
    (
        Field("Created", "created", "*time", omit=True),
        Field("CreatedBy", "created_by", "string", omit=True),
        Field("Author", "author", "string", omit=True),
        Field("Comment", "comment", "string", omit=True),
        Field("EmptyLayer", "empty_layer", "bool", omit=True),
    ),
)
OCI_IMAGE: Final = StructType(
    "v1.Image",
    (
        Field("Created", "created", "*time", omit=True),
        Field("Author", "author", "string", omit=True),
        Field("Platform", "", PLATFORM, embedded=True),
        Field("Config", "config", _OCI_RUN, omit=True),
        Field("RootFS", "rootfs", _OCI_ROOTFS),
        Field("History", "history", SliceOf(_OCI_HISTORY), omit=True),
    ),
)

_HEALTH: Final = StructType(
    "manifest.Schema2HealthConfig",
    (
        Field("Test", "Test", "[]string", omit=True),
        Field("StartPeriod", "StartPeriod", "int", omit=True),
        Field("StartInterval", "StartInterval", "int", omit=True),
        Field("Interval", "Interval", "int", omit=True),
        Field("Timeout", "Timeout", "int", omit=True),
        Field("Retries", "Retries", "int", omit=True),
    ),
)
_DOCKER_RUN: Final = StructType(
    "manifest.Schema2Config",
    (
        Field("Hostname", "Hostname", "string"),
        Field("Domainname", "Domainname", "string"),
        Field("User", "User", "string"),
        Field("AttachStdin", "AttachStdin", "bool"),
        Field("AttachStdout", "AttachStdout", "bool"),
        Field("AttachStderr", "AttachStderr", "bool"),
        Field("ExposedPorts", "ExposedPorts", "set", omit=True),
        Field("Tty", "Tty", "bool"),
        Field("OpenStdin", "OpenStdin", "bool"),
        Field("StdinOnce", "StdinOnce", "bool"),
        Field("Env", "Env", "[]string"),
        Field("Cmd", "Cmd", "strslice"),
        Field("Healthcheck", "Healthcheck", PointerTo(_HEALTH), omit=True),
        Field("ArgsEscaped", "ArgsEscaped", "bool", omit=True),
        Field("Image", "Image", "string"),
        Field("Volumes", "Volumes", "set"),
        Field("WorkingDir", "WorkingDir", "string"),
        Field("Entrypoint", "Entrypoint", "strslice"),
        Field("NetworkDisabled", "NetworkDisabled", "bool", omit=True),
        Field("MacAddress", "MacAddress", "string", omit=True),
        Field("OnBuild", "OnBuild", "[]string"),
        Field("Labels", "Labels", "map"),
        Field("StopSignal", "StopSignal", "string", omit=True),
        Field("StopTimeout", "StopTimeout", "*int", omit=True),
        Field("Shell", "Shell", "strslice", omit=True),
    ),
)
#: Docker's image config before schema 2: what a v1Compatibility string holds.
DOCKER_V1_IMAGE: Final = StructType(
    "manifest.Schema2V1Image",
    (
        Field("ID", "id", "string", omit=True),
        Field("Parent", "parent", "string", omit=True),
        Field("Comment", "comment", "string", omit=True),
        Field("Created", "created", "time"),
        Field("Container", "container", "string", omit=True),
        Field("ContainerConfig", "container_config", _DOCKER_RUN, omit=True),
        Field("DockerVersion", "docker_version", "string", omit=True),
        Field("Author", "author", "string", omit=True),
        Field("Config", "config", PointerTo(_DOCKER_RUN), omit=True),
        Field("Architecture", "architecture", "string", omit=True),
        Field("Variant", "variant", "string", omit=True),
        Field("OS", "os", "string", omit=True),
        Field("Size", "Size", "int", omit=True),
    ),
)
_DOCKER_HISTORY: Final = StructType(
    "manifest.Schema2History",
    (
        Field("Created", "created", "time"),
        Field("Author", "author", "string", omit=True),
        Field("CreatedBy", "created_by", "string", omit=True),
        Field("Comment", "comment", "string", omit=True),
        Field("EmptyLayer", "empty_layer", "bool", omit=True),
    ),
)
_DOCKER_ROOTFS: Final = StructType(
    "manifest.Schema2RootFS", (Field("Type", "type", "string"), Field("DiffIDs", "diff_ids", "[]string", omit=True))
)
DOCKER_IMAGE: Final = StructType(
    "manifest.Schema2Image",
    (
        *DOCKER_V1_IMAGE.fields,
        Field("RootFS", "rootfs", PointerTo(_DOCKER_ROOTFS), omit=True),
        Field("History", "history", SliceOf(_DOCKER_HISTORY), omit=True),
        Field("OSVersion", "os.version", "string", omit=True),
        Field("OSFeatures", "os.features", "[]string", omit=True),
    ),
)


def load(raw: bytes) -> dict[str, Any]:
    """Decode a config strictly; raises BadManifest."""
    return strictjson.load_object(raw, limit=MAX_CONFIG, what="image config")


def read_oci(raw: bytes) -> Struct:
    """The config as image-spec's struct: what it does not know is dropped. Raises BadManifest."""
    return gostruct.decode(OCI_IMAGE, load(raw))


def read_docker(raw: bytes) -> Struct:
    """The config as Docker's struct. Raises BadManifest."""
    return gostruct.decode(DOCKER_IMAGE, load(raw))


def oci_bytes(raw: bytes) -> bytes:
    """The OCI config that containers/image makes of a Docker config, byte for byte."""
    return gojson.dumps(gostruct.encode(read_oci(raw))).encode()


def diff_ids(raw: bytes) -> tuple[Digest, ...]:
    """The uncompressed layers' digests, base first; raises BadManifest."""
    rootfs = load(raw).get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadManifest("image config: rootfs.diff_ids is not a list of digests")
    return tuple(Digest(each) for each in found)


def platform_of(raw: bytes) -> Platform:
    """The platform the config declares; empty strings where it declares none."""
    image = read_oci(raw)
    return Platform(image.get("OS"), image.get("Architecture"), image.get("Variant"))
