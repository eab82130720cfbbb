"""From a parsed name to an open place: the one table of transports.

Law: `if transport ==` occurs nowhere else. A transport's module is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastcopy.errors import Unsupported
from fastcopy.names import DockerRef, Ref, with_default_tag

if TYPE_CHECKING:
    from fastcopy.engine import Engine
    from fastcopy.transports.base import Destination, Source
    from fastcopy.transports.docker import RegistrySource


async def open_source(engine: Engine, ref: Ref) -> Source:
    """The place *ref* names, to read from; raises what the transport raises."""
    source: Source = await _opener(SOURCES, ref, "source")(engine, ref)
    return source


async def open_destination(engine: Engine, ref: Ref) -> Destination:
    """The place *ref* names, to write to."""
    destination: Destination = await _opener(DESTINATIONS, ref, "destination")(engine, ref)
    return destination


def _opener(table: dict[str, Callable[[Engine, Any], Awaitable[Any]]], ref: Ref, role: str) -> Any:
    opener = table.get(ref.transport)
    if opener is None:
        raise Unsupported(f"{ref.transport}: cannot be a {role} in this version of fastcopy", side="us")
    return opener


async def open_repository(engine: Engine, ref: DockerRef) -> RegistrySource:
    """A repository itself, without mirrors: for tags, deletes and destinations."""
    from fastcopy.transports.docker import RegistrySource

    return RegistrySource(await engine.source.registry(ref.registry, ref.repository), ref)


async def _docker_source(engine: Engine, ref: DockerRef) -> Source:
    """The primary, or a chain of its mirrors that ends with it (registries.conf)."""
    from fastcopy.transports.docker import MirroredSource, RegistrySource

    ref = with_default_tag(ref)
    table = engine.source.table
    endpoints = table.resolve_pull(ref.registry, ref.repository, is_digest=ref.digest is not None)
    sources = [RegistrySource(await engine.source.endpoint(each), ref, each.repository) for each in endpoints]
    return sources[0] if len(sources) == 1 else MirroredSource(ref, sources)


async def _docker_destination(engine: Engine, ref: DockerRef) -> Destination:
    from fastcopy.transports.docker import RegistryDestination

    ref = with_default_tag(ref)
    return RegistryDestination(await engine.destination.registry(ref.registry, ref.repository), ref)


SOURCES: dict[str, Callable[[Engine, Any], Awaitable[Source]]] = {"docker": _docker_source}
DESTINATIONS: dict[str, Callable[[Engine, Any], Awaitable[Destination]]] = {"docker": _docker_destination}
