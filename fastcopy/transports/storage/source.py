"""Images of a containers-storage as a source: manifests as they were pulled, layers as the tars they were made of.

The storage keeps no compressed layer. So a copy brings the uncompressed ones, in a manifest that says so
(`as_given`); the manifest that was pulled still is what `inspect` shows, and what is copied verbatim to a place that
has its layers already.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from fastcopy import media
from fastcopy.convert import convert
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import FastcopyError, LocalError, ManifestUnknown, SizeMismatch, Unsupported
from fastcopy.manifest import MAX_MANIFEST, Manifest
from fastcopy.names import StorageRef
from fastcopy.transports._local import explained, in_thread, open_regular
from fastcopy.transports.base import BlobReader, RawManifest, Source, verified
from fastcopy.transports.storage import BadStorage, records, tarsplit
from fastcopy.transports.storage.records import Image, Layer
from fastcopy.transports.storage.store import Shelf, Store, needed
from fastcopy.transports.storage.tree import Tree

#: Bytes handed over at once, as much as a pump's slab.
PIECE: Final = 1 << 20
_PLAIN: Final = {media.OCI_MANIFEST: media.OCI_LAYER, media.DOCKER_MANIFEST: media.DOCKER_LAYER}


class StorageSource(Source):
    """Reads one image of a storage."""

    def __init__(self, ref: StorageRef) -> None:
        self.name, self.host, self.place = str(ref), "", ref.graph_root
        self._ref = ref
        self._store: Store | None = None
        self._found: tuple[Shelf, Image] | None = None

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        return await in_thread(lambda: self._manifest(digest))

    def _opened(self) -> tuple[Store, Shelf, Image]:
        if self._store is None or self._found is None:
            self._store = Store.of(self._ref)
            self._found = self._store.choose(self._ref)
        return (self._store, *self._found)

    def _manifest(self, digest: Digest | None) -> RawManifest:
        _, shelf, image = self._opened()
        wanted = digest or (self._ref.named.digest if self._ref.named else None)
        raw = shelf.data(image, records.manifest_key(wanted), MAX_MANIFEST) if wanted else None
        if raw is None and digest is None:  # what was stored before there were items by digest
            raw = shelf.data(image, records.MANIFEST, MAX_MANIFEST)
        raw = needed(raw, image, f"manifest {digest}" if digest else "manifest")
        found = Digest.of(raw)
        if wanted and wanted != found and wanted.algorithm == "sha256":
            raise BadStorage(f"image {image.id}: its manifest {wanted} is {found} now")
        return RawManifest(raw, "", wanted or found)

    async def as_given(self, manifest: Manifest) -> Manifest:
        return await in_thread(lambda: self._as_given(manifest))

    def _as_given(self, manifest: Manifest) -> Manifest:
        store, _, image = self._opened()
        if manifest.media_type not in _PLAIN:
            raise Unsupported(f"{self.name}: cannot copy an image with a manifest of type {manifest.media_type}")
        layers = records.chain(image.top, store.layer, image.id)
        if len(layers) != len(manifest.layers):
            raise BadStorage(
                f"image {image.id}: its manifest has {len(manifest.layers)} layers, the storage {len(layers)}"
            )
        kind = _PLAIN[manifest.media_type]
        given = [Descriptor(records.diff_id_of(layer), layer.size, kind) for layer in layers]
        if _kinds(given) == _kinds(manifest.layers):
            return manifest  # podman load calls what it stores gzip: such a manifest is corrected, too
        made = convert(manifest, None, manifest.media_type, layers=given)
        return Manifest.parse(made.raw, made.media_type, made.digest)

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        return await in_thread(lambda: LayerReader(self._layer_tar(what), what, first, last))

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        return await in_thread(lambda: self._read(what, limit))

    def _read(self, what: Descriptor, limit: int) -> bytes:
        _, shelf, image = self._opened()
        data = shelf.data(image, str(what.digest), limit)
        if data is None:
            tar = self._layer_tar(what)
            data = b"".join(tar.pieces(what.size if what.size >= 0 else limit))
        return verified(data, what)

    def _layer_tar(self, what: Descriptor) -> LayerTar:
        store, _, image = self._opened()
        ours = {layer.id for layer in records.chain(image.top, store.layer, image.id)}
        found = sorted(store.with_diff_id(what.digest), key=lambda layer: layer.id not in ours)
        if not found:
            raise ManifestUnknown(f"image {image.id}: no layer with digest {what.digest} is in the storage")
        return LayerTar(store.shelf_of(found[0]), found[0])


def _kinds(layers: Iterable[Descriptor]) -> list[tuple[Digest, str]]:
    return [(layer.digest, layer.media_type) for layer in layers]


class LayerTar:
    """The tar of one layer, made again from its files and what tar-split kept."""

    def __init__(self, shelf: Shelf, layer: Layer) -> None:
        self._path = shelf.tar_split(layer)
        if not os.path.lexists(self._path):
            raise BadStorage(f"layer {layer.id}: {self._path} is missing, so its tar cannot be made again")
        self._layer, self._diff = layer, shelf.diff(layer)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The tar in pieces of about a mebibyte; raises BadStorage, SizeMismatch unless it has *size* bytes (-1: any).

        What it is made of is not checked: its digest decides.
        """
        sent, room = 0, bytearray()
        for piece in self._bytes():
            room += piece
            if size >= 0 and sent + len(room) > size:
                raise SizeMismatch(f"layer {self._layer.id} has more than the {size} bytes that its record says")
            if len(room) >= PIECE:
                sent += len(room)
                yield bytes(room)
                room.clear()
        if size >= 0 and sent + len(room) != size:
            raise SizeMismatch(f"layer {self._layer.id} has {sent + len(room)} bytes, its record says {size}")
        if room:
            yield bytes(room)

    def _bytes(self) -> Iterator[bytes]:
        fd, _ = open_regular(self._path, self._path)
        tree = Tree(self._diff)
        try:
            with os.fdopen(fd, "rb") as packed, gzip.GzipFile(fileobj=packed) as unpacked:
                for entry in tarsplit.entries(_lines(unpacked, self._path), self._path):
                    if entry.type == tarsplit.SEGMENT:
                        yield entry.payload or b""
                    elif entry.size:
                        yield from self._content(tree, entry)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise BadStorage(f"{self._path} is damaged") from None
        finally:
            tree.close()

    def _content(self, tree: Tree, entry: tarsplit.Entry) -> Iterator[bytes]:
        try:
            fd, size = tree.open_file(entry.path)
        except LocalError as error:
            raise BadStorage(f"layer {self._layer.id}: {error.message}") from None
        try:
            if size != entry.size:
                raise BadStorage(f"{tree.shown(entry.path)} has {size} bytes, not the {entry.size} of its layer")
            with explained("read", tree.shown(entry.path)):
                while size > 0:
                    data = os.read(fd, min(size, PIECE))
                    if not data:
                        raise BadStorage(f"{tree.shown(entry.path)} became shorter while it was read")
                    size -= len(data)
                    yield data
        finally:
            os.close(fd)


def _lines(unpacked: gzip.GzipFile, shown: str) -> Iterator[bytes]:
    while line := unpacked.readline(tarsplit.MAX_LINE):
        if len(line) == tarsplit.MAX_LINE:
            raise BadStorage(f"{shown} has a line of more than {tarsplit.MAX_LINE} bytes")
        yield line


class LayerReader(BlobReader):
    """A layer's tar from byte *first* to *last*; what comes before is made too and thrown away."""

    def __init__(self, tar: LayerTar, what: Descriptor, first: int, last: int | None) -> None:
        self.inlet = None
        end = what.size if last is None else last + 1
        self.length = end - first if end >= 0 else -1
        self._pieces = tar.pieces(what.size)
        self._skip, self._left = first, self.length

    async def read_some(self) -> bytes:
        try:
            return await in_thread(self._next)
        except FastcopyError as error:
            raise error.blame("source") from None

    def _next(self) -> bytes:
        for piece in self._pieces:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            data = piece[skipped:] if self._left < 0 else piece[skipped : skipped + self._left]
            if data:
                self._left -= len(data) if self._left >= 0 else 0
                return data
        return b""

    async def settle(self, report: object) -> None:
        self.close()

    def close(self) -> None:
        self._pieces.close()  # type: ignore[attr-defined]  # a generator: it closes the files it holds
