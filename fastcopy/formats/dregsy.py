"""dregsy's configuration (0.5): tasks from one registry to another, with mappings of paths and filters of tags.

Tags are verbatim names, ``semver:`` ranges (blang's dialect), ``regex:`` and ``keep:`` expressions (anchored by text,
``!`` in front negates) and ``keep: latest N``. A ``regex:`` path lists the source's repositories; in ``to`` it is
``regex:EXPRESSION,REPLACEMENT`` on the path with its slash in front. Without a platform dregsy copies the one of its
machine; so do we, unless --all is given.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig, FastcopyError, UsageError
from fastcopy.formats.base import Given, Loaded
from fastcopy.formats.document import Document, Step, read_yaml
from fastcopy.jobs import Access, Rule, Settings, Target
from fastcopy.names import parse_docker
from fastcopy.naming import Rename, literal, names_registry
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Pattern, Regex, VersionRange
from fastcopy.tags.selection import Name, Selection

_REGEX: Final = "regex:"
_KEEP_LATEST = re.compile(r"keep:\s+latest\s+([0-9]+)")
_GO_GROUP = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+)|(\$))|\\")
#: Where dregsy lets skopeo look for certificates when its file says nothing.
_CERTS_DIR: Final = "/etc/skopeo/certs.d"


class _Location(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    registry: str
    auth: str = ""
    skip_tls_verify: bool = False
    auth_refresh: str = ""
    lister: Any = None


class _Mapping(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    from_: str = msgspec.field(name="from")
    to: str = ""
    tags: list[str] = []
    platform: str = ""


class _Task(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    name: str
    source: _Location
    target: _Location
    mappings: list[_Mapping] = []
    interval: int = 0
    verbose: bool = False


class _Relay(msgspec.Struct, rename="kebab"):
    certs_dir: str = _CERTS_DIR


class _File(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    tasks: list[_Task] = []
    relay: str = "docker"
    skopeo: _Relay = msgspec.field(default_factory=_Relay)
    docker: Any = None
    lister: Any = None
    watch: bool = False
    dockerhost: str = ""
    api_version: str = ""


def parse(text: str, name: str, given: Given) -> Loaded:
    """Read a dregsy configuration; raises BadConfig. *given* adds nothing."""
    document = read_yaml(text, name)
    file = document.decode(_File)
    if file.relay not in ("skopeo", "docker"):
        raise document.wrong("relay must be skopeo or docker", "relay")
    certs = file.skopeo.certs_dir if file.relay == "skopeo" else ""
    rules: list[Rule] = []
    warnings: list[str] = []
    for index, task in enumerate(file.tasks):
        rules += _task(document, task, index, certs)
        warnings += _remarks(document, task, index)
    return Loaded(tuple(rules), "dregsy", name, tuple(warnings))


def _remarks(document: Document, task: _Task, index: int) -> Iterable[str]:
    path = ("tasks", index)
    if task.interval:
        yield f"{document.where(*path, 'interval')}: the interval is not used; run fastcopy sync with --watch"
    for side, location in (("source", task.source), ("target", task.target)):
        if location.auth_refresh:
            yield f"{document.where(*path, side, 'auth-refresh')}: not used; logins come from auth files and helpers"
        if location.lister:
            yield f"{document.where(*path, side, 'lister')}: not used; repositories are listed from the catalog"


def _task(document: Document, task: _Task, index: int, certs: str) -> list[Rule]:
    path: tuple[Step, ...] = ("tasks", index)
    source = _access(document, task.source, (*path, "source"), certs)
    target = _access(document, task.target, (*path, "target"), certs)
    rules = []
    for at, mapping in enumerate(task.mappings):
        place = (*path, "mappings", at)
        try:
            rules.append(_rule(task, mapping, source, target, document.where(*place)))
        except BadConfig:
            raise
        except (FastcopyError, ValueError) as problem:
            raise document.wrong(problem, *place) from None
    return rules


def _access(document: Document, location: _Location, path: tuple[Step, ...], certs: str) -> Access:
    registry = location.registry
    if not names_registry(f"{registry}/"):
        raise document.wrong(f'"{registry}" is no registry (it has neither dot nor port)', *path, "registry")
    login = _login(document, location.auth, path) if location.auth not in ("", "none") else None
    return Access(
        credentials=login,
        anonymous=location.auth == "none",
        tls_verify=False if location.skip_tls_verify else None,
        cert_dir=Path(certs) / registry.partition(":")[0] if certs else None,
    )


def _login(document: Document, text: str, path: tuple[Step, ...]) -> Credentials:
    """The base64 of ``{"username": …, "password": …}``."""
    try:
        found = json.loads(base64.b64decode(text, validate=True))
        return Credentials(str(found["username"]), str(found["password"]))
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise document.wrong("auth must be base64 of JSON with username and password", *path, "auth") from None


def _rule(task: _Task, mapping: _Mapping, source: Access, target: Access, where: str) -> Rule:
    host, place = task.source.registry, task.target.registry
    select = _tags(mapping.tags)
    settings = _settings(mapping.platform)
    if mapping.from_.startswith(_REGEX):
        wanted = Selection(include=(_anchored(mapping.from_.removeprefix(_REGEX)),))
        targets = (_catalog_target(place, mapping.to, target),)
        return Rule(f"docker://{host}", select, targets, "", wanted, settings, source, where)
    path = _slashed(mapping.from_)
    ref = parse_docker(host + path)
    name = parse_docker(place + _mapped(mapping.to, path)).name
    made = Target(literal(f"docker://{name}"), access=target)
    return Rule(f"docker://{ref.name}", select, (made,), settings=settings, access=source, where=where)


def _settings(platform: str) -> Settings:
    if platform == "all":
        return Settings(all_platforms=True)
    return Settings(platform=Platform.parse(platform) if platform else None)


def _slashed(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _substitution(to: str) -> Rename:
    expression, comma, replacement = to.removeprefix(_REGEX).partition(",")
    if not comma:
        raise UsageError("replacement expression missing in 'to'")
    return Rename("/path", expression, _GO_GROUP.sub(_group, replacement))


def _group(found: re.Match[str]) -> str:
    """Go's ``$1`` and ``${1}`` in our spelling."""
    if found[0] in ("\\", "$$"):
        return "\\\\" if found[0] == "\\" else "$"
    name = found[1] or found[2]
    if not name.isdecimal():
        raise UsageError(f"{found[0]} in 'to' is no group number", hint="write ${1} before letters and digits")
    return f"\\g<{name}>"


def _mapped(to: str, path: str) -> str:
    if to.startswith(_REGEX):
        return _slashed(_substitution(to).apply(path.removeprefix("/")))
    return _slashed(to) if to else path


def _catalog_target(place: str, to: str, access: Access) -> Target:
    if to.startswith(_REGEX):
        return Target(f"docker://{literal(place)}/{{path}}", (_substitution(to),), access=access)
    prefix = _slashed(to).rstrip("/") if to else ""
    return Target(f"docker://{literal(place + prefix)}/{{path}}", access=access)


def _anchored(text: str) -> Regex:
    """dregsy puts ``^`` and ``$`` around an expression that lacks them."""
    bare = text.strip()
    negated = bare.startswith("!")
    bare = bare.removeprefix("!") if negated else bare
    bare = bare if bare.startswith("^") else f"^{bare}"
    return Regex(bare if bare.endswith("$") else f"{bare}$", negated=negated)


def _tags(texts: list[str]) -> Selection:
    names: list[Name] = []
    include: list[Pattern] = []
    require: list[Pattern] = []
    limit = 0
    for text in (one.strip() for one in texts):
        kind, colon, rest = text.partition(":")
        if latest := _KEEP_LATEST.fullmatch(text):
            limit = int(latest[1])
        elif colon and kind == "semver":
            include.append(VersionRange(rest.strip(), "blang"))
        elif colon and kind in ("regex", "keep"):
            (include if kind == "regex" else require).append(_anchored(rest))
        else:
            names.append(Name.parse(text))
    everything = not names and not include
    listed = everything or bool(include)
    return Selection(
        tuple(names), everything, tuple(include), tuple(require) if listed else (), (), limit, dregsy_limit=bool(limit)
    )
