"""A store over an OCI image layout directory: one set of blobs, index.json naming tags of every repository.

An entry of index.json whose ref.name is "repository:tag" is that tag; "repository@digest" keeps an untagged manifest.
A bare "tag" (what skopeo, crane and buildkit write) belongs to the repository that ServeConfig.name names, so that a
carried layout can be served as it is. Blobs no manifest refers to are seen from every repository: they are what an
earlier run acknowledged. (A mount that no manifest has used yet is forgotten with the process.)

Writers share a directory by flock(2) on it: every change is applied to index.json as it is then, so that two servers,
or a server and a copy into the directory, lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import trio

from fastcopy.descriptor import Digest
from fastcopy.serve.catalogue import Catalogue, Entry
from fastcopy.serve.directory import DirectoryContent
from fastcopy.serve.indexfile import Change, IndexFile, Named
from fastcopy.serve.manifests import examine
from fastcopy.serve.message import Refusal
from fastcopy.serve.store import Store

#: Entries are followed this deep: an index of indexes of images is legal, a loop cannot be (digests), a bomb can.
_DEPTH = 8


class LayoutStore(Store):
    """Repositories that are still there tomorrow."""

    def __init__(
        self, directory: Path, name: str, *, durable: bool = True, read_only: bool = False, shared: bool = False
    ) -> None:
        self._directory = DirectoryContent(directory, durable=durable, read_only=read_only)
        super().__init__(self._directory, shared=shared)
        self._index = IndexFile(directory, name, read_only=read_only)
        self._known: dict[Digest, Entry] = {}
        self._referred: set[Digest] = set()
        self._acknowledged: dict[str, set[Digest]] = {}  #: uploads and mounts of this process, told to clients
        self._pending: list[Change] = []
        self._writing = trio.Lock()

    async def load(self) -> None:
        """Read index.json and what it names; raises BadConfig."""
        await trio.to_thread.run_sync(self._load)

    def refresh(self) -> None:
        """Read index.json again when somebody else has written it."""
        if self._index.changed():
            self._load()

    def holds(self, name: str, digest: Digest) -> bool:
        """Whether the repository holds a blob; those that belong to nobody are everybody's."""
        if super().holds(name, digest):
            return True
        orphan = digest not in self._referred and not self.catalogue.anywhere(digest)
        return orphan and self.content.get(digest) is not None

    def link(self, name: str, digest: Digest) -> None:
        """Make a blob visible in a repository, and keep it so when index.json is read again."""
        super().link(name, digest)
        self._acknowledged.setdefault(name, set()).add(digest)

    async def remove_blob(self, name: str, digest: Digest) -> bool:
        """Remove a blob from a repository."""
        self._acknowledged.get(name, set()).discard(digest)
        return await super().remove_blob(name, digest)

    async def put_manifest(self, name: str, entry: Entry, raw: bytes, tags: Iterable[str]) -> None:
        """Bytes, then the index, then the answer: a tag that is told is a tag that lasts."""
        tags = tuple(tags)
        await self.content.put(entry.digest, raw)
        self._known[entry.digest] = entry
        await self._apply(*(Change(name, entry, tag) for tag in tags or ("",)))
        self.catalogue.put(name, entry, tags)
        self._adopt(name, entry)

    async def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; its manifest stays under its digest."""
        entry = self.catalogue.entry(name, tag)
        if entry is None:
            return False
        await self._apply(Change(name, entry, tag, removes=True))
        return self.catalogue.untag(name, tag)

    async def remove_manifest(self, name: str, digest: Digest) -> bool:
        """Remove a manifest and its tags."""
        entry = self.catalogue.entry(name, digest)
        if entry is None:
            return False
        await self._apply(Change(name, entry, "", removes=True))
        return await super().remove_manifest(name, digest)

    async def _apply(self, *changes: Change) -> None:
        """Write changes; those that come while a write is under way share the next one."""
        self._pending += changes
        async with self._writing:
            batch, self._pending = self._pending, []
            if batch:
                with trio.CancelScope(shield=True):  # a thread cannot be abandoned half way through a file
                    await trio.to_thread.run_sync(self._write, batch)

    def _write(self, batch: list[Change]) -> None:
        self._directory.settle()
        self._index.apply(batch)

    def _load(self) -> None:
        catalogue = Catalogue()
        for named in self._index.read():
            self._place(catalogue, named)
        for name, digests in self._acknowledged.items():
            catalogue.link(name, digests)
        self.catalogue = catalogue

    def _place(self, catalogue: Catalogue, named: Named, depth: int = 0) -> None:
        """Enter a manifest and, below it, its children: other tools name only the index."""
        entry = self._entry(named)
        if entry is None or depth > _DEPTH:
            return
        catalogue.put(named.repository, entry, [named.tag] if named.tag else [])
        self._adopt(named.repository, entry, catalogue)
        repository = catalogue.find(named.repository)
        for child in entry.children:
            if repository is not None and child.digest not in repository.manifests:
                self._place(catalogue, Named(named.repository, "", *child), depth + 1)

    def _adopt(self, name: str, entry: Entry, catalogue: Catalogue | None = None) -> None:
        (catalogue or self.catalogue).link(name, entry.blobs)
        self._referred.update(entry.blobs)
        self._referred.add(entry.digest)

    def _entry(self, named: Named) -> Entry | None:
        """What a manifest says, read once; damaged or absent ones are not served."""
        if named.digest not in self._known:
            raw = self._directory.read(named.digest)
            if raw is None:
                return None
            try:
                self._known[named.digest] = examine(raw, named.media_type, named.digest)
            except Refusal:
                return None
        return self._known[named.digest]

    def close(self) -> None:
        """Remove what uploads left."""
        super().close()
        self._index.close()
