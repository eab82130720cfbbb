"""One containers-storage on the disk: its records, its items of data, and the directories of its layers. Blocking.

Reading takes no lock: containers/storage replaces each of its files by a rename, and everything that is read here is
verified by its digest. An image that is deleted while it is read gives an error, never wrong bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from fastcopy.errors import ManifestUnknown
from fastcopy.names import StorageRef
from fastcopy.transports._local import explained, open_regular, read_whole
from fastcopy.transports.storage import records
from fastcopy.transports.storage.conf import Place, locate
from fastcopy.transports.storage.records import Image, Layer

#: A layer's directory below the storage, by driver.
_DIFF: Final[dict[str, Callable[[str], str]]] = {
    "overlay": lambda layer: f"overlay/{layer}/diff",
    "vfs": lambda layer: f"vfs/dir/{layer}",
}


@dataclass
class Shelf:
    """One directory with images: the storage's own, or an additional one."""

    root: str
    driver: str
    images: dict[str, Image] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)

    def path(self, kind: str, *names: str) -> str:
        """A path below ``<driver>-<kind>``."""
        return os.path.join(self.root, f"{self.driver}-{kind}", *names)

    def load(self) -> None:
        """Read the records; a file that is not there is an empty one. Raises BadStorage, LocalError."""
        self.images = records.images(*_file(self.path("images", "images.json")))
        self.layers = records.layers(*_file(self.path("layers", "volatile-layers.json")))
        self.layers |= records.layers(*_file(self.path("layers", "layers.json")))

    def data(self, image: Image, key: str, limit: int) -> bytes | None:
        """The item *key* of an image, None when there is none."""
        path = self.path("images", image.id, records.big_data_file(key))
        if not os.path.lexists(path):
            return None
        return read_whole(*open_regular(path, path), path, limit)

    def diff(self, layer: Layer) -> str:
        """The directory with a layer's files."""
        return os.path.join(self.root, _DIFF[self.driver](layer.id))

    def tar_split(self, layer: Layer) -> str:
        """The file that says how the layer's tar was made of its files."""
        return self.path("layers", layer.id + ".tar-split.gz")


def _file(path: str) -> tuple[bytes, str]:
    if not os.path.lexists(path):
        return b"", path
    return read_whole(*open_regular(path, path), path, records.MAX_RECORDS), path


class Store:
    """A storage with its additional ones, as it was when it was read."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.shelves = [Shelf(root, place.driver) for root in (place.root, *place.additional)]
        with explained("open", place.root):
            os.close(os.open(place.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self.reload()

    def reload(self) -> None:
        """Read the records again."""
        for shelf in self.shelves:
            shelf.load()

    @staticmethod
    def of(ref: StorageRef) -> Store:
        """The storage that *ref* means; raises BadConfig, Unsupported, BadStorage, LocalError."""
        return Store(locate(ref))

    def choose(self, ref: StorageRef) -> tuple[Shelf, Image]:
        """The image that *ref* means and where it is; raises ManifestUnknown, BadName."""
        found = [(shelf, image) for shelf in self.shelves for image in shelf.images.values()]
        image = records.choose((image for _, image in found), ref, str(self.place))
        return next(pair for pair in found if pair[1] is image)

    def layer(self, layer_id: str) -> Layer | None:
        """A layer by its ID."""
        return next((shelf.layers[layer_id] for shelf in self.shelves if layer_id in shelf.layers), None)

    def shelf_of(self, layer: Layer) -> Shelf:
        """Where a layer is."""
        return next(shelf for shelf in self.shelves if shelf.layers.get(layer.id) is layer)

    def with_diff_id(self, digest: str) -> Iterator[Layer]:
        """The layers whose tar has *digest*."""
        return (each for shelf in self.shelves for each in shelf.layers.values() if each.diff_id == digest)


def needed(data: bytes | None, image: Image, what: str) -> bytes:
    """*data*, if it was there; raises ManifestUnknown."""
    if data is None:
        raise ManifestUnknown(f"image {image.id}: its {what} is not in the storage")
    return data
