"""The log lines of ``sync``: skopeo's words for skopeo's forms (skopeo.md 3.4), shorter ones for lists.

Owns the wording and the counting behind it; writes --digestfile as images complete. Knows no engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from fastcopy.cli.log import Log
from fastcopy.cli.show.units import rate, seconds, size
from fastcopy.migrate.watch import Watcher
from fastcopy.names import DockerRef

if TYPE_CHECKING:
    from fastcopy.errors import FastcopyError
    from fastcopy.jobs import Job, Rule
    from fastcopy.migrate.discover import Discovery
    from fastcopy.migrate.report import Failure, Outcome, SyncReport


def _whose(error: FastcopyError, job: Job) -> str:
    """What happened, behind the side where it did: a source may go to several destinations."""
    name = {"source": job.source, "destination": job.destination}.get(error.side, "")
    return str(error) if not name or name in str(error) else f"{error.side} {name}: {error}"


class Told(Watcher):
    """What both ways of telling share: failures, the digest file, and what happens at the end."""

    def __init__(self, log: Log, *, dry_run: bool) -> None:
        self.log = log
        self.dry_run = dry_run
        self.head = ""  #: what the summary begins with
        self.digests: TextIO | None = None
        self.report: SyncReport | None = None  #: there as soon as the run is over, however it ended
        self.discovery: Discovery | None = None

    def grew(self, discovery: Discovery) -> None:
        """Remember; the end is only told of a run that got this far."""
        self.discovery = discovery

    def found(self, discovery: Discovery) -> None:
        """Say so where nothing follows."""
        if self.dry_run:
            self.log.warning("Running in dry-run mode")

    def ended(self, outcome: Outcome) -> None:
        """Failures to the log, digests to their file."""
        if outcome.error is not None:
            self.log.error(f'Error copying ref "{outcome.job.source}"', error=_whose(outcome.error, outcome.job))
        elif self.digests is not None:
            self.digests.write(f"{outcome.digest} {outcome.job.destination}\n")
            self.digests.flush()

    def pruned(self, name: str) -> None:
        """A tag that is gone now, or would be."""
        self.log.info("Would have deleted" if self.dry_run else "Deleted", image=name)

    def spared(self, name: str, why: str) -> None:
        """What pruning left alone."""
        self.log.warning(f"Not pruned: {name}: {why}")

    def unpruned(self, failure: Failure) -> None:
        """A repository that could not be pruned."""
        self.log.error(f"Error pruning {failure.source}", error=failure.error)

    def finished(self, report: SyncReport) -> None:
        """Keep the report."""
        self.report = report


class SkopeoLines(Told):
    """skopeo's lines; images are numbered within their repository."""

    def __init__(self, log: Log, *, dry_run: bool, keep_going: bool, form: str, name: str = "") -> None:
        super().__init__(log, dry_run=dry_run)
        self._keep_going, self._form, self._name = keep_going, form, name
        self._numbers: dict[Job, tuple[int, int]] = {}

    def rule(self, rule: Rule) -> None:
        """A repository's turn."""
        if self._form == "docker":
            self.log.info("Tag presence check", imagename=self._name, tagged=str(not rule.needs_tags).lower())
        else:
            self.log.info("Processing repo", **_repo(rule))

    def listing(self, rule: Rule) -> None:
        """Its tags are asked for."""
        if self._form == "yaml":
            self.log.info("Querying registry for image tags", **_repo(rule))
        self.log.info("Getting tags", image=rule.source.removeprefix("docker://"))

    def empty(self, rule: Rule) -> None:
        """A filter that matches nothing."""
        if self._form == "yaml":
            self.log.warning("No refs to sync found", **_repo(rule))

    def unlisted(self, failure: Failure) -> None:
        """Logged and skipped; a lone repository's failure is the run's."""
        if self._form == "yaml":
            registry, _, repo = failure.source.removeprefix("docker://").partition("/")
            self.log.error("Error processing repo, skipping", registry=registry, repo=repo)
            self.log.error(listing_error(failure))

    def found(self, discovery: Discovery) -> None:
        """Number the images."""
        super().found(discovery)
        self._numbers = numbered(discovery.jobs)
        if self.dry_run:
            for job in discovery.jobs:
                self._ref("Would have copied", job)

    def began(self, job: Job) -> None:
        """One image's turn."""
        self._ref("Copying", job)

    def _ref(self, verb: str, job: Job) -> None:
        number, count = self._numbers[job]
        self.log.info(f"{verb} image ref {number}/{count}", **{"from": job.source, "to": job.destination})

    def ended(self, outcome: Outcome) -> None:
        """Without --keep-going the failure is the fatal line."""
        if outcome.error is None or self._keep_going:
            super().ended(outcome)

    def finished(self, report: SyncReport) -> None:
        """The count, unless a failure stopped the run."""
        if self.discovery is not None and (self._keep_going or not report.missing):
            counts = report.counts
            images = counts["planned"] + counts["copied"] + counts["present"]
            verb = "Would have synced" if self.dry_run else "Synced"
            self.log.info(f"{verb} {images} images from {self.discovery.sources} sources")
        super().finished(report)


class ListLines(Told):
    """One line per image that is done, and what could not be listed."""

    def __init__(self, log: Log, *, dry_run: bool, quiet: bool = False, news: bool = False) -> None:
        """*news*: say nothing of what was there already."""
        super().__init__(log, dry_run=dry_run)
        self._quiet, self._news, self._done = quiet, news, 0

    def empty(self, rule: Rule) -> None:
        """A filter that matches nothing."""
        self.log.warning(f"{rule.where}: no tag of {rule.source} fits")

    def unlisted(self, failure: Failure) -> None:
        """The others go on; the exit code tells."""
        self.log.error(f"{failure.where}: {listing_error(failure)}")

    def collided(self, failure: Failure) -> None:
        """Both sources are named."""
        self.log.error(failure.error.message)

    def ended(self, outcome: Outcome) -> None:
        """``Copied 17/200``."""
        self._done += 1
        super().ended(outcome)
        if self._news and outcome.status == "present":
            return
        if outcome.error is None and self.discovery is not None:
            done = "Would have copied" if self.dry_run else "Copied"
            verb = "Already there" if outcome.status == "present" else done
            more = " so far" if self.discovery.listing else ""
            self._line(f"{verb} {self._done}/{self.discovery.count}{more}", outcome.job)

    def _line(self, text: str, job: Job) -> None:
        if not self._quiet:
            self.log.info(text, **{"from": job.source, "to": job.destination})


def _repo(rule: Rule) -> dict[str, str]:
    registry, _, repo = rule.source.removeprefix("docker://").partition("/")
    return {"registry": registry, "repo": repo}


def listing_error(failure: Failure) -> str:
    """skopeo's words for tags that could not be listed."""
    return f"Error determining repository tags for image {failure.source.removeprefix('docker://')}: {failure.error}"


def numbered(jobs: list[Job]) -> dict[Job, tuple[int, int]]:
    """Each job's number within its repository (its rule), and how many there are."""
    counts = Counter(_group(job) for job in jobs)
    so_far: Counter[tuple[str, str]] = Counter()
    numbers: dict[Job, tuple[int, int]] = {}
    for job in jobs:
        so_far[_group(job)] += 1
        numbers[job] = so_far[_group(job)], counts[_group(job)]
    return numbers


def _group(job: Job) -> tuple[str, str]:
    ref = job.source_ref
    return (job.where, ref.name) if isinstance(ref, DockerRef) else ("", "")


def summary_text(report: SyncReport) -> str:
    """Images by what became of them, bytes moved and saved, rate, requests; bytes that moved more than once."""
    parts = [_images(report)]
    if report.blobs_copied:
        speed = f", {rate(report.bytes_copied / report.seconds)}" if report.seconds > 0 else ""
        parts.append(f"{report.blobs_copied} blobs copied, {size(report.bytes_copied)}{speed}")
    saved = report.bytes_reused + report.bytes_mounted
    if saved:
        how = f"{report.blobs_reused} blobs already there, {report.blobs_mounted} mounted"
        parts.append(f"saved {size(saved)}: {how}")
    if report.extra:
        parts.append(f"moved in vain: {_in_vain(report.extra)}")
    return "; ".join([*parts, f"{report.requests} requests in {seconds(report.seconds)}"])


#: Causes of `transfer.ledger`, in words.
_CAUSES = {
    "retry": "further attempts",
    "detached": "destinations that fell out",
    "mount": "refused mounts",
    "late": "for images that came later",
}


def _in_vain(extra: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(f"{size(sum(by.values()))} ({_CAUSES.get(cause, cause)})" for cause, by in extra.items())


def _images(report: SyncReport) -> str:
    counts = report.counts
    words = [
        (counts["copied"], "copied"),
        (counts["present"], "already there"),
        (counts["failed"], "failed"),
        (counts["skipped"], "not tried"),
        (len(report.failures), "could not be listed"),
        (len(report.pruned), "tags deleted"),
        (len(report.unpruned), "repositories could not be pruned"),
    ]
    told = [f"{count} {word}" for count, word in words if count]
    return f"{len(report.outcomes)} images: " + (", ".join(told) or "nothing to do")
