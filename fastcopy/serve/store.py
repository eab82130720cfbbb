"""The store: a catalogue over content. This one forgets; layout.py adds a directory that remembers.

Owns the order of things: bytes before links, links before tags. Refuses to know HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcopy.descriptor import Digest
from fastcopy.serve.catalogue import Catalogue, Entry
from fastcopy.serve.content import Blob, Content, MemoryContent, Spool


class Store:
    """Repositories in memory; `shared` blobs are seen from every repository."""

    def __init__(self, content: Content | None = None, *, shared: bool = False) -> None:
        self.catalogue = Catalogue()
        self.content: Content = content or MemoryContent()
        self._shared = shared

    def refresh(self) -> None:
        """Take notice of what others changed; called before every request."""

    def blob(self, name: str, digest: Digest) -> Blob | None:
        """A blob that the repository holds."""
        return self.content.get(digest) if self.holds(name, digest) else None

    def holds(self, name: str, digest: Digest) -> bool:
        """Whether the repository holds a blob."""
        return self.catalogue.holds(name, digest) or (self._shared and self.catalogue.anywhere(digest))

    async def keep_blob(self, name: str, digest: Digest, spool: Spool) -> None:
        """Make a finished upload a blob of a repository."""
        await self.content.keep(spool, digest)
        self.link(name, digest)

    def link(self, name: str, digest: Digest) -> None:
        """Make a blob we have visible in a repository (mount)."""
        self.catalogue.link(name, [digest])

    async def put_manifest(self, name: str, entry: Entry, raw: bytes, tags: Iterable[str]) -> None:
        """Store a manifest and move tags to it."""
        await self.content.put(entry.digest, raw)
        self.catalogue.put(name, entry, tags)

    async def untag(self, name: str, tag: str) -> bool:
        """Remove a tag, not what it points at."""
        return self.catalogue.untag(name, tag)

    async def remove_manifest(self, name: str, digest: Digest) -> bool:
        """Remove a manifest and its tags."""
        removed = self.catalogue.remove_manifest(name, digest)
        self._collect(digest)
        return removed

    async def remove_blob(self, name: str, digest: Digest) -> bool:
        """Remove a blob from a repository."""
        removed = self.catalogue.remove_blob(name, digest)
        self._collect(digest)
        return removed

    def close(self) -> None:
        """Release everything."""
        self.content.close()

    def _collect(self, digest: Digest) -> None:
        if not self.catalogue.anywhere(digest):
            self.content.drop(digest)
