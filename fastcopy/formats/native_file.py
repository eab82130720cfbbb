"""The shape of fastcopy's own configuration: msgspec types, from which the published JSON schema is made."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]
PatternText = Annotated[
    str,
    Meta(description="A glob (1.*), regex:EXPRESSION (RE2, unanchored), regex!:EXPRESSION or semver:CONSTRAINT"),
]
PlatformText = Annotated[str, Meta(pattern="^[^/]+/[^/]+(/[^/]+)?$", description="os/architecture[/variant]")]


class Secret(Struct, forbid_unknown_fields=True):
    """A value by reference: exactly one of an environment variable and a file (its text, stripped)."""

    env: str = ""
    file: str = ""


class RegistryFile(Struct, forbid_unknown_fields=True):
    """How a registry is reached; what is left out follows the command line."""

    username: str | Secret = ""
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None
    authfile: str = ""
    anonymous: bool = False
    tls_verify: bool | None = None
    cert_dir: Annotated[
        str | None, Meta(description="Directory of certificates; an empty text means the default search")
    ] = None


class RenameFile(Struct, forbid_unknown_fields=True):
    """Replace every match of an RE2 expression; \\\\1 is a group."""

    match: Text
    to: str
    field: Literal["tag", "path", "/path"] = "path"


class TargetFile(Struct, forbid_unknown_fields=True):
    """One destination."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            description="Image name or template; without tag it keeps the source's; a trailing / adds {path}",
        ),
    ]
    rename: list[RenameFile] = []
    references: Annotated[dict[str, Text] | None, Meta(description="Source reference -> destination tag")] = None
    access: RegistryFile | None = None


class RepositoriesFile(Struct, forbid_unknown_fields=True):
    """Which repositories of a registry; their names are listed from its catalog."""

    names: list[Text] = []
    include: list[PatternText] = []
    require: list[PatternText] = []
    exclude: list[PatternText] = []


class Choices(Struct, kw_only=True):
    """How images are copied; in `defaults` and in every entry."""

    to: Text | TargetFile | list[Text | TargetFile] | None = None
    platform: PlatformText | None = None
    platforms: list[PlatformText] | None = None
    all_platforms: bool | None = None
    referrers: bool | None = None
    referrer_types: list[Text] | None = None
    digest_tags: bool | None = None
    immutable: list[PatternText] | None = None
    prune: bool | None = None


class DefaultsFile(Choices, forbid_unknown_fields=True):
    """Choices for every entry that does not make them itself."""


class EntryFile(Choices, kw_only=True, rename={"from_": "from"}, forbid_unknown_fields=True):
    """One source: an image, a repository, a registry with `repositories`, or a local place."""

    from_: Annotated[
        str, Meta(min_length=1, description="host/repository[:tag|@digest], host[/prefix], or transport:…")
    ]
    tags: Annotated[list[Text], Meta(description="Tags and digests by name (1.0, sha256:…, 1.0@sha256:…)")] = []
    everything: bool | None = None
    include: list[PatternText] = []
    require: list[PatternText] = []
    exclude: list[PatternText] = []
    newest: Annotated[int, Meta(ge=0)] = 0
    newest_rule: Literal["fastcopy", "dregsy"] = "fastcopy"
    repositories: RepositoriesFile | None = None
    base: str = ""
    access: RegistryFile | None = None


class NativeFile(Struct, kw_only=True, forbid_unknown_fields=True):
    """fastcopy's sync configuration, version 1."""

    fastcopy: Literal[1] = 1
    defaults: DefaultsFile = msgspec.field(default_factory=DefaultsFile)
    registries: Annotated[
        dict[str, RegistryFile], Meta(description="By host[:port][/path]; the longest prefix of a repository counts")
    ] = {}
    images: list[EntryFile] = []


def schema() -> dict[str, Any]:
    """The published JSON schema (docs/schema/fastcopy-sync.schema.json)."""
    made = msgspec.json.schema(NativeFile)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fastcopy sync configuration", **made}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
