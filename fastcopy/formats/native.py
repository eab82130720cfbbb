"""fastcopy's own configuration, in YAML, JSON or TOML: everything the job model can say (docs/formats.md).

Passwords and tokens stand by reference only (an environment variable, a file, an auth file): a secret written into
the file is refused, without repeating it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig, FastcopyError, UsageError
from fastcopy.formats.base import Given, Loaded, access_for, local_transport, read_document, resolve
from fastcopy.formats.document import Document, Step
from fastcopy.formats.native_file import (
    Choices,
    DefaultsFile,
    EntryFile,
    NativeFile,
    RegistryFile,
    RepositoriesFile,
    Secret,
    TargetFile,
)
from fastcopy.jobs import Access, Rule, Settings, Target
from fastcopy.names import parse_docker
from fastcopy.naming import Rename, fixed_prefix, names_registry, tokens
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Pattern, parse_pattern
from fastcopy.tags.selection import Name, Selection

_SECRETS: Final = frozenset({"password", "identity_token", "registry_token"})


def parse(text: str, name: str, given: Given) -> Loaded:
    """Read a native configuration; `given.destination` serves the entries that name none. Raises BadConfig."""
    return _Reader(read_document(text, name), given).loaded()


class _Reader:
    def __init__(self, document: Document, given: Given) -> None:
        self.document = document
        self.given = given

    def loaded(self) -> Loaded:
        if str(self.document.get("fastcopy") or 1) != "1":
            raise self.document.wrong("only version 1 of this format is known", "fastcopy")
        self._refuse_secrets(self.document.value, ())
        table = self._registries()
        file = self.document.decode(NativeFile, without="registries")
        rules = [self._rule(entry, index, file.defaults, table) for index, entry in enumerate(file.images)]
        return Loaded(tuple(rules), "native", self.document.name)

    def _refuse_secrets(self, value: Any, path: tuple[Step, ...]) -> None:
        """No password or token may stand in the file."""
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, part in inner:
            if step in _SECRETS and isinstance(part, str):
                hint = "use {env: NAME} or {file: PATH}"
                raise self.document.wrong(f"{step} must not be written here", *path, step, hint=hint)
            self._refuse_secrets(part, (*path, step))

    def _registries(self) -> dict[str, Access]:
        """Decoded one by one, so that an error has the place of its own entry."""
        paths = {key.rstrip("/"): ("registries", key) for key in self.document.mapping("registries")}
        return {key: self._access(self.document.decode(RegistryFile, *path), path) for key, path in paths.items()}

    def _access(self, file: RegistryFile, path: tuple[Step, ...]) -> Access:
        references = {
            "username": file.username,
            "password": file.password,
            "identity_token": file.identity_token,
            "registry_token": file.registry_token,
        }
        values = {key: self._secret(value, (*path, key)) for key, value in references.items()}
        origins = {key: _origin(value) for key, value in references.items() if isinstance(value, Secret)}
        return Access(
            credentials=Credentials(**values) if any(values.values()) else None,
            secret_from=origins,
            anonymous=file.anonymous,
            authfile=Path(resolve(file.authfile, self.document.name)) if file.authfile else None,
            tls_verify=file.tls_verify,
            cert_dir=Path(resolve(file.cert_dir, self.document.name)) if file.cert_dir else None,
            cert_dir_decided=file.cert_dir == "",
        )

    def _secret(self, value: str | Secret | None, path: tuple[Step, ...]) -> str:
        if not isinstance(value, Secret):
            return value or ""
        if bool(value.env) == bool(value.file):
            raise self.document.wrong("expected exactly one of env and file", *path)
        if value.file:
            return self._file(value.file, path)
        if value.env not in self.given.environment:
            raise self.document.wrong(f"environment variable {value.env} is not set", *path)
        return self.given.environment[value.env]

    def _file(self, name: str, path: tuple[Step, ...]) -> str:
        try:
            return self.given.read(resolve(name, self.document.name)).strip()
        except BadConfig as problem:
            raise self.document.wrong(problem, *path) from None

    def _rule(self, entry: EntryFile, index: int, defaults: DefaultsFile, table: dict[str, Access]) -> Rule:
        path = ("images", index)
        try:
            rule = replace(_source(entry), settings=_settings(entry, defaults), where=self.document.where(*path))
            access = self._own(entry.access, (*path, "access"))
            chosen = access_for(table, rule.source.removeprefix("docker://")) if access is None else access
            return replace(rule, access=chosen, targets=self._targets(entry, defaults, table, path))
        except BadConfig:
            raise
        except (FastcopyError, ValueError) as problem:
            raise self.document.wrong(problem, *path) from None

    def _own(self, file: RegistryFile | None, path: tuple[Step, ...]) -> Access | None:
        return None if file is None else self._access(file, path)

    def _targets(
        self, entry: EntryFile, defaults: DefaultsFile, table: dict[str, Access], path: tuple[Step, ...]
    ) -> tuple[Target, ...]:
        path, given = ((*path, "to"), entry.to) if entry.to is not None else (("defaults", "to"), defaults.to)
        if given is None:
            path, given = (), [f"{self.given.destination.rstrip('/')}/"] if self.given.destination else []
        if not isinstance(given, list):
            return (self._target(given, table, path),)
        return tuple(self._target(one, table, (*path, index)) for index, one in enumerate(given))

    def _target(self, given: str | TargetFile, table: dict[str, Access], path: tuple[Step, ...]) -> Target:
        file = TargetFile(given) if isinstance(given, str) else given
        try:
            template = _template(file.name)
            renames = tuple(Rename(one.field, one.match, one.to) for one in file.rename)
        except UsageError as problem:
            raise self.document.wrong(problem, *path) from None
        access = self._own(file.access, (*path, "access"))
        found = access_for(table, fixed_prefix(template)) if access is None else access
        return Target(template, renames, file.references or None, found)


def _origin(secret: Secret) -> str:
    return f"env:{secret.env}" if secret.env else f"file:{secret.file}"


def _template(name: str) -> str:
    """A destination as a template of `naming`: with transport, and {path} after a trailing slash."""
    if local_transport(name):
        tokens(name)
        return name
    bare = name.removeprefix("docker://")
    tokens(bare)
    if not names_registry(f"{bare.partition('/')[0]}/") and not bare.startswith("{"):
        raise UsageError(f'destination "{name}" names no registry (neither dot nor port before the first slash)')
    if "/" not in bare:
        raise UsageError(f'destination "{name}" names no repository', hint=f"write {name}/ to keep the source's path")
    return f"docker://{bare}{{path}}" if bare.endswith("/") else f"docker://{bare}"


def _source(entry: EntryFile) -> Rule:
    """The rule's source, selection, repositories and base."""
    if local_transport(entry.from_):
        return Rule(entry.from_, base=entry.base)
    bare = entry.from_.removeprefix("docker://").rstrip("/")
    select = _selection(entry)
    if entry.repositories is not None:
        parse_docker(f"{bare}/x")
        return Rule(f"docker://{bare}", select, base=entry.base, repositories=_repositories(entry.repositories))
    ref = parse_docker(bare)
    if ref.reference:
        if entry.tags or entry.everything or entry.include or entry.require or entry.exclude or entry.newest:
            raise UsageError(f'"{entry.from_}" names its tag or digest already')
        select = Selection(names=(Name(ref.tag, ref.digest or ""),))
    return Rule(f"docker://{ref.name}", select, base=entry.base)


def _selection(entry: EntryFile) -> Selection:
    names = tuple(map(Name.parse, entry.tags))
    filters = entry.include or entry.require or entry.exclude
    everything = entry.everything if entry.everything is not None else not names and not filters
    return Selection(
        names=names,
        everything=everything,
        include=_patterns(entry.include),
        require=_patterns(entry.require),
        exclude=_patterns(entry.exclude),
        newest=entry.newest,
        dregsy_limit=entry.newest_rule == "dregsy",
    )


def _repositories(file: RepositoriesFile) -> Selection:
    filters = file.include or file.require or file.exclude
    names = tuple(Name(parse_docker(f"x.lan/{text}").path) for text in file.names)
    return Selection(
        names, not names and not filters, _patterns(file.include), _patterns(file.require), _patterns(file.exclude)
    )


def _patterns(texts: Sequence[str]) -> tuple[Pattern, ...]:
    return tuple(map(parse_pattern, texts))


def _settings(entry: EntryFile, defaults: Choices) -> Settings:
    def chosen(name: str, otherwise: Any) -> Any:
        own = getattr(entry, name)
        value = getattr(defaults, name) if own is None else own
        return otherwise if value is None else value

    platform = chosen("platform", "")
    return Settings(
        platform=Platform.parse(platform) if platform else None,
        platforms=tuple(map(Platform.parse, chosen("platforms", ()))),
        all_platforms=chosen("all_platforms", None),
        referrers=chosen("referrers", None),
        referrer_types=tuple(chosen("referrer_types", ())),
        digest_tags=chosen("digest_tags", None),
        immutable=_patterns(chosen("immutable", ())),
        prune=chosen("prune", False),
    )
