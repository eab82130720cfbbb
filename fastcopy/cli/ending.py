"""How a command that copies is asked to end early: the drain behind SIGTERM and --drain, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcopy.cli.call import Call
from fastcopy.errors import Drained

if TYPE_CHECKING:
    from fastcopy.migrate.report import SyncReport
    from fastcopy.transfer.drain import Drain


def drain_of(call: Call) -> Drain:
    """The run's drain, asked by the signals that drain *call*."""
    from fastcopy.transfer.drain import Drain

    drain = Drain()

    def ask() -> None:
        call.log.warning("Finishing what is in flight, beginning nothing new; another signal ends it at once")
        drain.ask()

    call.on_drain = ask
    return drain


def check_left(drain: Drain, report: SyncReport) -> None:
    """Raise Drained when the run was asked to end and did not get everything done."""
    if drain.asked and not report.complete:
        raise Drained(f"asked to end: {left_text(report)}")


def left_text(report: SyncReport) -> str:
    """How many images have to be copied by another run."""
    left, failed = report.counts["skipped"], report.counts["failed"]
    parts = [f"{left} of {len(report.outcomes)} images are left"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{len(report.failures)} places could not be listed"] if report.failures else []
    return ", ".join(parts)
