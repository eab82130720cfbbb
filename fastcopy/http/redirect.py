"""Where a redirect may lead (pure).

Law 1: credentials follow an origin, never a redirect: whoever sends the next request decides by its origin alone.
Law 2: https never becomes http, and only requests without side effects are sent again elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastcopy.errors import ProtocolBroken

if TYPE_CHECKING:
    from fastcopy.http.wire import Request, Response, Url

#: Chains of two and three are seen in the field (protocol reference 3.4).
REDIRECT_LIMIT = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def resolve_location(base: Url, location: str) -> Url:
    """*location* against *base*; a registry behind TLS that calls itself http:// is taken at its own host's word.

    (A registry behind a badly configured TLS proxy; upgrading is the one reading that leaks nothing.)
    """
    url = base.join(location)
    if base.origin.scheme != "https" or url.origin.scheme != "http" or url.origin.host != base.origin.host:
        return url
    if url.origin.port in (base.origin.port, 80):
        return replace(url, origin=base.origin)
    return url


def next_request(request: Request, response: Response) -> Request | None:
    """The request that follows *response*, None when it is no redirect or none to follow; raises ProtocolBroken."""
    if response.status not in REDIRECTS or not request.follow:
        return None
    location = response.headers.get("location")
    if not location:
        return None
    target = resolve_location(request.url, location)
    came_from = (response.url or request.url).origin  # an insecure registry may have turned out to speak plain HTTP
    if came_from.scheme == "https" and target.origin.scheme != "https":
        raise ProtocolBroken(f"{came_from} redirects to plain HTTP at {target.origin}; not followed")
    if request.method not in ("GET", "HEAD"):
        return _repeat(request, response, target)
    return replace(request, url=target)


def _repeat(request: Request, response: Response, target: Url) -> Request:
    """Other verbs: 307 and 308 keep verb and body, and stay at home."""
    if response.status not in (307, 308) or target.origin != request.url.origin:
        raise ProtocolBroken(f"{request.url.origin} redirects a {request.method} to {target.origin}; not followed")
    return replace(request, url=target)
