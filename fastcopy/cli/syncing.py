"""``sync``: many images in one run, by skopeo's arguments, a list or a configuration."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastcopy.cli import watching
from fastcopy.cli.call import Call
from fastcopy.cli.ending import check_left, drain_of
from fastcopy.cli.govalues import quote
from fastcopy.cli.syncing_inputs import Inputs, inputs, refuse_existing
from fastcopy.errors import FastcopyError, PartlyDone, UsageError

if TYPE_CHECKING:
    from fastcopy.cli.show import Show
    from fastcopy.cli.syncing_lines import Told
    from fastcopy.events import Event
    from fastcopy.migrate.report import SyncReport
    from fastcopy.migrate.runner import SyncOptions
    from fastcopy.migrate.vitals import Vitals
    from fastcopy.options import Options
    from fastcopy.transfer.drain import Drain


def run(call: Call) -> Coroutine[Any, Any, int]:
    """Read what is to be copied, then copy it."""
    repeats = watching.is_wanted(call)
    wanted = inputs(call)
    options = _as_planned(wanted, _with_journal(call, call.options()))
    if call.parsed.get("keep-going") and call.parsed.get("fail-fast"):
        raise UsageError("--keep-going and --fail-fast exclude each other")
    _check_prune(call, wanted)
    for text in wanted.warnings:
        call.log.warning(text)
    for text in wanted.problems:
        call.log.error(text)
    if repeats:
        return watching.watched(call, wanted, partial(_round, call, options))
    return _synced(call, wanted, options, drain_of(call))


async def _round(call: Call, options: Options, watch: watching.Watch, number: int) -> int:
    head = f"Round {number}: " if call.parsed.given("watch") else ""
    return await _synced(call, watch.wanted, options, watch.drain, head=head, also=watch.vitals)


def _as_planned(wanted: Inputs, options: Options) -> Options:
    """What could change a byte comes from the plan, if there is one; raises UsageError where flags ask for more."""
    from fastcopy.options import CopyOptions

    if wanted.plan is None:
        return options
    if options.copy != CopyOptions():
        raise UsageError(f"flags that change what is written come from the plan {wanted.name}; make a new one")
    return replace(options, copy=wanted.plan.copy)


def _with_journal(call: Call, options: Options) -> Options:
    """The journal is kept unless --no-journal says otherwise; a dry run, and who calls us skopeo, leave no trace."""
    if call.parsed.get("no-journal") and call.parsed.given("journal"):
        raise UsageError("--journal and --no-journal exclude each other")
    unwanted = call.parsed.get("no-journal") or call.parsed.get("dry-run") or call.shim
    chosen = None if unwanted else options.run.journal or _default_journal(call)
    return replace(options, run=replace(options.run, journal=chosen))


def _default_journal(call: Call) -> Path | None:
    from fastcopy.journal.places import default_directory

    try:
        return default_directory()
    except RuntimeError:
        call.log.warning("no journal is kept: there is neither XDG_STATE_HOME nor a home directory; see --journal")
        return None


def _check_prune(call: Call, wanted: Inputs) -> None:
    """Deleting needs consent in the configuration and on the command line; one without the other is told."""
    consenting = any(rule.settings.prune for rule in wanted.rules)
    if call.parsed.get("prune") and not consenting:
        raise UsageError("--prune deletes only where a configuration says `prune: true`, and nothing here does")
    if consenting and not call.parsed.get("prune"):
        call.log.info("nothing is deleted at the destinations without --prune, whatever the configuration says")


def _keeps_going(call: Call, wanted: Inputs) -> bool:
    return not call.parsed.get("fail-fast") if wanted.form == "list" else bool(call.parsed.get("keep-going"))


async def _synced(
    call: Call, wanted: Inputs, options: Options, drain: Drain, *, head: str = "", also: Vitals | None = None
) -> int:
    told = _told(call, wanted)
    told.head = head
    show = _show(call, wanted)
    show.listeners += (also,) if also else ()
    with _digest_file(call, told):
        report = await _shown(call, told, wanted, options, drain)
    check_left(drain, report)
    judge(wanted, report, keep_going=_keeps_going(call, wanted))
    return 0


def _told(call: Call, wanted: Inputs) -> Told:
    from fastcopy.cli.syncing_lines import ListLines, SkopeoLines

    dry_run = bool(call.parsed.get("dry-run"))
    watches = call.parsed.given("watch")
    if wanted.form == "list" or watches:
        return ListLines(call.log, dry_run=dry_run, quiet=bool(call.parsed.get("quiet")), news=watches)
    keep_going = _keeps_going(call, wanted)
    return SkopeoLines(call.log, dry_run=dry_run, keep_going=keep_going, form=wanted.form, name=wanted.name)


def _show(call: Call, wanted: Inputs) -> Show:
    """The show of a single copy; a list's images say nothing on stdout, the log hears of them from `Told`."""
    from fastcopy.cli.show import choose
    from fastcopy.cli.show.lines import Lines, Summary

    mode, quiet = call.parsed.get("progress", "auto"), bool(call.parsed.get("quiet"))
    show = choose(mode, call.streams, call.log, quiet=quiet, shim=call.shim)
    silent = (Summary, Lines) if wanted.form == "list" else (Summary,)
    show.listeners = tuple(each for each in show.listeners if not isinstance(each, silent))
    if wanted.form == "list":
        _only_live(show)
    call.show = show
    return show


def _only_live(show: Show) -> None:
    """Thousands of blobs leave no line each above the bars: the log has one per image."""
    for listener in show.listeners:
        if hasattr(listener, "stand"):
            listener.stand = lambda event: []


def _shown_as(call: Call, wanted: Inputs) -> str:
    """What `status` calls the run: what is copied, and where to as far as the command line says."""
    to = call.parsed.get("to") or (call.parsed.positionals[-1] if len(call.parsed.positionals) > 1 else "")
    return f"sync {wanted.name} to {to}" if to else f"sync {wanted.name}"


def sync_options(call: Call, wanted: Inputs, told: Told) -> SyncOptions:
    """How the run behaves, as the command line says; *told* hears of it."""
    from fastcopy.migrate.runner import SyncOptions

    return SyncOptions(
        keep_going=_keeps_going(call, wanted),
        dry_run=told.dry_run,
        prune=call.parsed.get("prune", ""),
        command=_shown_as(call, wanted),
        jobs=wanted.jobs,
        problems=wanted.problems if wanted.form == "list" else (),
        check=None if wanted.form == "list" else refuse_existing,
        watch=told,
        plan=wanted.plan,
    )


async def _shown(call: Call, told: Told, wanted: Inputs, options: Options, drain: Drain) -> SyncReport:
    import trio

    show = call.show
    assert show is not None
    sync = sync_options(call, wanted, told)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show.run)
            report = await _performed(call, wanted, options, sync, drain)
            nursery.cancel_scope.cancel()
    finally:
        show.close()
        if told.report is not None:
            _finish(call, told.report, told.head)
    return report


async def _performed(call: Call, wanted: Inputs, options: Options, sync: SyncOptions, drain: Drain) -> SyncReport:
    """The run; in its place, for the dry run of a list, the plan and its summary."""
    from fastcopy.api import plan_async, sync_async

    assert call.show is not None
    hear = _heard(call.show)
    if not (sync.dry_run and wanted.form == "list"):
        return await sync_async(wanted.rules, options, sync, on_event=hear, trace=call.trace, drain=drain)
    from fastcopy.cli.planning import text_of

    planned = await plan_async(wanted.rules, options, sync, on_event=hear, trace=call.trace, drain=drain)
    if not (call.parsed.get("quiet") or call.parsed.get("progress") == "json"):
        for line in text_of(planned):
            call.streams.tell(line)
    return planned.report


def _heard(show: Show) -> Any:
    """The show's ears, without what the log is told in better words."""
    from fastcopy.cli.show.lines import Notices
    from fastcopy.events import ImageFailed

    def hear(event: Event) -> None:
        for listener in show.listeners:
            if not (isinstance(event, ImageFailed) and isinstance(listener, Notices)):
                listener.event(event)

    return hear


def _finish(call: Call, report: SyncReport, head: str) -> None:
    """The summary and the files, whatever ended the run."""
    from fastcopy.cli.syncing_lines import summary_text

    parsed = call.parsed
    if not (parsed.get("quiet") or call.shim or parsed.get("progress") == "json" or parsed.get("dry-run")):
        call.streams.tell(head + summary_text(report))
    if name := parsed.get("report"):
        _write(name, json.dumps(report.as_dict(), indent=2) + "\n")
    if name := parsed.get("failed"):
        _write(name, report.failed_pairs())


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _no_file(name, error) from None


def _no_file(name: str, error: OSError) -> FastcopyError:
    return FastcopyError(f"Failed to write {quote(name)}: {(error.strerror or str(error)).lower()}")


@contextlib.contextmanager
def _digest_file(call: Call, told: Told) -> Iterator[None]:
    """--digestfile, emptied at the start; a dry run leaves it alone."""
    name = call.parsed.get("digestfile")
    if not name or told.dry_run:
        yield
        return
    try:
        told.digests = open(name, "w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise FastcopyError(f"Error creating digest file: open {name}: {(error.strerror or '').lower()}") from None
    with told.digests:
        yield


def judge(wanted: Inputs, report: SyncReport, *, keep_going: bool) -> None:
    """Raise what the run's exit code is made of: skopeo's rules for its forms, PartlyDone for lists."""
    from fastcopy.cli.syncing_lines import listing_error

    if wanted.form == "docker" and report.failures:
        failure = report.failures[0]
        raise FastcopyError(listing_error(failure)) from failure.error
    if wanted.form == "docker" and not report.outcomes:
        raise FastcopyError(f"No images to sync found in {quote(wanted.name)}")
    if wanted.form != "list" and not keep_going and report.failed:
        first = report.failed[0]
        raise FastcopyError(f"Error copying ref {quote(first.job.source)}: {first.error}") from first.error
    if wanted.form == "list":
        report.raise_if_incomplete()
    elif report.missing:
        raise PartlyDone("Sync failed due to previous reported error(s) for one or more images")
