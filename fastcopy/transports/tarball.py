"""tarball: - file system archives as the layers of a new OCI image; a source only.

Manifest and config are those that containers/image makes: dated by the files, so the same files give the same digest.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastcopy import codecs, gojson, media, platforms
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import FastcopyError, ManifestUnknown, Unsupported
from fastcopy.names import TarballRef
from fastcopy.transports import _spool
from fastcopy.transports._files import DirectoryFiles, Files
from fastcopy.transports._local import in_thread
from fastcopy.transports.base import BlobReader, RawManifest, Source, verified

_TYPES: Final = {"none": media.OCI_LAYER, "gzip": media.OCI_LAYER + "+gzip"}
_COMMENT: Final = "imported from tarball"
#: The path that means standard input, as to containers/image.
STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Layer:
    """One file as a layer: what it is as a blob, what it holds uncompressed, and when it was changed."""

    files: Files
    what: Descriptor
    diff_id: Digest
    created: gojson.Time


class TarballSource(Source):
    """The image made of some archives."""

    def __init__(self, ref: TarballRef, tmpdir: Path | None = None) -> None:
        self.name, self.host, self.place = str(ref), "", str(ref)
        self._ref = ref
        self._stdin = _StandardInput(tmpdir)
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
        files = [self._stdin if path == STDIN else _OneFile(path) for path in self._ref.paths]
        layers = [await _examined(each) for each in files]
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

    def _file(self, what: Descriptor) -> Files:
        if what.digest not in self._layers:
            raise ManifestUnknown(f'no blob with digest "{what.digest}" found')
        return self._layers[what.digest].files

    async def close(self) -> None:
        self._stdin.close()


class _OneFile(DirectoryFiles):
    def shown(self, name: str) -> str:
        return self.path


class _StandardInput(Files):
    """What comes in, spooled once into an unnamed file: it is read for its digests, and then as a blob."""

    path = "standard input"

    def __init__(self, tmpdir: Path | None) -> None:
        self._tmpdir, self._fd = tmpdir, -1

    def shown(self, name: str) -> str:
        return self.path

    async def prepare(self) -> None:
        if self._fd >= 0:
            return
        stdin = sys.stdin.fileno()
        regular = stat.S_ISREG(os.fstat(stdin).st_mode)
        self._fd = await in_thread(lambda: _spool.unnamed(self._tmpdir))
        while data := await _spool.piece(stdin, self.path, regular=regular):
            await in_thread(lambda piece=data: _spool.append(self._fd, piece, self._tmpdir))  # type: ignore[misc]

    def locate(self, name: str) -> tuple[int, int, int]:
        return os.dup(self._fd), 0, os.fstat(self._fd).st_size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def _examined(files: Files) -> Layer:
    """Read a file once for its digests; raises LocalError, Unsupported, IntegrityError."""
    await files.prepare()
    shown = files.shown("")
    compression = codecs.sniff(await files.head("", 512))
    if compression not in _TYPES:
        raise Unsupported(f"{shown} is compressed with {compression}: tarball: takes plain and gzip archives")
    fd, offset, size = await in_thread(lambda: files.locate(""))
    try:
        packed, plain = await _spool.digests(fd, offset, size, compression)
        changed = time.time_ns() if isinstance(files, _StandardInput) else os.fstat(fd).st_mtime_ns
    except FastcopyError as error:
        error.message = f"{shown}: {error.message}"
        raise
    finally:
        os.close(fd)
    return Layer(files, Descriptor(packed, size, _TYPES[compression]), plain, _moment(changed))


def _moment(nanoseconds: int) -> gojson.Time:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return gojson.Time(datetime.fromtimestamp(seconds, UTC), rest)


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
