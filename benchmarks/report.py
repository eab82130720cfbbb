"""Results as text: Markdown tables that read well on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.peers import PEER_FAMILIES, TOOLS
from benchmarks.results import Row, Run, Table, Verdict, judge
from benchmarks.scenarios import BEST_PEER, BEST_VERIFYING, Target
from benchmarks.stats import ratio

HEADINGS = (
    "tool", "wall s", "CPU s", "user + sys", "peak MiB", "registries' CPU s",
    "CPU / floor", "wall / floor", "CPU / best*", "wall / best*",
)  # fmt: skip
NOISE = 0.05
UNITS = {"wall": "s", "cpu": "s", "peak_mib": "MiB", "parallelism": "cores", "stored_bytes": "bytes"}
WORDS = {
    "wall": "wall",
    "cpu": "CPU",
    "peak_mib": "peak memory",
    "parallelism": "CPU / wall",
    "stored_bytes": "layers stored",
}


def grid(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table with aligned columns."""
    widths = [max(len(line[at]) for line in (headings, *lines)) for at in range(len(headings))]
    bars = [_cells(headings, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*bars, *(_cells(line, widths) for line in lines)])


def _cells(line: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _line(table: Table, row: Row) -> list[str]:
    name = row.tool + ("" if TOOLS[row.tool].verifies else " (does not verify)")
    wall, cpu, peak = row.summary("wall"), row.summary("cpu"), row.summary("peak_mib")
    if wall is None or cpu is None or peak is None:
        return [name, "failed", *([""] * (len(HEADINGS) - 2))]
    parts = [table.median(row.tool, metric) or 0.0 for metric in ("user", "system", "registry_cpu")]
    bases = [table.reference(against, metric) for against in ("floor", BEST_VERIFYING) for metric in ("cpu", "wall")]
    ratios = [_ratio(ratio(value, base)) for value, base in zip([cpu.median, wall.median] * 2, bases, strict=True)]
    user, system, registries = parts
    return [name, wall.text(), cpu.text(), f"{user:.2f} + {system:.2f}", f"{peak.median:.0f}", f"{registries:.2f}",
            *ratios]  # fmt: skip


def _target(target: Target) -> str:
    sign = ">=" if target.at_least else "<="
    text = f"{target.subject}: {WORDS[target.metric]} {sign} "
    if target.against is None:
        return text + f"{target.plus:g} {UNITS[target.metric]}"
    factor = f"{target.factor:g} x " if target.factor != 1 else ""
    plus = f" + {target.plus:g}" if target.plus else ""
    return f"{text}{factor}{target.against}" + (f"{plus} {UNITS[target.metric]}" if plus else "")


def _verdict(verdict: Verdict, disturbed: Mapping[str, float]) -> str:
    word = {True: "reached", False: "MISSED", None: "not measured"}[verdict.held]
    if verdict.value is None or verdict.limit is None:
        return f"- {_target(verdict.target)}: {word}"
    sign = ">=" if verdict.target.at_least else "<="
    doubt = ", BUT DISTURBED" if not _compared(verdict.target).isdisjoint(disturbed) else ""
    return f"- {_target(verdict.target)}: {word}{doubt} ({verdict.value:.2f}, must be {sign} {verdict.limit:.2f})"


def _compared(target: Target) -> set[str]:
    """Name the rows a verdict rests on; memory is not changed by other people's work."""
    if target.metric == "peak_mib":
        return set()
    if target.against not in (BEST_PEER, BEST_VERIFYING):
        return {target.subject, target.against or ""}
    every = target.against == BEST_PEER
    peers = {name for name, tool in TOOLS.items() if tool.family in PEER_FAMILIES and (every or tool.verifies)}
    return {target.subject} | peers


def _requests(table: Table) -> list[str]:
    lines = []
    for row in table.rows.values():
        counted = next((sample.requests for sample in reversed(row.samples) if sample.requests), None)
        if counted:
            parts = ", ".join(f"{method} {number}" for method, number in sorted(counted.items()))
            number = sum(counted.values())
            cpu = (table.median(row.tool, "cpu") or 0.0) / number
            lines.append(
                f"- {row.tool}: {number} requests seen by the registries ({parts}), {cpu * 1e3:.2f} ms of CPU each"
            )
            lines += [_sent(row)]
    return lines


def _sent(row: Row) -> str:
    most = max(row.samples, key=lambda sample: sample.source_bytes or 0)
    sent = most.source_bytes or 0
    ratio = f", {sent / most.unique_bytes:.3f} x the unique ones" if most.unique_bytes else ""
    return f"- {row.tool}: the source sent {sent:,} bytes of blobs{ratio}"


def _disturbed(table: Table, cores: int) -> dict[str, float]:
    """Name the rows of which others had more than a twentieth of the machine, and the largest share."""
    shares = {
        row.tool: max(sample.other_cpu / (sample.wall * cores) for sample in row.samples)
        for row in table.rows.values()
        if row.samples
    }
    return {tool: share for tool, share in shares.items() if share > NOISE}


def _noise(disturbed: Mapping[str, float]) -> list[str]:
    return [
        f"- {tool}: other work took up to {share:.0%} of the machine; measure again when it is idle"
        for tool, share in disturbed.items()
    ]


def table_text(table: Table, cores: int) -> str:
    """Return one scenario's section."""
    repeats = max((len(row.samples) for row in table.rows.values()), default=0)
    parts = [f"### {table.name}: {table.title}", f"Medians of {repeats} (lowest..highest)."]
    parts.append(grid(HEADINGS, [_line(table, row) for row in table.rows.values()]))
    disturbed = _disturbed(table, cores)
    notes = [_verdict(verdict, disturbed) for verdict in judge(table)] + _requests(table) + _noise(disturbed)
    notes += [f"- {row.tool} failed: {error}" for row in table.rows.values() for error in row.errors]
    return "\n\n".join([*parts, "\n".join(notes)])


def run_text(run: Run) -> str:
    """Return the whole report of one run."""
    machine = run.machine
    head = [f"Machine: {machine.cores} cores, {machine.cpu}, {machine.memory_gib} GiB, Linux {machine.kernel}."]
    head += [f"- {name}: {version}" for name, version in run.versions.items()]
    head += [f"- {name}: {value}" for name, value in run.settings.items()]
    foot = "*best: the best verifying peer, metric by metric. CPU is user + system of all the client's processes."
    return "\n\n".join(["\n".join(head), *(table_text(table, machine.cores) for table in run.tables), foot])


def compare_text(names: Sequence[str], runs: Sequence[Run]) -> str:
    """Return wall and CPU of several runs of one machine side by side."""
    lines = []
    for table in runs[0].tables:
        others = [{other.name: other for other in run.tables}.get(table.name) for run in runs]
        lines += [[table.name, tool, *_pair(others, tool)] for tool in table.rows]
    headings = ["scenario", "tool", *(f"{name}: wall / CPU s" for name in names)]
    return grid(headings, lines)


def _pair(tables: Sequence[Table | None], tool: str) -> list[str]:
    cells = []
    for table in tables:
        wall, cpu = (table.median(tool, metric) if table else None for metric in ("wall", "cpu"))
        cells.append("" if wall is None or cpu is None else f"{wall:.2f} / {cpu:.2f}")
    return cells
