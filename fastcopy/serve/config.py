"""How an embedded registry is set up: values only.

Owns ServeConfig, Account and Behaviour, the table of what registries do differently where the specification
leaves room. Refuses to know how any of it is carried out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fastcopy.errors import BadConfig
from fastcopy.serve.message import Middleware

ALL_ACTIONS = frozenset({"pull", "push", "delete"})


@dataclass(frozen=True)
class Account:
    """A user; `rights` maps repository prefixes ("" is everything, "team/" a project) to actions."""

    user: str
    password: str = field(repr=False)
    rights: tuple[tuple[str, frozenset[str]], ...] = (("", ALL_ACTIONS),)

    def may(self, repository: str) -> frozenset[str]:
        """The actions allowed on a repository: those of its longest matching prefix."""
        fitting = [(len(prefix), actions) for prefix, actions in self.rights if repository.startswith(prefix)]
        return max(fitting, key=lambda pair: pair[0])[1] if fitting else frozenset()


@dataclass(frozen=True)
class Behaviour:
    """What differs between registries that all follow the specification; the defaults are ours."""

    auth: Literal["basic", "token"] = "basic"  #: how accounts are checked, where there are any
    service: str = "fastcopy"  #: `service` of the Bearer challenge
    realm_path: str = "/service/token"
    basic_realm: str = "fastcopy"
    token_seconds: int = 300
    announce_expiry: bool = True  #: False: no expires_in in token answers, as Quay (clients must assume 60 s)
    #: the answer to a valid token that lacks the right: distribution says 401 Bearer again, Harbor 401 Basic
    lacking: Literal["bearer", "basic", "denied"] = "bearer"
    projects: frozenset[str] | None = None  #: first path components that exist; None: all come into being on push
    immutable_tags: frozenset[str] = frozenset()  #: "repo:tag"; overwriting answers 412 PRECONDITION
    anonymous_pull: bool = False
    absolute_locations: bool = False  #: Location with scheme and authority, as docker-registry by default
    global_blobs: bool = False  #: a blob of any repository is seen from all (zot)
    mounts: bool = True  #: False: every mount request opens an upload instead (202)
    single_post: bool = True  #: POST ?digest= with a body; False answers 202 and keeps nothing (docker-registry)
    chunked: bool = True  #: False: PATCH answers 405 (Artifact Registry takes no chunks)
    chunk_minimum: int = 0  #: OCI-Chunk-Min-Length, bytes
    chunk_maximum: int = 0  #: a longer PATCH answers 416 (GHCR: 4 MiB); 0: no limit
    referrers: bool = True  #: False: 404 and no OCI-Subject, as docker-registry
    filters: bool = True  #: apply ?artifactType= and say so
    keep_alive: bool = True  #: False: an HTTP/1.1 connection ends with its first answer (Quay's blobs)
    connections: int = 0  #: more at once from one address are reset as they come; 0: no limit
    ranges: bool = True  #: False: Range is ignored (pull-through caches)
    deletes: bool = True
    check_references: bool = True  #: a manifest needs its blobs and children (index: children) in the repository
    page: int = 1000  #: most entries of tags/list and _catalog in one answer
    manifest_limit: int = 4 << 20  #: bytes (distribution-spec: at least 4 MiB)
    blob_limit: int = 0  #: bytes of one blob, 413 above; 0: no limit


#: Harbor 2.x as clients meet it (protocol notes: 401 for all that is anonymous, Basic challenge after a weak token).
HARBOR = Behaviour(
    auth="token",
    service="harbor-registry",
    basic_realm="harbor",
    token_seconds=1800,
    lacking="basic",
    projects=frozenset({"library"}),
    absolute_locations=True,
    single_post=False,
)


@dataclass(frozen=True)
class ServeConfig:
    """`fastcopy serve`: where to listen, what to serve, who may. Port 0 asks the system for a free one."""

    directory: Path | None = None  #: an OCI image layout, made when missing; None serves from memory
    listen: str = "127.0.0.1:5000"
    name: str = ""  #: repository for layout entries that name a bare tag; default: made of the directory's name
    tls: bool = False  #: with no tls_cert: a self-signed authority is made
    tls_cert: Path | None = None
    tls_key: Path | None = None
    accounts: tuple[Account, ...] = ()  #: none: everybody may do everything
    read_only: bool = False
    http2: bool = True  #: offer h2 by ALPN and accept h2c with prior knowledge
    durable: bool = True  #: fsync before a blob or manifest is acknowledged (layouts only)
    behaviour: Behaviour = Behaviour()
    middleware: Middleware | None = field(default=None, compare=False)
    stall: float = 60.0  #: seconds without a byte, in a head or a body, until the connection is dropped
    idle: float = 300.0  #: seconds an idle connection is kept
    upload_hours: float = 24.0  #: an untouched upload is forgotten after this

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`; raises BadConfig."""
        host, _, port = self.listen.rpartition(":")
        if not port.isdigit() or int(port) > 65535:
            raise BadConfig(f"--listen wants HOST:PORT, not {self.listen!r}")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 -- ":5000" is the user's own word for everywhere

    @property
    def repository(self) -> str:
        """The repository of layout entries that name a bare tag."""
        if self.name or self.directory is None:
            return self.name
        return re.sub(r"[^a-z0-9]+", "-", self.directory.absolute().name.lower()).strip("-") or "layout"

    @property
    def secure(self) -> bool:
        """Whether connections are TLS."""
        return self.tls or self.tls_cert is not None
