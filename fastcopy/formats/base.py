"""What every format shares: the words of the command line it is read with, what it yields, prefixes of registries."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fastcopy.errors import BadConfig, BadName, UsageError
from fastcopy.formats.document import Document, read_json, read_toml, read_yaml
from fastcopy.jobs import Access, Rule
from fastcopy.names import parse_docker
from fastcopy.naming import names_registry

Format = Literal["native", "skopeo", "list", "image-syncer", "regsync", "dregsy", "mapping"]
FORMATS: Final[tuple[Format, ...]] = ("native", "skopeo", "list", "image-syncer", "regsync", "dregsy", "mapping")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_TRANSPORTS: Final = ("dir", "oci", "oci-archive", "docker-archive", "docker-daemon", "containers-storage", "tarball")


def no_file(path: str) -> str:
    """The reader of a caller that allows no further files."""
    raise BadConfig(f"{path}: files may not be read here")


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line and the surroundings add to a file.

    *source* (--from) and *destination* (--to, or skopeo sync's second argument) are prefixes ``host[/path]``;
    *read* returns the text of another file the configuration names, or raises BadConfig.
    """

    source: str = ""
    destination: str = ""
    transport: Literal["docker", "dir", "oci"] = "docker"  #: of *destination*: skopeo's --dest
    rename: str = ""
    scoped: bool = False
    append_suffix: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    read: Callable[[str], str] = field(default=no_file, hash=False)
    auth: str = ""  #: image-syncer's second file, by path
    platforms: tuple[str, ...] = ()  #: image-syncer's --os and --arch, as os/arch


@dataclass(frozen=True, slots=True)
class Loaded:
    """The rules of a file, in its order, and what its reader has to say.

    *warnings* are remarks; *problems* are entries that were left out, as skopeo leaves them out, where a format's own
    tool goes on without them. Every text begins with file, line and column.
    """

    rules: tuple[Rule, ...]
    format: Format
    name: str
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)


def local_transport(name: str) -> str:
    """The transport of an image name that is no registry's, else the empty string."""
    transport, colon, _ = name.partition(":")
    return transport if colon and transport in _TRANSPORTS else ""


def registry_prefix(text: str, flag: str) -> str:
    """``host[:port][/path]`` without transport and trailing slash; raises UsageError unless it begins with a registry.

    Docker reads ``harbor-a/proj`` as a repository of Docker Hub. A migration that silently went there would be worse
    than asking, so such a prefix must be written with its host in full.
    """
    bare = text.removeprefix("docker://").rstrip("/")
    head, _, path = bare.partition("/")
    if not names_registry(f"{head}/"):
        raise UsageError(
            f'{flag} {text}: "{head}" names no registry (it has neither dot nor port)',
            hint=f"write {head}:443/{path or '…'}, or docker.io/{bare} for Docker Hub",
        )
    try:
        parse_docker(f"{bare}/x")
    except BadName as problem:
        raise UsageError(f"{flag} {text}: {problem.message}") from None
    return bare


def access_for(table: Mapping[str, Access], name: str) -> Access:
    """The entry of *table* (``host`` or ``host/path``) with the longest prefix of *name* (``host/path``)."""
    prefix = name
    while prefix:
        if prefix in table:
            return table[prefix]
        prefix = prefix.rpartition("/")[0]
    return Access()


def read_document(text: str, name: str) -> Document:
    """YAML, JSON or TOML, by the name's suffix, else by the first sign; raises BadConfig."""
    lowered = name.lower()
    if lowered.endswith(".toml"):
        return read_toml(text, name)
    if lowered.endswith(".json") or text.lstrip().startswith("{"):
        return read_json(text, name)
    return read_yaml(text, name)


def expand_environment(text: str, environment: Mapping[str, str]) -> str:
    """``$NAME`` and ``${NAME}`` replaced, as Go's `os.ExpandEnv`; a name that is not set raises UsageError.

    The message does not repeat the name: it may be a piece of a password.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in environment:
            raise UsageError("names an environment variable that is not set")
        return environment[name]

    return _VARIABLE.sub(value, text)


def resolve(path: str, beside: str) -> str:
    """*path* as seen from the file *beside* that names it."""
    return posixpath.join(posixpath.dirname(beside), path) if beside not in ("", "-") else path
