"""Which bytes moved in vain, and why: what crossed beyond the size of each blob, by cause and side.

    retry     an attempt broke, and its bytes were moved again
    detached  a destination fell out of a download shared with others, and was served again alone
    mount     the registry has the blob but refused to mount it
    late      the blob was downloaded before, for a registry that asked earlier

Counted where bodies are pumped: what a connection that broke had in flight, and the bodies of small blobs that were
refused, are not seen here. A cut range is asked for again from where it stood, so hedging costs nothing that counts.
State in one sentence: what was moved of the blobs that are under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastcopy.errors import Side
from fastcopy.transfer.arrival import Arrival, Outcomes

if TYPE_CHECKING:
    from fastcopy.descriptor import Descriptor, Digest
    from fastcopy.transports.base import Destination

#: cause, side, bytes
Extra = Callable[[str, Side, int], None]


class Ledger:
    """Bytes moved for blobs that are under way; `book` closes an account."""

    def __init__(self) -> None:
        self._read: Counter[Digest] = Counter()
        self._sent: Counter[tuple[Digest, Destination]] = Counter()

    def read(self, digest: Digest, count: int) -> None:
        """*count* bytes of the blob came from its source."""
        self._read[digest] += count

    def sent(self, digest: Digest, target: Destination, count: int) -> None:
        """*count* bytes of the blob went to *target*."""
        self._sent[digest, target] += count

    def book(self, what: Descriptor, outcomes: Outcomes, extra: Extra, *, alone: bool = False) -> None:
        """The attempts for *outcomes* are over: what they moved beyond the blob itself is extra.

        *alone*: they were for a destination that had fallen out of a shared download.
        """
        size = what.size if what.size >= 0 else self._read[what.digest]  # schema 1 does not say
        copied = [target for target, outcome in outcomes.items() if _copied(outcome)]
        again = "detached" if alone else "retry"
        due = size if copied and not alone else 0
        _add(extra, again, "source", self._read.pop(what.digest, 0) - due)
        fell_out = "detached" if copied else "retry"
        for target in outcomes:
            sent = self._sent.pop((what.digest, target), 0)
            if target in copied:
                _add(extra, again, "destination", sent - size)
            else:
                _add(extra, fell_out, "destination", sent)

    @staticmethod
    def refused(what: Descriptor, outcomes: Outcomes, extra: Extra) -> bool:
        """Whether a refused mount made somebody upload what its registry has; counts what went there."""
        refused = [each for each in outcomes.values() if _copied(each) and isinstance(each, Arrival) and each.refused]
        _add(extra, "mount", "destination", len(refused) * what.size)
        return bool(refused)


def _copied(outcome: object) -> bool:
    return isinstance(outcome, Arrival) and outcome.how == "copied"


def _add(extra: Extra, cause: str, side: Side, count: int) -> None:
    if count > 0:
        extra(cause, side, count)
