"""Options: three frozen objects, one question each.

`HostOptions`: where and with whom?  `CopyOptions`: could it change a byte at the destination?
`RunOptions`: only how fast and how stubborn?  A resumable run is keyed by its jobs and its CopyOptions, so changing
the other two never invalidates a journal. No globals; each floor receives only its slice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fastcopy.descriptor import Platform

HttpVersion = Literal["auto", "1.1", "2"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password, an identity token (refresh token), or a ready registry token (sent as Bearer)."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How one side (source or destination) is reached. Paths of None mean skopeo's default search."""

    credentials: Credentials | None = None  #: given inline; None: look into the auth files
    anonymous: bool = False  #: --no-creds
    authfile: Path | None = None
    cert_dir: Path | None = None
    tls_verify: bool | None = None  #: None: registries.conf decides; False: unverified HTTPS, then HTTP
    registries_conf: Path | None = None
    tls_details: Path | None = None
    user_agent: str = ""
    http: HttpVersion = "auto"
    shared_blob_dir: Path | None = None
    daemon_host: str = ""


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What may differ between source and destination."""

    multi_arch: Literal["system", "all", "index-only"] = "system"
    platforms: tuple[Platform, ...] = ()  #: --multi-arch os/arch,…: every instance that matches one of them
    strip_removed_platforms: bool = False
    override_os: str = ""
    override_arch: str = ""
    override_variant: str = ""
    format: Literal["", "oci", "v2s1", "v2s2"] = ""
    preserve_digests: bool = False
    remove_signatures: bool = False
    compress: bool | None = None  #: dir: only; True compress, False decompress
    compression_format: str = ""
    compression_level: int | None = None
    accept_uncompressed: bool = False
    additional_tags: tuple[str, ...] = ()
    referrers: bool = False  #: what refers to each manifest, recursively (OCI 1.1)
    referrer_types: tuple[str, ...] = ()  #: only these artifact types, at every depth; () means all
    digest_tags: bool = False  #: tags named after each manifest's digest (``sha256-….sig``)

    @property
    def companions(self) -> bool:
        """Whether anything beside the image is asked for."""
        return self.referrers or self.digest_tags


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How fast and how stubborn."""

    parallel: int = 0  #: concurrent blobs; 0: adaptive
    memory: int = 96 << 20  #: bytes for slabs, windows, ranges and codec blocks together
    retries: int = 3  #: further attempts per step after the first
    retry_delay: float = 0.0  #: seconds between attempts; 0: exponential with jitter
    stall: float = 60.0  #: seconds without progress before a transfer is given up
    connect_timeout: float = 30.0
    bandwidth: int = 0  #: bytes per second over all transfers; 0: unlimited
    tmpdir: Path | None = None
    journal: Path | None = None  #: directory of the journals and the cache of what is where; None: nothing is kept
    policy: Path | None = None  #: trust policy; None: the default places, and without a file everything is accepted
    insecure_policy: bool = False  #: look at no trust policy at all


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a copy is told. Commands with one side use `source`."""

    copy: CopyOptions = field(default_factory=CopyOptions)
    run: RunOptions = field(default_factory=RunOptions)
    source: HostOptions = field(default_factory=HostOptions)
    destination: HostOptions = field(default_factory=HostOptions)
