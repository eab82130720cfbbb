"""One image from a source to a destination: manifests read, blobs ensured, children before their index, name last.

Manifests travel verbatim. A reference is resolved to bytes once; everything after that goes by digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from fastcopy import platforms
from fastcopy.descriptor import Descriptor, Digest, Platform
from fastcopy.errors import BadManifest, FastcopyError, PeerError
from fastcopy.events import BlobKind, ImageDone, ImageStarted, ListStarted, ManifestWritten
from fastcopy.manifest import Manifest
from fastcopy.options import CopyOptions
from fastcopy.transfer.ensure import ensure_blob
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transfer.shared import gather
from fastcopy.transports.base import Destination, RawManifest, Source

#: Indexes inside indexes are legal; cycles are impossible by digest, absurd depth is refused.
MAX_DEPTH = 8
#: A registry that stores blobs eventually may deny for a moment that it has them (ECR, protocol reference 3.4).
BLOB_DENIALS = 3


@dataclass(frozen=True, slots=True)
class Copied:
    """What is now at the destination."""

    digest: Digest
    media_type: str
    present: bool = False
    digest_map: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads manifests and configs of one source, in slots and with retries."""

    run: Run
    source: Source

    async def manifest(self, digest: Digest | None) -> Manifest:
        """What the source's reference names (None), or the manifest with *digest*."""
        step = Step(f"reading manifest of {self.source.name}", partial(self._fetch, digest), source=self.source.host)
        try:
            raw = await self.run.perform(step)
            return Manifest.parse(raw.raw, raw.media_type, digest)
        except FastcopyError as error:
            if digest is None:
                error.message = f"initializing source {self.source.name}: {error.message}"
            raise error.blame("source") from None

    async def _fetch(self, digest: Digest | None) -> RawManifest:
        return await blamed("source", self.source.manifest(digest))

    async def instance(self, top: Manifest) -> Manifest:
        """*top*, or the instance of it that the options ask for."""
        depth = 0
        while top.is_index and depth <= MAX_DEPTH:
            chosen = platforms.choose(top, wanted_platforms(self.run.copy))
            top, depth = await self.manifest(chosen.digest), depth + 1
        return top

    async def config(self, manifest: Manifest) -> bytes | None:
        """The config blob, None for schema 1."""
        if manifest.config is None:
            return None
        read = partial(self.source.read_blob, manifest.config)
        return await self.run.perform(Step("reading config", read, source=self.source.host))


def wanted_platforms(options: CopyOptions) -> tuple[Platform, ...]:
    """The platforms that would do, best first."""
    return platforms.wanted(options.override_os, options.override_arch, options.override_variant)


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """The copy of one name to another."""

    run: Run
    source: Source
    destination: Destination

    @property
    def reader(self) -> Reader:
        """The source as a reader of manifests."""
        return Reader(self.run, self.source)

    async def go(self) -> Copied:
        """Copy; the destination's name points to the result when this returns, and to nothing new if it raises."""
        top, current = await self._heads()
        wanted = self._wanted(top)
        if wanted and current == wanted.digest:
            self.run.emit(ImageDone(wanted.digest, present=True))
            return Copied(wanted.digest, wanted.media_type, present=True)
        copied = await self._copy(top, wanted)
        await blamed("destination", self.destination.commit())
        return copied

    async def _heads(self) -> tuple[Manifest, Digest | None]:
        """The source's manifest and, at the same time, what the destination's name points to now."""
        found: list[Digest | None] = []

        async def look() -> Manifest | None:
            found.append(await self._current())
            return None

        top, _ = await gather(self._read_top, look)
        assert top is not None
        return top, found[0]

    async def _read_top(self) -> Manifest | None:
        return await self.reader.manifest(None)

    async def _current(self) -> Digest | None:
        """Never an error: when it cannot be learnt, the copy goes the long way and meets the error there."""
        step = Step("reading what is there", self.destination.current, destination=self.destination.host)
        try:
            return await self.run.perform(step)
        except FastcopyError:
            return None

    def _wanted(self, top: Manifest) -> Descriptor | None:
        """What the destination's name has to point to for everything to be there; None: that alone proves nothing."""
        options = self.run.copy
        if not top.is_index:
            return top.descriptor
        if options.platforms or options.multi_arch == "index-only":
            return None
        return top.descriptor if options.multi_arch == "all" else platforms.choose(top, wanted_platforms(options))

    async def _copy(self, top: Manifest, wanted: Descriptor | None) -> Copied:
        if not top.is_index:
            return await self._single(top, top_level=True)
        if wanted and wanted.digest != top.digest:
            return await self._single(await self.reader.manifest(wanted.digest), top_level=True)
        return await self._list(top, top_level=True)

    async def _list(self, index: Manifest, *, top_level: bool, depth: int = 0) -> Copied:
        if depth > MAX_DEPTH:
            raise BadManifest(f"index {index.digest}: indexes are nested more than {MAX_DEPTH} deep", side="source")
        children = self._selected(index)
        self.run.emit(ListStarted(index.digest, len(children), len(index.children)))
        count = len(children)
        await gather(*(partial(self._child, each, n, count, depth) for n, each in enumerate(children, 1)))
        await self._put(index, "list", top_level=top_level)
        return Copied(index.digest, index.media_type)

    def _selected(self, index: Manifest) -> tuple[Descriptor, ...]:
        if self.run.copy.multi_arch == "index-only":
            return ()
        wanted = self.run.copy.platforms
        return tuple(platforms.select(index, wanted)) if wanted else _once(index.children)

    async def _child(self, what: Descriptor, number: int, count: int, depth: int) -> None:
        manifest = await self.reader.manifest(what.digest)
        if manifest.is_index:
            await self._list(manifest, top_level=False, depth=depth + 1)
            return
        await self._single(manifest, top_level=False, platform=str(what.platform or ""), number=number, count=count)

    async def _single(
        self, manifest: Manifest, *, top_level: bool, platform: str = "", number: int = 1, count: int = 1
    ) -> Copied:
        self.run.emit(ImageStarted(manifest.digest, platform, number, count))
        await self._blobs(manifest)
        await self._put(manifest, "manifest", top_level=top_level)
        self.run.emit(ImageDone(manifest.digest))
        return Copied(manifest.digest, manifest.media_type)

    async def _blobs(self, manifest: Manifest) -> None:
        await gather(*(partial(self._blob, manifest, each) for each in manifest.blobs()))

    async def _blob(self, manifest: Manifest, what: Descriptor) -> None:
        kind: BlobKind = "config" if manifest.config and what.digest == manifest.config.digest else "blob"
        await ensure_blob(self.run, self.source, self.destination, what, kind)

    async def _put(self, manifest: Manifest, kind: str, *, top_level: bool) -> None:
        self.run.emit(ManifestWritten(manifest.digest, "list" if kind == "list" else "manifest"))
        for denial in range(BLOB_DENIALS):
            try:
                await self.run.perform(self._put_step(manifest, top_level))
                return
            except PeerError as error:
                if error.code != "MANIFEST_BLOB_UNKNOWN" or denial == BLOB_DENIALS - 1 or manifest.is_index:
                    raise
                await self._ensure_again(manifest)

    def _put_step(self, manifest: Manifest, top_level: bool) -> Step[None]:
        async def put() -> None:
            target = self.destination
            written = target.put_manifest(manifest.raw, manifest.media_type, manifest.digest, top=top_level)
            await blamed("destination", written)

        return Step(f"writing manifest {manifest.digest}", put, destination=self.destination.host)

    async def _ensure_again(self, manifest: Manifest) -> None:
        """The registry misses a blob we believe is there: forget what we believe, look again."""
        for what in manifest.blobs():
            key = (self.destination.host, self.destination.place, what.digest)
            self.run.known.forget(*key)
            self.run.shared.forget(("blob", *key))
        await self._blobs(manifest)


def _once(children: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    return tuple({child.digest: child for child in children}.values())
