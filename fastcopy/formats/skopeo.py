"""skopeo sync's YAML (skopeo-sync(1), "YAML file content"), with its meaning kept.

Per registry three maps, read in this order: `images`, `images-by-tag-regex` (Go regexp, unanchored),
`images-by-semver`. An entry that skopeo would log and skip becomes a problem of the result and is left out, whether or
not skopeo would have dropped its neighbours with it; what makes skopeo refuse the file raises BadConfig. Unknown keys,
which skopeo ignores silently, become warnings. Unlike skopeo, the order of the file is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastcopy.errors import BadConfig, BadName, FastcopyError, Unsupported, UsageError
from fastcopy.formats.base import Given, Loaded
from fastcopy.formats.document import Document, read_yaml
from fastcopy.jobs import Access, Rule, Target
from fastcopy.names import parse_docker
from fastcopy.naming import names_registry, sync_template
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Regex, VersionRange
from fastcopy.tags.selection import Name, Selection

_MAPS: Final = ("images", "images-by-tag-regex", "images-by-semver")
_KEYS: Final = frozenset({*_MAPS, "credentials", "tls-verify", "cert-dir"})
#: What Go's YAML decoder takes for a boolean.
_BOOLS: Final = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False),
}


def parse(text: str, name: str, given: Given) -> Loaded:
    """Read skopeo's YAML; the target is made of `given`'s destination, scoped and append_suffix."""
    try:
        document = read_yaml(text, name)
        return _Reader(document, _targets(given)).loaded()
    except BadConfig as problem:
        raise BadConfig(f'{problem.message} (Failed to unmarshal "{name}")') from None


def repository_rule(text: str, given: Given) -> Rule:
    """`sync --src docker REPO`: the image that *text* names, or every tag of a bare repository.

    Raises BadName; *text* is a docker name with or without ``docker://``.
    """
    ref = parse_docker(text.removeprefix("docker://"))
    if ref.tag and ref.digest:
        raise BadName("Docker references with both a tag and digest are currently not supported")
    names = (Name(ref.tag, ref.digest or ""),) if ref.reference else ()
    return Rule(f"docker://{ref.name}", Selection(names, not names), _targets(given), where=text)


def _targets(given: Given) -> tuple[Target, ...]:
    if not given.destination:
        return ()
    place = given.destination.removeprefix("docker://").removeprefix(f"{given.transport}:")
    template = sync_template(place, transport=given.transport, scoped=given.scoped, append_suffix=given.append_suffix)
    return (Target(template),)


class _Reader:
    """One walk over the document; collects rules, warnings and problems."""

    def __init__(self, document: Document, targets: tuple[Target, ...]) -> None:
        self.document = document
        self.targets = targets
        self.rules: list[Rule] = []
        self.warnings: list[str] = []
        self.problems: list[str] = []

    def loaded(self) -> Loaded:
        for registry in self.document.mapping():
            self._registry(registry)
        return Loaded(tuple(self.rules), "skopeo", self.document.name, tuple(self.warnings), tuple(self.problems))

    def _warn(self, message: str, *path: str) -> None:
        self.warnings.append(f"{self.document.where(*path, key=True)}: {message}")

    def _registry(self, registry: str) -> None:
        settings = self.document.mapping(registry)
        for key in settings.keys() - _KEYS:
            self._warn(f'unknown key "{key}" is ignored', registry, key)
        if not names_registry(f"{registry}/"):
            self._warn(f'"{registry}" has neither dot nor port: it means docker.io/{registry}', registry)
        access = self._access(registry)
        if not any(settings.get(kind) for kind in _MAPS):
            self._warn("No images specified for registry", registry)
        for kind in _MAPS:
            for repository in self.document.mapping(registry, kind):
                self._repository(registry, kind, repository, access)

    def _repository(self, registry: str, kind: str, repository: str, access: Access) -> None:
        path = (registry, kind, repository)
        try:
            ref = parse_docker(f"{registry}/{repository}")
            if ref.tag or ref.digest:
                raise UsageError(f'"{repository}" must not contain a tag or digest')
            selection = self._selection(kind, path)
        except (Unsupported, BadConfig):
            raise
        except FastcopyError as problem:
            self.problems.append(f"{self.document.where(*path, key=True)}: {problem}")
            return
        self.rules.append(
            Rule(
                f"docker://{ref.name}",
                selection,
                self.targets,
                access=access,
                where=self.document.where(*path, key=True),
            )
        )

    def _selection(self, kind: str, path: tuple[str, ...]) -> Selection:
        value = self.document.get(*path)
        if kind == "images":
            return self._listed(value, path)
        if not isinstance(value, str):
            raise self.document.wrong("expected one expression", *path)
        pattern = Regex(value) if kind == "images-by-tag-regex" else VersionRange(value)
        return Selection(include=(pattern,))

    def _listed(self, value: Any, path: tuple[str, ...]) -> Selection:
        """The tags and digests of an `images` entry; an empty list or nothing means every tag."""
        if value is not None and not isinstance(value, list):
            raise self.document.wrong("expected a list of tags and digests", *path)
        names = [name for index, text in enumerate(value or ()) for name in self._name(text, (*path, index))]
        return Selection(names=tuple(names), everything=not value)

    def _name(self, text: Any, path: tuple[str | int, ...]) -> list[Name]:
        if isinstance(text, list | dict):
            raise self.document.wrong("expected a tag or a digest", *path)
        try:
            name = Name.parse(text or "")
            if name.tag and name.digest:
                raise UsageError(f'"{text}" is neither a tag nor a digest')
        except UsageError as problem:
            self.problems.append(f"{self.document.where(*path)}: {problem}")
            return []
        return [name]

    def _access(self, registry: str) -> Access:
        found = self.document.mapping(registry, "credentials")
        login = {key: str(found.get(key) or "") for key in ("username", "password", "identitytoken")}
        credentials = Credentials(login["username"], login["password"], login["identitytoken"])
        directory = self.document.get(registry, "cert-dir")
        return Access(
            credentials=credentials if any(login.values()) else None,
            tls_verify=self._tls_verify(registry),
            cert_dir=Path(str(directory)) if directory else None,
            cert_dir_decided=not directory,
        )

    def _tls_verify(self, registry: str) -> bool | None:
        value = self.document.get(registry, "tls-verify")
        if value is None:
            return None
        if not isinstance(value, str) or value not in _BOOLS:
            raise self.document.wrong("tls-verify must be true or false", registry, "tls-verify")
        return _BOOLS[value]
