"""``inspect``, ``list-tags`` and ``manifest-digest``: commands whose stdout is the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastcopy.cli.call import Call
from fastcopy.cli.govalues import quote
from fastcopy.cli.names import parse
from fastcopy.errors import BadManifest, BadName, FastcopyError, Unsupported, UsageError

if TYPE_CHECKING:
    from fastcopy.api import Inspected

_TAGGED = ("docker", "docker-archive")


async def inspect(call: Call) -> int:
    """Print what an image is: JSON, a template's output, the configuration, or the manifest byte by byte."""
    from fastcopy.api import inspect_async
    from fastcopy.names import image_name

    (image,) = call.arguments(1, "Exactly one argument expected")
    raw, config = bool(call.parsed.get("raw")), bool(call.parsed.get("config"))
    if raw and call.parsed.get("format"):
        raise UsageError("raw output does not support format option")
    algorithm = _algorithm(call)
    call.prefix = f"Error parsing image name {quote(image)}: "
    call.sides["source"] = image_name(parse(image, call.prefix.removesuffix(": ")))
    options = call.options()
    wants_tags = not (raw or config or call.parsed.get("no-tags"))
    found = await inspect_async(image, options, tags=wants_tags, raw=raw and not config, trace=call.trace)
    call.prefix = ""
    if raw:
        call.streams.write_bytes((found.config or b"") if config else found.top.raw)
    else:
        call.streams.write(_shown(found, call.parsed.get("format", ""), algorithm, config=config))
    return 0


def _shown(found: Inspected, template: str, algorithm: str, *, config: bool) -> str:
    from fastcopy import inspecting
    from fastcopy.descriptor import Digest

    if config:
        return inspecting.show(inspecting.config(found.manifest, found.config), template)
    digest = found.top.digest if algorithm == "sha256" else Digest.of(found.top.raw, algorithm)
    tags = found.tags or ()
    document = inspecting.inspect(found.manifest, found.config, digest=digest, name=found.name, tags=tags)
    return inspecting.show(document, template)


def _algorithm(call: Call) -> str:
    name = str(call.parsed.get("manifest-digest", "sha256"))
    if name not in ("sha256", "sha512"):
        raise UsageError(f"unsupported digest algorithm {quote(name)}: sha256 or sha512 expected")
    return name


async def list_tags(call: Call) -> int:
    """Print the tags of a repository as JSON."""
    from fastcopy import inspecting
    from fastcopy.api import list_tags_async

    (repository,) = call.arguments(1, "Exactly one non-option argument expected")
    check_repository(repository)
    options = call.options()
    call.prefix = "Error listing repository tags: "
    found = await list_tags_async(repository, options, trace=call.trace)
    call.streams.write(inspecting.tag_list(found.repository, found.tags))
    return 0


def check_repository(text: str) -> None:
    """Raise UsageError unless *text* names something that has tags."""
    from fastcopy.names import REFUSED, parse_docker
    from fastcopy.names import parse as parse_name

    transport, colon, rest = text.partition(":")
    known = ("containers-storage", "dir", "docker", "docker-archive", "docker-daemon", "oci", "oci-archive", "tarball")
    if not colon or transport not in (*known, *REFUSED):
        raise UsageError(f"Invalid {quote(text)}: does not specify a transport")
    if transport not in _TAGGED:
        supported = ", ".join(_TAGGED)
        raise Unsupported(f"Unsupported transport '{transport}' for tag listing. Only supported: {supported}")
    if transport == "docker" and not rest.startswith("//"):
        raise UsageError(f"docker: image reference {text} does not start with docker://")
    try:
        parse_name(text)
        tagged = transport == "docker" and parse_docker(rest.removeprefix("//")).reference
    except BadName as error:
        raise UsageError(error.message) from None
    if tagged:
        raise UsageError("No tag or digest allowed in reference")


def manifest_digest(call: Call) -> int:
    """Print the digest of a manifest in a file."""
    (name,) = call.arguments(1, f"Usage: {call.program} manifest-digest manifest")
    try:
        raw = Path(name).read_bytes()
    except OSError as error:
        verb = "read" if isinstance(error, IsADirectoryError) else "open"
        raise FastcopyError(f"Error reading manifest from {name}: {verb} {name}: {_words(error)}") from None
    call.streams.print(digest_of(raw))
    return 0


def digest_of(raw: bytes) -> str:
    """The digest a registry would know *raw* by: of the payload for a signed schema 1 manifest, else of every byte.

    Raises FastcopyError when the signatures of a schema 1 manifest cannot be read.
    """
    from fastcopy import schema1, strictjson
    from fastcopy.descriptor import Digest
    from fastcopy.manifest import MAX_MANIFEST

    try:
        document = strictjson.load_object(raw, limit=MAX_MANIFEST, what="manifest")
    except BadManifest:
        return Digest.of(raw)  # as skopeo: the digest of any file may be asked for
    if document.get("schemaVersion") != 1 or not document.get("signatures"):
        return Digest.of(raw)
    try:
        return Digest.of(schema1.payload(raw, document))
    except BadManifest as error:
        raise FastcopyError(f"Error computing digest: {error.message}") from None


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
