"""A destination that keeps nothing: for what is read only to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.transports.base import Accepts, Destination, Upload

if TYPE_CHECKING:
    from fastcopy._native import Outlet, Report


class Nowhere(Destination):
    """Takes every blob and has none."""

    name, host, place = "nowhere", "", ""
    accepts = Accepts()

    async def current(self) -> Digest | None:
        return None

    async def has_blob(self, what: Descriptor) -> bool:
        return False

    async def begin(self, what: Descriptor) -> Upload:
        return _Drain()

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        return

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        return


class _Drain(Upload):
    async def open(self, length: int) -> Outlet:
        from fastcopy._native import Outlet

        return Outlet.null()

    async def finish(self, report: Report, digest: Digest, size: int) -> None:
        return

    def close(self) -> None:
        return
