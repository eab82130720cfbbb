"""``status``: what the journals say of runs; nothing is contacted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastcopy.cli.call import Call
from fastcopy.cli.show.units import size
from fastcopy.errors import JournalError, UsageError

if TYPE_CHECKING:
    from fastcopy.journal.listing import RunState

#: Failed images that one run's text names; all of them are in --json.
SHOWN = 20


def run(call: Call) -> int:
    """Show all runs, or the one that is named by its key or the beginning of it."""
    from fastcopy.journal.listing import runs

    if len(call.parsed.positionals) > 1:
        raise UsageError("status takes one RUN at most")
    directory = _directory(call)
    found = runs(directory)
    if call.parsed.positionals:
        found = [_one(found, call.parsed.positionals[0], directory)]
    if call.parsed.get("json"):
        text = json.dumps([each.as_dict() for each in found], indent=2)
    elif call.parsed.positionals:
        text = "\n".join(_details(found[0]))
    else:
        text = "\n".join(_table(found)) if found else f"no runs in {directory}"
    call.streams.print(text)
    return 0


def _directory(call: Call) -> Path:
    from fastcopy.journal.places import default_directory

    chosen: Path | None = call.parsed.get("journal")
    try:
        return chosen or default_directory()
    except RuntimeError:
        raise UsageError("there is neither XDG_STATE_HOME nor a home directory; name one with --journal DIR") from None


def _one(found: list[RunState], wanted: str, directory: Path) -> RunState:
    named = [each for each in found if each.key.startswith(wanted)]
    if len(named) != 1:
        what = f"more than one run begins with {wanted}" if named else f"no run {wanted}"
        raise JournalError(f"{what} in {directory}", hint="`fastcopy status` lists them")
    return named[0]


def _table(found: list[RunState]) -> list[str]:
    lines = [("RUN", "STATE", "BEGAN", "DONE", "FAILED", "LEFT", "BLOBS", "BYTES", "COMMAND")]
    lines += [
        (
            each.key, _state(each), _when(each.began), str(each.finished), str(each.images.get("failed", 0)),
            str(each.left), str(each.blobs), size(each.bytes), each.command,
        )
        for each in found
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _state(run: RunState) -> str:
    return f"{run.state} (process {run.pid})" if run.state == "running" else run.state


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) if moment else "-"


def _details(run: RunState) -> list[str]:
    lines = [
        f"run      {run.key}: {run.command}",
        f"state    {_state(run)}, began {_when(run.began)}" + (f", ended {_when(run.ended)}" if run.ended else ""),
        f"images   {run.finished} done, {run.images.get('failed', 0)} failed, {run.left} left",
        f"blobs    {run.blobs} at their destination, {size(run.bytes)}",
    ]
    lines += [f"upload   {each.host}/{each.place}@{each.digest}: {size(each.offset)} kept" for each in run.uploads]
    lines += [f"failed   {each.source}: {' '.join(each.error.split())}" for each in run.failed[:SHOWN]]
    if len(run.failed) > SHOWN:
        lines.append(f"         and {len(run.failed) - SHOWN} more; see --json")
    if run.state in ("interrupted", "incomplete"):
        lines.append("The same command goes on from here.")
    return lines
