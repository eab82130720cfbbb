"""``copy``: one image from here to there."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastcopy.cli.call import Call
from fastcopy.cli.ending import drain_of
from fastcopy.cli.govalues import quote
from fastcopy.cli.names import parse
from fastcopy.cli.show import Show, choose
from fastcopy.errors import FastcopyError

if TYPE_CHECKING:
    from fastcopy.events import CopyReport
    from fastcopy.options import Options


def run(call: Call) -> Coroutine[Any, Any, int]:
    """Check what can be checked without trio, then copy."""
    source, destination = call.arguments(2, "Exactly two arguments expected")
    return _copied(call, source, destination, prepare(call, source, destination))


async def _copied(call: Call, source: str, destination: str, options: Options) -> int:
    """Copy, show progress, write --digestfile, --digest-map and --report."""
    report = await shown(call, show_of(call), source, destination, options)
    save(call, report)
    return 0


def prepare(call: Call, source: str, destination: str) -> Options:
    """Check names and flags before anything is contacted; remembers the names for error texts."""
    from fastcopy.names import image_name

    call.sides["source"] = image_name(parse(source, f"Invalid source name {source}"))
    target = parse(destination, f"Invalid destination name {destination}")
    call.sides["destination"] = image_name(target)
    options = call.options()
    if target.transport != "dir":
        for name in ("dest-compress", "dest-decompress"):
            if call.parsed.get(name):
                call.log.warning(f"--{name} can only be used if the destination transport is 'dir'")
    return options


def show_of(call: Call) -> Show:
    """The show that --progress, --quiet and the streams ask for."""
    mode = call.parsed.get("progress", "auto")
    quiet = bool(call.parsed.get("quiet"))
    call.show = choose(mode, call.streams, call.log, quiet=quiet, shim=call.shim)
    return call.show


async def shown(call: Call, show: Show, source: str, destination: str, options: Options) -> CopyReport:
    """The copy, with the show running beside it."""
    import trio

    from fastcopy.api import copy_async

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show.run)
            report = await copy_async(
                source, destination, options, on_event=show.on_event, trace=call.trace, drain=drain_of(call)
            )
            nursery.cancel_scope.cancel()
    finally:
        show.close()
    return report


def save(call: Call, report: CopyReport) -> None:
    """Write the digest (no newline behind it, as skopeo), the changed digests and the report where asked for."""
    if name := call.parsed.get("digestfile"):
        _write(name, report.digest, f"Failed to write digest to file {quote(name)}")
    if name := call.parsed.get("digest-map"):
        lines = (f"{old} {new}\n" for old, new in sorted(report.digest_map.items()))
        _write(name, "".join(lines), f"Failed to write digest map to {quote(name)}")
    if name := call.parsed.get("report"):
        _write(
            name, json.dumps(asdict(report), default=dict, indent=2) + "\n", f"Failed to write report to {quote(name)}"
        )


def _write(name: str, text: str, failure: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FastcopyError(f"{failure}: open {name}: {(error.strerror or str(error)).lower()}") from None
