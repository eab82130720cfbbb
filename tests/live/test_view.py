"""What people see of a long run: rates by registry, who limits it, and estimates that say what they do not know."""

from __future__ import annotations

import io
import json

import pytest

from fastcopy.cli.show import bars
from fastcopy.cli.show.jsonlines import JsonLines
from fastcopy.cli.show.plain import Plain
from fastcopy.cli.show.progress import REMEMBERED, Progress
from fastcopy.events import (
    BlobMeter,
    BlobStarted,
    CopyStarted,
    HostMeter,
    Snapshot,
    SyncedImage,
    SyncPlanned,
)
from tests.cli.support import run

MIB = 1 << 20
A = "sha256:" + "a" * 64


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Meters:
    """Shows what a test has prepared."""

    def __init__(self) -> None:
        self.now = Snapshot()

    def snapshot(self) -> Snapshot:
        return self.now


def _snapshot(second: int, **more: float) -> Snapshot:
    """After so many seconds at 10 MiB/s in and out, with one body of 100 MiB in flight."""
    moved = 10 * MIB * second
    hosts = (
        HostMeter("a.example", "source", moved, 8, 2, 8, 0, 24),
        HostMeter("b.example", "destination", moved, 3, 0, 4, 2, 0, closed=12.0, pace=9.8),
    )
    spent = {name: rate * second for name, rate in more.items() if name != "bandwidth"}
    return Snapshot(
        moved, moved, (BlobMeter(A, 100 * MIB, moved),), 200 * MIB, 0, (), hosts,
        bandwidth=int(more.get("bandwidth", 0)), **spent,
    )  # fmt: skip


def _sampled(**more: float) -> Progress:
    progress, meters = Progress(), Meters()
    progress.event(CopyStarted("", "", meters))
    for second in range(4):
        meters.now = _snapshot(second, **more)
        progress.sample(float(second))
    return progress


@pytest.mark.parametrize(
    ("spent", "who"),
    [
        ({"waited_in": 7.5, "waited_out": 0.2, "cpu": 0.3}, "the source"),
        ({"waited_in": 0.2, "waited_out": 0.9, "cpu": 0.3}, "the destination"),
        ({"waited_in": 0.2, "waited_out": 0.1, "cpu": 1.8}, "this machine"),
        ({"waited_in": 1.0, "waited_out": 1.0, "cpu": 0.9}, ""),
        ({"waited_in": 0.05, "waited_out": 0.0, "cpu": 0.05}, ""),
        ({"waited_in": 0.0, "waited_out": 0.0, "cpu": 0.1, "bandwidth": 10 * MIB}, "--bwlimit"),
        ({"waited_in": 7.5, "cpu": 0.3, "bandwidth": 100 * MIB}, "the source"),
    ],
)
def test_who_limits_a_run_is_read_from_what_was_waited_for(spent: dict[str, float], who: str) -> None:
    """Seconds waited for either side, seconds computed, the rate beside its limit; nobody where nobody stands out."""
    assert _sampled(**spent).limited_by == who


def test_nobody_limits_a_run_without_bodies() -> None:
    """Requests alone say nothing of bandwidth."""
    progress = _sampled(waited_in=7.5)
    progress.last = Snapshot()
    assert progress.limited_by == ""


def test_an_estimate_says_at_least_until_all_is_known() -> None:
    """While repositories are listed, and while images are left whose blobs nobody has seen."""
    progress = _sampled()
    progress.event(SyncPlanned(2, 1, listing=1))
    assert (progress.left, progress.of_many) == (["at least 17s left"], ["0 of 2 images so far"])
    progress.event(SyncPlanned(3, 2))
    assert (progress.left, progress.of_many) == (["at least 17s left"], ["0 of 3 images"])
    for _ in range(3):
        progress.event(SyncedImage("a", "b", "copied"))
    assert progress.left == ["17s left"]


def test_a_long_run_shows_each_registry_within_80_columns() -> None:
    """A row for each side, then the total, then the counts; nothing is cut off that matters."""
    progress = _sampled(waited_in=7.5)
    progress.event(SyncPlanned(200, 1))
    rows = bars.frame(progress, 80, 22)
    assert rows[-4:] == [
        "from a.example 10.0 MiB/s, 8 of 8 bodies, 2 requests, 24 waiting",
        "to b.example 10.0 MiB/s, 3 of 4 bodies, closed for 12s, paced at 9.8 requests/s,",
        "Total 30.0MiB / 200.0MiB | 15% | 10.0 MiB/s | at least 17s left",
        "0 of 200 images | 0 blobs done | limited by the source",
    ]
    wide = bars.frame(progress, 120, 22)
    assert wide[-3].endswith("paced at 9.8 requests/s, window shrunk 2 times")


def test_the_rows_of_a_screen_are_never_more_than_it_has() -> None:
    """Many bodies on a low terminal."""
    progress = _sampled()
    progress.event(SyncPlanned(200, 1))
    active = tuple(BlobMeter(f"sha256:{n:064}", 100, 1) for n in range(50))
    progress.last = Snapshot(active=active, hosts=progress.last.hosts)
    assert len(bars.frame(progress, 80, 10)) == 10


def test_plain_lines_carry_the_same_facts() -> None:
    """For logs: rates by registry and what is unusual, and who limits."""
    found: list[str] = []
    plain, meters = Plain(found.append), Meters()
    plain.event(CopyStarted("", "", meters))
    plain.event(SyncPlanned(200, 1))
    for second in range(6):
        meters.now = _snapshot(second, waited_out=0.9)
        plain.tick(float(second))
    assert len(found) == 1
    for text in (
        "40.0MiB of 200.0MiB, 10.0 MiB/s", "at least 16s left", "limited by the destination",
        "from a.example 10.0 MiB/s", "to b.example 10.0 MiB/s, closed for 12s, paced at 9.8 requests/s",
    ):  # fmt: skip
        assert text in found[0]


def test_json_lines_carry_the_same_facts() -> None:
    """As docs/progress.md describes them."""
    found: list[str] = []
    listener, meters = JsonLines(found.append, lambda: 0.0), Meters()
    listener.event(CopyStarted("", "", meters))
    listener.event(SyncPlanned(200, 1, listing=3))
    for second in range(4):
        meters.now = _snapshot(second, waited_in=7.5)
        listener.tick(float(second))
    last = json.loads(found[-1])
    assert (last["limited_by"], last["at_least"], last["seconds_left"]) == ("the source", True, 17.0)
    assert last["hosts"][1] == {
        "host": "b.example", "side": "destination", "bytes": 30 * MIB, "bodies": 3, "requests": 0, "window": 4,
        "shrunk": 2, "waiting": 0, "closed": 12.0, "pace": 9.8, "rate": 10 * MIB,
    }  # fmt: skip


def test_what_the_show_remembers_does_not_grow_with_the_run() -> None:
    """Two thousand images whose blobs fail, and so never say that they are done."""
    progress, meters = Progress(), Meters()
    progress.event(CopyStarted("", "", meters))
    for n in range(20_000):
        progress.event(BlobStarted(f"sha256:{n:064}", 10))
        if n % 100 == 0:
            meters.now = Snapshot(active=(BlobMeter(f"sha256:{n:064}", 10, 1),))
            progress.sample(float(n))
    assert len(progress.started) == REMEMBERED
    assert len(progress._speeds) == 1


def test_a_second_round_begins_anew() -> None:
    """Counters of another run, smaller ones, are no negative rate."""
    progress = _sampled()
    progress.event(CopyStarted("", "", Meters()))
    progress.sample(10.0)
    progress.sample(11.0)
    assert (progress.total.value, progress.images) == (0.0, 0)


def test_bars_are_drawn_for_a_long_run() -> None:
    """On a terminal, with the rows of the registries."""
    screen = Screen()
    drawn, meters = bars.Bars(screen, lambda line: None, delay=0.0), Meters()
    drawn.event(CopyStarted("", "", meters))
    drawn.event(SyncPlanned(200, 1))
    for second in range(4):
        meters.now = _snapshot(second)
        drawn.tick(float(second))
    drawn.close()
    assert "from a.example" in screen.getvalue()


def test_the_stall_limit_is_a_flag() -> None:
    """--stall-timeout is documented and fills the option that every wait obeys."""
    from fastcopy.cli.build import options_of
    from fastcopy.cli.commandtable import COMMANDS
    from fastcopy.cli.parser import parse

    for command in ("copy", "sync"):
        parsed = parse(["--stall-timeout=90s"], COMMANDS[command].flag_set())
        assert options_of(parsed).run.stall == 90.0
        assert "--stall-timeout" in run(command, "--help").out
