"""How a run ends: interrupted, with files that cannot be written, with values alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import FastcopyError, LinkLost, PartlyDone
from fastcopy.formats import Given, parse
from fastcopy.jobs import Job, expand
from fastcopy.migrate.report import Failure, Outcome, Status, SyncReport
from tests.copy.world import flags, fresh, image, named
from tests.sync.world import Place


def _job(number: int) -> Job:
    return Job(f"docker://a.lan/r/i{number}:1", f"docker://b.lan/m/i{number}:1", where=f"l:{number}:1")


def _outcome(number: int, status: Status) -> Outcome:
    error = LinkLost("gone\nfor good", side="source") if status == "failed" else None
    return Outcome(_job(number), status, error=error)


STATUSES = st.lists(st.sampled_from(["copied", "present", "failed", "skipped"]), max_size=12)


@given(STATUSES)
def test_what_is_missing_is_what_the_next_list_asks_for(statuses: list[Status]) -> None:
    """--failed has every failed and untried pair, and nothing that is there; `--list` reads it back."""
    report = SyncReport(tuple(_outcome(number, status) for number, status in enumerate(statuses)))
    again = [job for rule in parse(report.failed_pairs(), "f", Given(), "list") for job in expand(rule)]
    missing = [each.job for each in report.outcomes if each.status in ("failed", "skipped")]
    assert [(job.source, job.destination) for job in again] == [(job.source, job.destination) for job in missing]


@given(STATUSES, st.booleans())
def test_a_run_is_complete_exactly_when_nothing_is_missing(statuses: list[Status], unlisted: bool) -> None:
    """Otherwise it raises: the error itself where nothing else was asked for, else PartlyDone."""
    failures = (Failure("l:1:1", "docker://a.lan/r", LinkLost("gone")),) if unlisted else ()
    report = SyncReport(tuple(_outcome(number, status) for number, status in enumerate(statuses)), failures)
    raised: FastcopyError | None = None
    try:
        report.raise_if_incomplete()
    except FastcopyError as error:
        raised = error
    missing = sum(status in ("failed", "skipped") for status in statuses) + unlisted
    assert (raised is None) == (missing == 0)
    if raised is not None:
        alone = len(statuses) + unlisted == 1 and (unlisted or statuses == ["failed"])
        assert isinstance(raised, LinkLost if alone else PartlyDone)


def test_ctrl_c_leaves_a_report_and_the_list_of_what_is_missing(place: Place) -> None:
    """130 within a moment; what had no time is in both files."""
    base, to = fresh("ends/a"), fresh("ends/b")
    image(place.source, f"{base}/i0", sizes=(2_000_000,))
    failed, report = str(place.files / "failed"), str(place.files / "report")
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    words = ["--list", place.file("i0:1\n", "l"), "--failed", failed, "--report", report, "--bwlimit", "100KiB/s"]
    command = [sys.executable, "-m", "fastcopy", "sync", *words, *ends, *flags(place.source, place.destination)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        while not any("/blobs/" in target for _, target, _ in place.destination.requests() if f"/{to}/" in target):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=30)[1]
    assert process.returncode == 130, told
    assert json.loads((place.files / "report").read_text())["counts"] == {"skipped": 1}
    assert (
        f"{place.source.ref(f'{base}/i0', '1')}={place.destination.ref(f'{to}/i0', '1')}"
        in (place.files / "failed").read_text()
    )
    assert not named(place.destination, f"{to}/i0")


def test_a_report_that_cannot_be_written_is_told_after_the_copy(place: Place) -> None:
    """The images are there; the exit code is not 0."""
    base, to = fresh("ends/a"), fresh("ends/b")
    place.images(base, 1)
    ran = place.listed(["i0:1"], "--report", str(place.files / "no" / "report"), base=base, to=to)
    assert ran.code == 1
    assert "Failed to write" in ran.fatal
    assert named(place.destination, f"{to}/i0")
