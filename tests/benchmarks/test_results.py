"""Statistics, verdicts and tables of the benchmark harness."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.machine import Machine
from benchmarks.measure import Sample
from benchmarks.report import compare_text, run_text, table_text
from benchmarks.results import NotComparableError, Run, Table, judge, load, require_one_machine, save
from benchmarks.scenarios import BEST_PEER, BEST_VERIFYING, Target
from benchmarks.stats import ratio, summarise

MACHINE = Machine("a processor", 2, 24, "6.1", "abcdef")


def sample(wall: float, cpu: float, peak: float = 50.0) -> Sample:
    """Make a sample whose CPU is all user time."""
    return Sample(wall, cpu, 0.0, peak, 1.0, 2.0)


def table(*targets: Target) -> Table:
    """Make a table where oras is cheapest but does not verify, and crane is cheaper than skopeo."""
    made = Table("one", "a title", targets=targets)
    for tool, wall, cpu in (
        ("floor", 1.0, 1.0),
        ("fastcopy", 1.4, 1.5),
        ("skopeo", 2.0, 3.0),
        ("crane", 2.5, 2.0),
        ("oras", 0.5, 0.5),
    ):
        made.row(tool).samples += [sample(wall, cpu), sample(wall * 3, cpu * 3), sample(wall, cpu)]
    return made


def run(machine: Machine = MACHINE) -> Run:
    """Make a run of one table."""
    return Run(machine, {"skopeo": "1.22"}, {"repeats": "3"}, [table(Target("wall", BEST_VERIFYING, plus=0.2))])


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_median_lies_inside_its_spread(values: list[float]) -> None:
    """A summary's low, median and high are in order and within the samples."""
    found = summarise(values)
    assert min(values) == found.low <= found.median <= found.high == max(values)
    assert found.count == len(values)


def test_no_samples_have_no_summary() -> None:
    """Nothing is made up for a tool that never succeeded."""
    with pytest.raises(ValueError, match="no samples"):
        summarise([])
    assert Table("one", "").row("skopeo").summary("wall") is None


def test_a_single_sample_shows_no_spread() -> None:
    """A spread is printed only where there is one."""
    assert summarise([1.5]).text() == "1.50"
    assert summarise([1.0, 2.0, 4.0]).text(1) == "2.0 (1.0..4.0)"


def test_ratio_to_nothing_is_nothing() -> None:
    """A missing floor leaves the cell empty instead of inventing a ratio."""
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, None) is None


def test_the_best_verifying_peer_is_chosen_metric_by_metric() -> None:
    """A peer that does not hash is no yardstick for one that does; fastcopy and the floor are no peers."""
    made = table()
    assert made.best("wall", verifying=True) == 2.0
    assert made.best("cpu", verifying=True) == 2.0
    assert made.best("cpu", verifying=False) == 0.5


@pytest.mark.parametrize(
    ("target", "held"),
    [
        (Target("cpu", "floor", 1.2, 0.3), True),
        (Target("cpu", "floor", 1.2, 0.2), False),
        (Target("wall", BEST_VERIFYING), True),
        (Target("wall", BEST_PEER), False),
        (Target("peak_mib", plus=49.0), False),
        (Target("parallelism", plus=1.0, at_least=True), True),
        (Target("parallelism", plus=1.1, at_least=True), False),
        (Target("wall", "regctl"), None),
        (Target("wall", "floor", subject="fastcopy-h2"), None),
    ],
)
def test_targets_are_judged_by_medians_of_the_same_run(target: Target, held: bool | None) -> None:
    """A target holds, fails, or is not measured; never does a missing row count as success."""
    assert judge(table(target))[0].held is held


def test_the_table_tells_ratios_verdicts_failures_and_noise() -> None:
    """Everything a reader needs to doubt a number stands beside it."""
    made = table(Target("cpu", "floor", 1.2, 0.2))
    made.row("regctl").errors.append("exit code 1: no such flag")
    made.row("crane").samples.append(dataclasses.replace(sample(2.5, 2.0), other_cpu=2.5, requests={"GET": 7}))
    text = table_text(made, cores=2)
    fastcopy = next(line for line in text.splitlines() if line.startswith("| fastcopy "))
    assert [cell.strip() for cell in fastcopy.split("|")][1:3] == ["fastcopy", "1.40 (1.40..4.20)"]
    assert [cell.strip() for cell in fastcopy.split("|")][-5:-1] == ["1.50", "1.40", "0.75", "0.70"]
    assert "fastcopy: CPU <= 1.2 x floor + 0.2 s: MISSED (1.50, must be <= 1.40)" in text
    assert "regctl failed: exit code 1: no such flag" in text
    assert "crane: other work took up to 50% of the machine" in text
    assert "crane: 7 requests seen by the registries (GET 7)" in text
    assert "oras (does not verify)" in text


def test_results_survive_their_file(tmp_path) -> None:
    """What is saved is what is loaded, targets and samples included."""
    save(run(), tmp_path / "deep" / "run.json")
    found = load(tmp_path / "deep" / "run.json")
    assert found == run()
    assert run_text(found) == run_text(run())


def test_results_of_two_machines_are_not_compared(tmp_path) -> None:
    """The same processor in another machine is another machine."""
    with pytest.raises(NotComparableError, match="different machines"):
        require_one_machine([run(), run(dataclasses.replace(MACHINE, identity="012345"))])
    require_one_machine([run(), run()])
    assert "1.40 / 1.50" in compare_text(["before", "after"], [run(), run()])


@pytest.mark.parametrize("content", ["[]", "{}", "nonsense", json.dumps({"format": 99})])
def test_a_file_that_is_no_result_is_refused(tmp_path, content: str) -> None:
    """A wrong file gives one clear error."""
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(NotComparableError):
        load(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("target", "disturbed", "doubted"),
    [
        (Target("wall", plus=2.0), "fastcopy", True),
        (Target("wall", plus=2.0), "skopeo", False),
        (Target("wall", "skopeo"), "skopeo", True),
        (Target("wall", BEST_VERIFYING), "crane", True),
        (Target("wall", BEST_VERIFYING), "oras", False),
        (Target("wall", "floor", 2.0), "crane", False),
        (Target("peak_mib", plus=150.0), "fastcopy", False),
    ],
)
def test_a_verdict_on_disturbed_rows_says_so_itself(target: Target, disturbed: str, doubted: bool) -> None:
    """A verdict quoted alone must not hide that the machine was busy with something else."""
    made = table(target)
    made.row(disturbed).samples[0] = dataclasses.replace(made.row(disturbed).samples[0], other_cpu=9.0)
    line = next(line for line in table_text(made, cores=2).splitlines() if "reached" in line)
    assert ("BUT DISTURBED" in line) is doubted
