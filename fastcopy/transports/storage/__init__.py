"""containers-storage: - the images of podman, buildah and CRI-O on this machine, read and written in place.

`conf` finds the storage, `records` says what its JSON files mean, `store` reads them, `tree` opens files below a
directory and nowhere else, `tarsplit` knows how a layer's tar is kept; `source` reads images. Everything here but
`records` and `tarsplit` does blocking file work and belongs on worker threads.
"""

from __future__ import annotations

from fastcopy.errors import IntegrityError


class BadStorage(IntegrityError):
    """A containers-storage is damaged: a record, a file of a layer, or a link that leads out of it."""

    slug = "bad-storage"
