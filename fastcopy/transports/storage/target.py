"""Images into a containers-storage: blobs gather beside it, layers are unpacked there, the image appears at the end.

What takes long (receiving, unpacking) happens without a lock, in a directory of this copy's own; a finished layer takes
its place by a rename under ``layers.lock``, the image its record under ``images.lock``. So podman never waits long, and
a copy that fails leaves at most complete layers that a later one uses.
Native writing is for root, on overlay or vfs; where it would not be what podman makes, it is refused in one line.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import trio

from fastcopy import media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, DigestMismatch, FastcopyError, IntegrityError, LocalError, Unsupported
from fastcopy.manifest import MAX_MANIFEST, Manifest
from fastcopy.names import StorageRef
from fastcopy.threads import in_thread as stoppable
from fastcopy.transports._local import FileUpload, Room, explained, in_thread, open_regular
from fastcopy.transports.base import Accepts, Destination, Upload
from fastcopy.transports.storage import BadStorage, editing, records
from fastcopy.transports.storage.conf import Place, locate, refuse_unwritable
from fastcopy.transports.storage.locks import locked
from fastcopy.transports.storage.records import Layer
from fastcopy.transports.storage.source import LayerTar
from fastcopy.transports.storage.store import Shelf, Store
from fastcopy.transports.storage.unpack import Stopped, Unpacked, Unpacking, file_pieces

#: Below the driver's own directory, which may be a mount of its own: a rename does not leave a mount.
_STAGING: Final = "fastcopy-"
#: Seconds without a change and without a lock; a directory that is only just made has no lock yet.
_ABANDONED: Final = 60.0
_ROOT_MODE: Final = 0o555  # of a base layer's own directory (drivers: defaultPerms)


@dataclass(frozen=True, slots=True)
class Staged:
    """A layer that waits for its place."""

    directory: str
    split: str
    unpacked: Unpacked


class StorageDestination(Destination):
    """Writes one image of a storage."""

    def __init__(self, ref: StorageRef) -> None:
        self.name, self.host, self.place = str(ref), "", str(ref)
        if ref.named is None and not ref.image_id:
            raise Unsupported(f"{ref}: a destination needs a name")
        self._ref = ref
        self.accepts = Accepts(
            frozenset({media.OCI_MANIFEST, media.DOCKER_MANIFEST}), pinned=bool(ref.named and ref.named.digest)
        )
        place = locate(ref)
        refuse_unwritable(place)
        editing.prepare(Shelf(place.root, place.driver))
        self._store = Store(place)
        self._place: Place = place
        self._room = _staging_room(os.path.join(place.root, place.driver))
        self._staging = self._room.path
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
        return FileUpload(self._room, lambda digest: (self._room, digest.hex))

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        self._small[what.digest] = data
        await in_thread(lambda: self._room.write(what.digest.hex, data))

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
        found = data if data is not None else self._room.read(manifest.config.digest.hex, MAX_MANIFEST)
        if found is None:
            raise BadManifest(f"the image's config {manifest.config.digest} did not come")
        return found

    async def _layer(self, what: Descriptor, parent: str, expected: Digest | None) -> str:
        """Have the layer *what* on top of the layer *parent*; its ID."""
        known = self._known(what.digest)
        diff_id = known.diff_id if known else str(expected or "")
        _agree(what, diff_id, expected)
        layer_id = chain_id(parent, diff_id) if diff_id else ""
        if layer_id and (there := self._store.layer(layer_id)) and not there.incomplete:
            return layer_id
        staged = await self._unpacked(what, known, parent)
        _agree(what, staged.unpacked.diff_id, expected)
        layer_id = chain_id(parent, staged.unpacked.diff_id)
        origin = known.record if known else {}
        compressed = str(origin.get("compressed-diff-digest") or what.digest)
        size = int(origin.get("compressed-size") or max(what.size, 0))
        record = editing.layer_record(layer_id, parent, editing.facts_of(compressed, size, staged.unpacked))
        if known and "compression" in known.record:
            record["compression"] = known.record["compression"]
        shelf = self._store.shelves[0]
        with trio.CancelScope(shield=True):
            async with locked(shelf.path("layers", "layers.lock")) as lock:
                await in_thread(lambda: self._publish(record, staged, lock))
        return layer_id

    def _publish(self, record: dict[str, Any], staged: Staged, lock: Any) -> None:
        self._store.reload()
        parent = record.get("parent", "")
        if parent and self._store.layer(parent) is None:
            raise BadStorage(f"layer {parent} was removed while an image on top of it was written")
        editing.publish_layer(self._store.shelves[0], record, staged.directory, staged.split, lock)
        self._store.reload()

    async def _unpacked(self, what: Descriptor, known: Layer | None, parent: str) -> Staged:
        """Unpack a layer in this copy's own directory; cancelled, it stops between two pieces."""
        stop = threading.Event()
        work = _caught(lambda: self._unpack(what, known, parent, stop))
        result = await stoppable(work, stop.set)
        if isinstance(result, FastcopyError):
            raise result
        return result

    def _unpack(self, what: Descriptor, known: Layer | None, parent: str, stop: threading.Event) -> Staged:
        base = tempfile.mkdtemp(prefix="layer-", dir=self._staging)
        home = self._driver_home(parent) if parent else ""
        overlay = self._place.driver == "overlay"
        with explained("unpack into", self._place.root):
            directory = _overlay_directory(base, home) if overlay else _vfs_directory(base, home)
        with open(os.path.join(base, "tar-split.gz"), "wb") as split:
            os.fchmod(split.fileno(), 0o600)
            root = os.path.join(directory, "diff") if overlay else directory
            unpacked = Unpacking(root, overlay, stop).run(self._pieces(what, known), split)
            split.flush()
        return Staged(directory, os.path.join(base, "tar-split.gz"), unpacked)

    def _driver_home(self, layer_id: str) -> str:
        layer = self._store.layer(layer_id)
        if layer is None:
            raise BadStorage(f"layer {layer_id} was removed while an image on top of it was written")
        diff = self._store.shelf_of(layer).diff(layer)
        return os.path.dirname(diff) if self._place.driver == "overlay" else diff

    def _pieces(self, what: Descriptor, known: Layer | None) -> Iterator[bytes]:
        """The layer's tar: as it came, or made again from a layer that is there."""
        if known is not None:
            yield from LayerTar(self._store.shelf_of(known), known).pieces(known.size)
            return
        shown = self._room.shown(what.digest.hex)
        fd, _ = open_regular(what.digest.hex, shown, self._room.fd)
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
                await in_thread(lambda: editing.publish_image(shelf, image_id, top, new, lock))

    async def close(self) -> None:
        self._room.close()
        await in_thread(lambda: shutil.rmtree(self._staging, ignore_errors=True))


def _agree(what: Descriptor, diff_id: str, expected: Digest | None) -> None:
    if expected and diff_id != expected:
        raise IntegrityError(
            f"layer {what.digest} is {diff_id} when uncompressed, but the config says {expected}", side="source"
        )


def _staging_room(driver: str) -> Room:
    """A new directory of this copy's own; what copies left that were killed is removed first.

    Whoever uses such a directory holds a flock on it, which ends with its process.
    """
    with explained("mkdir", driver):
        for entry in os.scandir(driver):
            if entry.name.startswith(_STAGING) and entry.is_dir(follow_symlinks=False):
                _remove_abandoned(entry.path)
        room = Room(tempfile.mkdtemp(prefix=_STAGING, dir=driver))
        fcntl.flock(room.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    room.durable = False  # what a crash takes from here nobody misses
    return room


def _remove_abandoned(path: str) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(fd).st_mtime > _ABANDONED:
                shutil.rmtree(path)
        finally:
            os.close(fd)


def chain_id(parent: str, diff_id: str) -> str:
    """The ID of a layer: that of its content and of everything below it (containers/image, storage_dest.go)."""
    content = Digest(diff_id).hex
    return Digest.of(f"{parent}+{content}".encode()).hex if parent else content


def _caught(work: Callable[[], Staged]) -> Callable[[], Staged | FastcopyError]:
    """*work* as a function that hands its domain errors back: they do not cross a nursery."""

    def run() -> Staged | FastcopyError:
        try:
            return work()
        except FastcopyError as error:
            return error
        except Stopped:
            return LocalError("stopped")  # nobody is left to read it

    return run


def _overlay_directory(base: str, parent: str) -> str:
    directory = os.path.join(base, "layer")
    diff = os.path.join(directory, "diff")
    os.makedirs(diff, 0o700)
    os.chmod(directory, 0o700)
    _like(diff, os.path.join(parent, "diff") if parent else "")
    editing.overlay_files(directory, parent)
    return directory


def _vfs_directory(base: str, parent: str) -> str:
    """The copy of the parent that a layer changes; cp keeps links, owners, times and attributes, and shares blocks."""
    directory = os.path.join(base, "layer")
    os.mkdir(directory, 0o700)
    if parent:
        words = ["cp", "--archive", "--reflink=auto", "--no-target-directory", "--", parent, directory]
        done = subprocess.run(words, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
        if done.returncode:
            raise LocalError("copying the layer below: " + " ".join(done.stderr.decode(errors="replace").split())[:300])
    _like(directory, parent)
    return directory


def _like(directory: str, other: str) -> None:
    found = os.stat(other) if other else None
    os.chown(directory, found.st_uid if found else 0, found.st_gid if found else 0)
    os.chmod(directory, found.st_mode & 0o7777 if found else _ROOT_MODE)


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
