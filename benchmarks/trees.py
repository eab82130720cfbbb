"""Layers of real files: what recompression has to be measured on, because noise does not compress.

Owns: which files, in which order, and the gzip they come in (zlib's level 6, what `docker build` pushes). Refuses to
know: where the blob goes.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images import PIECE, GzipStream


@dataclass(frozen=True)
class Tree:
    """A layer to be: about *size* bytes of the files below *root*, from the *skip*-th byte on."""

    root: str
    skip: int
    size: int


def files(tree: Tree) -> Iterator[Path]:
    """Yield the regular files of *tree*, in the order of their names."""
    seen = 0
    for directory, below, names in os.walk(tree.root):
        below.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if path.is_symlink() or not path.is_file():
                continue
            seen += path.stat().st_size
            if seen > tree.skip + tree.size:
                return
            if seen > tree.skip:
                yield path


def tar_pieces(tree: Tree) -> Iterator[bytes]:
    """Yield the tar of *tree*; owners and times are left out, so that it depends on the files alone."""
    for path in files(tree):
        content = path.read_bytes()
        entry = tarfile.TarInfo(str(path).lstrip("/"))
        entry.size, entry.mode = len(content), 0o644
        yield entry.tobuf(tarfile.PAX_FORMAT)
        yield from (content[at : at + PIECE] for at in range(0, len(content), PIECE))
        yield bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


class TreeStream(GzipStream):
    """The blob of a layer of files, as `docker build` would push it."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tar_pieces(tree), 6)
