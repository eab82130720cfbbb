"""oci: - an OCI image layout directory; oci-archive: - the same inside a tar, read in place.

Owns where blobs lie and when a reference becomes visible. Refuses to know the index's rules (`_layout`'s).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fastcopy import media
from fastcopy.descriptor import Descriptor, Digest, is_digest
from fastcopy.errors import FastcopyError, Unsupported
from fastcopy.manifest import MAX_MANIFEST, Manifest
from fastcopy.names import ArchiveRef, OciRef
from fastcopy.transports import _layout as layout
from fastcopy.transports import _referrers as talk
from fastcopy.transports._archive_out import ArchiveDestination
from fastcopy.transports._files import DirectoryFiles, Files
from fastcopy.transports._local import FileUpload, Room, holds, in_thread
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
    from pathlib import Path

#: What an OCI layout may hold: Docker's formats are converted on the way in, or refused.
OCI_ONLY = frozenset({media.OCI_MANIFEST, media.OCI_INDEX})


_NEEDS_NAME = "has no name: in a layout that holds more than one image, each needs one (oci:PATH:NAME)"


def below_blobs(digest: Digest) -> str:
    """Where a blob lies, relative to the directory of all blobs."""
    return f"{digest.algorithm}/{digest.hex}"


class OciSource(Source):
    """Reads one layout: *files* has its index, *shared* the blobs when they lie elsewhere."""

    def __init__(self, ref: OciRef | ArchiveRef, files: Files, shared: Path | None = None) -> None:
        self.name, self.host, self.place = str(ref), "", os.path.realpath(ref.path)
        self.alone = ""
        self._ref, self._files, self._shared = ref, files, shared
        self._blobs, self._prefix = (DirectoryFiles(str(shared)), "") if shared else (files, "blobs/")

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        what = Descriptor(digest) if digest else await self._named()
        data = await self._blobs.read(self._file(what), MAX_MANIFEST)
        return RawManifest(verified(data, what), what.media_type, what.digest)

    async def _index(self) -> layout.Document:
        await self._files.prepare()
        shown = self._files.shown(layout.INDEX)
        return layout.parse(await self._files.read(layout.INDEX, layout.MAX_INDEX), shown)

    async def names(self) -> list[str]:
        return [name for each in (await self._index())["manifests"] if (name := layout.ref_name(each))]

    async def referrers(self, subject: Digest, artifact_type: str = "") -> Referrers:
        """Those under the tag of *subject*, and manifests without a tag that name it (``repo@digest``: `serve`'s)."""
        document, tag = await self._index(), talk.fallback_tag(subject)
        found: dict[Digest, Descriptor] = {}
        for entry in document["manifests"]:
            what = layout.descriptor(entry, self._files.shown(layout.INDEX))
            name = layout.ref_name(entry) or ""
            if name.rpartition(":")[2] == tag:
                raw = verified(await self._blobs.read(self._file(what), MAX_MANIFEST), what)
                found |= {each.digest: each for each in talk.index_of(raw, subject).children}
            elif (not name or "@" in name) and what.media_type in OCI_ONLY:
                manifest = Manifest.parse((await self.manifest(what.digest)).raw, what.media_type, what.digest)
                if manifest.subject and manifest.subject.digest == subject:
                    found[what.digest] = manifest.referrer
        return Referrers(tuple(found.values()))

    def companion(self, tag: str) -> OciSource:
        ref = replace(self._ref, digest=None) if isinstance(self._ref, OciRef) else self._ref
        return OciSource(replace(ref, name=tag, index=-1), self._files, self._shared)

    async def _named(self) -> Descriptor:
        """What the reference names; a missing or unknown ``oci-layout`` is refused as image-layout.md asks."""
        shown = self._files.shown(layout.INDEX)
        document = await self._index()
        layout.check_mark(await self._files.read(layout.MARK, 1 << 16), self._files.shown(layout.MARK))
        digest = self._ref.digest if isinstance(self._ref, OciRef) else None
        return layout.descriptor(layout.find(document, self._ref.name, self._ref.index, digest), shown)

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        return await self._blobs.reader(self._file(what), what, first, last)

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        return verified(await self._blobs.read(self._file(what), limit), what)

    def _file(self, what: Descriptor) -> str:
        return self._prefix + below_blobs(what.digest)

    async def close(self) -> None:
        self._files.close()


class OciDestination(Destination):
    """Writes one layout; the reference appears, or moves, in `commit` and not before.

    Layers are compressed on the way in, as containers/image does, unless *uncompressed* ones are welcome.
    """

    def __init__(self, ref: OciRef, shared: Path | None = None, *, uncompressed: bool = False) -> None:
        if ref.index >= 0 or ref.digest:
            what = "a digest" if ref.digest else "an index"
            raise Unsupported(f"{ref}: {what} names an image to read, a destination needs a name or none")
        self.name, self.host = str(ref), ""
        self.accepts = Accepts(OCI_ONLY, compression="keep" if uncompressed else "compress")
        self.alone = "" if ref.name else _NEEDS_NAME
        self._ref, self._shared = ref, shared
        self._nameless = False  #: put here to be listed by another manifest, not by the index
        self._room = Room(ref.path)
        self._blobs = Room(str(shared)) if shared else self._room.below("blobs")
        self.place = os.path.realpath(self._blobs.path)
        self._rooms: dict[str, Room] = {}
        self._top: Descriptor | None = None

    async def current(self) -> Digest | None:
        return None  # that a reference is right does not prove that the blobs behind it are

    def _room_of(self, digest: Digest) -> Room:
        if digest.algorithm not in self._rooms:
            self._rooms[digest.algorithm] = self._blobs.below(digest.algorithm)
        return self._rooms[digest.algorithm]

    async def has_blob(self, what: Descriptor) -> bool:
        return await holds(self._room_of(what.digest), what.digest.hex, what)

    async def begin(self, what: Descriptor) -> Upload:
        return FileUpload(self._room_of(what.digest), lambda digest: (self._room_of(digest), digest.hex))

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        room = self._room_of(what.digest)
        await in_thread(lambda: room.write(what.digest.hex, data))

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        if media_type not in self.accepts.manifests:
            raise Unsupported(f"{self.name} holds OCI manifests only, not {media_type}")
        what = Descriptor(digest, len(raw), media_type)
        await self.write_blob(what, raw)
        if top:
            self._top = what

    async def commit(self) -> None:
        await in_thread(self._commit)

    def _commit(self) -> None:
        top, name = self._top, self._ref.name
        assert top is not None
        for room in self._rooms.values():
            room.sync()
        if not self._nameless:
            layout.change(self._room, lambda document: layout.entered(document, top, name))

    async def referrers(self, subject: Digest) -> Referrers:
        raw = await in_thread(lambda: self._listed(subject, layout.load(self._room)))
        return Referrers(talk.index_of(raw, subject).children if raw is not None else ())

    def _listed(self, subject: Digest, document: layout.Document) -> bytes | None:
        """The index under the tag of *subject*."""
        tag = talk.fallback_tag(subject)
        for entry in document["manifests"]:
            if layout.ref_name(entry) == tag:
                what = layout.descriptor(entry, self._room.shown(layout.INDEX))
                return self._room_of(what.digest).read(what.digest.hex, MAX_MANIFEST)
        return None

    async def has_manifest(self, digest: Digest) -> bool:
        return await self.has_blob(Descriptor(digest))

    async def list_referrers(self, subject: Digest, entries: Sequence[Descriptor]) -> None:
        await in_thread(lambda: self._list(subject, entries))

    def _list(self, subject: Digest, entries: Sequence[Descriptor]) -> None:
        """Under the layout's lock, which other writers take too."""

        def changed(document: layout.Document) -> layout.Document:
            raw = talk.merged(self._listed(subject, document), entries, subject)
            if raw is None:
                return document
            what = Descriptor(Digest.of(raw), len(raw), media.OCI_INDEX)
            self._room_of(what.digest).write(what.digest.hex, raw)
            tag = talk.fallback_tag(subject)
            rest = [each for each in document["manifests"] if layout.ref_name(each) != tag]
            return layout.entered(document | {"manifests": rest}, what, tag)

        layout.change(self._room, changed)

    def companion(self, reference: str) -> OciDestination:
        pinned = is_digest(reference)
        place = OciDestination(replace(self._ref, name="" if pinned else reference), self._shared)
        place.accepts = replace(place.accepts, compression="keep", pinned=pinned)
        place._nameless = pinned
        return place

    async def close(self) -> None:
        for room in (*self._rooms.values(), self._blobs, self._room):
            room.close()


class OciArchiveDestination(ArchiveDestination):
    """Writes a layout of one image as a new archive, which replaces the file that was there."""

    def __init__(self, ref: ArchiveRef, tmpdir: Path | None, *, uncompressed: bool = False) -> None:
        if ref.index >= 0:
            raise Unsupported(f"{ref}: an index names an image to read, a destination needs a name or none")
        compression = "keep" if uncompressed else "compress"
        self.accepts = Accepts(OCI_ONLY, compression=compression)
        self._name = ref.name
        self._top: Descriptor | None = None
        super().__init__(str(ref), ref.path, tmpdir)

    def member(self, what: Descriptor, digest: Digest) -> str:
        return "blobs/" + below_blobs(digest)

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        if media_type not in self.accepts.manifests:
            raise Unsupported(f"{self.name} holds OCI manifests only, not {media_type}")
        what = Descriptor(digest, len(raw), media_type)
        await self.write_blob(what, raw)
        if top:
            self._top = what

    async def commit(self) -> None:
        async with self.writer.free:
            await in_thread(self._commit)

    def _commit(self) -> None:
        assert self._top is not None
        document = layout.entered(layout.empty(), self._top, self._name)
        self.writer.add(layout.MARK, layout.MARK_TEXT)
        self.writer.add(layout.INDEX, layout.encoded(document))
        self.writer.finish()


async def delete_image(ref: OciRef, shared: Path | None = None) -> None:
    """Remove a reference and the blobs that nothing else in the layout needs; raises ManifestUnknown."""
    await in_thread(lambda: _delete(ref, shared))


def _delete(ref: OciRef, shared: Path | None) -> None:
    room = Room(ref.path, create=False)
    gone: list[Descriptor] = []

    def removed(document: layout.Document) -> layout.Document:
        entry = layout.find(document, ref.name, ref.index, ref.digest)
        gone.append(layout.descriptor(entry, room.shown(layout.INDEX)))
        return layout.without(document, entry)

    try:
        rest = layout.change(room, removed)
        if not shared:  # a shared directory serves other layouts, of which we know nothing
            _sweep(room, gone[0], [layout.descriptor(each, room.path) for each in rest["manifests"]])
    finally:
        room.close()


def _sweep(room: Room, gone: Descriptor, kept: list[Descriptor]) -> None:
    """Remove the blobs below *gone* that are not below *kept*; a manifest that cannot be read protects everything."""
    blobs = room.below("blobs")
    try:
        needed: set[Digest] = set()
        for each in kept:
            needed |= _reachable(blobs, each)
        for digest in _reachable(blobs, gone) - needed:
            blobs.remove(below_blobs(digest))
    except FastcopyError as error:
        raise FastcopyError(f"the reference is removed, its blobs are kept: {error.message}") from None
    finally:
        blobs.close()


def _reachable(blobs: Room, what: Descriptor, depth: int = 0) -> set[Digest]:
    found = {what.digest}
    raw = blobs.read(below_blobs(what.digest), MAX_MANIFEST)
    if raw is None or depth > 8:
        return found
    manifest = Manifest.parse(raw, what.media_type, what.digest)
    found.update(blob.digest for blob in manifest.blobs())
    for child in manifest.children:
        found |= _reachable(blobs, child, depth + 1)
    return found
