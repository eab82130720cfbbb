"""docker:// - a repository of a registry as Source and Destination.

Owns the order of requests and what is learnt of a registry's manners on the way. Knows neither sockets (the client's)
nor the wording of the protocol (`_registry`'s). Never sleeps, never repeats.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fastcopy.descriptor import Descriptor, Digest, is_digest
from fastcopy.errors import Again, FastcopyError, LinkLost, PeerError, ProtocolBroken, SizeMismatch
from fastcopy.http.retry import error_from
from fastcopy.http.wire import Response, Url
from fastcopy.names import DockerRef, image_name
from fastcopy.threads import in_thread
from fastcopy.transports import _companions as beside
from fastcopy.transports import _registry as ask
from fastcopy.transports._signed import Targets
from fastcopy.transports._upload import PushedUpload, Registry, write_small
from fastcopy.transports.base import (
    Accepts,
    BlobReader,
    Destination,
    RawManifest,
    Referrers,
    Source,
    Upload,
    verified,
)

if TYPE_CHECKING:
    from fastcopy._native import Inlet, Report
    from fastcopy.http.lease import BodyLease


DISCARD_PIECE = 1 << 20


class RegistryReader(BlobReader):
    """The body of a blob's GET."""

    def __init__(self, lease: BodyLease, length: int) -> None:
        self._lease = lease
        self.length = length
        self.inlet: Inlet | None = lease.inlet
        self._kept = b""
        self._open = True

    async def read_some(self) -> bytes:
        kept, self._kept = self._kept, b""
        return kept or await self._lease.read_some()

    async def discard(self, count: int) -> None:
        """Throw away the first *count* bytes: the server ignored the Range, the whole blob comes."""
        while count > 0:
            got = await self._discard_some(count)
            if got == 0:
                raise LinkLost("the blob ended before the offset that was asked for")
            count -= got

    async def _discard_some(self, count: int) -> int:
        if self.inlet is not None:
            from fastcopy._native import PumpError

            room = memoryview(bytearray(min(count, DISCARD_PIECE)))
            try:
                return await in_thread(partial(self.inlet.read_into, room), self.inlet.stop)
            except PumpError as error:
                raise LinkLost(f"the blob broke off before the offset that was asked for: {error}") from None
        piece = await self._lease.read_some()
        self._kept = piece[count:]
        return min(len(piece), count)

    async def settle(self, report: Report | None) -> None:
        if self._open:
            self._open = False
            await self._lease.settle(report)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._lease.close()


class RegistrySource(Source):
    """Reads one repository."""

    def __init__(self, registry: Registry, ref: DockerRef, path: str = "") -> None:
        self.registry, self.ref = registry, ref
        self.name = image_name(ref)
        self.host = registry.name
        self.place = path or ref.repository
        self.alone = ""
        self._targets = Targets()

    @property
    def ranges(self) -> bool:
        return self.registry.manners.ranges

    @property
    def repo(self) -> ask.Repository:
        """The repository as the protocol names it."""
        return self.registry.repository(self.place)

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        reference = str(digest or self.ref.reference)
        response = await self.registry.client.request(ask.get_manifest(self.repo, reference))
        return RawManifest(*ask.read_manifest(response, self.repo, reference))

    async def head(self) -> tuple[Digest | None, str]:
        request = ask.get_manifest(self.repo, self.ref.reference, "HEAD")
        response = await self.registry.client.request(request)
        self.registry.pulls = ask.read_pulls(response) or self.registry.pulls
        return ask.read_current(response)

    async def tags(self) -> AsyncIterator[list[str]]:
        """Tags, page by page, in the registry's order."""
        page: Url | None = None
        seen: set[Url] = set()
        while True:
            request = ask.list_tags(self.repo, page)
            tags, page = ask.read_tags(await self.registry.client.request(request), self.repo, request.url)
            yield tags
            if page is None or page in seen:
                return
            seen.add(page)

    async def names(self) -> list[str]:
        return [tag async for page in self.tags() for tag in page]

    async def referrers(self, subject: Digest, artifact_type: str = "") -> Referrers:
        return await beside.referrers(self.registry, self.repo, subject, artifact_type)

    def companion(self, tag: str) -> RegistrySource:
        return RegistrySource(self.registry, self.ref.with_tag(tag), self.place)

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        try:
            return await self._open(what, first, last)
        except PeerError as error:
            if error.status not in (206, 416) or (first and last is not None):
                raise
        return await self._open_whole(what, first)  # ranges are not its strength: read it all, skip the beginning

    async def _open(self, what: Descriptor, first: int, last: int | None) -> BlobReader:
        request = ask.get_blob(self.repo, what, first, last)
        lease = await self._targets.open_body(self.registry.client, request, what.digest)
        try:
            return await self._reader(lease, what, first, last)
        except BaseException:
            lease.close()
            raise

    async def _open_whole(self, what: Descriptor, skip: int) -> BlobReader:
        reader = await self._open(what, 0, None)
        assert isinstance(reader, RegistryReader)
        try:
            await reader.discard(skip)
        except BaseException:
            reader.close()
            raise
        return reader

    async def _reader(self, lease: BodyLease, what: Descriptor, first: int, last: int | None) -> BlobReader:
        if lease.response.status not in (200, 206):
            raise self._refusal(lease.response, what)
        whole = first == 0 and last is None
        if whole and lease.response.status == 200:
            if what.size >= 0 and lease.length not in (None, what.size):
                raise SizeMismatch(f"blob {what.digest} has {lease.length} bytes, its descriptor says {what.size}")
            return RegistryReader(lease, lease.length if lease.length is not None else -1)
        end = last if last is not None else what.size - 1
        skip = ask.read_range(lease.response, what, first, end)
        reader = RegistryReader(lease, end - first + 1)
        await reader.discard(skip)
        return reader

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        request = ask.get_blob(self.repo, what)
        response = await self.registry.client.request(request.limited(max(what.size, 0) or limit))
        if response.status != 200:
            raise self._refusal(response, what)
        return verified(response.body, what)

    def _refusal(self, response: Response, what: Descriptor) -> FastcopyError:
        """What a refused blob means; a storage's 403 is an expired URL, for which the registry has a fresh one."""
        error = error_from(response, what=f"reading blob {what.digest}: fetching blob")
        at, home = response.url and response.url.origin, self.repo.origin
        if response.status == 403 and at and (at.host, at.port) != (home.host, home.port):
            error.again = Again.SAME
        return error


class MirroredSource(Source):
    """Mirrors in order, then the primary: the first that yields the manifest serves everything (registries.conf)."""

    def __init__(self, ref: DockerRef, sources: list[RegistrySource]) -> None:
        self.name = image_name(ref)
        self._sources, self._chosen = sources, sources[-1]
        self.host, self.place, self.alone = self._chosen.host, self._chosen.place, ""

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        if digest is not None:
            return await self._chosen.manifest(digest)
        failures: list[str] = []
        for source in self._sources[:-1]:
            try:
                return await self._choose(source)
            except FastcopyError as error:
                failures.append(f"[{source.name}: {error.message}]")
        try:
            return await self._choose(self._sources[-1])
        except FastcopyError as error:
            error.message = f"(Mirrors also failed: {' '.join(failures)}): {error.message}"
            raise

    async def _choose(self, source: RegistrySource) -> RawManifest:
        found = await source.manifest()
        self._chosen, self.host, self.place = source, source.host, source.place
        return found

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        return await self._chosen.open_blob(what, first, last)

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        return await self._chosen.read_blob(what, limit)

    async def names(self) -> list[str]:
        return await self._chosen.names()

    async def referrers(self, subject: Digest, artifact_type: str = "") -> Referrers:
        return await self._chosen.referrers(subject, artifact_type)

    def companion(self, tag: str) -> RegistrySource:
        return self._chosen.companion(tag)


class RegistryDestination(Destination):
    """Writes one repository."""

    def __init__(self, registry: Registry, ref: DockerRef) -> None:
        self.registry, self.ref = registry, ref
        self.name = image_name(ref)
        self.host = registry.name
        self.place = ref.repository
        self.alone = ""
        self.accepts = Accepts(mounts=registry.manners.mount, compression="compress", pinned=ref.digest is not None)
        self._spare: dict[Digest, Url] = {}  #: uploads that refused mounts left behind, ready to be used

    @property
    def repo(self) -> ask.Repository:
        """The repository as the protocol names it."""
        return self.registry.repository(self.place)

    async def current(self) -> Digest | None:
        if not self.ref.reference:
            return None
        request = ask.get_manifest(self.repo, self.ref.reference, "HEAD")
        digest, _ = ask.read_current(await self.registry.client.request(request))
        return digest

    async def has_blob(self, what: Descriptor) -> bool:
        response = await self.registry.client.request(ask.head_blob(self.repo, what))
        return ask.read_head(response, what)

    async def _start(self, what: Descriptor, mount_from: str) -> Url | None:
        request = ask.start_upload(self.repo, what, mount_from)
        response = await self.registry.client.request(request)
        if mount_from and response.status in (400, 401, 403, 404, 405):
            # a refused mount is no reason not to upload (protocol reference 0.5)
            request = ask.start_upload(self.repo, what)
            response = await self.registry.client.request(request)
        where = f"/v2/{self.place}/blobs/uploads/ in {self.host}"
        return ask.read_started(response, request.url, where)

    async def begin(self, what: Descriptor) -> Upload:
        location: Url | None = await self._location(what)
        if location is not None and self.registry.manners.unknown(what.size):
            location = await self.registry.learn(self.repo, location)
        return PushedUpload(self.registry, self.repo, what, location or await self._location(what))

    def elsewhere(self, place: str) -> Destination:
        return RegistryDestination(self.registry, DockerRef(self.ref.domain, place))

    async def resume(self, what: Descriptor, location: str) -> Upload | None:
        if self.registry.manners.resumes is False:
            return None
        at = Url.parse(location)
        response = await self.registry.client.request(ask.upload_status(at, self.repo))
        found = ask.read_status(response, at)
        if found is None or not 0 < found[1] <= what.size:
            return None
        self.registry.manners = replace(self.registry.manners, resumes=True)
        return PushedUpload(self.registry, self.repo, what, *found)

    async def mount(self, what: Descriptor, mount_from: str) -> bool:
        location = await self._start(what, mount_from)
        if location is not None:
            self._spare[what.digest] = location
        return location is None

    async def _location(self, what: Descriptor) -> Url:
        """An open upload: the one a refused mount left behind, or a new one."""
        location = self._spare.pop(what.digest, None) or await self._start(what, "")
        if location is None:
            raise ProtocolBroken("the registry answered 201 to the start of an upload that carried no blob", status=201)
        return location

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        location = self._spare.pop(what.digest, None)
        if location is None and self.registry.manners.single_post:
            location = await self._post_whole(what, data)
            if location is None:
                return
        await write_small(self.registry, self.repo, what, location or await self._location(what), data)

    async def _post_whole(self, what: Descriptor, data: bytes) -> Url | None:
        """One request instead of two; where the registry then starts an upload after all, its Location."""
        request = ask.post_blob(self.repo, what, data)
        response = await self.registry.client.request(request)
        return ask.read_started(response, request.url, f"/v2/{self.place}/blobs/uploads/ in {self.host}")

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        reference = (self.ref.reference if top else "") or str(digest)
        request = ask.put_manifest(self.repo, reference, raw, media_type)
        response = await self.registry.client.request(request)
        ask.read_put(response, self.repo, reference, raw, digest)
        self.lists_subjects = "oci-subject" in response.headers

    async def referrers(self, subject: Digest) -> Referrers:
        return await beside.referrers(self.registry, self.repo, subject)

    async def has_manifest(self, digest: Digest) -> bool:
        return await beside.has_manifest(self.registry, self.repo, digest)

    async def list_referrers(self, subject: Digest, entries: Sequence[Descriptor]) -> None:
        await beside.list_referrers(self.registry, self.repo, subject, entries)

    def companion(self, reference: str) -> RegistryDestination:
        ref = self.ref.with_digest(Digest(reference)) if is_digest(reference) else self.ref.with_tag(reference)
        return RegistryDestination(self.registry, ref)


async def delete_image(registry: Registry, ref: DockerRef) -> None:
    """Delete the manifest *ref* names, by its digest (end-9)."""
    source = RegistrySource(registry, ref)
    digest = (await source.manifest()).digest
    response = await registry.client.request(ask.delete_manifest(source.repo, digest))
    ask.read_deleted(response, str(ref))


async def delete_reference(repository: RegistrySource, reference: str) -> bool:
    """Delete a tag, or a manifest by its digest (end-9); False where the registry does not do that, or has it not."""
    response = await repository.registry.client.request(ask.delete_manifest(repository.repo, reference))
    return ask.read_whether_deleted(response, f"{reference} of {repository.place}")


async def ping(registry: Registry) -> None:
    """GET /v2/ (end-1) with the credentials there are; raises NeedsLogin or Denied when they do not do."""
    response = await registry.client.request(ask.check_api(registry.client.host.api))
    if response.status != 200:
        raise error_from(response, what=f"checking {registry.name}")


async def catalog(registry: Registry) -> list[str]:
    """Every repository that the registry lists (distribution's _catalog, not in the OCI specification)."""
    found: list[str] = []
    request = ask.list_catalog(registry.client.host.api)
    while True:
        response = await registry.client.request(request)
        page, following = ask.read_catalog(response, request.url)
        found += page
        if following is None or following == request.url:
            return found
        request = ask.list_catalog(registry.client.host.api, following)
