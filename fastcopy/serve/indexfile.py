"""index.json of a layout that several processes may write: read, change under the lock, replace.

Owns the meaning of org.opencontainers.image.ref.name here. Refuses to know what manifests say.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastcopy import layoutfile, media
from fastcopy.descriptor import Digest, is_digest
from fastcopy.errors import BadConfig
from fastcopy.layoutfile import REF_NAME
from fastcopy.serve.catalogue import Entry
from fastcopy.serve.routes import NAME, TAG


@dataclass(frozen=True, slots=True)
class Named:
    """One entry of index.json as a registry sees it; tag "" is a manifest known by digest only."""

    repository: str
    tag: str
    digest: Digest
    media_type: str


@dataclass(frozen=True, slots=True)
class Change:
    """Put (or remove) a manifest under a tag; with tag "" under its digest alone (remove: with all its tags)."""

    repository: str
    entry: Entry
    tag: str = ""
    removes: bool = False


class IndexFile:
    """The file, its lock, and whether it is still what we last saw."""

    def __init__(self, root: Path, default_repository: str, *, read_only: bool = False) -> None:
        self._root = root
        self._path = root / layoutfile.INDEX
        self._default = default_repository
        self._seen: tuple[int, int, int] | None = None
        if read_only and not self._path.exists():
            raise BadConfig(f"{root} is not an OCI image layout (no index.json)")
        self._lock = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
        if not read_only:
            with layoutfile.locked(self._lock):
                self._create()

    def changed(self) -> bool:
        """Whether somebody else has written since our last look."""
        return self._signature() != self._seen

    def read(self) -> list[Named]:
        """Everything that can be served; raises BadConfig when the file is not an index."""
        self._seen = self._signature()
        return [named for item in self._document()["manifests"] if (named := self._name(item))]

    def apply(self, changes: list[Change]) -> None:
        """Apply changes to the file as it is now; raises BadConfig, OSError."""
        with layoutfile.locked(self._lock):
            foreign = self.changed()
            document = self._document()
            for change in changes:
                document["manifests"] = self._applied(document["manifests"], change)
            layoutfile.replace(self._lock, layoutfile.INDEX, layoutfile.encoded(document))
            if not foreign:  # otherwise changed() must say so at the next look
                self._seen = self._signature()

    def close(self) -> None:
        """Close the lock's descriptor; idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _applied(self, items: list[Any], change: Change) -> list[Any]:
        """The entries after a change; a manifest that loses its last tag is kept under its digest."""
        mine = [
            (item, named) for item in items if (named := self._name(item)) and named.repository == change.repository
        ]
        leaving = [(item, named) for item, named in mine if _leaves(named, change)]
        gone = {id(item) for item, _ in leaving}
        held = {named.digest for item, named in mine if id(item) not in gone}
        added = []
        if not change.removes:
            added.append(_descriptor(change.entry.digest, change.entry.media_type, change.entry.size, _ref(change)))
            held.add(change.entry.digest)
        for item, named in leaving:
            if named.digest not in held and change.tag:
                held.add(named.digest)
                ref_name = f"{change.repository}@{named.digest}"
                added.append(_descriptor(named.digest, named.media_type, item.get("size", 0), ref_name))
        return [item for item in items if id(item) not in gone] + added

    def _name(self, item: Any) -> Named | None:
        if not isinstance(item, dict) or not is_digest(str(item.get("digest", ""))):
            return None
        annotations = item.get("annotations")
        text = str(annotations.get(REF_NAME, "")) if isinstance(annotations, dict) else ""
        repository, tag = split_ref_name(text, self._default)
        if not NAME.fullmatch(repository):
            return None
        return Named(repository, tag, Digest(item["digest"]), str(item.get("mediaType", "")))

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_bytes())
        except ValueError as error:
            raise BadConfig(f"{self._path}: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.setdefault("manifests", []), list):
            raise BadConfig(f"{self._path}: not an OCI image index")
        return document

    def _create(self) -> None:
        if not (self._root / layoutfile.MARK).exists():
            layoutfile.replace(self._lock, layoutfile.MARK, layoutfile.MARK_TEXT)
        if not self._path.exists():
            empty = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
            layoutfile.replace(self._lock, layoutfile.INDEX, layoutfile.encoded(empty))

    def _signature(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


def _leaves(named: Named, change: Change) -> bool:
    """Whether an entry of the same repository makes way for a change."""
    if change.removes and not change.tag:
        return named.digest == change.entry.digest
    if named.tag:
        return named.tag == change.tag
    return named.digest == change.entry.digest and not change.removes


@lru_cache(maxsize=1 << 16)
def split_ref_name(text: str, default: str) -> tuple[str, str]:
    """(repository, tag) of a ref.name; a bare tag, and what is neither of our forms, belongs to `default`."""
    repository, at, digest = text.partition("@")
    if at and is_digest(digest):
        return repository, ""
    repository, colon, tag = text.rpartition(":")
    if colon and NAME.fullmatch(repository) and TAG.fullmatch(tag):
        return repository, tag
    return default, text if TAG.fullmatch(text) else ("" if text else "latest")


def _ref(change: Change) -> str:
    return f"{change.repository}:{change.tag}" if change.tag else f"{change.repository}@{change.entry.digest}"


def _descriptor(digest: str, media_type: str, size: int, ref_name: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size, "annotations": {REF_NAME: ref_name}}
