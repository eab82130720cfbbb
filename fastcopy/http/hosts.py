"""Where a registry is and how it is reached: one value per registry, made of options and configuration files.

Owns the order in which command line, registries.conf, certs.d and auth files decide. Refuses to know sockets: it
says which context, which proxy and which credentials, and others use them.
Law: what is skipped or sent for a registry (verification, client certificates, credentials) is for that registry's
host only, never for places it points at.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fastcopy.errors import PolicyRefused
from fastcopy.http import certs, noproxy, registries
from fastcopy.http.certs import CertFiles, TlsDetails
from fastcopy.http.home import home_directory
from fastcopy.http.realm import same_host
from fastcopy.http.registries import Endpoint, RegistriesConf
from fastcopy.http.wire import Origin, Proxy, Url
from fastcopy.options import Credentials, HostOptions, HttpVersion

if TYPE_CHECKING:
    from fastcopy.http.credentials import CredentialStore

#: Docker Hub's images are named docker.io/… and served elsewhere (the reference grammar's one exception).
HUB_NAMES = frozenset({"docker.io", "index.docker.io"})
HUB_API = "registry-1.docker.io"


@dataclass(frozen=True, eq=False)
class HostAccess:
    """How one registry is reached. `credentials` maps a repository to what its auth files say; it may run a helper
    that takes seconds, so it is called in a thread. Raises from it: BadConfig, AuthError.
    """

    registry: str  #: host[:port] as written in references
    api: Origin  #: where /v2/ lives; https, even where plain http is allowed as a second choice
    insecure: bool = False  #: unverified https, and plain http when https does not answer
    certs: CertFiles = field(default_factory=CertFiles)
    tls_details: TlsDetails = field(default_factory=TlsDetails)
    credentials: Callable[[str], Credentials | None] = field(default=lambda _repository: None, repr=False)
    registry_token: str = field(default="", repr=False)  #: --registry-token, sent as it is from the first request on
    user_agent: str = ""
    http: HttpVersion = "auto"
    proxy_for: Callable[[Url], Proxy | None] = field(default=lambda _url: None, repr=False)

    @property
    def verify(self) -> bool:
        """Whether certificates of the registry are verified."""
        return not self.insecure

    def serves(self, origin: Origin) -> bool:
        """Whether *origin* is the registry itself: it alone sees credentials and client certificates."""
        if (origin.host, origin.port) == (self.api.host, self.api.port):
            return origin.scheme == "https" or self.insecure
        plain = Origin("http", self.api.host, 80)
        return self.insecure and origin == plain and self.api.port == 443

    def tls_context(self, origin: Origin) -> tuple[ssl.SSLContext, str]:
        """The TLS context for *origin*, and an identity by which links that may be exchanged are equal.

        The registry gets everything; other ports of its host no client certificate; strangers full verification and,
        as their operator is often the registry's, the additional authorities. Raises BadConfig.
        """
        ours = CertFiles(self.certs.authorities)
        if self.serves(origin):
            return certs.ssl_context(self.certs, self.tls_details, self.verify), f"registry {self.registry}"
        home = same_host(origin, self.api)
        kind = "host" if home else "elsewhere"
        context = certs.ssl_context(ours, self.tls_details, self.verify or not home)
        return context, f"{kind} of {self.registry}"


class HostTable:
    """Every registry of one side of a run, by its HostOptions and the machine's configuration files."""

    def __init__(
        self, options: HostOptions, *, environ: Mapping[str, str] = os.environ, home: Path | None = None
    ) -> None:
        self._options = options
        self._environ = environ
        self._home = home or home_directory(environ)
        self._proxies = noproxy.from_environment(environ)
        self._known: dict[tuple[str, bool, bool], HostAccess] = {}

    def access(self, registry: str, repository: str = "") -> HostAccess:
        """How *registry* is reached for *repository* (registries.conf may treat repositories apart).

        Raises PolicyRefused when registries.conf blocks it, BadConfig for files that cannot be used.
        """
        entry = self.conf.find(f"{registry}/{repository}" if repository else registry)
        if entry is not None and entry.blocked:
            raise PolicyRefused(f"registry {entry.prefix} is blocked in {self.conf.names}")
        return self._access(registry, entry is not None and entry.insecure, own=True)

    def access_endpoint(self, endpoint: Endpoint) -> HostAccess:
        """How an endpoint of `resolve_pull` is reached; given credentials are not for mirrors on other hosts."""
        entry = self.conf.find(f"{endpoint.registry}/{endpoint.repository}")
        if entry is not None and entry.blocked:
            raise PolicyRefused(f"registry {entry.prefix} is blocked in {self.conf.names}")
        return self._access(endpoint.registry, endpoint.insecure, own=endpoint.own)

    def resolve_pull(self, registry: str, repository: str, *, is_digest: bool) -> list[Endpoint]:
        """Where ``registry/repository`` is read from, best first: mirrors, then the (rewritten) place itself.

        Raises PolicyRefused when it is blocked.
        """
        return self.conf.resolve(registry, repository, is_digest=is_digest)

    def proxy_for(self, url: Url) -> Proxy | None:
        """The proxy for one hop to *url*; every redirect target and token server is asked anew."""
        return self._proxies.proxy_for(url)

    @cached_property
    def conf(self) -> RegistriesConf:
        """registries.conf with its drop-ins."""
        return registries.load(self._options.registries_conf, self._environ, self._home)

    @cached_property
    def store(self) -> CredentialStore:
        """The auth files."""
        from fastcopy.http.credentials import CredentialStore

        helpers = self.conf.credential_helpers
        return CredentialStore(self._options.authfile, helpers=helpers, environ=self._environ, home=self._home)

    @cached_property
    def _tls_details(self) -> TlsDetails:
        return certs.read_tls_details(self._options.tls_details)

    def _access(self, registry: str, insecure: bool, *, own: bool) -> HostAccess:
        key = (registry, insecure, own)
        if key not in self._known:
            self._known[key] = self._make(registry, insecure, own)
        return self._known[key]

    def _make(self, registry: str, insecure: bool, own: bool) -> HostAccess:
        options = self._options
        given = options.credentials if own else None
        return HostAccess(
            registry=registry,
            api=api_origin(registry),
            insecure=insecure if options.tls_verify is None else not options.tls_verify,
            certs=self._certs(registry),
            tls_details=self._tls_details,
            credentials=self._credentials(registry, given),
            registry_token=given.registry_token if given else "",
            user_agent=options.user_agent,
            http=options.http,
            proxy_for=self.proxy_for,
        )

    def _credentials(self, registry: str, given: Credentials | None) -> Callable[[str], Credentials | None]:
        if self._options.anonymous or given is not None:
            return lambda _repository: given
        return lambda repository: self.store.lookup(f"{registry}/{repository}" if repository else registry)

    def _certs(self, registry: str) -> CertFiles:
        directory = self._options.cert_dir or certs.find_cert_dir(registry, self._home)
        return certs.read_cert_dir(directory)


def api_origin(registry: str) -> Origin:
    """The https origin of *registry*, ``host[:port]`` as written in references."""
    host = HUB_API if registry in HUB_NAMES else registry
    return Url.parse(f"https://{host}/").origin
