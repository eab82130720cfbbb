"""Certificates and TLS settings: certs.d directories, containers-tls-details.yaml, and the contexts made of them.

Owns which files of a directory mean what, and how settings map to OpenSSL. Refuses to know registries.conf and
which connection a context is for; `hosts` decides that.
Law: a setting that Python's ssl cannot enforce is refused by name, never ignored.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from fastcopy.errors import BadConfig, Unsupported

Pair = tuple[Path, Path]
#: Where distributions keep their trust store, for Pythons that were built to look elsewhere.
BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
SYSTEM_CERT_DIRS = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))

#: IANA names of the TLS 1.2 suites that OpenSSL 3 offers by default, and OpenSSL's own names (openssl-ciphers(1)).
CIPHERS = {
    f"TLS_{kx}_WITH_{iana}": f"{kx.replace('_', '-')}-{openssl}"
    for kx in ("ECDHE_ECDSA", "ECDHE_RSA", "DHE_RSA")
    for iana, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
#: TLS 1.3 suites cannot be chosen through Python's ssl before 3.15 (nor in Go): it is all of them, or no TLS 1.3.
CIPHERS_13 = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
#: IANA names of TLS supported groups, and OpenSSL's.
GROUPS = {"secp256r1": "prime256v1", "secp384r1": "secp384r1", "secp521r1": "secp521r1", "x25519": "X25519"}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class CertFiles(NamedTuple):
    """Certificate authorities trusted besides the system's, and client certificates with their keys."""

    authorities: tuple[Path, ...] = ()
    pairs: tuple[Pair, ...] = ()


class TlsDetails(NamedTuple):
    """containers-tls-details.yaml(5); None and "" leave OpenSSL's defaults."""

    min_version: str = ""
    ciphers: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None


def read_cert_dir(directory: Path | None) -> CertFiles:
    """The certificates of *directory*; none when it does not exist or may not be read. Raises BadConfig."""
    try:
        names = sorted(each.name for each in directory.iterdir()) if directory else []
    except (FileNotFoundError, PermissionError):
        return CertFiles()
    except OSError as error:
        raise BadConfig(f"{directory}: {error.strerror}") from None
    assert directory is not None or not names
    return sort_certs(directory or Path(), names)


def sort_certs(directory: Path, names: Iterable[str]) -> CertFiles:
    """What the files *names* of a certs.d directory are for (docker's rules). Raises BadConfig on half pairs."""
    found = set(names)
    pairs = []
    for name in sorted(found):
        stem, _, ending = name.rpartition(".")
        if ending == "cert" and f"{stem}.key" not in found:
            raise BadConfig(
                f"missing key {stem}.key for client certificate {name} in {directory}",
                hint="CA certificates should use the extension .crt",
            )
        if ending == "key" and f"{stem}.cert" not in found:
            raise BadConfig(f"missing client certificate {stem}.cert for key {name} in {directory}")
        if ending == "cert":
            pairs.append((directory / name, directory / f"{stem}.key"))
    return CertFiles(tuple(directory / name for name in sorted(found) if name.endswith(".crt")), tuple(pairs))


def read_tls_details(path: Path | None) -> TlsDetails:
    """Read a containers-tls-details.yaml. Raises BadConfig with line and column, Unsupported by name."""
    if path is None:
        return TlsDetails()
    from fastcopy.http.conffile import read_yaml

    document = read_yaml(path) or {}
    if not isinstance(document, dict):
        raise BadConfig(f"{path}: not a mapping")
    unknown = sorted(str(key) for key in document if key not in ("minVersion", "cipherSuites", "namedGroups"))
    if unknown:
        raise BadConfig(f"{path}: unknown field {unknown[0]!r}")
    details = TlsDetails(
        _version(document.get("minVersion"), path),
        _names(document.get("cipherSuites"), "cipherSuites", path),
        _names(document.get("namedGroups"), "namedGroups", path),
    )
    _check(details, path)
    return details


def _version(value: Any, path: Path) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or value not in VERSIONS:
        raise BadConfig(f"{path}: minVersion must be one of {', '.join(map(repr, VERSIONS))}, not {value!r}")
    return value


def _names(value: Any, what: str, path: Path) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadConfig(f"{path}: {what} must be a list of names")
    return tuple(value)


def _check(details: TlsDetails, path: Path) -> None:
    for name in details.ciphers or ():
        if name not in CIPHERS and name not in CIPHERS_13:
            raise Unsupported(f"{path}: cipher suite {name!r} is not supported")
    missing = CIPHERS_13 - set(details.ciphers or ())
    if 0 < len(missing) < len(CIPHERS_13):
        raise Unsupported(f"{path}: Python's ssl cannot leave {', '.join(sorted(missing))} out of TLS 1.3")
    if details.ciphers is not None and not details.ciphers:
        raise Unsupported(f"{path}: an empty cipherSuites list forbids every connection")
    for name in details.groups or ():
        if name not in GROUPS:
            raise Unsupported(f"{path}: named group {name!r} is not supported")
    if details.groups is not None and len(details.groups) != 1 and not hasattr(ssl.SSLContext, "set_groups"):
        raise Unsupported(f"{path}: this Python can be told exactly one named group, not {len(details.groups)}")


@lru_cache(64)
def ssl_context(certs: CertFiles, details: TlsDetails, verify: bool) -> ssl.SSLContext:
    """A client context; one per distinct setting, because loading a trust store takes tens of milliseconds.

    Raises BadConfig naming the file when a certificate or key cannot be loaded.
    """
    context = _verifying(certs) if verify else _blind()
    context.minimum_version = VERSIONS[details.min_version or "1.2"]
    _restrict(context, details)
    for certificate, key in certs.pairs:
        try:
            context.load_cert_chain(certificate, key, password=_no_password(key))
        except (OSError, ValueError) as error:
            raise BadConfig(f"{certificate}, {key}: not a usable client certificate ({_reason(error)})") from None
    return context


def _verifying(certs: CertFiles) -> ssl.SSLContext:
    """System trust and *certs*' authorities, with Python's own defaults."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):  # a Python built for another distribution
        bundle = next((each for each in BUNDLES if each.exists()), None)
        certs = CertFiles((*([bundle] if bundle else []), *certs.authorities))
    for path in certs.authorities:
        try:
            context.load_verify_locations(path)
        except (OSError, ValueError) as error:
            raise BadConfig(f"{path}: not a readable PEM certificate ({_reason(error)})") from None
    return context


def _blind() -> ssl.SSLContext:
    """A context for a registry configured insecure; no trust store is loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _restrict(context: ssl.SSLContext, details: TlsDetails) -> None:
    if details.ciphers is not None:
        named = [CIPHERS[name] for name in details.ciphers if name in CIPHERS]
        if named:
            context.set_ciphers(":".join(named))
        else:  # only TLS 1.3 suites are allowed, so is only TLS 1.3
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if not any(name in CIPHERS_13 for name in details.ciphers):
            context.maximum_version = ssl.TLSVersion.TLSv1_2
    names = [GROUPS[name] for name in details.groups or ()]
    if len(names) == 1:
        _one_group(context, names[0])
    elif names:
        context.set_groups(":".join(names))  # type: ignore[attr-defined]  # CPython 3.15


def _one_group(context: ssl.SSLContext, name: str) -> None:
    """Allow one group only. Some builds of CPython 3.11 know only the groups of elliptic curves, not X25519."""
    try:
        context.set_ecdh_curve(name)
    except (ssl.SSLError, ValueError):
        raise Unsupported(f"this build of Python cannot set the TLS group {name}; leave namedGroups out") from None


def _no_password(key: Path) -> Any:
    """Never let OpenSSL ask on the terminal."""

    def refuse() -> str:
        raise BadConfig(f"{key}: encrypted keys are not supported")

    return refuse


def _reason(error: Exception) -> str:
    text = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return str(text).lower().replace("_", " ")


def find_cert_dir(registry: str, home: Path, roots: tuple[Path, ...] = SYSTEM_CERT_DIRS) -> Path | None:
    """The certs.d directory of *registry*: the first that exists, never merged (protocol reference 6.1)."""
    if "/" in registry or registry in (".", ".."):
        return None
    places = (home / ".config/containers/certs.d", *roots)
    return next((each / registry for each in places if (each / registry).is_dir()), None)
