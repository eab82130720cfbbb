"""tarball: - file system archives as the layers of a new OCI image; a source only.

Manifest and config are those that containers/image makes: dated by the files, so the same files give the same digest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastcopy import codecs, gojson, media, platforms
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import ManifestUnknown, Unsupported
from fastcopy.names import TarballRef
from fastcopy.transports._files import DirectoryFiles
from fastcopy.transports._local import in_thread, open_regular, read_at
from fastcopy.transports.base import BlobReader, RawManifest, Source, verified

_TYPES: Final = {"none": media.OCI_LAYER, "gzip": media.OCI_LAYER + "+gzip"}
_COMMENT: Final = "imported from tarball"


@dataclass(frozen=True, slots=True)
class Layer:
    """One file as a layer: what it is as a blob, what it holds uncompressed, and when it was changed."""

    path: str
    what: Descriptor
    diff_id: Digest
    created: gojson.Time


class TarballSource(Source):
    """The image made of some archives."""

    def __init__(self, ref: TarballRef) -> None:
        self.name, self.host, self.place = str(ref), "", str(ref)
        self._ref = ref
        self._layers: dict[Digest, Layer] = {}
        self._config = b""
        self._made: RawManifest | None = None

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        if self._made is None:
            self._made = await self._make()
        if digest not in (None, self._made.digest):
            raise Unsupported('manifest lists are not supported by the "tarball" transport')
        return self._made

    async def _make(self) -> RawManifest:
        if "-" in self._ref.paths:
            raise Unsupported("tarball: cannot read standard input in this version of fastcopy, name a file")
        layers = [await _examined(path) for path in self._ref.paths]
        self._layers = {layer.what.digest: layer for layer in layers}
        self._config = made_config(layers)
        raw = made_manifest(self._config, layers)
        return RawManifest(raw, media.OCI_MANIFEST, Digest.of(raw))

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        return await self._file(what).reader("", what, first, last)

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        if what.digest.matches(self._config):
            return verified(self._config, what)
        return verified(await self._file(what).read("", limit), what)

    def _file(self, what: Descriptor) -> DirectoryFiles:
        if what.digest not in self._layers:
            raise ManifestUnknown(f'no blob with digest "{what.digest}" found')
        return _OneFile(self._layers[what.digest].path)


class _OneFile(DirectoryFiles):
    def shown(self, name: str) -> str:
        return self.path


async def _examined(path: str) -> Layer:
    """Read the file *path* once for its digests; raises LocalError, Unsupported, IntegrityError."""
    from fastcopy._native import Hasher

    fd, size = await in_thread(lambda: open_regular(path, path))
    try:
        compression = codecs.sniff(read_at(fd, 512, 0))
        if compression not in _TYPES:
            raise Unsupported(f"{path} is compressed with {compression}: tarball: takes plain and gzip archives")
        packed, plain, decoder = Hasher(), Hasher(), codecs.decoder(compression)

        def piece(at: int) -> None:
            data = read_at(fd, codecs.PIECE, at)
            packed.update(data)
            for inflated in decoder.feed(data):
                plain.update(inflated)

        for at in range(0, size, codecs.PIECE):
            await in_thread(lambda at=at: piece(at))  # type: ignore[misc]
        decoder.finish()
        what = Descriptor(Digest("sha256:" + packed.hexdigest()), size, _TYPES[compression])
        return Layer(path, what, Digest("sha256:" + plain.hexdigest()), _changed(fd))
    finally:
        os.close(fd)


def _changed(fd: int) -> gojson.Time:
    seconds, nanoseconds = divmod(os.fstat(fd).st_mtime_ns, 1_000_000_000)
    return gojson.Time(datetime.fromtimestamp(seconds, UTC), nanoseconds)


def made_config(layers: list[Layer]) -> bytes:
    """The config of an image of *layers*, for this machine's platform."""
    host = platforms.wanted("", "", "")[0]
    history = [
        {
            "created": layer.created,
            "created_by": f"/bin/sh -c #(nop) ADD file:{layer.diff_id.hex} in /",
            "comment": _COMMENT,
        }
        for layer in layers
    ]
    document = {
        "created": max(layer.created for layer in layers),
        "architecture": host.architecture,
        "os": host.os,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        "history": history,
    }
    return gojson.dumps(document).encode()


def made_manifest(config: bytes, layers: list[Layer]) -> bytes:
    """The manifest of an image of *layers*."""
    described = [Descriptor(Digest.of(config), len(config), media.OCI_CONFIG), *(layer.what for layer in layers)]
    entries = [{"mediaType": each.media_type, "digest": str(each.digest), "size": each.size} for each in described]
    return gojson.dumps({"schemaVersion": 2, "config": entries[0], "layers": entries[1:]}).encode()
