"""What a run of many images tells whoever watches it: told in the loop's thread, none may block or raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastcopy.jobs import Job, Rule
    from fastcopy.migrate.discover import Discovery
    from fastcopy.migrate.report import Failure, Outcome, SyncReport


class Watcher:
    """Hears nothing; override what is of interest."""

    def rule(self, rule: Rule) -> None:
        """Work on *rule* begins."""

    def listing(self, rule: Rule) -> None:
        """The tags of its repository are about to be asked for."""

    def empty(self, rule: Rule) -> None:
        """It selects nothing."""

    def unlisted(self, failure: Failure) -> None:
        """A rule could not be expanded; the others go on."""

    def collided(self, failure: Failure) -> None:
        """An image is left out because another goes where it would."""

    def grew(self, discovery: Discovery) -> None:
        """More is known of what is to be copied; some of it may be copied already."""

    def found(self, discovery: Discovery) -> None:
        """Everything to be copied is known. Nothing is copied yet if the run waits for that (`SyncOptions.check`)."""

    def began(self, job: Job) -> None:
        """The copy of one image begins."""

    def ended(self, outcome: Outcome) -> None:
        """One image is done, or has failed."""

    def pruned(self, name: str) -> None:
        """A destination tag that left the source is deleted; in a dry run: would be."""

    def spared(self, name: str, why: str) -> None:
        """A destination tag, or repository, that should be pruned is left alone."""

    def unpruned(self, failure: Failure) -> None:
        """A destination repository could not be pruned."""

    def finished(self, report: SyncReport) -> None:
        """The run is over, also when it was cancelled; the last call."""
