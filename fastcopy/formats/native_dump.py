"""Rules written back as native YAML: `fastcopy convert`. No secret is ever written: each becomes a reference.

Law: reading what `dump_native` wrote, with the variables of `secrets`, gives the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fastcopy.jobs import Access, Rule, Settings, Target
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Pattern
from fastcopy.tags.selection import Selection

_SECRET_FIELDS: Final = ("username", "password", "identity_token", "registry_token")
_PUBLIC_FIELDS: Final = frozenset({"username"})


def dump_native(rules: Iterable[Rule]) -> str:
    """Native YAML of *rules*; a comment on top names the variables that must be set for it to be read."""
    import yaml

    kept = list(rules)
    variables = _Variables(kept)
    table = _shared_access(kept)
    tree: dict[str, Any] = {"fastcopy": 1}
    if table:
        tree["registries"] = {host: _access(access, variables) for host, access in table.items()}
    tree["images"] = [_entry(rule, table, variables) for rule in kept]
    text = yaml.dump(tree, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)
    needed = "".join(f"#   {name}\n" for name in variables.made)
    return (
        f"# Set these variables to the secrets that were written in the original file:\n{needed}" if needed else ""
    ) + text


def secrets(rules: Iterable[Rule]) -> dict[str, str]:
    """The variables `dump_native` invents for secrets that were written in a file, with their values."""
    return dict(_Variables(list(rules)).made)


def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return Dumper


class _Variables:
    """Names for inline secrets, one per distinct value and registry."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.made: dict[str, str] = {}
        self.names: dict[tuple[str, str], str] = {}
        for host, access in _uses(rules):
            for field in _inline(access):
                self._name(host, field, getattr(access.credentials, field))

    def _name(self, host: str, field: str, value: str) -> None:
        if (field, value) in self.names:
            return
        stem = f"FASTCOPY_{field}_{re.sub('[^A-Za-z0-9]+', '_', host).strip('_')}".upper()
        name, number = stem, 2
        while name in self.made:
            name, number = f"{stem}_{number}", number + 1
        self.made[name] = value
        self.names[field, value] = name


def _inline(access: Access) -> list[str]:
    """The secret fields of credentials that came without a reference."""
    login = access.credentials or Credentials()
    return [
        field
        for field in _SECRET_FIELDS
        if field not in _PUBLIC_FIELDS and getattr(login, field) and field not in access.secret_from
    ]


def _uses(rules: Iterable[Rule]) -> Iterable[tuple[str, Access]]:
    """(registry, access) of every source and target; an empty registry for local places."""
    for rule in rules:
        yield rule.registry, rule.access
        for target in rule.targets:
            yield _target_host(target), target.access


def _target_host(target: Target) -> str:
    bare = target.template.removeprefix("docker://")
    return "" if bare == target.template or bare.startswith("{") else bare.partition("/")[0]


def _shared_access(rules: Sequence[Rule]) -> dict[str, Access]:
    """Registries that are reached in one way everywhere; the others are written at each entry."""
    found: dict[str, set[int]] = {}
    sample: dict[str, Access] = {}
    for host, access in _uses(rules):
        if host:
            first = sample.setdefault(host, access)
            found.setdefault(host, set()).add(0 if access == first else 1)
    return {host: access for host, access in sample.items() if found[host] == {0} and access != Access()}


def _access(access: Access, variables: _Variables) -> dict[str, Any]:
    login = access.credentials or Credentials()
    tree: dict[str, Any] = {}
    for field in _SECRET_FIELDS:
        value = getattr(login, field)
        if field in access.secret_from:
            kind, _, name = access.secret_from[field].partition(":")
            tree[field] = {kind: name}
        elif value:
            tree[field] = value if field in _PUBLIC_FIELDS else {"env": variables.names[field, value]}
    if access.anonymous:
        tree["anonymous"] = True
    if access.authfile:
        tree["authfile"] = str(access.authfile)
    if access.tls_verify is not None:
        tree["tls_verify"] = access.tls_verify
    if access.cert_dir or access.cert_dir_decided:
        tree["cert_dir"] = str(access.cert_dir or "")
    return tree


def _entry(rule: Rule, table: Mapping[str, Access], variables: _Variables) -> dict[str, Any]:
    tree: dict[str, Any] = {"from": rule.source.removeprefix("docker://")}
    tree |= _selection(rule.select) if rule.source.startswith("docker://") else {}
    if rule.repositories is not None:
        names = [name.tag for name in rule.repositories.names]
        tree["repositories"] = ({"names": names} if names else {}) | _filters(rule.repositories)
    if rule.base:
        tree["base"] = rule.base
    if rule.targets:
        made = [_target(target, table, variables) for target in rule.targets]
        tree["to"] = made if len(made) > 1 else made[0]
    if rule.access != table.get(rule.registry, Access()):
        tree["access"] = _access(rule.access, variables)
    return tree | _settings(rule.settings)


def _selection(select: Selection) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    if select.names:
        tree["tags"] = [str(name) for name in select.names]
    tree |= _filters(select)
    if select.everything != (not select.names and not _filters(select)):
        tree["everything"] = select.everything
    if select.newest:
        tree["newest"] = select.newest
    if select.dregsy_limit:
        tree["newest_rule"] = "dregsy"
    return tree


def _filters(select: Selection) -> dict[str, Any]:
    parts = {"include": select.include, "require": select.require, "exclude": select.exclude}
    return {key: _texts(patterns) for key, patterns in parts.items() if patterns}


def _texts(patterns: Sequence[Pattern]) -> list[str]:
    return [str(pattern) for pattern in patterns]


def _target(target: Target, table: Mapping[str, Access], variables: _Variables) -> Any:
    name = target.template.removeprefix("docker://")
    tree: dict[str, Any] = {"name": name}
    if target.renames:
        tree["rename"] = [{"field": one.field, "match": one.match, "to": one.to} for one in target.renames]
    if target.references:
        tree["references"] = dict(target.references)
    if target.access != table.get(_target_host(target), Access()):
        tree["access"] = _access(target.access, variables)
    return name if len(tree) == 1 else tree


def _settings(settings: Settings) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    if settings.platform:
        tree["platform"] = str(settings.platform)
    if settings.platforms:
        tree["platforms"] = [str(platform) for platform in settings.platforms]
    for key in ("all_platforms", "referrers", "digest_tags"):
        if getattr(settings, key) is not None:
            tree[key] = getattr(settings, key)
    if settings.referrer_types:
        tree["referrer_types"] = list(settings.referrer_types)
    if settings.immutable:
        tree["immutable"] = _texts(settings.immutable)
    if settings.prune:
        tree["prune"] = True
    return tree
