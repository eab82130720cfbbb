"""auth.json, docker's config.json and .dockercfg: what one file says, and changing it.

Owns the formats and containers-auth.json(5)'s rules within one file. Refuses to know which files there are.
Law: a file is replaced whole (mode 0600, renamed into place), and what we do not know in it is kept.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastcopy.errors import BadConfig
from fastcopy.http.conffile import parse_json, read_json, section
from fastcopy.options import Credentials

#: The key that docker has always written for Docker Hub.
HUB_KEY = "https://index.docker.io/v1/"
_HUB = frozenset({"docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class Ask:
    """A helper must be asked. `required`: the file has an entry, so a failing helper is not "anonymous"."""

    helper: str
    required: bool


@dataclass(frozen=True, slots=True)
class AuthFile:
    """The entries of one file, undecoded. `where` names it in messages."""

    where: str
    auths: dict[str, Any] = field(default_factory=dict, repr=False)
    helpers: dict[str, Any] = field(default_factory=dict)
    store: str = ""
    legacy: bool = False

    @classmethod
    def read(cls, path: Path, *, legacy: bool = False) -> AuthFile:
        """What *path* says; nothing when it does not exist. Raises BadConfig."""
        try:
            document = read_json(path)
        except FileNotFoundError:
            document = {}
        return cls(str(path), document, legacy=True) if legacy else cls.of(document, str(path))

    @classmethod
    def of(cls, document: dict[str, Any], where: str) -> AuthFile:
        """The entries of a decoded auth.json or config.json. Raises BadConfig."""
        store = document.get("credsStore", "")
        if not isinstance(store, str):
            raise BadConfig(f"{where}: credsStore is not a string")
        return cls(where, section(document, "auths", where), section(document, "credHelpers", where), store)

    @classmethod
    def from_variable(cls, text: str) -> AuthFile:
        """$DOCKER_AUTH_CONFIG: ``{"auths": {host: {"auth": …}}}`` and nothing else, as docker reads it."""
        where = "DOCKER_AUTH_CONFIG"
        document = parse_json(text, where, unique=True)
        auths = section(document, "auths", where)
        extra = set(document) - {"auths"}
        for entry in auths.values():
            extra |= set(entry) - {"auth"} if isinstance(entry, dict) else {"not an object"}
        if extra:
            raise BadConfig(f"{where}: only auths.<host>.auth is allowed in it")
        return cls(where, auths)

    def find(self, name: str) -> Credentials | Ask | None:
        """What the file says about *name*, ``host[:port][/path]``, the longest matching key first. Raises BadConfig."""
        registry = name.partition("/")[0]
        if helper := self._helper(registry):
            return Ask(helper, required=True)
        key = self._key(name, registry)
        found = decode(self.auths[key], f"{self.where}: entry {key!r}") if key is not None else None
        if found is None and self.store:
            return Ask(self.store, required=key is not None)
        return found

    def _helper(self, registry: str) -> str:
        keys = (registry, HUB_KEY) if registry in _HUB else (registry,)
        return next((str(self.helpers[key]) for key in keys if self.helpers.get(key)), "")

    def _key(self, name: str, registry: str) -> str | None:
        """Exact keys first, for the repository and its parents; then hosts as they were written in older times."""
        for key in [registry] if self.legacy else parents(name):
            if key in self.auths:
                return key
        wanted = _hub(registry)
        return next((key for key in self.auths if normalised(key, legacy=self.legacy) == wanted), None)


def parents(name: str) -> Iterator[str]:
    """*name* and what it is below, down to the host."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def normalised(key: str, *, legacy: bool = False) -> str:
    """The host that a key means: scheme and path off where it is a URL, Docker Hub's names as one."""
    bare = key.removeprefix("http://").removeprefix("https://")
    return _hub(bare.partition("/")[0] if legacy or bare != key else bare)


def _hub(registry: str) -> str:
    return "index.docker.io" if registry in _HUB else registry


def decode(entry: Any, where: str) -> Credentials | None:
    """An entry's credentials; None when it holds none (docker writes ``{}`` beside a credential store)."""
    fields = {"auth": "", "username": "", "password": "", "identitytoken": "", "registrytoken": ""}
    if not isinstance(entry, dict):
        raise BadConfig(f"{where} is not an object")
    for name in fields:
        value = entry.get(name) or ""
        if not isinstance(value, str):
            raise BadConfig(f"{where}: {name} is not a string")
        fields[name] = value
    user, password = fields["username"], fields["password"]
    if fields["auth"]:
        user, password = _pair(fields["auth"], where)
    found = Credentials(user, password, fields["identitytoken"], fields["registrytoken"])
    return found if found != Credentials() else None


def _pair(auth: str, where: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadConfig(f"{where}: auth is not base64") from None
    user, colon, password = text.partition(":")
    return (user, password.strip("\x00")) if colon else ("", "")  # without a colon it is skipped, as docker does


def encode(credentials: Credentials) -> dict[str, str]:
    """The entry that holds *credentials*."""
    pair = f"{credentials.username}:{credentials.password}"
    entry = {"auth": base64.b64encode(pair.encode()).decode()}
    return entry | ({"identitytoken": credentials.identity_token} if credentials.identity_token else {})


@contextlib.contextmanager
def changing(path: Path) -> Iterator[dict[str, Any]]:
    """The document of *path* to change in place; written back if it differs. Raises BadConfig."""
    try:
        document = read_json(path)
    except FileNotFoundError:
        document = {}
    before = json.dumps(document)
    yield document
    if json.dumps(document) != before:
        write(path, document)


def write(path: Path, document: dict[str, Any]) -> None:
    """Replace *path* (through a symbolic link, its target), indented with tabs as skopeo and docker do."""
    import tempfile

    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
    except OSError as error:
        raise BadConfig(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent="\t", ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise BadConfig(f"{path}: cannot be written: {error.strerror}") from None
