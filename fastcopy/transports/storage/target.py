"""Images into a containers-storage: blobs gather beside it, layers are unpacked there, the image appears at the end.

What takes long (receiving, unpacking) happens without a lock, in a directory of this copy's own; a finished layer takes
its place by a rename under ``layers.lock``, the image its record under ``images.lock``. So podman never waits long, and
a copy that fails leaves at most complete layers that a later one uses.
Native writing is for root, on overlay or vfs; where it would not be what podman makes, it is refused in one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from fastcopy import media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, BadName, DigestMismatch, FastcopyError, IntegrityError, Unsupported
from fastcopy.manifest import MAX_MANIFEST, Manifest
from fastcopy.names import StorageRef
from fastcopy.transports._local import FileUpload, in_thread, open_regular
from fastcopy.transports.base import Accepts, Destination, Upload
from fastcopy.transports.storage import BadStorage, editing, records
from fastcopy.transports.storage.conf import locate, refuse_unwritable
from fastcopy.transports.storage.locks import Held, locked
from fastcopy.transports.storage.records import Layer
from fastcopy.transports.storage.source import LayerTar
from fastcopy.transports.storage.staging import Staged, Staging
from fastcopy.transports.storage.store import Shelf, Store
from fastcopy.transports.storage.unpack import file_pieces

if TYPE_CHECKING:
    from fastcopy._native import Report

_WRITTEN: Final = frozenset({media.OCI_MANIFEST, media.DOCKER_MANIFEST})


class StorageDestination(Destination):
    """Writes one image of a storage."""

    def __init__(self, ref: StorageRef) -> None:
        self.name, self.host, self.place = str(ref), "", str(ref)
        if ref.named is None and not ref.image_id:
            raise Unsupported(f"{ref}: a destination needs a name")
        if len(ref.image_id) not in (0, 64):
            raise BadName(f'"{ref.image_id}" does not look like an image ID or digest: invalid reference')
        self._ref = ref
        self.accepts = Accepts(_WRITTEN, pinned=bool(ref.named and ref.named.digest))
        place = locate(ref)
        refuse_unwritable(place)
        editing.prepare(Shelf(place.root, place.driver))
        self._store = Store(place)
        self._overlay = place.driver == "overlay"
        self._staging = Staging(os.path.join(place.root, place.driver), overlay=self._overlay)
        self.room = self._staging.room
        self._staged: dict[Digest, Staged] = {}
        self._small: dict[Digest, bytes] = {}
        self._top: Manifest | None = None

    async def current(self) -> Digest | None:
        return await in_thread(self._current)

    def _current(self) -> Digest | None:
        """The manifest's digest of a complete image of that name."""
        try:
            shelf, image = self._store.choose(self._ref)
            records.chain(image.top, self._store.layer, image.id)
            raw = shelf.data(image, records.MANIFEST, MAX_MANIFEST)
        except FastcopyError:
            return None
        named = self._ref.named is None or str(self._ref.named) in image.names
        return Digest.of(raw) if raw and named else None

    async def has_blob(self, what: Descriptor) -> bool:
        return what.digest in self._small or self._known(what.digest) is not None

    def _known(self, digest: Digest) -> Layer | None:
        """A layer of the storage that was made of this blob, or of what it inflates to."""
        for shelf in self._store.shelves:
            for layer in shelf.layers.values():
                known = digest in (layer.diff_id, layer.record.get("compressed-diff-digest"))
                if known and layer.diff_id and not layer.incomplete and os.path.exists(shelf.tar_split(layer)):
                    return layer
        return None

    async def begin(self, what: Descriptor) -> Upload:
        return LayerUpload(self, what)

    async def arrived(self, what: Descriptor, digest: Digest) -> None:
        """A blob is there. What overlay makes of a layer does not depend on the layers below: no need to wait."""
        if self._overlay and media.compression(what.media_type):
            self._staged[digest] = await self._staging.unpack(partial(self._pieces, digest, None))

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        self._small[what.digest] = data
        await in_thread(lambda: self.room.write(what.digest.hex, data))

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        if not top or media_type not in self.accepts.manifests:
            raise Unsupported(f"{self.name} holds single images, not {media_type}")
        wanted = self._ref.named.digest if self._ref.named else None
        if wanted and wanted != digest:
            raise DigestMismatch(f"Manifest to be saved does not match expected digest {wanted}")
        self._top = Manifest.parse(raw, media_type, digest)

    async def commit(self) -> None:
        assert self._top is not None
        config = await in_thread(lambda: self._config(self._top))  # type: ignore[arg-type]
        expected = _diff_ids(config) if self._top.is_image else None
        if expected is not None and len(expected) != len(self._top.layers):
            raise BadManifest(f"the image has {len(self._top.layers)} layers, its config names {len(expected)} of them")
        parent = ""
        for number, layer in enumerate(self._top.layers):
            parent = await self._layer(layer, parent, expected[number] if expected else None)
        await self._image(self._top, config, parent)

    def _config(self, manifest: Manifest) -> bytes:
        assert manifest.config is not None
        data = self._small.get(manifest.config.digest)
        found = data if data is not None else self.room.read(manifest.config.digest.hex, MAX_MANIFEST)
        if found is None:
            raise BadManifest(f"the image's config {manifest.config.digest} did not come")
        return found

    async def _layer(self, what: Descriptor, parent: str, expected: Digest | None) -> str:
        """Have the layer *what* on top of the layer *parent*; its ID."""
        known, staged = self._known(what.digest), self._staged.pop(what.digest, None)
        diff_id = staged.unpacked.diff_id if staged else known.diff_id if known else str(expected or "")
        _agree(what, diff_id, expected)
        layer_id = chain_id(parent, diff_id) if diff_id else ""
        if layer_id and (there := self._store.layer(layer_id)) and not there.incomplete:
            return layer_id
        below = await in_thread(lambda: self._below(parent)) if parent else ""
        if staged is None:
            staged = await self._staging.unpack(partial(self._pieces, what.digest, known), below)
            _agree(what, staged.unpacked.diff_id, expected)
        await in_thread(lambda: self._staging.settle(staged, below))
        layer_id = chain_id(parent, staged.unpacked.diff_id)
        record = editing.layer_record(layer_id, parent, _facts(what, known, staged))
        with trio.CancelScope(shield=True):
            async with locked(self._store.shelves[0].path("layers", "layers.lock")) as lock:
                await in_thread(lambda: self._publish(record, staged, lock))
        return layer_id

    def _publish(self, record: dict[str, Any], staged: Staged, lock: Held) -> None:
        self._store.reload()
        parent = record.get("parent", "")
        if parent and self._store.layer(parent) is None:
            raise BadStorage(f"layer {parent} was removed while an image on top of it was written")
        editing.publish_layer(self._store.shelves[0], record, staged.directory, staged.split, lock)
        self._store.reload()

    def _below(self, layer_id: str) -> str:
        """The driver's directory of a layer."""
        layer = self._store.layer(layer_id)
        if layer is None:
            raise BadStorage(f"layer {layer_id} was removed while an image on top of it was written")
        diff = self._store.shelf_of(layer).diff(layer)
        return os.path.dirname(diff) if self._overlay else diff

    def _pieces(self, digest: Digest, known: Layer | None) -> Iterator[bytes]:
        """The layer's tar: as it came, or made again from a layer that is there."""
        if known is not None:
            yield from LayerTar(self._store.shelf_of(known), known).pieces(known.size)
            return
        fd, _ = open_regular(digest.hex, self.room.shown(digest.hex), self.room.fd)
        try:
            yield from file_pieces(fd)
        finally:
            os.close(fd)

    async def _image(self, manifest: Manifest, config: bytes, top: str) -> None:
        assert manifest.config is not None
        image_id = self._ref.image_id or manifest.config.digest.hex
        items = {
            str(manifest.config.digest): config,
            records.manifest_key(manifest.digest): manifest.raw,
            records.MANIFEST: manifest.raw,
        }
        names = (str(self._ref.named),) if self._ref.named else ()
        new = editing.NewImage(items, names, _created(config))
        shelf = self._store.shelves[0]
        with trio.CancelScope(shield=True):
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(locked(shelf.path("layers", "layers.lock")))
                lock = await stack.enter_async_context(locked(shelf.path("images", "images.lock")))
                await in_thread(lambda: editing.publish_image(self._store, image_id, top, new, lock))

    async def close(self) -> None:
        await in_thread(self._staging.close)


class LayerUpload(FileUpload):
    """A blob on its way into the staging directory, and out of it again if it is a layer."""

    def __init__(self, destination: StorageDestination, what: Descriptor) -> None:
        room = destination.room
        super().__init__(room, lambda digest: (room, digest.hex))
        self._destination, self._what = destination, what

    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        await super().finish(report, digest, size)
        await self._destination.arrived(self._what, digest)


def _agree(what: Descriptor, diff_id: str, expected: Digest | None) -> None:
    if expected and diff_id != expected:
        raise IntegrityError(
            f"layer {what.digest} is {diff_id} when uncompressed, but the config says {expected}", side="source"
        )


def _facts(what: Descriptor, known: Layer | None, staged: Staged) -> dict[str, Any]:
    """What the record of a layer says of its tar; of one that was made again, what is known of the first one."""
    facts = editing.facts_of(what.digest, max(what.size, 0), staged.unpacked)
    kept = ("compressed-diff-digest", "compressed-size", "compression")
    return facts | {key: known.record[key] for key in kept if known and key in known.record}


def chain_id(parent: str, diff_id: str) -> str:
    """The ID of a layer: that of its content and of everything below it (containers/image, storage_dest.go)."""
    content = Digest(diff_id).hex
    return Digest.of(f"{parent}+{content}".encode()).hex if parent else content


def _diff_ids(config: bytes) -> list[Digest]:
    rootfs = strictjson.load_object(config, limit=MAX_MANIFEST, what="the image's config").get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadManifest("the image's config has no list of diff_ids")
    return [Digest(each) for each in found]


def _created(config: bytes) -> str:
    try:
        created = json.loads(config).get("created")
    except (ValueError, AttributeError):
        created = None
    return created if isinstance(created, str) and created[:1].isdigit() else editing.now()
