"""Which repository holds which tags, manifests and blobs: state in memory, no bytes, no I/O.

Blobs belong to repositories, as in docker-registry: a blob is seen where it was uploaded or mounted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fastcopy.descriptor import Digest


class Child(NamedTuple):
    """A manifest that an index names; its own bytes need not repeat their media type."""

    digest: Digest
    media_type: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a stored manifest; `blobs` and `children` are what it refers to."""

    digest: Digest
    size: int
    media_type: str
    artifact_type: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Digest | None = None
    blobs: tuple[Digest, ...] = ()
    children: tuple[Child, ...] = ()

    def descriptor(self) -> dict[str, object]:
        """As a referrers index lists it (image-spec descriptor.md)."""
        found: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return found


@dataclass(slots=True)
class Repository:
    """One repository's links."""

    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: dict[Digest, Entry] = field(default_factory=dict)
    blobs: set[Digest] = field(default_factory=set)

    def tagged(self, digest: Digest) -> list[str]:
        """The tags that point at a manifest."""
        return [tag for tag, target in self.tags.items() if target == digest]

    def empty(self) -> bool:
        """Whether nothing is left of it."""
        return not (self.tags or self.manifests or self.blobs)


class Catalogue:
    """All repositories. Every method is synchronous and quick."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}

    def names(self) -> list[str]:
        """Repositories with at least one manifest, sorted."""
        return sorted(name for name, repository in self.repositories.items() if repository.manifests)

    def find(self, name: str) -> Repository | None:
        """The repository, or None."""
        return self.repositories.get(name)

    def entry(self, name: str, reference: Digest | str) -> Entry | None:
        """The manifest a tag or digest names."""
        repository = self.repositories.get(name)
        if repository is None:
            return None
        digest = reference if isinstance(reference, Digest) else repository.tags.get(reference)
        return repository.manifests.get(digest) if digest else None

    def holds(self, name: str, digest: Digest) -> bool:
        """Whether a repository holds a blob (manifests are blobs too, for HEAD and mounts)."""
        repository = self.repositories.get(name)
        return repository is not None and (digest in repository.blobs or digest in repository.manifests)

    def anywhere(self, digest: Digest) -> bool:
        """Whether any repository holds it."""
        return any(self.holds(name, digest) for name in self.repositories)

    def link(self, name: str, digests: Iterable[Digest]) -> None:
        """Make blobs visible in a repository."""
        self._of(name).blobs.update(digests)

    def put(self, name: str, entry: Entry, tags: Iterable[str] = ()) -> None:
        """Store a manifest's entry and move tags to it."""
        repository = self._of(name)
        repository.manifests[entry.digest] = entry
        repository.tags.update(dict.fromkeys(tags, entry.digest))

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; False when there was none."""
        repository = self.repositories.get(name)
        return repository is not None and repository.tags.pop(tag, None) is not None

    def remove_manifest(self, name: str, digest: Digest) -> bool:
        """Remove a manifest and its tags; False when there was none."""
        repository = self.repositories.get(name)
        if repository is None or repository.manifests.pop(digest, None) is None:
            return False
        for tag in repository.tagged(digest):
            del repository.tags[tag]
        return True

    def remove_blob(self, name: str, digest: Digest) -> bool:
        """Remove a blob from a repository; False when it was not there."""
        repository = self.repositories.get(name)
        if repository is None or digest not in repository.blobs:
            return False
        repository.blobs.discard(digest)
        return True

    def referrers(self, name: str, subject: Digest) -> Iterator[Entry]:
        """Manifests of a repository whose subject is this digest."""
        repository = self.repositories.get(name)
        found = repository.manifests.values() if repository else ()
        return (entry for entry in found if entry.subject == subject)

    def _of(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())
