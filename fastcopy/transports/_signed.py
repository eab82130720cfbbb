"""Where a registry sent us for a blob: kept, so that each further range of it does not ask the registry again.

Law 1: a kept URL is a capability; it appears in no text, and goes with its source.
Law 2: what its host refuses is asked of the registry, which gives a fresh one or has the last word.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fastcopy.errors import LinkError

if TYPE_CHECKING:
    from fastcopy.descriptor import Digest
    from fastcopy.http.client import Client
    from fastcopy.http.lease import BodyLease
    from fastcopy.http.wire import Request, Url

#: How storages say that a signed URL is no longer good (S3, GCS: 400 and 403; Azure: 403; CloudFront: 403), or that it
#: never was for this method or place.
EXPIRED: Final = frozenset({400, 401, 403, 404, 405, 410})
#: A source rarely reads more blobs than this at once; older URLs have most likely expired.
MOST: Final = 64


class Targets:
    """The redirect targets of one source's blobs."""

    def __init__(self) -> None:
        self._urls: dict[Digest, Url] = {}

    async def open_body(self, client: Client, request: Request, digest: Digest) -> BodyLease:
        """Open *request* for blob *digest* where the registry last sent us, or where it sends us now."""
        known = self._urls.get(digest)
        if known is not None:
            lease = await self._try(client, replace(request, url=known, scopes=()), digest)
            if lease is not None:
                return lease
        lease = await client.open_body(request)
        self._keep(lease, request, digest)
        return lease

    async def _try(self, client: Client, request: Request, digest: Digest) -> BodyLease | None:
        try:
            lease = await client.open_body(request)
        except LinkError:
            self._forget(digest, request.url)  # another attempt may be sent to a host that answers
            raise
        if lease.response.status not in EXPIRED:
            return lease
        lease.close()
        self._forget(digest, request.url)
        return None

    def _forget(self, digest: Digest, url: Url) -> None:
        if self._urls.get(digest) == url:
            del self._urls[digest]

    def _keep(self, lease: BodyLease, request: Request, digest: Digest) -> None:
        at = lease.response.url
        if lease.response.status not in (200, 206) or at is None:
            return
        home = request.url.origin
        if (at.origin.host, at.origin.port) != (home.host, home.port):
            self._urls[digest] = at
            while len(self._urls) > MOST:
                del self._urls[next(iter(self._urls))]
