"""What the images of a run know in common of the things beside them: a plain memory, and the locks around it.

Tags that name one manifest have its referrers in common: they are asked for and copied once. Knows no places.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from fastcopy.descriptor import Descriptor, Digest

#: host, place, and what there
Key = tuple[str, ...]


@dataclass(slots=True)
class Beside:
    """Shared by the images of one run. A lock guards the entry of its key, and nothing is awaited under two of a kind.

    `lists`: by source and subject, the referrers; `tags`: by source, the digest tags. `there`: by destination and
    subject, the referrers known to be there and listed.
    """

    lists: dict[Key, tuple[Descriptor, ...]] = field(default_factory=dict)
    tags: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    there: dict[Key, set[Digest]] = field(default_factory=dict)
    locks: dict[Key, trio.Lock] = field(default_factory=dict)

    def lock(self, *key: str) -> trio.Lock:
        """The lock of *key*."""
        return self.locks.setdefault(key, trio.Lock())
