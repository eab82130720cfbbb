"""What became of a run of many images: values, and their JSON and text forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from fastcopy.errors import FastcopyError, PartlyDone
from fastcopy.jobs import Job

Status = Literal["copied", "present", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One image of the run; `digest` is that of the manifest the destination's name now points to."""

    job: Job = field(repr=False)
    status: Status
    digest: str = ""
    source_digest: str = ""
    error: FastcopyError | None = None

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
    """The whole run; bytes are those of blobs, `seconds` is wall time."""

    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    pruned: tuple[str, ...] = ()
    bytes_copied: int = 0
    bytes_reused: int = 0
    bytes_mounted: int = 0
    blobs_copied: int = 0
    blobs_reused: int = 0
    blobs_mounted: int = 0
    requests: int = 0
    seconds: float = 0.0

    @property
    def counts(self) -> Counter[str]:
        """Images by status."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """The images that are not at their destination."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return not self.failed and not self.failures

    def failed_pairs(self) -> Iterator[str]:
        """Lines of ``source=destination`` that `--list` reads back."""
        for outcome in self.failed:
            yield f"{outcome.job.source}={outcome.job.destination}"

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable report."""
        numbers = {
            key: value
            for key, value in asdict_shallow(self).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        return {
            **numbers,
            "counts": dict(self.counts),
            "images": [outcome.as_dict() for outcome in self.outcomes],
            "rules": [
                {"where": each.where, "source": each.source, "error": str(each.error), "class": each.error.slug}
                for each in self.failures
            ],
            "pruned": list(self.pruned),
        }

    def raise_if_incomplete(self) -> None:
        """Raise PartlyDone when some images failed, or the one error there is when nothing else was asked for."""
        if self.complete:
            return
        raise PartlyDone("Sync failed due to previous reported error(s) for one or more images")


def asdict_shallow(value: Any) -> dict[str, Any]:
    """A dataclass's fields, not looking into them."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
