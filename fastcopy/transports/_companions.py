"""What a registry has beside an image: its referrers, by the API or by the tag that stands in for it.

Owns the order of the requests. Knows neither sockets (the client's) nor wording (`_referrers`'s). Never sleeps, never
repeats; several writers of one list are kept apart by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fastcopy import media
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import ProtocolBroken
from fastcopy.http.wire import Response, Url
from fastcopy.manifest import MAX_ENTRIES
from fastcopy.transports import _referrers as talk
from fastcopy.transports import _registry as ask
from fastcopy.transports._upload import Registry
from fastcopy.transports.base import Referrers

#: More pages than this are a loop, or an attack: MAX_ENTRIES in pages of ten.
_MOST_PAGES: Final = MAX_ENTRIES // 10


async def referrers(registry: Registry, repo: ask.Repository, subject: Digest, artifact_type: str = "") -> Referrers:
    """What refers to *subject*; a registry that has said once that it has no API is not asked for it again."""
    if registry.manners.referrers:
        listed = await _by_api(registry, repo, subject, artifact_type)
        if listed is not None:
            return Referrers(listed, kept=True)
        registry.manners = replace(registry.manners, referrers=False)
    raw = await _fallback(registry, repo, subject)
    return Referrers(talk.index_of(raw, subject).children if raw is not None else ())


async def _by_api(
    registry: Registry, repo: ask.Repository, subject: Digest, artifact_type: str
) -> tuple[Descriptor, ...] | None:
    """The entries of all pages; None: there is no API."""
    found: dict[Digest, Descriptor] = {}
    seen: set[Url] = set()
    page: Url | None = None
    while True:
        request = talk.list_referrers(repo, subject, artifact_type, page)
        response = await registry.client.request(request)
        if page is None and talk.is_absent(response):
            return None
        entries, page = talk.read_referrers(response, request.url, subject)
        found |= {entry.digest: entry for entry in entries}
        seen.add(request.url)
        if page is None:
            return tuple(found.values())
        if page in seen or len(seen) >= _MOST_PAGES or len(found) > MAX_ENTRIES:
            raise ProtocolBroken(f"the list of the referrers of {subject} has no end", status=response.status)


async def _fallback(registry: Registry, repo: ask.Repository, subject: Digest) -> bytes | None:
    """The index under the tag of *subject*; None: there is none."""
    tag = talk.fallback_tag(subject)
    response: Response = await registry.client.request(ask.get_manifest(repo, tag))
    return None if response.status == 404 else ask.read_manifest(response, repo, tag)[0]


async def list_referrers(
    registry: Registry, repo: ask.Repository, subject: Digest, entries: Sequence[Descriptor]
) -> None:
    """Add *entries* to the index under the tag of *subject* (the specification's way without the API)."""
    raw = talk.merged(await _fallback(registry, repo, subject), entries, subject)
    if raw is None:
        return
    tag = talk.fallback_tag(subject)
    response = await registry.client.request(ask.put_manifest(repo, tag, raw, media.OCI_INDEX))
    ask.read_put(response, repo, tag, raw, Digest.of(raw))


async def has_manifest(registry: Registry, repo: ask.Repository, digest: Digest) -> bool:
    """Whether a manifest is in the repository."""
    response = await registry.client.request(ask.get_manifest(repo, str(digest), "HEAD"))
    return response.status == 200
