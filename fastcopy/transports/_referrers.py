"""Referrers as questions and answers: the API of OCI 1.1, and the index under a tag where a registry has no API.

Law: nothing here waits or knows a socket. An index that is changed keeps everything it had; entries are only added.

Sections in parentheses are those of the distribution specification v1.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from fastcopy import media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, ProtocolBroken
from fastcopy.http.retry import error_from
from fastcopy.http.wire import Request, Response, Url
from fastcopy.manifest import MAX_ENTRIES, MAX_MANIFEST, Manifest
from fastcopy.transports._registry import MANIFEST_LIMIT, Repository, next_page

#: Who has the API answers 200 for any digest. 404 is the specification's "no"; the others are said by registries that
#: do not know the route, ECR among them (protocol reference 1.8).
_ABSENT: Final = frozenset({400, 404, 405, 501})
_NO_TAG_CHARACTER: Final = re.compile(r"[^A-Za-z0-9._-]")


def list_referrers(repo: Repository, subject: Digest, artifact_type: str = "", page: Url | None = None) -> Request:
    """GET the first or a further page of what refers to *subject* (end-12)."""
    url = page or repo.url(f"referrers/{subject}")
    if artifact_type and page is None:
        url = url.with_query(artifactType=artifact_type)
    accept = (("accept", media.OCI_INDEX),)
    return Request("GET", url, accept, scopes=repo.scopes("pull"), limit=MANIFEST_LIMIT + 1)


def is_absent(response: Response) -> bool:
    """Whether the registry has no referrers API; some answer any path that they do not know with their web page."""
    page = response.status == 200 and response.headers.get("content-type").startswith("text/html")
    return response.status in _ABSENT or page


def read_referrers(response: Response, here: Url, subject: Digest) -> tuple[tuple[Descriptor, ...], Url | None]:
    """The entries of this page, whether or not a filter was applied, and the next page."""
    if response.status != 200:
        raise error_from(response, what=f"listing referrers of {subject}")
    if len(response.body) > MANIFEST_LIMIT:
        raise ProtocolBroken(f"a page of the referrers of {subject} is larger than {MANIFEST_LIMIT} bytes")
    return index_of(response.body, subject).children, next_page(response, here)


def index_of(raw: bytes, subject: Digest) -> Manifest:
    """A list of referrers, read; raises BadManifest when it is no index."""
    found = Manifest.parse(raw, _type_of(raw))
    if not found.is_index:
        raise BadManifest(f"the list of the referrers of {subject} is not an index but {found.media_type}")
    return found


def _type_of(raw: bytes) -> str:
    """Registries forget the media type of an empty list, and what has none is guessed to be an image."""
    document = strictjson.load_object(raw, limit=MAX_MANIFEST, what="list of referrers")
    return "" if document.get("mediaType") or document.get("config") else media.OCI_INDEX


def fallback_tag(subject: Digest) -> str:
    """The tag that lists the referrers of *subject* where there is no API (referrers tag schema)."""
    algorithm, hexadecimal = subject.algorithm[:32], subject.hex[:64]
    return _NO_TAG_CHARACTER.sub("-", f"{algorithm}-{hexadecimal}")


def _entry(what: Descriptor) -> dict[str, Any]:
    found: dict[str, Any] = {"mediaType": what.media_type, "digest": str(what.digest), "size": what.size}
    if what.artifact_type:
        found["artifactType"] = what.artifact_type
    if what.annotations:
        found["annotations"] = dict(what.annotations)
    return found


def merged(raw: bytes | None, entries: Sequence[Descriptor], subject: Digest) -> bytes | None:
    """The index *raw* (None: there is none yet) with *entries*; None when it has them all. Raises BadManifest."""
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
    if raw is not None:
        index_of(raw, subject)
        document = strictjson.load_object(raw, limit=MAX_MANIFEST, what="list of referrers")
    there = document.get("manifests") or []
    listed = {each["digest"] for each in there}
    added = {each.digest: _entry(each) for each in entries if each.digest not in listed}
    if not added:
        return None
    if len(there) + len(added) > MAX_ENTRIES:
        raise BadManifest(f"{subject} has more than {MAX_ENTRIES} referrers, which no index can list")
    whole = document | {"manifests": [*there, *added.values()]}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
