"""Blobs that were made here, as a source: converted configs and the empty layer of schema 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import Bug
from fastcopy.transports.base import BlobReader, RawManifest, Source, verified

if TYPE_CHECKING:
    from fastcopy._native import Report


class MemorySource(Source):
    """Serves the blobs it was given and nothing else; of no host, so it takes no slot of one."""

    name, host, place = "memory", "", ""

    def __init__(self, blobs: Mapping[Digest, bytes]) -> None:
        self._blobs = blobs

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        raise Bug("manifests that were made here are put as they are")

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        data = memoryview(self._blobs[what.digest])
        return _MemoryReader(data[first : len(data) if last is None else last + 1])

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        return verified(self._blobs[what.digest], what)


class _MemoryReader(BlobReader):
    def __init__(self, data: memoryview) -> None:
        from fastcopy._native import Inlet

        self.inlet = Inlet.memory(data)
        self.length = len(data)

    async def settle(self, report: Report | None) -> None:
        return

    def close(self) -> None:
        return
