"""Everything that changes a registry: uploads, mounts, manifests, deletes (distribution-spec "Push")."""

from __future__ import annotations

from fastcopy.descriptor import Digest
from fastcopy.serve.access import Access
from fastcopy.serve.catalogue import Entry
from fastcopy.serve.config import ServeConfig
from fastcopy.serve.manifests import examine
from fastcopy.serve.message import Body, Head, Refusal, Reply
from fastcopy.serve.ranges import check_chunk, stored_range
from fastcopy.serve.reading import read_all
from fastcopy.serve.routes import NAME, TAG, Route, digest_of, reference_of
from fastcopy.serve.store import Store
from fastcopy.serve.uploads import Session, Uploads

_MOST_TAGS = 100


class Pushing:
    """POST, PATCH, PUT and DELETE."""

    def __init__(self, config: ServeConfig, store: Store, access: Access) -> None:
        self.behaviour = config.behaviour
        self.store = store
        self.access = access
        self.uploads = Uploads(store.content.spool, config.upload_hours * 3600)

    async def start(self, head: Head, body: Body, route: Route) -> Reply:
        """end-4a, 4b, 4c and 11: an upload, a whole blob in one request, or a mount."""
        mounted = self._mount(head, route)
        if mounted is not None:
            return mounted
        wanted = head.asked("digest")
        if wanted and self.behaviour.single_post:
            return await self._single(head, body, route, digest_of(wanted))
        algorithm = head.asked("digest-algorithm") or "sha256"
        if algorithm not in ("sha256", "sha512"):
            raise Refusal(400, "DIGEST_INVALID", "unsupported digest algorithm")
        session = self.uploads.start(route.name, algorithm)
        headers = self._where(head, session)
        if self.behaviour.chunk_minimum:
            headers.append(("OCI-Chunk-Min-Length", str(self.behaviour.chunk_minimum)))
        return Reply(202, headers)

    def _mount(self, head: Head, route: Route) -> Reply | None:
        """201 when the blob can be mounted; None means: open an upload instead (202), never an error."""
        wanted, origin = head.asked("mount"), head.asked("from")
        if not wanted or not self.behaviour.mounts:
            return None
        digest = digest_of(wanted)
        if origin and not (NAME.fullmatch(origin) and self.access.allows(head, origin, frozenset({"pull"}))):
            return None
        held = self.store.holds(origin, digest) if origin else self._may_find(head, digest)
        if not held or self.store.content.get(digest) is None:
            return None
        self.store.link(route.name, digest)
        return self._made(head, route.name, digest)

    def _may_find(self, head: Head, digest: Digest) -> bool:
        """A mount without `from` looks in the repositories that the client may read."""
        names = [name for name in self.store.catalogue.repositories if self.store.holds(name, digest)]
        return any(self.access.allows(head, name, frozenset({"pull"})) for name in names)

    async def _single(self, head: Head, body: Body, route: Route, digest: Digest) -> Reply:
        session = self.uploads.start(route.name, digest.algorithm)
        try:
            await self._pour(body, session)
            return await self._commit(head, session, digest)
        finally:
            self.uploads.end(session)

    async def status(self, head: Head, _body: Body, route: Route) -> Reply:
        """end-13: how far an upload has come."""
        async with self.uploads.held(route.name, route.tail) as session:
            return Reply(204, self._where(head, session))

    async def chunk(self, head: Head, body: Body, route: Route) -> Reply:
        """end-5: a chunk with Content-Range, or docker's streamed PATCH without."""
        if not self.behaviour.chunked:
            raise Refusal(405, "UNSUPPORTED", "chunked uploads are not supported", ("Allow", "PUT"))
        async with self.uploads.held(route.name, route.tail) as session:
            self._check(head, body, session)
            if self.behaviour.chunk_maximum and (body.length or 0) > self.behaviour.chunk_maximum:
                raise Refusal(416, "BLOB_UPLOAD_INVALID", "request body is too large")
            await self._pour(body, session)
            return Reply(202, self._where(head, session))

    async def finish(self, head: Head, body: Body, route: Route) -> Reply:
        """end-6: the last bytes, if any, and the digest they must have."""
        async with self.uploads.held(route.name, route.tail) as session:
            digest = digest_of(head.asked("digest"))
            if session.offset == 0 and body.length != 0:
                session.spool.use(digest.algorithm)
            self._check(head, body, session)
            await self._pour(body, session)
            try:
                return await self._commit(head, session, digest)
            finally:
                self.uploads.end(session)

    async def cancel(self, _head: Head, _body: Body, route: Route) -> Reply:
        """end-14."""
        async with self.uploads.held(route.name, route.tail) as session:
            self.uploads.end(session)
        return Reply(204)

    def _check(self, head: Head, body: Body, session: Session) -> None:
        check_chunk(head.headers.get("Content-Range"), session.offset, body.length, self._location(head, session.path))
        self._check_size(session.offset + (body.length or 0))

    async def _pour(self, body: Body, session: Session) -> None:
        self._check_size(body.length or 0)
        try:
            await body.pour(session.spool)
        except OSError:  # digested, perhaps not written: there is nothing to resume from
            self.uploads.end(session)
            raise
        self._check_size(session.offset)

    def _check_size(self, size: int) -> None:
        if self.behaviour.blob_limit and size > self.behaviour.blob_limit:
            raise Refusal(413, "SIZE_INVALID", "blob is larger than this registry takes")

    async def _commit(self, head: Head, session: Session, digest: Digest) -> Reply:
        actual = session.spool.digest(digest.algorithm)
        if actual != digest:
            detail = {"digest": digest, "received": actual, "size": session.offset}
            raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content", detail=detail)
        await self.store.keep_blob(session.name, digest, session.spool)
        return self._made(head, session.name, digest)

    async def manifest(self, head: Head, body: Body, route: Route) -> Reply:
        """end-7 and 7b: stored verbatim, once everything it refers to is there."""
        reference = reference_of(route.tail)
        raw = await read_all(body, self.behaviour.manifest_limit, "SIZE_INVALID")
        digest = reference if isinstance(reference, Digest) else None
        tags = self._extra_tags(head) if digest else [reference]
        entry = examine(raw, head.headers.get("Content-Type"), digest)
        self._check_mutable(route.name, tags, entry)
        self._check_references(route.name, entry)
        await self.store.put_manifest(route.name, entry, raw, tags)
        headers = [
            ("Location", self._location(head, f"/v2/{route.name}/manifests/{entry.digest}")),
            ("Docker-Content-Digest", entry.digest),
        ]
        if entry.subject and self.behaviour.referrers:
            headers.append(("OCI-Subject", entry.subject))
        return Reply(201, headers + [("OCI-Tag", tag) for tag in tags if digest])

    def _extra_tags(self, head: Head) -> list[str]:
        tags = head.query.get("tag", [])
        if len(tags) > _MOST_TAGS:
            raise Refusal(414, "TAG_INVALID", f"more than {_MOST_TAGS} tags")
        if not all(TAG.fullmatch(tag) for tag in tags):
            raise Refusal(400, "TAG_INVALID", "invalid tag")
        return tags

    def _check_mutable(self, name: str, tags: list[str], entry: Entry) -> None:
        for tag in tags:
            there = self.store.catalogue.entry(name, tag)
            if f"{name}:{tag}" in self.behaviour.immutable_tags and there and there.digest != entry.digest:
                raise Refusal(412, "PRECONDITION", f"Failed to process request due to '{tag}' configured as immutable.")

    def _check_references(self, name: str, entry: Entry) -> None:
        if not self.behaviour.check_references:
            return
        for digest in entry.blobs:
            if not self.store.holds(name, digest):
                raise _unknown("blob", digest)
        for child in entry.children:
            if self.store.catalogue.entry(name, child.digest) is None:
                raise _unknown("manifest", child.digest)

    async def remove_manifest(self, _head: Head, _body: Body, route: Route) -> Reply:
        """end-9: by digest with its tags, or a tag alone."""
        reference = reference_of(route.tail)
        if isinstance(reference, Digest):
            removed = await self.store.remove_manifest(route.name, reference)
        else:
            removed = await self.store.untag(route.name, reference)
        if not removed:
            raise Refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Reply(202)

    async def remove_blob(self, _head: Head, _body: Body, route: Route) -> Reply:
        """end-10."""
        if not await self.store.remove_blob(route.name, digest_of(route.tail)):
            raise Refusal(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return Reply(202)

    def _made(self, head: Head, name: str, digest: Digest) -> Reply:
        location = self._location(head, f"/v2/{name}/blobs/{digest}")
        return Reply(201, [("Location", location), ("Docker-Content-Digest", digest)])

    def _where(self, head: Head, session: Session) -> list[tuple[str, str]]:
        location, held = self._location(head, session.path), stored_range(session.offset)
        return [("Location", location), ("Docker-Upload-UUID", session.id), ("Range", held)]

    def _location(self, head: Head, path: str) -> str:
        return f"{head.scheme}://{head.authority}{path}" if self.behaviour.absolute_locations else path


def _unknown(what: str, digest: Digest) -> Refusal:
    return Refusal(400, "MANIFEST_BLOB_UNKNOWN", f"{what} unknown to registry", detail={"digest": digest})
