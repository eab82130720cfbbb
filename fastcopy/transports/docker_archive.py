"""docker-archive: - what ``docker save`` and ``podman save`` write, read in place, and written for their ``load``.

The archive has no manifest of the image: it is made here, as containers/image makes it, from ``manifest.json``, the
config and the layers' diff IDs; each layer is verified against its diff ID. Layers that are compressed inside (as
docker save leaves them where it keeps images in containerd) stay so, under the digests that registries know.
Writing leaves out the directories per layer and ``repositories``, which only docker before 1.10 read.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fastcopy import codecs, media, strictjson
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, BadName, DigestMismatch, FastcopyError, ManifestUnknown, Unsupported
from fastcopy.manifest import MAX_ENTRIES, MAX_MANIFEST, Manifest
from fastcopy.names import ArchiveRef, parse_docker, with_default_tag
from fastcopy.transports import _spool, _tar
from fastcopy.transports._archive import ArchiveFiles
from fastcopy.transports._archive_out import ArchiveDestination, ArchiveWriter, is_stream
from fastcopy.transports._local import in_thread
from fastcopy.transports.base import Accepts, BlobReader, RawManifest, Source, verified

MANIFEST: Final = "manifest.json"
#: ``manifest.json`` names every layer of every image: 1000 images of 100 layers are 10 MB.
MAX_LIST: Final = 64 << 20
#: Layers by what they are compressed with; schema 2 has no type for zstd.
_TYPES: Final = {
    "none": media.DOCKER_LAYER,
    "gzip": media.DOCKER_LAYER + ".gzip",
    "zstd": media.OCI_LAYER + "+zstd",
}


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


def made_manifest(config: bytes, layers: list[Descriptor]) -> RawManifest:
    """The schema 2 manifest of an image in an archive; an OCI one when a layer is compressed with zstd.

    The layers' types say what they are. (containers/image calls them all gzip here, and corrects that only where it
    compresses them: a manifest that travels verbatim has to be true from the start.)
    """
    oci = any(layer.media_type == _TYPES["zstd"] for layer in layers)
    manifest, of_config = (
        (media.OCI_MANIFEST, media.OCI_CONFIG) if oci else (media.DOCKER_MANIFEST, media.DOCKER_CONFIG)
    )
    entries = [Descriptor(Digest.of(config), len(config), of_config), *(_retyped(each, oci=oci) for each in layers)]
    written = [{"mediaType": each.media_type, "size": each.size, "digest": str(each.digest)} for each in entries]
    document = {"schemaVersion": 2, "mediaType": manifest, "config": written[0], "layers": written[1:]}
    raw = json.dumps(document, separators=(",", ":")).encode()
    return RawManifest(raw, manifest, Digest.of(raw))


def _retyped(layer: Descriptor, *, oci: bool) -> Descriptor:
    if not oci or layer.media_type == _TYPES["zstd"]:
        return layer
    suffix = "" if media.compression(layer.media_type) == "none" else "+gzip"
    return replace(layer, media_type=media.OCI_LAYER + suffix)


class DockerArchiveSource(Source):
    """Reads one image of one archive."""

    transport = "docker-archive"

    def __init__(self, ref: ArchiveRef, files: ArchiveFiles) -> None:
        self.name, self.host, self.place = str(ref), "", os.path.realpath(ref.path)
        self._ref, self._files = ref, files
        self._config = b""
        self._found: dict[Digest, Descriptor] = {}  #: by diff ID
        self._layers: dict[Digest, str] = {}  #: members by the digest of what they hold
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
        return made_manifest(self._config, layers)

    async def _layer(self, diff_id: Digest, name: str) -> Descriptor:
        """The layer in the member *name* as a blob; an uncompressed one is verified when it is read."""
        if diff_id not in self._found:
            compression = codecs.sniff(await self._files.head(name, _tar.BLOCK))
            if compression not in _TYPES:
                raise Unsupported(f"layer {posixpath.normpath(name)} is compressed with {compression} in the archive")
            digest = diff_id if compression == "none" else await self._packed(diff_id, name, compression)
            size = self._files.member(name).size
            self._found[diff_id] = Descriptor(digest, size, _TYPES[compression])
            self._layers[digest] = name
        return self._found[diff_id]

    async def _packed(self, diff_id: Digest, name: str, compression: str) -> Digest:
        """The digest of a compressed layer, which is read for it; raises DigestMismatch, IntegrityError."""
        fd, offset, size = self._files.locate(name)
        try:
            packed, plain = await _spool.digests(fd, offset, size, compression)
        except FastcopyError as error:
            error.message = f"layer {posixpath.normpath(name)}: {error.message}"
            raise
        finally:
            os.close(fd)
        if plain != diff_id:
            raise DigestMismatch(f"layer {posixpath.normpath(name)} holds {plain}, the config says {diff_id}")
        return packed

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
