"""Removing an image of a containers-storage, as `podman rmi --force` of all its names would: skopeo's delete."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack

import trio

from fastcopy.errors import Unsupported
from fastcopy.names import StorageRef
from fastcopy.transports._local import in_thread, open_regular, read_whole
from fastcopy.transports.storage import editing, records
from fastcopy.transports.storage.conf import refuse_unwritable
from fastcopy.transports.storage.locks import locked
from fastcopy.transports.storage.store import Shelf, Store


async def delete_image(ref: StorageRef) -> None:
    """Remove the image that *ref* means, with all its names and every layer that nothing else needs.

    Raises ManifestUnknown, LocalError for an image that a container uses, Unsupported where it may not be written.
    """
    store = await in_thread(lambda: Store.of(ref))
    shelf, image = await in_thread(lambda: store.choose(ref))
    refuse_unwritable(store.place)
    if shelf is not store.shelves[0]:
        raise Unsupported(f"image {image.id} is in the additional storage {shelf.root}, which is never changed")
    with trio.CancelScope(shield=True):
        async with AsyncExitStack() as stack:
            layers = await stack.enter_async_context(locked(shelf.path("layers", "layers.lock")))
            images = await stack.enter_async_context(locked(shelf.path("images", "images.lock")))
            await stack.enter_async_context(locked(shelf.path("containers", "containers.lock")))
            await in_thread(
                lambda: editing.remove_image(store, image, _users(shelf, store.place.run_root), layers, images)
            )


def _users(shelf: Shelf, run_root: str) -> Callable[[str], str]:
    """Which container uses an image or a layer; "" when none does."""
    found: dict[str, str] = {}
    directories = (shelf.path("containers"), os.path.join(run_root, f"{shelf.driver}-containers"))
    for directory in directories:
        for name in ("containers.json", "volatile-containers.json"):
            path = os.path.join(directory, name)
            if not os.path.lexists(path):
                continue
            raw = read_whole(*open_regular(path, path), path, records.MAX_RECORDS)
            for each in records.records(raw, path):
                found |= {str(each.get(key)): each["id"] for key in ("image", "layer") if each.get(key)}
    return lambda wanted: found.get(wanted, "")
