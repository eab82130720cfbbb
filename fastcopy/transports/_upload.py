"""Pushing one blob into a registry, in whichever of the three styles its manners ask for.

put:    PUT with Content-Length: one body, and it closes the upload (default: two requests with the POST)
patch:  one streamed PATCH, then an empty PUT
chunks: PATCHes with Content-Range, then an empty PUT; the way of large blobs at registries that resume uploads
A blob of unknown length is one PATCH in chunked coding, or `chunks` where the registry limits bodies.
A style that is refused is replaced by the next for the whole registry; the blob then starts anew.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import Again, FastcopyError, LinkError, Unsupported, UploadLost
from fastcopy.http.wire import Request, Response, Url
from fastcopy.transports import _registry as ask
from fastcopy.transports._manners import FALL_BACK_ON, Manners, UploadStyle, after_refusal, manners_of
from fastcopy.transports.base import Upload

if TYPE_CHECKING:
    from fastcopy._native import Outlet, Report
    from fastcopy.http.client import Client
    from fastcopy.http.lease import UploadLease


@dataclass
class Registry:
    """One registry as one side of a run sees it: a client, and what has been learnt of its manners."""

    name: str
    client: Client
    manners: Manners = field(init=False)
    pulls: ask.PullBudget | None = None  #: as the last HEAD of a manifest said
    stumbled: set[str] = field(default_factory=set)  #: uploads that did not stand where their status said

    def __post_init__(self) -> None:
        self.manners = manners_of(self.name)

    def repository(self, path: str) -> ask.Repository:
        """The repository *path* behind this registry's API."""
        return ask.Repository(self.client.host.api, path)

    def refused(self, status: int, style: UploadStyle, size: int) -> bool:
        """An upload of *size* bytes in *style* was answered *status*: whether another style (now set) is worth a try.

        Uploads under way at once are refused one after the other; only the first moves the registry on.
        """
        if status in FALL_BACK_ON and style != self.manners.style_for(size):
            return True
        following = after_refusal(self.manners, status, size)
        if following is None:
            return False
        self.manners = following
        return True

    async def learn(self, repo: ask.Repository, location: Url) -> Url | None:
        """Find out with the fresh upload at *location* whether uploads can be resumed here; where it is now, if it is.

        A registry that counts refuses a part that begins elsewhere (416), and then tells that the upload stands at 0.
        """
        response = await self.client.request(ask.probe_upload(location, repo))
        if response.status != 416:
            self.manners = replace(self.manners, resumes=False)
            return ask.read_patched(response, location) if response.status in (201, 202, 204) else None
        found = ask.read_status(await self.client.request(ask.upload_status(location, repo)), location)
        self.manners = replace(self.manners, resumes=found is not None and found[1] == 0)
        return found and found[0]


class PushedUpload(Upload):
    """An upload session; `open` sends a request's head, the pump its body, `next` or `finish` read the answer."""

    streams = True

    def __init__(
        self, registry: Registry, repo: ask.Repository, what: Descriptor, location: Url, offset: int = 0
    ) -> None:
        manners = registry.manners
        self._registry, self._repo, self._what = registry, repo, what
        self._location = location
        self._resumable = manners.resumable(what.size)
        self._style = manners.style_for(what.size)
        self._lease: UploadLease | None = None
        self._streamed = False  #: the body came by `send`
        self.offset = offset
        self._opened = 0  #: bytes of the part that is on its way
        self._gone = False  #: there is no upload any more, or it became a blob
        self._kept = bytearray()  #: of a body of unknown length, what does not fill a part yet
        self.part_limit = manners.part(what.size) if self._style == "chunks" else None

    @property
    def location(self) -> str:
        return str(self._location) if self._resumable and not self._gone else ""

    def whole(self) -> None:
        if self._resumable and self.offset == 0:
            self._resumable = False
            self._style = replace(self._registry.manners, resumes=False).style_for(self._what.size)
            self.part_limit = self._registry.manners.chunk if self._style == "chunks" else None

    async def open(self, length: int) -> Outlet:
        request = self._request(length)
        self._opened = length
        self._lease = await self._registry.client.open_upload(request, length)
        self.pausable = self._lease.pausable  # not over HTTP/2: a pump ends the stream that it fills
        outlet = self._lease.outlet
        if outlet is None:  # TLS inside TLS has no socket that a pump could hold
            self.close()
            raise Unsupported(
                "large blobs cannot be uploaded through an https:// proxy in this version of fastcopy",
                hint="reach the proxy by http://, the registry's own TLS goes through it",
            )
        return outlet

    def _request(self, length: int) -> Request:
        if self._style == "put":
            return ask.put_blob(self._location, self._repo, self._what.digest)
        if self._style == "patch":
            return ask.patch_blob(self._location, self._repo)
        return ask.patch_blob(self._location, self._repo, self.offset, self.offset + length - 1)

    async def next(self, report: Report) -> None:
        response = await self._answer(report)
        self._judge(response)
        self._location = ask.read_patched(response, self._location)
        self.offset += self._opened

    async def send(self, data: bytes) -> None:
        self._streamed = True
        if self._style == "chunks" or self._registry.manners.put_limit is not None:
            self._style = "chunks"
            self._kept += data
            while len(self._kept) >= self._registry.manners.chunk:
                await self._send_part(self._registry.manners.chunk)
            return
        if self._lease is None:
            self._style = "patch"
            request = ask.patch_blob(self._location, self._repo)
            self._lease = await self._registry.client.open_upload(request, None)
        await self._lease.send(data)

    async def _send_part(self, size: int) -> Response:
        """The first *size* bytes that were kept, as a part of their own."""
        body = bytes(self._kept[:size])
        request = ask.patch_blob(self._location, self._repo, self.offset, self.offset + len(body) - 1)
        response = await self._registry.client.request(request.with_body(body).once())
        self._judge(response)
        self._location = ask.read_patched(response, self._location)
        self.offset += len(body)
        del self._kept[:size]
        return response

    async def _sent_off(self, digest: Digest, size: int) -> None:
        """Close a body that `send` carried."""
        self._what = replace(self._what, digest=digest, size=size)
        if self._lease is not None:
            lease, self._lease = self._lease, None
            response = await lease.finish(None)
            self._judge(response)
            self._location = ask.read_patched(response, self._location)
        elif self._kept:
            await self._send_part(len(self._kept))
        await self._close_with(await self._registry.client.request(self._closing(digest)), digest)

    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        if self._streamed:
            await self._sent_off(digest, size)
        elif self._style == "put":
            await self._finish_put(report, digest)
        else:
            await self._finish_parts(report, digest)

    async def _finish_put(self, report: Report, digest: Digest) -> None:
        try:
            response = await self._answer(report)
        except LinkError:
            if await self._is_there():  # the answer to the closing PUT was lost, not the blob
                self._gone = True
                return
            raise
        self._judge(response)
        await self._close_with(response, digest)

    async def _finish_parts(self, report: Report, digest: Digest) -> None:
        """The answer to the last part, if one is on its way, then the empty PUT."""
        if self._lease is not None:
            await self.next(report)
        try:
            response = await self._registry.client.request(self._closing(digest))
        except LinkError:
            if await self._is_there():
                self._gone = True
                return
            raise
        await self._close_with(response, digest)

    async def _close_with(self, response: Response, digest: Digest) -> None:
        """A registry forgets an upload whose digest it denies; what it said decides."""
        self._gone = response.status in (201, 204, 400, 404)
        ask.read_closed(response, digest)

    def _closing(self, digest: Digest) -> Request:
        return ask.put_blob(self._location, self._repo, digest).with_body(b"").once()

    async def _is_there(self) -> bool:
        try:
            response = await self._registry.client.request(ask.head_blob(self._repo, self._what))
            return ask.read_head(response, self._what)
        except FastcopyError:
            return False

    async def _answer(self, report: Report) -> Response:
        assert self._lease is not None
        lease, self._lease = self._lease, None
        return await lease.finish(report)

    def _judge(self, response: Response) -> None:
        """An answer that refuses the style makes the blob start anew in another one.

        So does a 401: the POST was let in, so the token aged under way, and a fresh one is ready. What can be resumed
        is asked how far it has come instead, also where it is out of step (416).
        """
        self._gone = response.status == 404
        if response.status == 401:
            raise self._lost("the token expired during the upload", 401)
        if response.status == 416 and self._resumable and self.offset:
            raise self._out_of_step()
        if response.status >= 400 and self._registry.refused(response.status, self._style, self._what.size):
            raise UploadLost(
                f"{self._registry.name} refuses this way of uploading ({response.status}), trying another",
                status=response.status,
            )

    def _out_of_step(self) -> UploadLost:
        """Asked again once: a connection that broke may still have been read from. Twice, the status is not true."""
        path = self._location.target.partition("?")[0]
        error = self._lost("the upload does not stand where its last part ended", 416)
        if path in self._registry.stumbled:
            error.again = Again.FRESH
        self._registry.stumbled.add(path)
        return error

    def _lost(self, why: str, status: int) -> UploadLost:
        error = UploadLost(f"{self._registry.name}: {why}", status=status)
        if self._resumable:
            error.again = Again.SAME
        return error

    async def abandon(self) -> None:
        if self._gone:
            return
        with contextlib.suppress(FastcopyError):
            await self._registry.client.request(ask.cancel_upload(self._location, self._repo))
        self._gone = True

    async def explain(self, report: Report) -> FastcopyError | None:
        try:
            response = await self._answer(report)
            self._judge(response)
            ask.read_closed(response, self._what.digest)
        except LinkError:
            return None
        except FastcopyError as error:
            return error
        return None

    def close(self) -> None:
        if self._lease is not None:
            self._lease.close()
            self._lease = None


async def write_small(registry: Registry, repo: ask.Repository, what: Descriptor, location: Url, data: bytes) -> None:
    """Push a blob that is in memory into the upload at *location*."""
    style = registry.manners.upload
    if style == "put":
        response = await registry.client.request(ask.put_blob(location, repo, what.digest).with_body(data).once())
        if response.status >= 400 and registry.refused(response.status, style, what.size):
            raise UploadLost(f"{registry.name} refuses this way of uploading ({response.status}), trying another")
    else:
        patched = await registry.client.request(ask.patch_blob(location, repo).with_body(data).once())
        location = ask.read_patched(patched, location)
        response = await registry.client.request(ask.put_blob(location, repo, what.digest).with_body(b"").once())
    ask.read_closed(response, what.digest)
