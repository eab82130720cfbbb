"""docker-archive: - what ``docker save`` and ``podman save`` write, read in place, and written for their ``load``.

The archive has no manifest of the image: it is made here, as containers/image makes it, from ``manifest.json``, the
config and the layers' diff IDs. Layers are the uncompressed tars inside; each byte is verified against its diff ID.
Writing leaves out the directories per layer and ``repositories``, which only docker before 1.10 read.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastcopy import codecs, media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, BadName, ManifestUnknown, Unsupported
from fastcopy.manifest import MAX_ENTRIES, MAX_MANIFEST, Manifest
from fastcopy.names import ArchiveRef, parse_docker, with_default_tag
from fastcopy.transports import _tar
from fastcopy.transports._archive import ArchiveFiles
from fastcopy.transports._archive_out import ArchiveDestination, ArchiveWriter, is_stream
from fastcopy.transports._local import in_thread
from fastcopy.transports.base import Accepts, BlobReader, RawManifest, Source, verified

MANIFEST: Final = "manifest.json"
#: ``manifest.json`` names every layer of every image: 1000 images of 100 layers are 10 MB.
MAX_LIST: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One image of ``manifest.json``: names of members, and the tags it is known by."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def parse_items(raw: bytes) -> list[Item]:
    """The images of an archive in order; raises BadManifest."""
    document = strictjson.load(raw, limit=MAX_LIST, what=MANIFEST)
    if not isinstance(document, list):
        raise BadManifest(f"{MANIFEST} is not a list of images")
    return [_item(each) for each in document]


def _item(found: Any) -> Item:
    if not isinstance(found, dict) or not isinstance(found.get("Config"), str):
        raise BadManifest(f"{MANIFEST} has an image without Config")
    tags, layers = found.get("RepoTags") or [], found.get("Layers") or []
    for name, texts in (("RepoTags", tags), ("Layers", layers)):
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            raise BadManifest(f"{MANIFEST} has an image whose {name} is not a list of strings")
    if len(layers) > MAX_ENTRIES:
        raise BadManifest(f"{MANIFEST} has an image with {len(layers)} layers, more than the limit of {MAX_ENTRIES}")
    return Item(found["Config"], tuple(tags), tuple(layers))


def choose(items: list[Item], ref: ArchiveRef) -> Item:
    """The image that a reference names, in containers/image's words; raises ManifestUnknown, Unsupported."""
    if ref.index >= 0:
        if ref.index >= len(items):
            raise ManifestUnknown(f"Invalid source index @{ref.index}, only {len(items)} manifest items available")
        return items[ref.index]
    if ref.docker:
        wanted = str(ref.docker)
        for item in items:
            if any(_normal(tag) == wanted for tag in item.tags):
                return item
        raise ManifestUnknown(f'Tag "{wanted}" not found')
    if len(items) != 1:
        raise Unsupported(f"Unexpected tar {MANIFEST}: expected 1 item, got {len(items)}")
    return items[0]


def _normal(tag: str) -> str:
    try:
        return str(with_default_tag(parse_docker(tag)))
    except BadName:
        return ""


def diff_ids(config: bytes) -> list[Digest]:
    """The layers of an image, uncompressed; raises BadManifest."""
    rootfs = strictjson.load_object(config, limit=MAX_MANIFEST, what="the image's config").get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadManifest("the image's config has no list of diff_ids")
    return [Digest(each) for each in found]


def made_manifest(config: bytes, layers: list[Descriptor]) -> bytes:
    """The schema 2 manifest of an image in an archive.

    The layers' type says that they are not compressed. (containers/image calls them gzip here, and corrects that
    only where it compresses them: a manifest that travels verbatim has to be true from the start.)
    """
    digest = Digest.of(config)
    document = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": {"mediaType": media.DOCKER_CONFIG, "size": len(config), "digest": str(digest)},
        "layers": [
            {"mediaType": media.DOCKER_LAYER, "size": layer.size, "digest": str(layer.digest)} for layer in layers
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


class DockerArchiveSource(Source):
    """Reads one image of one archive."""

    transport = "docker-archive"

    def __init__(self, ref: ArchiveRef, files: ArchiveFiles) -> None:
        self.name, self.host, self.place = str(ref), "", os.path.realpath(ref.path)
        self._ref, self._files = ref, files
        self._config = b""
        self._layers: dict[Digest, str] = {}
        self._made: RawManifest | None = None

    async def items(self) -> list[Item]:
        """Every image of the archive; raises BadManifest, LocalError."""
        await self._files.prepare()
        return parse_items(await self._files.read(MANIFEST, MAX_LIST))

    async def manifest(self, digest: Digest | None = None) -> RawManifest:
        if self._made is None:
            self._made = await self._make()
        if digest not in (None, self._made.digest):
            raise Unsupported(f'Manifest lists are not supported by "{self.transport}:"')
        return self._made

    async def _make(self) -> RawManifest:
        item = choose(await self.items(), self._ref)
        self._config = await self._files.read(item.config, MAX_MANIFEST)
        ids = diff_ids(self._config)
        if len(ids) != len(item.layers):
            raise BadManifest(f"inconsistent layer count: {len(item.layers)} in manifest, {len(ids)} in config")
        layers = [await self._layer(each, name) for each, name in zip(ids, item.layers, strict=True)]
        raw = made_manifest(self._config, layers)
        return RawManifest(raw, media.DOCKER_MANIFEST, Digest.of(raw))

    async def _layer(self, diff_id: Digest, name: str) -> Descriptor:
        if diff_id not in self._layers:
            await self._refuse_compressed(name)
            self._layers[diff_id] = name
        return Descriptor(diff_id, self._files.member(self._layers[diff_id]).size)

    async def _refuse_compressed(self, name: str) -> None:
        if codecs.sniff(await self._files.head(name, _tar.BLOCK)) != "none":
            raise Unsupported(
                f"layer {posixpath.normpath(name)} is compressed inside the archive, which is not supported yet"
            )

    async def open_blob(self, what: Descriptor, first: int = 0, last: int | None = None) -> BlobReader:
        return await self._files.reader(self._file(what), what, first, last)

    async def read_blob(self, what: Descriptor, limit: int = 4 << 20) -> bytes:
        if self._config and what.digest.matches(self._config):
            return verified(self._config, what)
        return verified(await self._files.read(self._file(what), limit), what)

    def _file(self, what: Descriptor) -> str:
        if what.digest not in self._layers:
            raise ManifestUnknown(f"Unknown blob {what.digest}")
        return self._layers[what.digest]

    async def tags(self) -> list[str]:
        """Every tag as it is stored, ``@N`` for an image without one."""
        return [tag for at, item in enumerate(await self.items()) for tag in item.tags or (f"@{at}",)]

    async def close(self) -> None:
        self._files.close()


class DockerArchiveDestination(ArchiveDestination):
    """Writes one image into a new archive, under the name of the reference and *more* tags."""

    accepts = Accepts(frozenset({media.DOCKER_MANIFEST}), compression="decompress")

    def __init__(
        self, ref: ArchiveRef, tmpdir: Path | None, more: Sequence[str] = (), writer: ArchiveWriter | None = None
    ) -> None:
        if ref.index >= 0:
            raise Unsupported(f"{ref}: an index names an image to read, a destination needs a name or none")
        if not writer and not is_stream(ref.path) and os.path.isfile(ref.path) and os.path.getsize(ref.path):
            raise Unsupported("docker-archive doesn't support modifying existing images")
        tags = ([ref.name] if ref.name else []) + [str(with_default_tag(parse_docker(each))) for each in more]
        self._tags = list(dict.fromkeys(tags))
        self._top: Manifest | None = None
        super().__init__(str(ref), ref.path, tmpdir, writer)

    def member(self, what: Descriptor, digest: Digest) -> str:
        return digest.hex + (".tar" if media.compression(what.media_type) else ".json")

    async def put_manifest(self, raw: bytes, media_type: str, digest: Digest, *, top: bool) -> None:
        manifest = Manifest.parse(raw, media_type, digest)
        if not top or media_type not in self.accepts.manifests:
            raise Unsupported(f"{self.name} holds single images of Docker's format only, not {media_type}")
        packed = [layer.media_type for layer in manifest.layers if media.compression(layer.media_type) != "none"]
        if packed:
            raise Unsupported(f"{self.name} holds uncompressed layers only, not {packed[0]}")
        self._top = manifest

    async def commit(self) -> None:
        assert self._top is not None
        assert self._top.config is not None
        item = {
            "Config": self.member(self._top.config, self._top.config.digest),
            "RepoTags": self._tags or None,
            "Layers": [self.member(layer, layer.digest) for layer in self._top.layers],
        }
        data = json.dumps([item], separators=(",", ":")).encode()
        async with self.writer.free:
            self.writer.add(MANIFEST, data)
            await in_thread(self.writer.finish)
