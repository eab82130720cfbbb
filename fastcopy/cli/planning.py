"""``plan``: what a sync would do and cost, for people and for programs, and saved to be carried out later."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastcopy.cli.call import Call
from fastcopy.cli.govalues import quote
from fastcopy.cli.show.units import seconds, size
from fastcopy.cli.syncing import sync_options
from fastcopy.cli.syncing_inputs import Inputs, inputs
from fastcopy.cli.syncing_lines import ListLines
from fastcopy.errors import FastcopyError, PartlyDone, UsageError
from fastcopy.migrate import costs

if TYPE_CHECKING:
    from fastcopy.events import Event
    from fastcopy.migrate.costs import Pulls
    from fastcopy.migrate.planning import Planned
    from fastcopy.migrate.report import Outcome
    from fastcopy.options import Options

#: Images that could not be planned which the text names; all of them are in --json.
SHOWN = 20


def run(call: Call) -> Coroutine[Any, Any, int]:
    """Read what is to be copied, then plan it."""
    if call.parsed.given("plan"):
        raise UsageError("--plan is for `sync`, which carries a saved plan out")
    for name in ("watch", "health", "metrics"):
        if call.parsed.given(name):
            raise UsageError(f"--{name} is for `sync`; a plan is made once")
    wanted, options = inputs(call), call.options()
    for text in wanted.warnings:
        call.log.warning(text)
    for text in wanted.problems:
        call.log.error(text)
    return _planned(call, wanted, options)


async def _planned(call: Call, wanted: Inputs, options: Options) -> int:
    from fastcopy.api import plan_async

    sync = sync_options(call, wanted, PlanLines(call.log, dry_run=True))
    planned = await plan_async(wanted.rules, options, sync, on_event=partial(_notice, call), trace=call.trace)
    if name := call.parsed.get("save"):
        save(call, planned, name)
    if call.parsed.get("json"):
        call.streams.print(json.dumps(as_dict(planned), indent=2))
    else:
        show(call, planned)
    report = planned.report
    if not report.complete:
        raise PartlyDone(f"{len(report.failed) + len(report.failures)} images or repositories could not be planned")
    return 0


def _notice(call: Call, event: Event) -> None:
    from fastcopy.events import Message

    if isinstance(event, Message):
        call.log.warning(event.text)


class PlanLines(ListLines):
    """Nothing but what could not be listed or read."""

    def found(self, discovery: object) -> None:
        """The plan itself says what is to be copied."""

    def ended(self, outcome: Outcome) -> None:
        """An image that cannot be planned."""
        if outcome.error is not None:
            self.log.error(f"{outcome.job.source} cannot be planned", error=outcome.error)


def save(call: Call, planned: Planned, name: str) -> None:
    """Write the plan to the file *name*; raises FastcopyError."""
    from fastcopy.migrate.planfile import dump, has_logins

    try:
        Path(name).write_text(dump(planned, datetime.now(UTC).isoformat(timespec="seconds")), encoding="utf-8")
    except OSError as error:
        raise FastcopyError(f"Failed to write {quote(name)}: {(error.strerror or str(error)).lower()}") from None
    if has_logins(planned):
        call.log.warning(f"{name} has no logins in it: give them to `sync --plan` by flags or an auth file")


def as_dict(planned: Planned) -> dict[str, Any]:
    """The JSON form."""
    failures = planned.report.failures
    return {
        "images": costs.counts(planned.plan),
        **costs.volume(planned.plan),
        "requests": costs.requests(planned.plan, heads=planned.heads, listed=planned.listed),
        "pulls": [asdict(each) for each in planned.pulls],
        "remarks": list(planned.remarks),
        "failed": [
            {"source": each.source, "destination": each.destination, "error": each.error, "class": each.slug}
            for each in planned.plan.images
            if each.action == "failed"
        ],
        "rules": [{"where": each.where, "source": each.source, "error": str(each.error)} for each in failures],
    }


# -- for people -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; the first column is text, the others are numbers where they have a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(call: Call, planned: Planned) -> None:
    """Tables on a terminal, aligned lines elsewhere."""
    if call.streams.out_is_terminal:
        _show_tables(call, planned)
        return
    for line in text_of(planned):
        call.streams.print(line)


def text_of(planned: Planned) -> Iterator[str]:
    """The plan in lines."""
    for table in tables(planned):
        yield from _aligned(table)
        yield ""
    yield from sentences(planned)


def tables(planned: Planned) -> Iterator[Table]:
    """What is to be copied, where it goes, and by how many requests."""
    plan = planned.plan
    yield Table(("", "BLOBS", "BYTES", ""), tuple(_volumes(planned)))
    rows = tuple(_registry(host or "local", costs.by_way(plan, host)) for host in plan.hosts)
    yield Table(("DESTINATION", "UPLOAD", "MOUNT", "ALREADY THERE", "NEEDED AGAIN"), rows)
    kinds = costs.requests(plan, heads=planned.heads, listed=planned.listed)
    requests = [(f"{side} {kind}", str(count)) for side, found in kinds.items() for kind, count in found.items()]
    yield Table(("REQUESTS", "COUNT"), (*requests, ("together", str(sum(int(count) for _, count in requests)))))


def _volumes(planned: Planned) -> Iterator[tuple[str, ...]]:
    told = costs.volume(planned.plan)
    for key, what in (
        ("naive", "one image after the other, nothing remembered"),
        ("unique", "different blobs"),
        ("download", "read from the sources, each once"),
        ("upload", "sent to the destinations, once per registry"),
        ("mount", "taken from another repository of the destination"),
        ("present", "at the destination already"),
        ("repeated", "needed by several images of one repository"),
    ):
        yield key, str(told[key]["blobs"]), size(told[key]["bytes"]), what


def _registry(name: str, ways: dict[str, Any]) -> tuple[str, ...]:
    return (name, *(size(ways[way]["bytes"]) for way in ("upload", "mount", "present", "repeated")))


def sentences(planned: Planned) -> Iterator[str]:
    """Images, pulls, and what the numbers do not say."""
    counts = costs.counts(planned.plan)
    failed = f", {counts['failed']} could not be read" if counts["failed"] else ""
    yield f"{sum(counts.values())} images: {counts['copy']} to copy, {counts['present']} already there{failed}"
    yield from map(pulls_text, planned.pulls)
    yield from (f"note: {remark}" for remark in planned.remarks)
    if planned.report.failures:
        yield f"note: {len(planned.report.failures)} repositories or entries are missing, see the errors above"
    broken = [image for image in planned.plan.images if image.action == "failed"]
    yield from (f"failed: {image.source}: {' '.join(image.error.split())}" for image in broken[:SHOWN])
    if len(broken) > SHOWN:
        yield f"failed: and {len(broken) - SHOWN} more; see --json"


def pulls_text(pulls: Pulls) -> str:
    """Pulls needed against those that are left."""
    text = f"{pulls.registry}: {pulls.needed} pulls needed"
    if pulls.left is None:
        return f"{text}; it does not say how many are left"
    of = f" of {pulls.limit}" if pulls.limit is not None else ""
    window = f" in {seconds(pulls.window)}" if pulls.window else ""
    verdict = "" if pulls.needed <= pulls.left else ": NOT ENOUGH, log in or copy in parts"
    return f"{text}, {pulls.left}{of} left{window}{verdict}"


def _aligned(table: Table) -> Iterator[str]:
    lines = (table.head, *table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if number and head else cell.ljust(width)
            for number, (cell, head, width) in enumerate(zip(line, table.head, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _show_tables(call: Call, planned: Planned) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table as Drawn

    console = Console(file=call.streams.out, highlight=False)
    for table in tables(planned):
        drawn = Drawn(box=SIMPLE, pad_edge=False)
        for number, head in enumerate(table.head):
            drawn.add_column(head, justify="right" if number and head else "left")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
    for line in sentences(planned):
        console.print(line, markup=False, soft_wrap=True)
