"""policy.json: which images may be copied at all (containers-policy.json(5)).

Owns the file's strict format, the order of scopes and what each requirement means. Refuses to know how an image is
read. Signature requirements are recognised and refused by name: what a policy demands is never passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fastcopy.errors import BadConfig, PolicyRefused
from fastcopy.http.conffile import parse_json, read_text
from fastcopy.http.home import home_directory

#: Requirement types and the fields each may have besides ``type``.
REQUIREMENTS: dict[str, frozenset[str]] = {
    "insecureAcceptAnything": frozenset(),
    "reject": frozenset(),
    "signedBy": frozenset({"keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"}),
    "sigstoreSigned": frozenset({
        "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki", "signedIdentity",
        "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas",
    }),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Policy:
    """Requirement types by transport and scope. `where` names the file; "" is the policy that accepts everything."""

    default: tuple[str, ...] = ("insecureAcceptAnything",)
    transports: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    where: str = ""

    def requirements(self, transport: str, scopes: Iterable[str]) -> tuple[str, ...]:
        """The requirements of the first of *scopes* (most specific first) that is listed, else the transport's, else
        the default ones.
        """
        listed = self.transports.get(transport, {})
        for scope in (*scopes, ""):
            if scope in listed:
                return listed[scope]
        return self.default

    def check(self, transport: str, scopes: Iterable[str], image: str) -> None:
        """Raise PolicyRefused unless *image* (``docker://…``, for the message) is acceptable as it is."""
        for kind in self.requirements(transport, scopes):
            if kind == "reject":
                raise PolicyRefused(f"Source image rejected: Running image {image} is rejected by policy.")
            if kind != "insecureAcceptAnything":
                raise PolicyRefused(
                    f"Source image rejected: {self.where} demands {kind} for {image}, which is not implemented yet",
                    hint="--insecure-policy copies without looking at signatures",
                )


def load(path: Path | None = None, *, environ: Mapping[str, str] = os.environ, home: Path | None = None) -> Policy:
    """Read *path*, or the first policy.json of the usual places; without any, everything is accepted.

    Raises BadConfig for a named file that does not exist and for anything in a file that is not understood.
    """
    named = path or (Path(value) if (value := environ.get("CONTAINERS_POLICY_JSON")) else None)
    for place in [named] if named else places(environ, home):
        try:
            return parse(read_text(place), str(place))
        except BadConfig as problem:
            raise BadConfig(f"Error loading trust policy: invalid policy in {problem.message}") from None
        except FileNotFoundError:
            continue
    if named:
        raise BadConfig(f"Error loading trust policy: open {named}: no such file or directory")
    return Policy()


def places(environ: Mapping[str, str], home: Path | None = None) -> Iterator[Path]:
    """Where policy.json is looked for, in order."""
    home = home or home_directory(environ)
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/policy.json"
    yield Path("/etc/containers/policy.json")
    yield Path("/usr/share/containers/policy.json")


def parse(text: str, where: str) -> Policy:
    """The policy written in *text*. Raises BadConfig."""
    document = parse_json(text, where, unique=True)
    _only(document, {"default", "transports"}, where)
    if "default" not in document:
        raise BadConfig(f"{where}: Default policy is missing")
    transports = _object(document.get("transports", {}), f"{where}: transports")
    return Policy(
        _requirements(document["default"], f"{where}: default"),
        {
            name: {
                scope: _requirements(listed, f"{where}: transports.{name}.{scope or chr(34) * 2}")
                for scope, listed in _object(scopes, f"{where}: transports.{name}").items()
            }
            for name, scopes in transports.items()
        },
        where,
    )


def _requirements(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise BadConfig(f"{where}: List of verification policy requirements must not be empty")
    return tuple(_requirement(each, where) for each in value)


def _requirement(value: Any, where: str) -> str:
    kind = _object(value, where).get("type")
    if not isinstance(kind, str) or kind not in REQUIREMENTS:
        raise BadConfig(f"{where}: Unknown policy requirement type {kind!r}")
    _only(value, {"type", *REQUIREMENTS[kind]}, where)
    return kind


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadConfig(f"{where}: not an object")
    return value


def _only(document: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    unknown = sorted(set(document) - set(names))
    if unknown:
        raise BadConfig(f"{where}: Unknown key {unknown[0]!r}")


def docker_scopes(name: str, reference: str) -> list[str]:
    """The scopes of ``docker:`` for *name* (``host[:port]/path``) and *reference* (``:tag`` or ``@digest``)."""
    scopes = [name + reference]
    while name:
        scopes.append(name)
        name, _, _ = name.rpartition("/")
    return scopes + list(_above(scopes[-1].partition(":")[0]))


def _above(host: str) -> Iterator[str]:
    """``*.b.c`` and ``*.c`` for ``a.b.c``; a port is left out."""
    while "." in host:
        host = host.partition(".")[2]
        yield f"*.{host}"


def path_scopes(path: str, image: str = "") -> Sequence[str]:
    """The scopes of a transport over directories: ``path:image`` (oci), *path* (absolute, resolved) and its parents."""
    parents = [path, *map(str, PurePosixPath(path).parents)]
    scopes = [each for each in parents if each != "/"]  # "/" is what "" stands for
    return [f"{path}:{image}", *scopes] if image else scopes
