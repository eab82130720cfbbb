"""regsync.yml (regclient): logins, defaults, and entries of type image, repository or registry.

Its expressions are anchored by text (``^`` + expression + ``$``), its version ranges are its own dialect, its indexes
are copied whole unless platforms are named. What only tunes regsync (intervals, rate limits, parallelism) becomes a
warning; what would change the result if it were left out (backup, hooks, mirrors of referrers) is refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig, FastcopyError, UsageError
from fastcopy.formats.base import Given, Loaded, access_for
from fastcopy.formats.document import Document, Step, read_yaml
from fastcopy.formats.gotext import Words, origin, render
from fastcopy.jobs import Access, Rule, Settings, Target
from fastcopy.names import parse_docker, with_default_tag
from fastcopy.naming import fixed_prefix, literal
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Regex, VersionRange
from fastcopy.tags.selection import Name, Selection


class _Lists(msgspec.Struct, forbid_unknown_fields=True):
    allow: list[str] = []
    deny: list[str] = []
    semver_range: list[str] = msgspec.field(default_factory=list, name="semverRange")


class _ReferrerFilter(msgspec.Struct, forbid_unknown_fields=True):
    artifact_type: str = msgspec.field(default="", name="artifactType")
    annotations: dict[str, str] = {}


class _Common(msgspec.Struct, rename="camel"):
    """What an entry has and the defaults may give; `None` means not given."""

    backup: str | None = None
    interval: str | None = None
    schedule: str | None = None
    ratelimit: Any = None
    digest_tags: bool | None = None
    referrers: bool | None = None
    referrer_filters: list[_ReferrerFilter] | None = None
    referrer_source: str | None = None
    referrer_target: str | None = None
    referrer_slow: bool | None = None
    fast_check: bool | None = None
    force_recursive: bool | None = None
    include_external: bool | None = None
    media_types: list[str] | None = None
    hooks: Any = None


class _Defaults(_Common, rename="camel", forbid_unknown_fields=True):
    parallel: int = 0
    blob_limit: int = 0
    cache_count: int = 0
    cache_time: str = ""
    skip_docker_config: bool = False
    user_agent: str = ""


class _Entry(_Common, kw_only=True, rename="camel", forbid_unknown_fields=True):
    source: str
    target: str
    type: str
    tags: _Lists = msgspec.field(default_factory=_Lists)
    tag_sets: list[_Lists] = []
    repos: _Lists = msgspec.field(default_factory=_Lists)
    platform: str = ""
    platforms: list[str] = []


class _Login(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    registry: str
    hostname: str = ""
    user: str = ""
    password: str = msgspec.field(default="", name="pass")
    token: str = ""
    tls: str = ""
    regcert: str = ""
    client_cert: str = ""
    client_key: str = ""
    cred_helper: str = ""
    cred_expire: Any = None
    cred_host: str = ""
    path_prefix: str = ""
    mirrors: list[str] = []
    priority: int = 0
    repo_auth: bool = False
    scheme: str = ""
    api: str = ""
    api_opts: Any = None
    blob_chunk: int = 0
    blob_max: int = 0
    req_per_sec: float = 0
    req_concurrent: int = 0


#: Keys that only say how fast or when; fastcopy decides that itself.
_TUNING: Final = ("interval", "schedule", "ratelimit", "fastCheck", "forceRecursive", "referrerSlow", "includeExternal")
#: Keys whose loss would change what ends up where, with the way out.
_REFUSED: Final = {
    "backup": "copy the old tags away first, or use immutable patterns",
    "hooks": "run the commands around fastcopy",
    "referrerSource": "list the referrers' repository as an entry of its own",
    "referrerTarget": "list the referrers' repository as an entry of its own",
}
_REFUSED_LOGIN: Final = {
    "hostname": "use `location` in registries.conf",
    "pathPrefix": "use `location` in registries.conf",
    "mirrors": "use mirrors in registries.conf",
    "credHelper": "use credHelpers in the auth file",
    "regcert": "put it into certs.d/HOST/ca.crt",
    "clientCert": "put it into certs.d/HOST/client.cert",
    "clientKey": "put it into certs.d/HOST/client.key",
}
_TLS: Final = {"": None, "enabled": True, "insecure": False, "disabled": False}


def parse(text: str, name: str, given: Given) -> Loaded:
    """Read a regsync configuration; raises BadConfig."""
    return _Reader(read_yaml(text, name), given).loaded()


class _Reader:
    def __init__(self, document: Document, given: Given) -> None:
        self.document = document
        self.words = Words(given.environment, given.read)
        self.warnings: list[str] = []

    def loaded(self) -> Loaded:
        root = self.document.mapping()
        for key in root:
            if key not in ("version", "creds", "defaults", "sync") and not key.startswith("x-"):
                raise self.document.wrong(f'unknown key "{key}"', key, key=True)
        if str(root.get("version") or "1") != "1":
            raise self.document.wrong("only version 1 is known", "version")
        defaults = self.document.decode(_Defaults, "defaults") if root.get("defaults") else _Defaults()
        self._tuning("defaults")
        logins = self._logins(anonymous=defaults.skip_docker_config)
        rules = [rule for index in range(self._length("sync")) for rule in self._entry(index, defaults, logins)]
        return Loaded(tuple(rules), "regsync", self.document.name, tuple(self.warnings))

    def _length(self, key: str) -> int:
        value = self.document.get(key)
        if value is not None and not isinstance(value, list):
            raise self.document.wrong("expected a list", key)
        return len(value or ())

    def _tuning(self, *path: Step) -> None:
        """Warn of what is left out, refuse what must not be."""
        given = self.document.mapping(*path)
        for key in given.keys() & _REFUSED.keys():
            if given[key]:
                raise self.document.wrong(f"{key} is not supported", *path, key, key=True, hint=_REFUSED[key])
        ignored = sorted(key for key in given if key in (*_TUNING, "mediaTypes", "parallel") and given[key])
        if ignored:
            self.warnings.append(f"{self.document.where(*path)}: not used by fastcopy: {', '.join(ignored)}")

    def _text(self, text: str, *path: Step, words: Words | None = None) -> str:
        try:
            return render(text, words or self.words)
        except (UsageError, BadConfig) as problem:
            raise self.document.wrong(problem, *path) from None

    def _logins(self, *, anonymous: bool) -> dict[str, Access]:
        found = {"": Access(anonymous=True)} if anonymous else {}
        for index in range(self._length("creds")):
            path = ("creds", index)
            login = self.document.decode(_Login, *path)
            given = self.document.mapping(*path)
            for key in given.keys() & _REFUSED_LOGIN.keys():
                if given[key] and given[key] != login.registry:
                    raise self.document.wrong(f"{key} is not supported", *path, key, hint=_REFUSED_LOGIN[key])
            if login.tls.lower() not in _TLS:
                raise self.document.wrong("tls must be enabled, insecure or disabled", *path, "tls")
            host = self._text(login.registry, *path, "registry")
            found[_host(host)] = self._access(login, path, anonymous=anonymous)
        return found

    def _access(self, login: _Login, path: tuple[Step, ...], *, anonymous: bool) -> Access:
        user = self._text(login.user, *path, "user")
        password = self._text(login.password, *path, "pass")
        texts = {"username": login.user, "password": login.password}
        known = user or password or login.token
        return Access(
            credentials=Credentials(user, password, login.token) if known else None,
            secret_from={key: at for key, text in texts.items() if (at := origin(text))},
            anonymous=anonymous and not known,
            tls_verify=_TLS[login.tls.lower()],
        )

    def _entry(self, index: int, defaults: _Defaults, logins: dict[str, Access]) -> list[Rule]:
        path = ("sync", index)
        entry = self.document.decode(_Entry, *path)
        self._tuning(*path)
        try:
            settings = _settings(entry, defaults)
            return self._rules(entry, settings, logins, path)
        except BadConfig:
            raise
        except (FastcopyError, ValueError) as problem:
            raise self.document.wrong(problem, *path) from None

    def _rules(
        self, entry: _Entry, settings: Settings, logins: dict[str, Access], path: tuple[Step, ...]
    ) -> list[Rule]:
        source = self._text(entry.source, *path, "source")
        fields = {".Sync.Source": source, ".Sync.Type": entry.type}
        target = self._text(entry.target, *path, "target", words=replace(self.words, fields=fields))
        if entry.type not in _TYPES:
            raise self.document.wrong("type must be image, repository or registry", *path, "type")
        where = self.document.where(*path, "source")
        rule = Rule(*_TYPES[entry.type](source, target), settings=settings, where=where)
        rule = _with_access(rule, logins)
        if entry.type == "image":
            return [rule]
        if entry.type == "registry":
            rule = replace(rule, repositories=_filtered(entry.repos))
        return [replace(rule, select=_filtered(lists)) for lists in _sets(entry)]


def _host(registry: str) -> str:
    """regclient's other names of Docker Hub mean docker.io."""
    return "docker.io" if registry in ("index.docker.io", "registry-1.docker.io") else registry


def _with_access(rule: Rule, logins: dict[str, Access]) -> Rule:
    """The rule with the logins of its registries; the entry "" is for registries without one."""

    def access(name: str) -> Access:
        found = access_for(logins, name)
        return logins.get("", found) if found == Access() else found

    targets = tuple(replace(one, access=access(fixed_prefix(one.template))) for one in rule.targets)
    return replace(rule, access=access(rule.source.removeprefix("docker://")), targets=targets)


def _settings(entry: _Entry, defaults: _Defaults) -> Settings:
    def chosen(name: str) -> Any:
        own = getattr(entry, name)
        return getattr(defaults, name) if own is None else own

    filters = chosen("referrer_filters") or []
    if any(one.annotations for one in filters):
        raise UsageError("referrerFilters by annotation are not supported")
    return Settings(
        platform=Platform.parse(entry.platform) if entry.platform else None,
        platforms=tuple(map(Platform.parse, entry.platforms)),
        all_platforms=not (entry.platform or entry.platforms) or None,
        referrers=chosen("referrers"),
        referrer_types=tuple(one.artifact_type for one in filters if one.artifact_type),
        digest_tags=chosen("digest_tags"),
    )


def _sets(entry: _Entry) -> list[_Lists]:
    """regsync's union of tag sets; no filter at all means every tag."""
    own = [entry.tags] if entry.tags.allow or entry.tags.deny or entry.tags.semver_range else []
    return [*entry.tag_sets, *own] or [_Lists()]


def _filtered(lists: _Lists) -> Selection:
    allow = tuple(Regex(f"^{text}$") for text in lists.allow)
    ranges = [text for text in lists.semver_range if text]
    versions = (VersionRange(" || ".join(ranges), "regclient"),) if ranges else ()
    deny = tuple(Regex(f"^{text}$") for text in lists.deny)
    return Selection((), not (allow or versions or deny), allow, versions, deny)


def _local(name: str) -> str:
    """``ocidir://path[:tag]`` as an image name of ours; the empty string for a registry's."""
    scheme, sign, rest = name.partition("://")
    if sign and scheme not in ("ocidir", "ocifile"):
        raise UsageError(f"unknown scheme {scheme}://")
    return f"oci:{rest}" if sign else ""


_Made = tuple[str, Selection, tuple[Target, ...]]


def _image(source: str, target: str) -> _Made:
    place = _local(target) or f"docker://{with_default_tag(parse_docker(target))}"
    targets = (Target(literal(place)),)
    if _local(source):
        return _local(source), Selection(), targets
    ref = with_default_tag(parse_docker(source))
    name = Name("" if ref.digest else ref.tag, ref.digest or "")
    return f"docker://{ref.name}", Selection(names=(name,)), targets


def _repository(source: str, target: str) -> _Made:
    if _local(source):
        raise UsageError("a layout as source of a repository entry is not supported; list its images")
    ref = parse_docker(source)
    if ref.reference:
        raise UsageError(f'"{source}" must not have a tag or digest')
    place = f"{literal(_local(target))}:{{tag}}" if _local(target) else f"docker://{literal(parse_docker(target).name)}"
    return f"docker://{ref.name}", Selection(everything=True), (Target(place),)


def _registry(source: str, target: str) -> _Made:
    parse_docker(f"{source}/x")
    place = f"docker://{literal(target)}/{{repository}}"
    if _local(target):
        place = f"{literal(_local(target))}/{{repository}}:{{tag}}"
    return f"docker://{_host(source)}", Selection(everything=True), (Target(place),)


_TYPES: Final = {"image": _image, "repository": _repository, "registry": _registry}
