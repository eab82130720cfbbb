"""What happens between two passes: somebody moves a tag, deletes one, loses blobs behind everybody's back.

Owns: the deed and what the destination must hold afterwards. Refuses to know: which client has to notice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.client import Client
from benchmarks.images import Layer, digest_of

if TYPE_CHECKING:
    from benchmarks.servers import Registry
    from benchmarks.world import Fixture, World

Change = Callable[["World", "Registry", Sequence["Fixture"]], "list[Fixture]"]
NEW_SEED = 900_000


def moved(world: World, destination: Registry, fixtures: Sequence[Fixture]) -> list[Fixture]:
    """Move the first image's tag at the source, and delete the second image at the destination."""
    first, second = fixtures[0], fixtures[1]
    layers = (*first.image.layers[:-1], Layer(NEW_SEED, first.image.layers[-1].size))
    newer = world.push(replace(first.image, layers=layers))
    with world.client(destination) as client:
        client.delete(second.image.repository, "manifests", digest_of(second.manifest))
    return [newer, *fixtures[1:]]


def lost(world: World, destination: Registry, fixtures: Sequence[Fixture]) -> list[Fixture]:
    """Delete at the destination every image of the last image's repository, with all its blobs."""
    repository = fixtures[-1].image.repository
    with world.client(destination) as client:
        _empty(client, repository, [each.manifest for each in fixtures if each.image.repository == repository])
    return list(fixtures)


def _empty(client: Client, repository: str, manifests: Sequence[bytes]) -> None:
    blobs: set[str] = set()
    for raw in manifests:
        content = json.loads(raw)
        blobs |= {part["digest"] for part in (content["config"], *content["layers"])}
        client.delete(repository, "manifests", digest_of(raw))
    for digest in sorted(blobs):
        client.delete(repository, "blobs", digest)


CHANGES: dict[str, Change] = {"moved": moved, "lost": lost}
