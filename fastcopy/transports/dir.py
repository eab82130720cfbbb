"""dir: - one image in a flat directory, as containers/image lays it out.

``version``, ``manifest.json``, ``<hex>.manifest.json`` for the instances of a list, and blobs under their hex digest
(``<algorithm>-<hex>`` but for sha256). There is no index: a directory is one image.
"""

from __future__ import annotations

import contextlib
import os
import re

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import LocalError, Unsupported
from fastcopy.layoutfile import TEMPORARY
from fastcopy.manifest import MAX_MANIFEST, Manifest
from fastcopy.names import DirRef
from fastcopy.transports._files import DirectoryFiles
from fastcopy.transports._local import FileUpload, Room, holds, in_thread
from fastcopy.transports.base import Accepts, BlobReader, Destination, RawManifest, Source, Upload, verified

MANIFEST = "manifest.json"
_VERSIONS = (b"Directory Transport Version: 1.1\n", b"Directory Transport Version: 1.2\n")
_OURS = re.compile(r"(?:[a-z0-9]+-)?[0-9a-f]{64,128}(?:\.manifest\.json)?|(?:[0-9a-f]{64}\.)?signature-[0-9]+")


def blob_name(digest: Digest) -> str:
    """The file of a blob."""
    return digest.hex if digest.algorithm == "sha256" else f"{digest.algorithm}-{digest.hex}"


def manifest_name(digest: Digest | None) -> str:
    """The file of the image's manifest (None), or of the instance *digest* of a list."""
    return f"{blob_name(digest)}.{MANIFEST}" if digest else MANIFEST


class DirSource(Source):
    """Reads one directory."""

    def __init__(self, ref: DirRef) -> None:
        self.name, self.host, self.place = str(ref), "", os.path.realpath(ref.path)
        self._files = DirectoryFiles(ref.path)

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        raw = await self._files.read(manifest_name(digest), MAX_MANIFEST)
        return RawManifest(raw, "", digest or Digest.of(raw))

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        return await self._files.reader(blob_name(what.digest), what, first, last)

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        return verified(await self._files.read(blob_name(what.digest), limit), what)


class DirDestination(Destination):
    """Writes one directory.

    Blobs that are there already with the right bytes stay; what the new image does not use is removed after its
    manifest has been written, so that until then the directory holds the image that it held before.
    """

    accepts = Accepts()

    def __init__(self, ref: DirRef) -> None:
        self.name, self.host, self.place = str(ref), "", os.path.realpath(ref.path)
        self._room = _claimed(ref.path)
        self._top = b""
        self._used: set[str] = {"version", MANIFEST}

    async def current(self) -> Digest | None:
        return None

    async def has_blob(self, what: Descriptor) -> bool:
        return await holds(self._room, blob_name(what.digest), what)

    async def begin(self, what: Descriptor) -> Upload:
        return FileUpload(self._room, lambda digest: (self._room, blob_name(digest)))

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        await in_thread(lambda: self._room.write(blob_name(what.digest), data))

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        self._used.update(blob_name(blob.digest) for blob in Manifest.parse(raw, media_type, digest).blobs())
        if top:
            self._top = raw
            return
        self._used.add(manifest_name(digest))
        await in_thread(lambda: self._room.write(manifest_name(digest), raw))

    async def commit(self) -> None:
        await in_thread(self._commit)

    def _commit(self) -> None:
        self._room.sync()
        self._room.write(MANIFEST, self._top)
        if any("-" in name.partition(".")[0] for name in self._used):
            self._room.write("version", _VERSIONS[1])
        for name in self._room.names():
            if name not in self._used and (_OURS.fullmatch(name) or name.startswith(TEMPORARY)):
                self._room.remove(name)
        self._room.sync()

    async def close(self) -> None:
        self._room.close()


def _claimed(path: str) -> Room:
    """The directory *path*, marked as an image's; raises Unsupported when it holds anything else."""
    room = Room(path)
    try:
        if any(not name.startswith(TEMPORARY) for name in room.names()):
            version: bytes | None = None
            with contextlib.suppress(LocalError):
                version = room.read("version", 128)
            if version not in _VERSIONS:
                raise Unsupported("not a containers image directory, don't want to overwrite important data")
        else:
            room.write("version", _VERSIONS[0])
    except BaseException:
        room.close()
        raise
    return room
