"""From a parsed name to an open place: the one table of transports.

Law: `if transport ==` occurs nowhere else. A transport's module is imported when it is first used.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from fastcopy.errors import FastcopyError, LocalError, Unsupported
from fastcopy.names import (
    ArchiveRef,
    DaemonRef,
    DirRef,
    DockerRef,
    OciRef,
    Ref,
    StorageRef,
    TarballRef,
    image_name,
    with_default_tag,
)
from fastcopy.transports.base import Destination, Source

if TYPE_CHECKING:
    from fastcopy.engine import Hosts
    from fastcopy.transports._archive_out import ArchiveDestination
    from fastcopy.transports._daemon_api import Daemon
    from fastcopy.transports.docker import RegistrySource
    from fastcopy.transports.docker_archive import DockerArchiveSource

P = TypeVar("P", bound=Source | Destination)
D = TypeVar("D", bound=Destination)


@asynccontextmanager
async def closing(place: P) -> AsyncIterator[P]:
    """Close *place* at the end, also when cancelled."""
    try:
        yield place
    finally:
        with trio.CancelScope(shield=True):
            await place.close()


async def open_source(hosts: Hosts, ref: Ref) -> Source:
    """The place *ref* names, to read from; raises what the transport raises."""
    source: Source = await _opener(SOURCES, ref, "source")(hosts, ref)
    return source


async def open_trusted(hosts: Hosts, ref: Ref) -> Source:
    """`open_source`, after the trust policy had its say; raises PolicyRefused."""
    hosts.policy.check(ref.transport, _policy_scopes(ref), image_name(ref))
    return await open_source(hosts, ref)


def layout_names(path: str) -> list[str]:
    """The references of the OCI layout at *path*, in its order; raises LocalError, BadManifest."""
    from fastcopy.transports import _layout

    try:
        raw = (Path(path) / _layout.INDEX).read_bytes()
    except OSError as error:
        raise LocalError(f"reading the OCI layout {path}: {(error.strerror or str(error)).lower()}") from None
    entries = _layout.parse(raw, f"{path}/{_layout.INDEX}")["manifests"]
    return [name for each in entries if (name := _layout.ref_name(each))]


def _policy_scopes(ref: Ref) -> Sequence[str]:
    from fastcopy.http.policy import docker_scopes, path_scopes

    named = ref.named if isinstance(ref, DaemonRef) else ref
    if isinstance(named, DockerRef):
        return docker_scopes(named.name, str(with_default_tag(named)).removeprefix(named.name))
    if isinstance(ref, DaemonRef):
        return ()
    if isinstance(ref, StorageRef):
        from fastcopy.transports.storage.conf import policy_scopes

        return policy_scopes(ref)
    return path_scopes(os.path.realpath(getattr(ref, "path", "")))


async def open_destination(hosts: Hosts, ref: Ref) -> Destination:
    """The place *ref* names, to write to."""
    destination: Destination = await _opener(DESTINATIONS, ref, "destination")(hosts, ref)
    return destination


async def open_unwritten(hosts: Hosts, ref: Ref) -> Destination:
    """The place *ref* names, to be asked only. A local one, which opening would create, is not looked at."""
    _opener(DESTINATIONS, ref, "destination")
    opener = ASKED.get(ref.transport, _unopened)
    return await opener(hosts, ref)


async def _unopened(hosts: Hosts, ref: Any) -> Destination:
    from fastcopy.transports.unopened import Unopened

    return Unopened(ref)


def _opener(table: dict[str, Callable[[Hosts, Any], Awaitable[Any]]], ref: Ref, role: str) -> Any:
    opener = table.get(ref.transport)
    if opener is None:
        raise Unsupported(f"{ref.transport}: cannot be a {role} in this version of fastcopy", side="us")
    return opener


async def open_repository(hosts: Hosts, ref: DockerRef) -> RegistrySource:
    """A repository itself, without mirrors: for tags, deletes and destinations."""
    from fastcopy.transports.docker import RegistrySource

    return RegistrySource(await hosts.registry(ref.registry, ref.repository), ref)


async def _docker_source(hosts: Hosts, ref: DockerRef) -> Source:
    """The primary, or a chain of its mirrors that ends with it (registries.conf)."""
    from fastcopy.transports.docker import MirroredSource, RegistrySource

    ref = with_default_tag(ref)
    table = hosts.table
    endpoints = table.resolve_pull(ref.registry, ref.repository, is_digest=ref.digest is not None)
    sources = [RegistrySource(await hosts.endpoint(each), ref, each.repository) for each in endpoints]
    return sources[0] if len(sources) == 1 else MirroredSource(ref, sources)


async def _docker_destination(hosts: Hosts, ref: DockerRef) -> Destination:
    from fastcopy.transports.docker import RegistryDestination

    ref = with_default_tag(ref)
    return RegistryDestination(await hosts.registry(ref.registry, ref.repository), ref)


async def _dir_source(hosts: Hosts, ref: DirRef) -> Source:
    from fastcopy.transports.dir import DirSource

    return DirSource(ref)


async def _dir_destination(hosts: Hosts, ref: DirRef) -> Destination:
    from fastcopy.transports.dir import DirDestination

    return await _initialized(ref, lambda: DirDestination(ref))


async def _oci_source(hosts: Hosts, ref: OciRef) -> Source:
    from fastcopy.transports._files import DirectoryFiles
    from fastcopy.transports.oci import OciSource

    return OciSource(ref, DirectoryFiles(ref.path), hosts.options.shared_blob_dir)


async def _oci_destination(hosts: Hosts, ref: OciRef) -> Destination:
    from fastcopy.transports.oci import OciDestination

    shared, uncompressed = hosts.options.shared_blob_dir, hosts.copy.accept_uncompressed
    return await _initialized(ref, lambda: OciDestination(ref, shared, uncompressed=uncompressed))


async def _oci_archive_source(hosts: Hosts, ref: ArchiveRef) -> Source:
    from fastcopy.transports._archive import ArchiveFiles
    from fastcopy.transports.oci import OciSource

    return OciSource(ref, ArchiveFiles(ref.path, hosts.tmpdir))


async def _docker_archive_source(hosts: Hosts, ref: ArchiveRef) -> Source:
    return open_docker_archive(hosts, ref)


def open_docker_archive(hosts: Hosts, ref: ArchiveRef) -> DockerArchiveSource:
    """An archive itself, for its tags."""
    from fastcopy.transports._archive import ArchiveFiles
    from fastcopy.transports.docker_archive import DockerArchiveSource

    return DockerArchiveSource(ref, ArchiveFiles(ref.path, hosts.tmpdir))


async def _tarball_source(hosts: Hosts, ref: TarballRef) -> Source:
    from fastcopy.transports.tarball import TarballSource

    return TarballSource(ref, hosts.tmpdir)


async def _storage_source(hosts: Hosts, ref: StorageRef) -> Source:
    from fastcopy.transports.storage.source import StorageSource

    return StorageSource(ref)


async def _storage_destination(hosts: Hosts, ref: StorageRef) -> Destination:
    from fastcopy.transports.storage.target import StorageDestination

    return await _initialized(ref, lambda: StorageDestination(ref))


def _daemon(hosts: Hosts) -> Daemon:
    from fastcopy.transports._daemon_api import Daemon

    options = hosts.options
    return Daemon.at(options.daemon_host, options.cert_dir, verify=options.tls_verify is not False)


async def _daemon_source(hosts: Hosts, ref: DaemonRef) -> Source:
    from fastcopy.transports.daemon import DaemonSource

    return DaemonSource(ref, _daemon(hosts), hosts.tmpdir)


async def _daemon_destination(hosts: Hosts, ref: DaemonRef) -> Destination:
    from fastcopy.transports.daemon import DaemonDestination

    daemon = _daemon(hosts)
    return await _initialized(ref, lambda: DaemonDestination(ref, daemon, hosts.tmpdir))


async def _oci_archive_destination(hosts: Hosts, ref: ArchiveRef) -> Destination:
    from fastcopy.transports.oci import OciArchiveDestination

    uncompressed = hosts.copy.accept_uncompressed
    make = partial(OciArchiveDestination, ref, hosts.tmpdir, uncompressed=uncompressed)
    return _told(hosts, await _initialized(ref, make))


async def _docker_archive_destination(hosts: Hosts, ref: ArchiveRef) -> Destination:
    from fastcopy.transports.docker_archive import DockerArchiveDestination

    make = partial(DockerArchiveDestination, ref, hosts.tmpdir, hosts.copy.additional_tags)
    return _told(hosts, await _initialized(ref, make))


def _told(hosts: Hosts, place: ArchiveDestination) -> Destination:
    """*place*; that it takes room on a disk before it goes into a pipe is said, since it may be gigabytes."""
    if place.writer.spooled:
        hosts.tell(f"{place.name} is no file: the archive is made under {place.writer.spooled} (--tmpdir) first")
    return place


async def _initialized(ref: Ref, make: Callable[[], D]) -> D:
    """Open a local destination off the loop, with skopeo's words before its errors."""
    try:
        return await trio.to_thread.run_sync(make)
    except FastcopyError as error:
        error.message = f"initializing destination {image_name(ref)}: {error.message}"
        raise


SOURCES: dict[str, Callable[[Hosts, Any], Awaitable[Source]]] = {
    "docker": _docker_source,
    "dir": _dir_source,
    "oci": _oci_source,
    "oci-archive": _oci_archive_source,
    "docker-archive": _docker_archive_source,
    "tarball": _tarball_source,
    "containers-storage": _storage_source,
    "docker-daemon": _daemon_source,
}
DESTINATIONS: dict[str, Callable[[Hosts, Any], Awaitable[Destination]]] = {
    "docker": _docker_destination,
    "dir": _dir_destination,
    "oci": _oci_destination,
    "oci-archive": _oci_archive_destination,
    "docker-archive": _docker_archive_destination,
    "containers-storage": _storage_destination,
    "docker-daemon": _daemon_destination,
}
#: Destinations that nothing happens to when they are opened.
ASKED: dict[str, Callable[[Hosts, Any], Awaitable[Destination]]] = {"docker": _docker_destination}
