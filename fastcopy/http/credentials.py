"""Credentials of registries: where they are looked for, and login and logout.

Owns the order of files and helpers (containers-auth.json(5)). Refuses to know the formats (`authfile`), the helpers'
protocol (`helpers`) and what credentials are used for.
Law: no credentials of one host are ever given for another, and a failing helper is not "anonymous".
"""

from __future__ import annotations

import copy
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from fastcopy.errors import AuthError, BadConfig, FastcopyError, Unsupported
from fastcopy.http import authfile, helpers
from fastcopy.http.authfile import HUB_KEY, Ask, AuthFile
from fastcopy.http.conffile import section
from fastcopy.http.home import home_directory
from fastcopy.http.registries import AUTH_FILES
from fastcopy.options import Credentials

#: A helper that failed is not asked again for this many seconds: hundreds of repositories may want to know.
FAILURE_PAUSE = 5.0


class CredentialStore:
    """Reads each file once and asks each helper once per host; thread-safe enough for lookups in threads."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        helpers: tuple[str, ...] = (AUTH_FILES,),
        environ: Mapping[str, str] = os.environ,
        home: Path | None = None,
    ) -> None:
        self._environ = environ
        self._home = home or home_directory(environ)
        self._sources = helpers
        named = environ.get("REGISTRY_AUTH_FILE")
        self._named = path or (Path(named) if named else None)
        self._answers: dict[tuple[str, str], Credentials | None] = {}
        self._failures: dict[tuple[str, str], tuple[float, FastcopyError]] = {}

    def lookup(self, name: str) -> Credentials | None:
        """The credentials for *name*, ``host[:port][/repository]``; None: be anonymous.

        Raises BadConfig for a file that cannot be read, AuthError when a helper fails and nobody else knows better.
        """
        failure: FastcopyError | None = None
        for source in self._sources:
            try:
                found = self._in_files(name) if source == AUTH_FILES else self._ask(source, _registry(name))
            except (AuthError, BadConfig) as error:
                failure = failure or error
                continue
            if found is not None:
                return found
        if failure is not None:
            raise failure
        return None

    def _in_files(self, name: str) -> Credentials | None:
        for file in self._files:
            found = file.find(name)
            if isinstance(found, Ask):
                found = self._follow(found, _registry(name))
            if found is not None:
                return found
        return None

    def _follow(self, ask: Ask, registry: str) -> Credentials | None:
        try:
            return self._ask(ask.helper, registry)
        except (AuthError, BadConfig):
            if ask.required:
                raise
            return None  # a credsStore that is not there, and no entry for this registry

    def _ask(self, helper: str, registry: str) -> Credentials | None:
        key = (helper, registry)
        if key in self._answers:
            return self._answers[key]
        until, failure = self._failures.get(key, (0.0, None))
        if failure is not None and time.monotonic() < until:
            raise copy.copy(failure)
        try:
            self._answers[key] = self._ask_helper(helper, registry)
        except FastcopyError as error:
            self._failures[key] = (time.monotonic() + FAILURE_PAUSE, error)
            raise
        return self._answers[key]

    def _ask_helper(self, helper: str, registry: str) -> Credentials | None:
        servers = (registry, HUB_KEY) if registry == "docker.io" else (registry,)
        answers = (helpers.get(helper, server, self._environ) for server in servers)
        return next((found for found in answers if found is not None), None)

    @cached_property
    def _files(self) -> list[AuthFile]:
        if self._named is not None:
            return [AuthFile.read(self._named)]
        variable = self._environ.get("DOCKER_AUTH_CONFIG", "").strip()
        files = [AuthFile.from_variable(variable)] if variable else []
        files += [AuthFile.read(path) for path in read_order(self._environ, self._home)]
        return [*files, AuthFile.read(self._home / ".dockercfg", legacy=True)]

    # -- login and logout

    @property
    def path(self) -> Path:
        """The file that login writes and logout changes. Raises BadConfig when $XDG_RUNTIME_DIR does not exist.

        With $DOCKER_CONFIG set it is docker's (skopeo 1.9 and 1.22 do so, though they read auth.json first).
        """
        if self._named is None and (folder := self._environ.get("DOCKER_CONFIG")):
            return Path(folder) / "config.json"
        return self._named or runtime_path(self._environ, self._home)

    def login(self, name: str, credentials: Credentials) -> str:
        """Keep *credentials* for *name*; returns where. Raises BadConfig, AuthError, Unsupported."""
        check_key(name)
        return self._first(lambda source: self._login(source, name, credentials))

    def _login(self, source: str, name: str, credentials: Credentials) -> str:
        if source != AUTH_FILES:
            _refuse_namespace(name, source)
            helpers.store(source, name, credentials, self._environ)
            return f"credential helper docker-credential-{source}"
        with authfile.changing(self.path) as document:
            if helper := section(document, "credHelpers", str(self.path)).get(name):
                helpers.store(str(helper), name, credentials, self._environ)
                return f"credential helper docker-credential-{helper}"
            auths = section(document, "auths", str(self.path))
            auths[name] = authfile.encode(credentials)
            document["auths"] = dict(sorted(auths.items()))
        return str(self.path)

    def logout(self, name: str) -> str:
        """Forget *name*; returns where it was kept. Raises AuthError ``not logged into NAME``, BadConfig."""
        check_key(name)
        places = [place for source in self._sources if (place := self._logout(source, name))]
        if not places:
            raise AuthError(f"not logged into {name}")
        return ", ".join(places)

    def _logout(self, source: str, name: str) -> str:
        if source != AUTH_FILES:
            known = "/" not in name and helpers.erase(source, name, self._environ)
            return f"credential helper docker-credential-{source}" if known else ""
        known = False
        with authfile.changing(self.path) as document:
            if helper := section(document, "credHelpers", str(self.path)).get(name):
                known = helpers.erase(str(helper), name, self._environ)
            known |= section(document, "auths", str(self.path)).pop(name, None) is not None
        return str(self.path) if known else ""

    def logout_all(self) -> str:
        """Forget every registry of the file, helpers' entries included; returns the file's path."""
        with authfile.changing(self.path) as document:
            for server, helper in section(document, "credHelpers", str(self.path)).items():
                helpers.erase(str(helper), server, self._environ)
            document["auths"] = {}
            document.pop("credHelpers", None)
        return str(self.path)

    def get_login(self, name: str) -> str:
        """The user name kept for *name*. Raises AuthError ``not logged into NAME``."""
        found = self.lookup(name)
        if found is None:
            raise AuthError(f"not logged into {name}")
        return found.username

    def _first(self, act: Callable[[str], str]) -> str:
        failure: FastcopyError | None = None
        for source in self._sources:
            try:
                return act(source)
            except (AuthError, BadConfig, Unsupported) as error:
                failure = failure or error
        raise failure or BadConfig("credential-helpers in registries.conf is empty: nowhere to keep credentials")


class DockerStore(CredentialStore):
    """login and logout in a docker config.json (--compat-auth-file): no namespaces, Docker Hub under its old key."""

    def __init__(self, path: Path, *, environ: Mapping[str, str] = os.environ, home: Path | None = None) -> None:
        super().__init__(path, environ=environ, home=home)

    def login(self, name: str, credentials: Credentials) -> str:
        return super().login(docker_key(name), credentials)

    def logout(self, name: str) -> str:
        return super().logout(docker_key(name))


def docker_key(name: str) -> str:
    """The key docker uses for *name*. Raises Unsupported for a namespace."""
    if "/" in name:
        raise Unsupported(f"{name}: a docker configuration file has no credentials for namespaces")
    return HUB_KEY if name in ("docker.io", "index.docker.io") else name


def check_key(name: str) -> None:
    """Refuse what is not ``host[:port][/path]``. Raises BadConfig."""
    if name == HUB_KEY:
        return
    host, _, path = name.partition("/")
    if name.startswith(("http://", "https://")) or not host:
        raise BadConfig(f"{name!r} is not the name of a registry: host[:port][/namespace]")
    if "@" in name or ":" in path:
        raise BadConfig(f"{name!r} names an image; credentials are kept for a registry or a namespace")


def read_order(environ: Mapping[str, str], home: Path) -> list[Path]:
    """The files that are read when none is named, in order; the first with a match wins."""
    paths = []
    runtime = environ.get("XDG_RUNTIME_DIR")
    if not runtime or Path(runtime).exists():
        paths.append(runtime_path(environ, home))
    paths.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json")
    paths.append(Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json")
    return paths


def runtime_path(environ: Mapping[str, str], home: Path) -> Path:
    """The file that is written when none is named. Raises BadConfig when $XDG_RUNTIME_DIR does not exist."""
    if sys.platform in ("darwin", "win32"):
        return home / ".config/containers/auth.json"
    runtime = environ.get("XDG_RUNTIME_DIR")
    if not runtime:
        return Path(f"/run/containers/{os.getuid()}/auth.json")
    if not Path(runtime).exists():
        raise BadConfig(f"{runtime!r} directory set by $XDG_RUNTIME_DIR does not exist")
    return Path(runtime) / "containers/auth.json"


def _registry(name: str) -> str:
    return name.partition("/")[0]


def _refuse_namespace(name: str, helper: str) -> None:
    if "/" in name:
        raise Unsupported(f"{name}: credential helper docker-credential-{helper} keeps no credentials for namespaces")
