"""Who wants which blob where: what lets one download serve registries that different images go to.

State in one sentence: the blobs that tasks are about to bring, each free, taken along by another task or being brought,
and the images that have begun and have not said yet which blobs they want.
Law: nothing here moves bytes or waits for a slot; who takes a want along owes it an answer, whatever happens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from fastcopy.transfer.arrival import Outcomes

if TYPE_CHECKING:
    from fastcopy.descriptor import Descriptor, Digest
    from fastcopy.transports.base import Destination, Source

#: Seconds that a blob waits at most for images that have begun to say what they want. Reading the manifests of 256
#: images takes two at 30 ms; an image that is late once is not waited for again.
CRAWL_PATIENCE = 5.0
#: Registries served by one download at most: each outlet costs sockets and descriptors, and the slowest sets the pace.
MOST_AT_ONCE = 16


@dataclass(eq=False)
class Want:
    """One blob that one task needs at *targets*; `outcomes` is where others put what they did for it."""

    source: Source
    targets: Sequence[Destination]
    what: Descriptor
    outcomes: Outcomes = field(default_factory=dict)
    ready: bool = False  #: nobody else brings the blob to its registries
    leading: bool = False
    answered: trio.Event | None = None  #: set while another task has taken it along

    @property
    def left(self) -> list[Destination]:
        """Targets for which nothing was done yet."""
        return [target for target in self.targets if target not in self.outcomes]

    @property
    def hosts(self) -> frozenset[str]:
        """The registries of its targets."""
        return frozenset(target.host for target in self.targets)


@dataclass(eq=False)
class Crawling:
    """An image of which not all manifests are read yet: `pending` of them are to come."""

    hosts: frozenset[str]
    pending: int = 1
    over: trio.Event = field(default_factory=trio.Event)

    def more(self, count: int) -> None:
        """*count* further manifests will be read."""
        self.pending += count

    def one_less(self) -> None:
        """One manifest's blobs are asked for by now, or never will be."""
        self.pending -= 1
        if self.pending <= 0:
            self.over.set()


class Wants:
    """Every want of a run."""

    def __init__(self) -> None:
        self._by_digest: defaultdict[Digest, list[Want]] = defaultdict(list)
        self._crawling: dict[Crawling, None] = {}
        self._directions: set[frozenset[str]] = set()  #: to which registries images went so far
        self._fetched: set[Digest] = set()

    def begin(self, hosts: Iterable[str]) -> Crawling:
        """An image for *hosts* begins; blobs that could go there as well wait until it has said what it wants."""
        image = Crawling(frozenset(hosts))
        self._crawling[image] = None
        self._directions.add(image.hosts)
        return image

    def ended(self, image: Crawling) -> None:
        """*image* wants nothing more."""
        image.over.set()
        self._crawling.pop(image, None)

    @contextmanager
    def known(self, want: Want) -> Iterator[None]:
        """*want* may be taken along by others, as soon as it is ready and until it leads."""
        wants = self._by_digest[want.what.digest]
        wants.append(want)
        try:
            yield
        finally:
            wants.remove(want)
            if not wants:
                self._by_digest.pop(want.what.digest, None)

    async def others_said(self, want: Want) -> None:
        """Return when every image that had begun, and goes to other registries, has said what it wants."""
        if all(hosts <= want.hosts for hosts in self._directions):
            return
        ahead = [image for image in self._crawling if not image.over.is_set() and not image.hosts <= want.hosts]
        with trio.move_on_after(CRAWL_PATIENCE) as scope:
            for image in ahead:
                await image.over.wait()
        if scope.cancelled_caught:
            for image in ahead:
                self._crawling.pop(image, None)
        for _ in range(2):  # the tasks that were begun when the last image spoke have announced their wants by then
            await trio.lowlevel.checkpoint()

    async def lead(self, want: Want) -> bool:
        """Become the leader of *want*; False when others have done all of it meanwhile."""
        while want.answered is not None:
            await want.answered.wait()
        want.leading = bool(want.left)
        return want.leading

    @contextmanager
    def company(self, want: Want, most: int) -> Iterator[dict[Destination, Want]]:
        """Take along at most *most* who need the same blob at other registries; they are free when the block ends."""
        taken = self._company(want, most)
        answered = trio.Event()
        for other in taken.values():
            other.answered = answered
        try:
            yield taken
        finally:
            for other in taken.values():
                other.answered = None
            answered.set()

    def _company(self, want: Want, most: int) -> dict[Destination, Want]:
        hosts = set(want.hosts)
        found: dict[Destination, Want] = {}
        for other in self._by_digest.get(want.what.digest, ()):
            if other is want or not _may_come_along(other, want):
                continue
            for target in other.left:
                if target.host and target.host not in hosts and len(found) < most:
                    hosts.add(target.host)
                    found[target] = other
        return found

    def fetched(self, digest: Digest) -> bool:
        """Note that *digest* is read from a source now; whether it was before in this run."""
        again = digest in self._fetched
        self._fetched.add(digest)
        return again


def _may_come_along(other: Want, want: Want) -> bool:
    """A free want of the same bytes that could not do without a download."""
    free = other.ready and not other.leading and other.answered is None
    return free and other.what.size == want.what.size and other.source.host not in other.hosts
