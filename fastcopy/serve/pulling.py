"""Everything a registry answers without changing (distribution-spec "Pull", "Content Discovery")."""

from __future__ import annotations

from fastcopy import media
from fastcopy.descriptor import Digest
from fastcopy.serve.config import Behaviour
from fastcopy.serve.message import Body, Head, Refusal, Reply, Slice
from fastcopy.serve.ranges import page, wanted_range
from fastcopy.serve.routes import Route, digest_of, reference_of
from fastcopy.serve.store import Store

_OCTETS = "application/octet-stream"


class Pulling:
    """GET and HEAD."""

    def __init__(self, behaviour: Behaviour, store: Store) -> None:
        self.behaviour = behaviour
        self.store = store

    async def base(self, _head: Head, _body: Body, _route: Route) -> Reply:
        """end-1: is this a registry, and may I?"""
        return Reply.json(200, {})

    async def blob(self, head: Head, _body: Body, route: Route) -> Reply:
        """end-2, with one closed, open or suffix range and If-None-Match."""
        digest = digest_of(route.tail)
        found = self.store.blob(route.name, digest)
        if found is None:
            raise Refusal(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})
        headers = [("Content-Type", _OCTETS), *_identity(digest)]
        if _unchanged(head, digest):
            return Reply(304, headers)
        if not self.behaviour.ranges:
            return Reply(200, headers, Slice(found, 0, found.size))
        headers.append(("Accept-Ranges", "bytes"))
        part = wanted_range(head.headers.get("Range"), found.size) if head.method == "GET" else None
        if part is None or not _range_still_valid(head, digest):
            return Reply(200, headers, Slice(found, 0, found.size))
        start, length = part
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{found.size}"))
        return Reply(206, headers, Slice(found, start, length))

    async def manifest(self, head: Head, _body: Body, route: Route) -> Reply:
        """end-3: verbatim bytes under the media type they came with."""
        entry = self.store.catalogue.entry(route.name, reference_of(route.tail))
        found = self.store.content.get(entry.digest) if entry else None
        if entry is None or found is None:
            raise Refusal(404, "MANIFEST_UNKNOWN", "manifest unknown", detail={"reference": route.tail})
        headers = [("Content-Type", entry.media_type), *_identity(entry.digest)]
        if _unchanged(head, entry.digest):
            return Reply(304, headers)
        return Reply(200, headers, Slice(found, 0, found.size))

    async def tags(self, head: Head, _body: Body, route: Route) -> Reply:
        """end-8."""
        repository = self.store.catalogue.find(route.name)
        if repository is None or repository.empty():
            raise Refusal(404, "NAME_UNKNOWN", "repository name not known to registry", detail={"name": route.name})
        names, links = self._page(head, sorted(repository.tags), f"/v2/{route.name}/tags/list")
        return Reply.json(200, {"name": route.name, "tags": names}, *links)

    async def catalog(self, head: Head, _body: Body, _route: Route) -> Reply:
        """The list of repositories: distribution's, not OCI's."""
        names, links = self._page(head, self.store.catalogue.names(), "/v2/_catalog")
        return Reply.json(200, {"repositories": names}, *links)

    async def referrers(self, head: Head, _body: Body, route: Route) -> Reply:
        """end-12: an index, empty when there are none."""
        entries = self.store.catalogue.referrers(route.name, digest_of(route.tail))
        found = sorted(entries, key=lambda entry: entry.digest)
        kind, applied = head.asked("artifactType"), []
        if kind and self.behaviour.filters:
            found = [entry for entry in found if entry.artifact_type == kind]
            applied = [("OCI-Filters-Applied", "artifactType")]
        index = {
            "schemaVersion": 2,
            "mediaType": media.OCI_INDEX,
            "manifests": [entry.descriptor() for entry in found],
        }
        return Reply.json(200, index, *applied, kind=media.OCI_INDEX)

    def _page(self, head: Head, names: list[str], path: str) -> tuple[list[str], list[tuple[str, str]]]:
        return page(names, head.asked("n"), head.asked("last"), self.behaviour.page, path)


def _identity(digest: Digest) -> tuple[tuple[str, str], ...]:
    return ("Docker-Content-Digest", digest), ("ETag", f'"{digest}"')


def _unchanged(head: Head, digest: Digest) -> bool:
    wanted = [tag.strip().removeprefix("W/").strip('"') for tag in head.headers.get("If-None-Match").split(",")]
    return digest in wanted or wanted == ["*"]


def _range_still_valid(head: Head, digest: Digest) -> bool:
    condition = head.headers.get("If-Range")
    return not condition or condition.strip('"') == digest
