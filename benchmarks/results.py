"""What was measured, as values and as JSON; judging the targets. Pure but for reading and writing files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.measure import Sample
from benchmarks.peers import PEER_FAMILIES, TOOLS
from benchmarks.scenarios import BEST_PEER, BEST_VERIFYING, Target
from benchmarks.stats import Summary, summarise

FORMAT = 1


@dataclass
class Row:
    """All runs of one tool in one scenario."""

    tool: str
    samples: list[Sample] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def summary(self, metric: str) -> Summary | None:
        """Summarise one metric of `Sample`; None when no run succeeded."""
        if not self.samples:
            return None
        return summarise([float(getattr(sample, metric)) for sample in self.samples])


@dataclass
class Table:
    """One scenario's rows."""

    name: str
    title: str
    rows: dict[str, Row] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()

    def row(self, tool: str) -> Row:
        """Return the tool's row, making it when it is the first time."""
        return self.rows.setdefault(tool, Row(tool))

    def median(self, tool: str, metric: str) -> float | None:
        """Return the median of a tool's metric."""
        summary = self.rows[tool].summary(metric) if tool in self.rows else None
        return summary.median if summary else None

    def best(self, metric: str, verifying: bool) -> float | None:
        """Return the best median among the peers, or among those that verify."""
        medians = [
            self.median(name, metric)
            for name in self.rows
            if TOOLS[name].family in PEER_FAMILIES and (TOOLS[name].verifies or not verifying)
        ]
        return min((value for value in medians if value is not None), default=None)

    def reference(self, against: str, metric: str) -> float | None:
        """Return what a target compares with: a tool's median or the best of the peers."""
        if against in (BEST_PEER, BEST_VERIFYING):
            return self.best(metric, verifying=against == BEST_VERIFYING)
        return self.median(against, metric)


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured, and what was allowed; *held* is None where something was not measured."""

    target: Target
    value: float | None
    limit: float | None

    @property
    def held(self) -> bool | None:
        """Whether the target was reached."""
        if self.value is None or self.limit is None:
            return None
        return self.value >= self.limit if self.target.at_least else self.value <= self.limit


def judge(table: Table) -> list[Verdict]:
    """Judge every target of a table."""
    return [Verdict(target, table.median(target.subject, target.metric), _limit(table, target))
            for target in table.targets]  # fmt: skip


def _limit(table: Table, target: Target) -> float | None:
    if target.against is None:
        return target.plus
    base = table.reference(target.against, target.metric)
    return None if base is None else base * target.factor + target.plus


@dataclass
class Run:
    """One invocation of the harness: where, with which programs, and its tables."""

    machine: Machine
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    tables: list[Table] = field(default_factory=list)


class NotComparableError(Exception):
    """Two runs were not made on the same machine, or a file is not a run."""


def save(run: Run, path: Path) -> None:
    """Write *run* as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": FORMAT, **asdict(run)}, indent=1) + "\n")


def load(path: Path) -> Run:
    """Read a run; raises NotComparableError for a file of another format."""
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise NotComparableError(f"{path}: written in another format")
        tables = [_table(table) for table in content.pop("tables")]
        return Run(Machine(**content["machine"]), content["versions"], content["settings"], tables)
    except (KeyError, TypeError, ValueError) as problem:
        raise NotComparableError(f"{path}: not a benchmark result ({problem})") from problem


def _table(content: Mapping[str, object]) -> Table:
    rows, targets = content["rows"], content["targets"]
    assert isinstance(rows, dict)
    assert isinstance(targets, list)
    return Table(
        str(content["name"]),
        str(content["title"]),
        {name: _row(row) for name, row in rows.items()},
        tuple(Target(**target) for target in targets),
    )


def _row(content: Mapping[str, Sequence[dict[str, float]]]) -> Row:
    samples = [Sample(**sample) for sample in content["samples"]]  # type: ignore[arg-type]
    return Row(str(content["tool"]), samples, [str(error) for error in content["errors"]])


def require_one_machine(runs: Sequence[Run]) -> None:
    """Raise NotComparableError unless all runs are of one machine."""
    for run in runs[1:]:
        if run.machine != runs[0].machine:
            raise NotComparableError(f"different machines: {runs[0].machine} and {run.machine}; measure both on one")
