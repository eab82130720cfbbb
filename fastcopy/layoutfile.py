"""The files of an OCI image layout that several processes may write: their names, the lock, and how one is replaced.

Everybody who changes ``index.json`` (copies, deletes, `fastcopy serve`) does it here, so that nobody loses an entry.
Refuses to know what is in the files. Blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

INDEX: Final = "index.json"
MARK: Final = "oci-layout"
#: image-spec image-layout.md, "oci-layout file".
MARK_TEXT: Final = b'{"imageLayoutVersion": "1.0.0"}'
#: The annotation that names an entry (image-spec annotations.md).
REF_NAME: Final = "org.opencontainers.image.ref.name"
#: Names that only an unfinished write has.
TEMPORARY: Final = ".fastcopy-"
#: A writer holds the lock for milliseconds; one that holds it this long is stuck.
LOCK_SECONDS: Final = 60.0
_LOOK = 0.005
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def locked(directory: int) -> Iterator[None]:
    """Hold flock(2) on the layout's open *directory*; raises TimeoutError when somebody keeps it for a minute."""
    deadline = time.monotonic() + LOCK_SECONDS
    while not _taken(directory):
        if time.monotonic() > deadline:
            raise TimeoutError("another process keeps the layout locked")
        time.sleep(_LOOK)
    try:
        yield
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)


def _taken(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def encoded(document: Mapping[str, Any]) -> bytes:
    """An index as it is written."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def replace(directory: int, name: str, data: bytes) -> None:
    """Replace the file *name* of the open *directory* at once or not at all, for good; raises OSError."""
    temporary = TEMPORARY + secrets.token_hex(8)
    fd = os.open(temporary, _NEW, 0o644, dir_fd=directory)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    finally:
        os.close(fd)
    os.fsync(directory)
