"""How a source is named at its destination: templates, renames, and skopeo sync's rule. Pure text to text.

A template is an image name with placeholders in braces:

  {registry}    host[:port] of the source            {name}       last component of the repository
  {host}        the same, fit to be a path component  {namespace}  what stands before the last component
  {repository}  the repository, without the host     {path}       the repository below the rule's base (--from)
  {tag} {digest} {hex}   tag, digest, first 12 hex digits of the digest
  {reference}   ":tag", or "@digest" when there is no tag

A docker:// template that names neither tag nor digest gets {reference} appended: the copy keeps its tag. ``{{`` and
``}}`` are literal braces. An empty component (``{namespace}`` of ``busybox``) takes its slash with it.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from fastcopy.errors import BadName, UsageError
from fastcopy.names import DEFAULT_DOMAIN, DockerRef
from fastcopy.tags.pattern import compile_re2
from fastcopy.tags.selection import Name

PLACEHOLDERS: Final = frozenset(
    {"registry", "host", "repository", "name", "namespace", "path", "tag", "digest", "hex", "reference"}
)
_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z]*)\}|[{}]")
_POINTS: Final = frozenset({"tag", "digest", "hex", "reference"})
_GROUP = re.compile(r"\\(?:([0-9]{1,2})|g<([0-9]{1,2})>|\\|.|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rename:
    """Replace every match of an RE2 expression; in *to*, ``\\1`` or ``\\g<1>`` is a group and ``\\\\`` a backslash.

    *field* is the tag, the path, or ``/path``: the path with a slash in front, as dregsy's expressions see it.
    Raises UsageError for a bad expression, or a group it does not have.
    """

    field: Literal["tag", "path", "/path"]
    match: str
    to: str

    def __post_init__(self) -> None:
        self._pieces()

    def apply(self, text: str) -> str:
        """*text* with the matches replaced."""
        pieces = self._pieces()
        subject = f"/{text}" if self.field == "/path" else text
        done = compile_re2(self.match).sub(
            lambda found: "".join(one if isinstance(one, str) else found.group(one) or "" for one in pieces), subject
        )
        return str(done).lstrip("/") if self.field == "/path" else str(done)

    def _pieces(self) -> tuple[str | int, ...]:
        return _replacement(self.to, int(compile_re2(self.match).groups))


@lru_cache(maxsize=1024)
def _replacement(text: str, groups: int) -> tuple[str | int, ...]:
    """Literal texts and group numbers of a replacement."""
    found: list[str | int] = []
    position = 0
    for match in _GROUP.finditer(text):
        found.append(text[position : match.start()])
        position = match.end()
        number = match[1] or match[2]
        if match[0] != r"\\" and (number is None or int(number) > groups):
            raise UsageError(f"{match[0]} in the replacement {text!r} is no group: the expression has {groups}")
        found.append("\\" if number is None else int(number))
    return (*found, text[position:])


@lru_cache(maxsize=4096)
def tokens(template: str) -> tuple[tuple[bool, str], ...]:
    """Split into (is a placeholder, text) pairs; raises UsageError for a brace that is no placeholder."""
    found: list[tuple[bool, str]] = []
    position = 0
    for match in _TOKEN.finditer(template):
        found.append((False, template[position : match.start()]))
        position = match.end()
        if match[0] in ("{{", "}}"):
            found.append((False, match[0][0]))
        elif match[1] in PLACEHOLDERS:
            found.append((True, match[1]))
        else:
            raise UsageError(f"unknown placeholder {match[0]} in {template!r}", hint="one of " + _known())
    found.append((False, template[position:]))
    return tuple(pair for pair in found if pair[1])


def _known() -> str:
    return " ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))


def literal(text: str) -> str:
    """*text* as a template that yields it."""
    return text.replace("{", "{{").replace("}", "}}")


def completed(template: str) -> str:
    """*template* with {reference} appended where it is a docker:// name without tag or digest."""
    if not template.startswith("docker://"):
        return template
    pairs = tokens(template)
    plain = "".join("x" if is_placeholder else text for is_placeholder, text in pairs).removeprefix("docker://")
    _, slash, last = plain.rpartition("/")
    pointed = any(is_placeholder and text in _POINTS for is_placeholder, text in pairs)
    return template if pointed or (slash and not {":", "@"}.isdisjoint(last)) else template.rstrip("/") + "{reference}"


def fixed_prefix(template: str) -> str:
    """``host/path`` of a template up to its first placeholder: what logins are looked up by."""
    fixed = ""
    for is_placeholder, text in tokens(template.removeprefix("docker://")):
        if is_placeholder:
            break
        fixed += text
    head, slash, last = fixed.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}".rstrip("/") if slash else fixed


def values(source: DockerRef, name: Name, *, base: str = "", renames: tuple[Rename, ...] = ()) -> dict[str, str]:
    """The placeholders' values for *name* of the repository *source*; *base* is cut off for {path}."""
    path = below(source, base)
    tag = name.tag
    for rename in renames:
        if rename.field == "tag":
            tag = rename.apply(tag) if tag else tag
        else:
            path = rename.apply(path)
    namespace, _, last = source.path.rpartition("/")
    return {
        "registry": source.domain,
        "host": as_component(source.domain),
        "repository": source.path,
        "path": path,
        "namespace": namespace,
        "name": last,
        "tag": tag,
        "digest": name.digest,
        "hex": name.digest.partition(":")[2][:12],
        "reference": f":{tag}" if tag else f"@{name.digest}",
    }


def below(source: DockerRef, base: str) -> str:
    """The part of the repository below *base* (``host/prefix``); the whole path when it does not lie below it."""
    prefix = base.partition("/")[2]
    inside = f"{source.name}/".startswith(f"{base}/") and source.path.startswith(f"{prefix}/")
    return source.path.removeprefix(f"{prefix}/") if prefix and inside else source.path


def render(template: str, known: Mapping[str, str]) -> str:
    """Fill *template*; raises UsageError when it needs a tag or digest that the source does not have."""
    parts: list[str] = []
    for is_placeholder, text in tokens(completed(template)):
        if is_placeholder and not known[text] and text in ("tag", "digest", "hex"):
            raise UsageError(f"{{{text}}} has no value: the source is named by {'tag' if known['tag'] else 'digest'}")
        parts.append(known[text] if is_placeholder else text)
    return _without_empty_components("".join(parts))


def _without_empty_components(name: str) -> str:
    transport, colon, rest = name.partition("://")
    return f"docker://{re.sub('/{2,}', '/', rest).lstrip('/')}" if colon and transport == "docker" else name


def names_registry(name: str) -> bool:
    """Whether a docker name begins with a registry, by Docker's rule: a dot, a colon, or localhost before the slash."""
    head, slash, _ = name.partition("/")
    return bool(slash) and ("." in head or ":" in head or head == "localhost")


def as_component(domain: str) -> str:
    """A registry's host and port as one path component: ``host_5000``.

    A path may hold no colon, which is where skopeo's --scoped fails; an underscore never occurs in a host name, so
    no two registries meet in one component.
    """
    host, colon, port = domain.rpartition(":") if re.search(r":[0-9]+$", domain) else (domain, "", "")
    if host.startswith("["):
        host = ipaddress.ip_address(host.strip("[]")).exploded.replace(":", "-")
    return host.lower() + (f"_{port}" if colon else "")


def sync_destination(
    suffix: str, place: str, *, transport: str = "docker", scoped: bool = False, append_suffix: str = ""
) -> str:
    """skopeo sync's name for one image at a destination (skopeo-sync(1), --scoped, --append-suffix).

    *suffix* is the full source reference (``host:port/ns/repo:tag``), or a directory's path below the synced one. A
    *place* without registry is on Docker Hub, as there. In a layout (which skopeo does not have here) the same names
    become references.
    Raises BadName when the result is no valid name.
    """
    tail = suffix if scoped else posixpath.basename(suffix)
    if transport == "docker" and scoped:
        host, slash, rest = suffix.partition("/")
        tail = f"{as_component(host)}/{rest}" if slash and (":" in host or host != host.lower()) else suffix
    if transport == "oci":
        return f"oci:{posixpath.normpath(place)}:{tail}{append_suffix}"
    joined = posixpath.normpath(posixpath.join(_sync_place(place, transport), tail)) + append_suffix
    if transport == "docker" and append_suffix and "@" in tail:
        raise BadName(f'--append-suffix "{append_suffix}" cannot be appended to the digest of {suffix}')
    return f"docker://{joined}" if transport == "docker" else f"dir:{joined}"


def _sync_place(place: str, transport: str) -> str:
    return place if transport != "docker" or names_registry(f"{place}/") else f"{DEFAULT_DOMAIN}/{place}"


def sync_template(place: str, *, transport: str = "docker", scoped: bool = False, append_suffix: str = "") -> str:
    """The template that names registry images as `sync_destination` does."""
    where = literal(posixpath.normpath(_sync_place(place, transport)))
    host = "{host}" if transport == "docker" else "{registry}"
    tail = f"{host}/{{repository}}" if scoped else "{name}"
    if transport == "oci":
        return f"oci:{where}:{tail}{{reference}}{literal(append_suffix)}"
    prefix = "docker://" if transport == "docker" else "dir:"
    # With a suffix only a tag will do: render() refuses a digest by name.
    point = f":{{tag}}{literal(append_suffix)}" if append_suffix and transport == "docker" else "{reference}"
    return f"{prefix}{where}/{tail}{point}" + (literal(append_suffix) if transport != "docker" else "")
