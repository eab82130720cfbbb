"""What became of a run of many images: values, and their JSON and text forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fastcopy.errors import FastcopyError, PartlyDone
from fastcopy.formats.pairs import dump_pairs
from fastcopy.jobs import Job

#: `skipped`: the run ended before its turn came; `planned`: a dry run.
Status = Literal["copied", "present", "failed", "skipped", "planned"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One image of the run; `digest` is that of the manifest the destination's name now points to."""

    job: Job = field(repr=False)
    status: Status
    digest: str = ""
    source_digest: str = ""
    error: FastcopyError | None = None
    companions: int = 0  #: referrers and digest tags that were copied with it

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        error = self.error
        told = {"error": str(error), "class": error.slug, "side": error.side} if error else {}
        return {
            "source": self.job.source,
            "destination": self.job.destination,
            "status": self.status,
            "source_digest": self.source_digest,
            "destination_digest": self.digest,
            **({"companions": self.companions} if self.companions else {}),
            **told,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """A rule that could not be expanded: its repository's tags could not be listed, its names make no destination."""

    where: str
    source: str
    error: FastcopyError


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The whole run; bytes are those of blobs, `seconds` is wall time.

    `bytes_copied` counts a blob once per destination. `bytes_read` and `bytes_written` are what moved over the wire:
    what they exceed the blobs' sizes by is in `extra`: cause (docs/sync.md) to side to bytes. `requests_refused` were
    answered with 429.
    """

    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    pruned: tuple[str, ...] = ()  #: destination tags that were deleted; in a dry run: that would be
    spared: tuple[tuple[str, str], ...] = ()  #: what should have been pruned and was left alone, with the reason
    unpruned: tuple[Failure, ...] = ()
    bytes_copied: int = 0
    bytes_reused: int = 0
    bytes_mounted: int = 0
    blobs_copied: int = 0
    blobs_reused: int = 0
    blobs_mounted: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    requests: int = 0
    requests_refused: int = 0
    seconds: float = 0.0
    extra: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Images by status."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """The images whose copy failed."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def missing(self) -> list[Outcome]:
        """The images that are not at their destination: failed, or never tried."""
        return [outcome for outcome in self.outcomes if outcome.status in ("failed", "skipped")]

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return not (self.missing or self.failures or self.unpruned)

    def failed_pairs(self) -> str:
        """What is missing, as ``source=destination`` lines that `--list` reads back; errors are comments above them.

        A rule that could not be listed has no pairs: it is named in a comment.
        """
        remarks = {each.job.key: str(each.error or "not tried") for each in self.missing}
        lost = "".join(f"# {each.where}: {_one_line(each.error)}\n" for each in self.failures)
        return lost + dump_pairs((each.job for each in self.missing), remarks)

    @property
    def totals(self) -> dict[str, Any]:
        """Everything but the single images."""
        numbers = {key: value for key, value in asdict_shallow(self).items() if isinstance(value, int | float)}
        return {**numbers, "extra": self.extra, "counts": dict(self.counts)}

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable report."""
        return {
            **self.totals,
            "images": [outcome.as_dict() for outcome in self.outcomes],
            "rules": [
                {"where": each.where, "source": each.source, "error": str(each.error), "class": each.error.slug}
                for each in self.failures
            ],
            "pruned": list(self.pruned),
            "spared": [{"destination": name, "why": why} for name, why in self.spared],
            "unpruned": [
                {"destination": each.source, "error": str(each.error), "class": each.error.slug}
                for each in self.unpruned
            ],
        }

    def raise_if_incomplete(self) -> None:
        """Raise PartlyDone when something failed; the error itself when nothing else was asked for."""
        if self.complete:
            return
        errors = [each.error for each in (*self.failures, *self.unpruned)]
        errors += [each.error for each in self.failed if each.error]
        if len(errors) == 1 and len(self.outcomes) + len(self.failures) + len(self.unpruned) == 1:
            raise errors[0]
        raise PartlyDone("Sync failed due to previous reported error(s) for one or more images")


def by_cause(extras: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Bytes moved in vain: cause to side to bytes."""
    found: dict[str, dict[str, int]] = {}
    for (cause, side), count in sorted(extras.items()):
        found.setdefault(cause, {})[side] = count
    return found


def _one_line(error: FastcopyError) -> str:
    return " ".join(str(error).split())


def asdict_shallow(value: Any) -> dict[str, Any]:
    """A dataclass's fields, not looking into them."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
