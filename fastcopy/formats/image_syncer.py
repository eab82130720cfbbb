"""image-syncer's files: rules of images, and the logins they need (JSON or YAML; one file or two).

``"src[:tag[,tag…] | :/regex/ | @digest]": "dst[:tag[,tag…]]"`` or a list of destinations; a source without tag means
every tag; destination tags pair with source tags one to one. ``$VAR`` is expanded in destinations and in the logins
of a separate file, as there. A variable that is not set is an error here, an empty text there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fastcopy.descriptor import Platform
from fastcopy.errors import BadName, FastcopyError, UsageError
from fastcopy.formats.base import Given, Loaded, access_for, expand_environment, read_document
from fastcopy.formats.document import Document, Step
from fastcopy.jobs import Access, Rule, Settings, Target
from fastcopy.names import DockerRef, parse_docker
from fastcopy.naming import literal
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Regex
from fastcopy.tags.selection import Name, Selection


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    username: str = ""
    password: str = ""
    insecure: bool = False


def parse(text: str, name: str, given: Given) -> Loaded:
    """Read a rules file, or a file that holds ``auth`` and ``images``; logins of a second file come by `given.auth`."""
    document = read_document(text, name)
    together = isinstance(document.get("images"), dict)
    logins = _logins(document, ("auth",), None) if together else {}
    if given.auth:
        logins |= _logins(read_document(given.read(given.auth), given.auth), (), given)
    root: tuple[Step, ...] = ("images",) if together else ()
    rules = [_rule(document, root, source, logins, given) for source in document.mapping(*root)]
    return Loaded(tuple(rules), "image-syncer", name)


def _logins(document: Document, root: tuple[Step, ...], given: Given | None) -> dict[str, Access]:
    """Access by registry or registry/namespace; variables are expanded when *given* is there."""
    found: dict[str, Access] = {}
    for key in document.mapping(*root):
        path = (*root, key)
        login = document.decode(_Login, *path)
        words = [
            _expanded(document, text, (*path, at), given)
            for at, text in (("username", login.username), ("password", login.password))
        ]
        found[_prefix(key)] = Access(
            credentials=Credentials(*words) if any(words) else None,
            secret_from=_origins(login) if given else {},
            tls_verify=False if login.insecure else None,
        )
    return found


def _origins(login: _Login) -> dict[str, str]:
    """Where whole values come from, for those that are one variable."""
    pairs = {"username": login.username, "password": login.password}
    names = {key: text.removeprefix("$").strip("{}") for key, text in pairs.items() if text.startswith("$")}
    return {key: f"env:{name}" for key, name in names.items() if name.isidentifier()}


def _prefix(key: str) -> str:
    """A login's key in canonical spelling: Docker Hub's other names mean docker.io."""
    return {"registry.hub.docker.com": "docker.io", "index.docker.io": "docker.io"}.get(key, key.rstrip("/"))


def _expanded(document: Document, text: str, path: tuple[Step, ...], given: Given | None) -> str:
    if given is None:
        return text
    try:
        return expand_environment(text, given.environment)
    except UsageError as problem:
        raise document.wrong(problem, *path) from None


def _rule(document: Document, root: tuple[Step, ...], source: str, logins: dict[str, Access], given: Given) -> Rule:
    path = (*root, source)
    try:
        ref, selection = _source(source)
        texts = _destinations(document, path)
        targets = tuple(_target(_expanded(document, text, at, given), ref, selection, logins) for at, text in texts)
        settings = _settings(given)
    except FastcopyError as problem:
        if isinstance(problem, BadName | UsageError) and not problem.message.startswith(document.name + ":"):
            raise document.wrong(problem, *path, key=True) from None
        raise
    return Rule(
        f"docker://{ref.name}",
        selection,
        targets,
        settings=settings,
        access=access_for(logins, ref.name),
        where=document.where(*path, key=True),
    )


def _settings(given: Given) -> Settings:
    """Every platform, or those that --os and --arch leave."""
    try:
        return Settings(
            platforms=tuple(map(Platform.parse, given.platforms)), all_platforms=not given.platforms or None
        )
    except ValueError as problem:
        raise UsageError(str(problem)) from None


def _destinations(document: Document, path: tuple[Step, ...]) -> list[tuple[tuple[Step, ...], str]]:
    value: Any = document.get(*path)
    found = [((*path, index), text) for index, text in enumerate(value)] if isinstance(value, list) else [(path, value)]
    for at, text in found:
        if not isinstance(text, str) or not text:
            raise document.wrong("a destination must be an image name", *at)
    if not found:
        raise document.wrong("no destination is given", *path)
    return list({text: (at, text) for at, text in found}.values())


def _source(text: str) -> tuple[DockerRef, Selection]:
    stem, sign, rest = text.partition(":/")
    if sign:
        if not rest.endswith("/"):
            raise UsageError(f'"{text}": a tag expression must begin and end with "/"')
        return parse_docker(stem), Selection(include=(Regex(rest[:-1]),))
    ref, names = _names(text)
    return ref, Selection(names=tuple(names), everything=not names)


def _names(text: str) -> tuple[DockerRef, list[Name]]:
    """A repository and the tags (``a/b:1,2``) or the digest behind it."""
    first, *more = text.split(",")
    ref = parse_docker(first)
    if more and not ref.tag:
        raise UsageError(f'"{text}": a list of tags must begin with ":"')
    if ref.digest:
        return ref, [Name(digest=ref.digest)]
    return ref, [Name.parse(tag) for tag in ([ref.tag] if ref.tag else []) + more]


def _target(text: str, source: DockerRef, selection: Selection, logins: dict[str, Access]) -> Target:
    ref, names = _names(text)
    if names and (len(names) != len(selection.names) or selection.needs_tags):
        raise UsageError("the number of tags of source and destination is not matched")
    if any(name.digest and name != asked for name, asked in zip(names, selection.names, strict=False)):
        raise UsageError("the digest of source and destination must match")
    pairs = {str(asked): name.tag for name, asked in zip(names, selection.names, strict=False) if name.tag}
    return Target(literal(f"docker://{ref.name}"), references=pairs or None, access=access_for(logins, ref.name))
