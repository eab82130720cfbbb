"""What a pump's report means: whose fault it is, in words and as an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcopy.errors import (
    DigestMismatch,
    FastcopyError,
    LinkLost,
    NoSpace,
    Stalled,
)

if TYPE_CHECKING:
    from fastcopy._native import Outlet, Pump, Report
    from fastcopy.descriptor import Descriptor


def failure_of(report: Report, what: Descriptor, pump: Pump, stall: float) -> FastcopyError | None:
    """The source's fault that a report stands for; None when the bytes are through or the destinations decide."""
    from fastcopy._native import Why

    blob = f"blob {what.digest}"
    at = f"after {pump.position} of {what.size} bytes"
    if report.why is Why.MISMATCH:
        return DigestMismatch(f"{blob}: Digest did not match the bytes that were read", side="source")
    if report.why in (Why.SOURCE_LOST, Why.FRAME):
        return LinkLost(f"reading {blob}: connection lost {at}{_detail(report)}", side="source")
    if report.why is Why.SOURCE_STALLED:
        return Stalled(f"reading {blob}: no byte for {stall:g} s {at}", side="source")
    return None


def failure_of_outlet(report: Report, outlet: Outlet, what: Descriptor, stall: float) -> FastcopyError | None:
    """What went wrong at one destination; None when it took everything (or answered, which decides)."""
    from fastcopy._native import Why

    blob, at = f"blob {what.digest}", f"after {outlet.sent} of {what.size} bytes"
    if outlet.failed is None or outlet.failed is Why.DONE:
        return None
    if outlet.failed is Why.SINK_STALLED:
        return Stalled(f"writing {blob}: no byte accepted for {stall:g} s {at}")
    if outlet.failed is Why.SINK_FULL:
        return NoSpace(f"writing {blob}: no space left {at}")
    return LinkLost(f"writing {blob}: connection lost {at}{_detail(report)}")


def _detail(report: Report) -> str:
    return f": {report.detail}" if report.detail else ""
