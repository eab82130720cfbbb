"""What a plan costs: bytes by how they come to be there, and the requests of the run that carries it out. Pure.

Requests are those of the engine's road through an undisturbed run (`transfer.image`, `transfer.ensure`,
`transports.docker`): tokens, redirects, ranges of large blobs, parts of uploads and further attempts come on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastcopy.migrate.plan import Image, Plan, Tally


@dataclass(frozen=True, slots=True)
class Pulls:
    """A source that counts pulls, which are GETs of manifests: how many the run needs; None: it did not say."""

    registry: str
    needed: int
    left: int | None = None
    limit: int | None = None
    window: int | None = None  #: seconds


def counts(plan: Plan) -> dict[str, int]:
    """Images by what is to be done."""
    found = Counter(image.action for image in plan.images)
    return {"copy": found["copy"], "present": found["present"], "failed": found["failed"]}


def volume(plan: Plan) -> dict[str, Any]:
    """Blobs and bytes: of all that is to be copied, and for each destination registry."""
    return {
        "naive": shown(plan.naive),
        "unique": shown(plan.unique),
        "download": shown(plan.download),
        **by_way(plan),
        "registries": {host: by_way(plan, host) for host in plan.hosts},
    }


def by_way(plan: Plan, host: str | None = None) -> dict[str, Any]:
    """How the blobs come to be at *host*, or anywhere."""
    ways = ("upload", "mount", "present", "repeated")
    return {way: shown(plan.tally(way, host=host)) for way in ways}  # type: ignore[arg-type]


def shown(tally: Tally) -> dict[str, int]:
    """The JSON form."""
    return {"blobs": tally.blobs, "bytes": tally.bytes}


def requests(plan: Plan, *, heads: bool = True, listed: int = 0) -> dict[str, dict[str, int]]:
    """Expected requests by side and kind; *heads*: the sources' names are asked by HEAD first (nothing is altered).

    *listed* repositories have their tags listed, a page each at least.
    """
    return {"source": _at_source(plan, heads, listed), "destination": _at_destination(plan)}


def pulls_of(plan: Plan, registry: str) -> int:
    """Manifests that the run reads from *registry*."""
    return sum(len(image.read) for image in _first_of_group(plan.images) if image.origin.host == registry)


def _at_source(plan: Plan, heads: bool, listed: int) -> dict[str, int]:
    groups = [image for image in _first_of_group(plan.images) if image.origin.host]
    downloaded = {each.what.digest for image, each in plan.blobs if each.how == "upload" and image.origin.host}
    return _nonzero(
        {
            "GET tags": listed,
            "HEAD manifest": len(groups) if heads else 0,
            "GET manifest": sum(len(image.read) for image in groups),
            "GET blob": len(downloaded),
        }
    )


def _at_destination(plan: Plan) -> dict[str, int]:
    images = [image for image in plan.images if image.spot.host and image.action != "failed"]
    ways = Counter(each.how for image, each in plan.blobs if image.spot.host)
    return _nonzero(
        {
            "HEAD manifest": len(images),
            "HEAD blob": sum(ways[way] for way in ("upload", "present")),
            "POST mount": ways["mount"],
            "POST upload": ways["upload"],
            "PUT blob": ways["upload"],
            "PUT manifest": sum(len(image.parts) for image in images if image.action == "copy"),
        }
    )


def _first_of_group(images: Iterable[Image]) -> list[Image]:
    """One image of each source that is read once for several destinations."""
    return list({image.group: image for image in images if image.group}.values())


def _nonzero(kinds: dict[str, int]) -> dict[str, int]:
    return {kind: count for kind, count in kinds.items() if count}
