"""A local destination that nobody has opened yet: what can be said of it without touching it.

Owns its name and where its blobs would be unique. Everything it is asked it answers with "not there"; it takes nothing.
"""

from __future__ import annotations

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import Bug
from fastcopy.names import Ref, image_name
from fastcopy.transports.base import Accepts, Destination, Upload


class Unopened(Destination):
    """Stands for a local place in a plan."""

    def __init__(self, ref: Ref) -> None:
        self.name = image_name(ref)
        self.host = ""
        self.place = getattr(ref, "path", "") or self.name
        self.accepts = Accepts()

    async def current(self) -> Digest | None:
        return None

    async def has_blob(self, what: Descriptor) -> bool:
        return False

    async def begin(self, what: Descriptor) -> Upload:
        raise Bug(f"{self.name} is not open")

    async def write_blob(self, what: Descriptor, data: bytes) -> None:
        raise Bug(f"{self.name} is not open")

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        raise Bug(f"{self.name} is not open")
