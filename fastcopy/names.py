"""Image names: `transport:reference`, parsed once into frozen values, exactly as skopeo parses them.

Owns the grammars and their error texts. Refuses to know whether a path exists, what a registry holds, or how a name
is rewritten by registries.conf. Sources: distribution/reference (grammar, Docker's normalisation), skopeo(1),
containers-transports(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from fastcopy.descriptor import Digest, is_digest
from fastcopy.errors import BadManifest, BadName, Unsupported

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
UNKNOWN_DIGEST: Final = "@@unknown-digest@@"
#: Longest domain + "/" + path (distribution/reference NameTotalLengthMax).
NAME_LIMIT: Final = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
#: A bracketed IPv6 address is distribution/reference's; skopeo's older copy of the grammar lacks it.
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PART}(?:/{_PART})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_TAG_ONLY = re.compile(_TAG)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_MAYBE_ID = re.compile(r"[a-f0-9]{3,64}")  # containers/image takes no shorter abbreviation of an ID
_OCI_PART = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_OCI_NAME = re.compile(rf"{_OCI_PART}(?:/{_OCI_PART})*")
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class DockerRef:
    """A repository at a registry, with at most one of tag and digest where it names an image (docker://)."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None
    original: str = ""
    unknown_digest: bool = False  #: `@@unknown-digest@@`: a destination pushed by digest, under no tag

    transport = "docker"

    @property
    def registry(self) -> str:
        """``host[:port]`` as written, ``docker.io`` when none was."""
        return self.domain

    @property
    def repository(self) -> str:
        """The path inside the registry, ``library/busybox``."""
        return self.path

    @property
    def name(self) -> str:
        """``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def reference(self) -> str:
        """What stands behind ``/manifests/``: the digest if there is one, else the tag."""
        return self.digest or self.tag

    @property
    def familiar(self) -> str:
        """Docker's short spelling, ``busybox:latest``; skopeo's messages use it."""
        short = self.name
        if self.domain == DEFAULT_DOMAIN:
            head, _, rest = self.path.partition("/")
            short = rest if head == "library" and rest and "/" not in rest else self.path
        return short + self._suffix()

    def with_tag(self, tag: str) -> DockerRef:
        """The same repository under *tag*; raises BadName when it is no tag."""
        if not is_tag(tag):
            raise BadName("invalid tag format")
        return self._pointing(tag=tag)

    def with_digest(self, digest: Digest) -> DockerRef:
        """The same repository by *digest*."""
        return self._pointing(digest=digest)

    def _pointing(self, tag: str = "", digest: Digest | None = None) -> DockerRef:
        return replace(self, tag=tag, digest=digest, original="", unknown_digest=False)

    def _suffix(self) -> str:
        if self.unknown_digest:
            return UNKNOWN_DIGEST
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


@dataclass(frozen=True, slots=True)
class DirRef:
    """``dir:PATH``: one image, flat."""

    path: str
    original: str = ""

    transport = "dir"

    def __str__(self) -> str:
        return f"dir:{self.path}"


@dataclass(frozen=True, slots=True)
class OciRef:
    """``oci:PATH[:NAME | :@INDEX | @DIGEST]``; *index* is -1 when not given."""

    path: str
    name: str = ""
    index: int = -1
    digest: Digest | None = None
    original: str = ""

    transport = "oci"

    def __str__(self) -> str:
        if self.digest:
            return f"oci:{self.path}@{self.digest}"
        return f"oci:{self.path}{_tail(self.name, self.index)}"


@dataclass(frozen=True, slots=True)
class ArchiveRef:
    """``oci-archive:PATH[:NAME | :@INDEX]`` or ``docker-archive:PATH[:DOCKER-REF | :@INDEX]``.

    *name* is the OCI reference name, or the canonical ``domain/path:tag``; *index* is -1 when not given.
    """

    kind: Literal["oci-archive", "docker-archive"]
    path: str
    name: str = ""
    index: int = -1
    original: str = ""

    @property
    def transport(self) -> str:
        """The same as `kind`."""
        return self.kind

    @property
    def docker(self) -> DockerRef | None:
        """The name as a docker reference (docker-archive only)."""
        return parse_docker(self.name) if self.name and self.kind == "docker-archive" else None

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}{_tail(self.name, self.index)}"


@dataclass(frozen=True, slots=True)
class DaemonRef:
    """``docker-daemon:NAME:TAG``, ``NAME@DIGEST`` or ``sha256:ID``: exactly one of *named* and *image_id*."""

    named: DockerRef | None = None
    image_id: Digest | None = None
    original: str = ""

    transport = "docker-daemon"

    def __str__(self) -> str:
        return f"docker-daemon:{self.image_id or (self.named and self.named.familiar)}"


@dataclass(frozen=True, slots=True)
class StorageRef:
    """``containers-storage:[[DRIVER@]GRAPHROOT[+RUNROOT][:OPTIONS]]NAME``, ``@IMAGEID`` or ``NAME@IMAGEID``.

    *text* is what follows the bracket: a short ID can only be told from a name by asking the storage.
    """

    named: DockerRef | None = None
    image_id: str = ""
    driver: str = ""
    graph_root: str = ""
    run_root: str = ""
    options: tuple[str, ...] = ()
    text: str = ""
    original: str = ""

    transport = "containers-storage"

    def __str__(self) -> str:
        return f"containers-storage:{self.original or self.text}"


@dataclass(frozen=True, slots=True)
class TarballRef:
    """``tarball:FILE[:FILE...]``: each file is a layer; ``-`` is standard input."""

    paths: tuple[str, ...]
    original: str = ""

    transport = "tarball"

    def __str__(self) -> str:
        return "tarball:" + ":".join(self.paths)


Ref: TypeAlias = DockerRef | DirRef | OciRef | ArchiveRef | DaemonRef | StorageRef | TarballRef


def parse(text: str) -> Ref:
    """Parse ``transport:reference``; raises BadName, or Unsupported for transports fastcopy refuses."""
    transport, colon, rest = text.partition(":")
    if not colon:
        raise BadName(f'Invalid image name "{text}", expected colon-separated transport:reference')
    if transport in REFUSED:
        raise Unsupported(f"The transport {transport}: is not supported: {REFUSED[transport]}")
    match transport:
        case "docker":
            return _docker(rest)
        case "dir":
            return DirRef(rest, original=rest)
        case "oci":
            return _oci(rest)
        case "oci-archive":
            path, name, index = _oci_elements(rest)
            return ArchiveRef("oci-archive", path, name, index, original=rest)
        case "docker-archive":
            return _docker_archive(rest)
        case "docker-daemon":
            return _daemon(rest)
        case "containers-storage":
            return _storage(rest)
        case "tarball":
            return TarballRef(tuple(rest.split(":")), original=rest)
    raise BadName(f'Invalid image name "{text}", unknown transport "{transport}"')


#: Transports of containers/image that are recognised, with the way out for each.
REFUSED: Final = {
    "sif": "convert it with `apptainer build --sandbox` or push it with `apptainer push`, then copy the result",
    "atomic": "use docker:// with the registry's own address",
    "ostree": "the transport was removed from containers/image; use `ostree container` and docker:// or oci:",
}


def parse_docker(text: str) -> DockerRef:
    """Parse a docker name without transport and normalise it as Docker does; no tag is added.

    ``busybox`` becomes ``docker.io/library/busybox``. A tag together with a digest is accepted here.
    Raises BadName with the texts of distribution/reference.
    """
    if _IDENTIFIER.fullmatch(text):
        raise BadName(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    path = remainder.partition(":")[0]
    if path.lower() != path:
        raise BadName("invalid reference format: repository name must be lowercase")
    found = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if not found:
        raise BadName("invalid reference format")
    if len(f"{found['domain'] or ''}/{found['path']}") > NAME_LIMIT:
        raise BadName(f"repository name must not be more than {NAME_LIMIT} characters")
    return DockerRef(found["domain"] or "", found["path"], found["tag"] or "", _digest(found["digest"]), text)


def is_tag(text: str) -> bool:
    """Whether *text* follows the tag grammar (distribution-spec, `<reference>` as a tag)."""
    return bool(_TAG_ONLY.fullmatch(text))


def with_default_tag(ref: DockerRef) -> DockerRef:
    """*ref* with the tag ``latest`` when it has neither tag nor digest."""
    return ref if ref.reference or ref.unknown_digest else replace(ref, tag=DEFAULT_TAG)


def image_name(ref: Ref) -> str:
    """``transport:reference`` as skopeo's messages spell it (``docker://busybox:latest``)."""
    return f"docker://{ref.familiar}" if isinstance(ref, DockerRef) else str(ref)


def repository_of(ref: Ref) -> str:
    """The docker name of what *ref* names, without tag and digest: skopeo's ``Name``; "" when it has none."""
    named = ref if isinstance(ref, DockerRef) else getattr(ref, "named", None) or getattr(ref, "docker", None)
    return named.name if isinstance(named, DockerRef) else ""


def _tail(name: str, index: int) -> str:
    if index >= 0:
        return f":@{index}"
    return f":{name}" if name else ""


def _split_domain(text: str) -> tuple[str, str]:
    """Docker's rule for what is a host: it has a dot or a colon, or is localhost."""
    head, slash, rest = text.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        domain, remainder = head, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = "library/" + remainder
    return domain, remainder


def _digest(text: str | None) -> Digest | None:
    """The digest of a reference, with go-digest's texts for those that cannot be used."""
    if not text:
        return None
    try:
        return Digest(text)
    except BadManifest:
        algorithm, _, encoded = text.partition(":")
        if algorithm not in ("sha256", "sha512"):
            raise BadName("unsupported digest algorithm") from None
        wrong = "format" if encoded.lower() != encoded else "length"
        raise BadName(f"invalid checksum digest {wrong}") from None


def _docker(rest: str) -> DockerRef:
    if not rest.startswith("//"):
        raise BadName(f"docker: image reference {rest} does not start with //")
    text = rest[2:]
    bare = text.removesuffix(UNKNOWN_DIGEST)
    ref = replace(parse_docker(bare), original=text)
    if bare != text:
        if ref.reference:
            raise BadName(
                f'docker: image reference "{ref}" has unknown digest set but it contains either a tag or digest'
            )
        return replace(ref, unknown_digest=True)
    if ref.tag and ref.digest:
        raise BadName("Docker references with both a tag and digest are currently not supported")
    return with_default_tag(ref)


def _index(text: str) -> int:
    """The number behind ``@`` in ``PATH:@N``."""
    if not _INTEGER.fullmatch(text):
        raise BadName(f'Invalid source index @{text}: not an integer: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise BadName(f"Invalid source index @{int(text)}: must not be negative")
    return int(text)


def _oci(rest: str) -> OciRef:
    """`PATH@DIGEST` is an addition to containers/image, where it would be a path that ends with ``@sha256``."""
    path, at, digest = rest.rpartition("@")
    if at and path and is_digest(digest):
        return OciRef(path, digest=Digest(digest), original=rest)
    path, name, index = _oci_elements(rest)
    return OciRef(path, name, index, original=rest)


def _oci_elements(rest: str) -> tuple[str, str, int]:
    path, _, name = rest.partition(":")
    if name.startswith("@"):
        return path, "", _index(name[1:])
    if name and not _OCI_NAME.fullmatch(name):
        raise BadName(f"Invalid image {name}")
    return path, name, -1


def _docker_archive(rest: str) -> ArchiveRef:
    if not rest:
        raise BadName(f"docker-archive reference {rest} isn't of the form <path>[:<reference>]")
    path, colon, tail = rest.partition(":")
    if not colon:
        return ArchiveRef("docker-archive", path, original=rest)
    if tail.startswith("@"):
        return ArchiveRef("docker-archive", path, index=_index(tail[1:]), original=rest)
    try:
        ref = with_default_tag(parse_docker(tail))
    except BadName as problem:
        raise BadName(f"docker-archive parsing reference: {problem.message}") from None
    if not ref.tag:
        raise BadName(f"reference does not include a tag: {ref}")
    if ref.digest:
        raise BadName(f"docker-archive doesn't support digest references: {ref}")
    return ArchiveRef("docker-archive", path, str(ref), original=rest)


def _daemon(rest: str) -> DaemonRef:
    if rest.startswith("sha256:") and is_digest(rest):
        return DaemonRef(image_id=Digest(rest), original=rest)
    ref = parse_docker(rest)
    if ref.domain == DEFAULT_DOMAIN and ref.path == "library/sha256":
        raise BadName(
            f"Invalid docker-daemon: reference {rest}: The sha256 repository name is reserved for "
            "(non-shortened) digest references"
        )
    if not ref.reference:
        raise BadName(f"docker-daemon: reference {ref.familiar} has neither a tag nor a digest")
    if ref.tag and ref.digest:
        raise BadName("docker-daemon: references with both a tag and digest are currently not supported")
    return DaemonRef(named=ref, original=rest)


def _storage(rest: str) -> StorageRef:
    base, text = _storage_place(rest)
    if not text:
        raise BadName('"" is an empty reference: invalid reference')
    name, at, last = text.rpartition("@")
    if at and not last:
        raise BadName(f'empty trailing digest or ID in "{text}": invalid reference')
    image_id = ""
    if at and not is_digest(last):
        if not _MAYBE_ID.fullmatch(last):  # an abbreviated one is the storage's to know
            raise BadName(f'"{last}" does not look like an image ID or digest: invalid reference')
        text, image_id = name, last
    return replace(base, named=_storage_name(text), image_id=image_id)


def _storage_name(text: str) -> DockerRef | None:
    """The name in a storage reference; None for none, and for a bare 64-digit ID, which is no docker name."""
    if not text or _IDENTIFIER.fullmatch(text):
        return None
    try:
        return with_default_tag(parse_docker(text))
    except BadName as problem:
        raise BadName(f'parsing named reference "{text}": {problem.message}') from None


def _storage_place(rest: str) -> tuple[StorageRef, str]:
    """Split ``[driver@root+run:options]`` from what follows it."""
    if not rest.startswith("["):
        return StorageRef(text=rest, original=rest), rest
    inside, bracket, text = rest[1:].partition("]")
    driver, at, place = inside.partition("@") if "@" in inside else ("", "", inside)
    if not bracket or not place or (at and not driver):
        raise BadName("invalid reference")
    place, _, options = place.partition(":")
    root, _, run = place.partition("+")
    if any(path and not path.startswith("/") for path in (root, run)):
        raise BadName("path name is not absolute")
    chosen = tuple(options.split(",")) if options else ()
    return StorageRef(None, "", driver, root, run, chosen, text, rest), text
