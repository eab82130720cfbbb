"""From a method and a path to a route (distribution-spec "Endpoints").

Owns the URL grammar. Refuses to know who asks and what is stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastcopy.descriptor import Digest
from fastcopy.errors import BadManifest
from fastcopy.serve.message import Refusal

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
#: The name part is greedy: a repository may well be called "a/blobs".
_ROUTES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("base", r"/v2/?"),
        ("catalog", r"/v2/_catalog"),
        ("tags", r"/v2/(?P<name>.+)/tags/list"),
        ("uploads", r"/v2/(?P<name>.+)/blobs/uploads/?"),
        ("upload", r"/v2/(?P<name>.+)/blobs/uploads/(?P<tail>[^/]+)"),
        ("blob", r"/v2/(?P<name>.+)/blobs/(?P<tail>[^/]+)"),
        ("manifest", r"/v2/(?P<name>.+)/manifests/(?P<tail>[^/]+)"),
        ("referrers", r"/v2/(?P<name>.+)/referrers/(?P<tail>[^/]+)"),
    )
)


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for; `tail` is the digest, tag, reference or upload id."""

    kind: str
    name: str = ""
    tail: str = ""


def match(path: str) -> Route:
    """The route of a decoded path; raises Refusal (404, or 400 NAME_INVALID)."""
    for kind, pattern in _ROUTES:
        if found := pattern.fullmatch(path):
            parts = found.groupdict()
            return _checked(Route(kind, parts.get("name") or "", parts.get("tail") or ""))
    raise Refusal(404, "UNSUPPORTED", "no such endpoint")


def _checked(route: Route) -> Route:
    if route.name and (len(route.name) > 255 or not NAME.fullmatch(route.name)):
        raise Refusal(400, "NAME_INVALID", "invalid repository name")
    return route


def digest_of(text: str) -> Digest:
    """A digest we can verify; raises Refusal 400 DIGEST_INVALID."""
    try:
        return Digest(text)
    except BadManifest as error:
        raise Refusal(400, "DIGEST_INVALID", error.message) from None


def reference_of(text: str) -> Digest | str:
    """A digest, or a tag as plain str; raises Refusal."""
    if ":" in text:
        return digest_of(text)
    if not TAG.fullmatch(text):
        raise Refusal(400, "TAG_INVALID", "invalid tag")
    return text
