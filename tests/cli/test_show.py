"""Showing a run: skopeo's lines, plain progress, JSON, bars, the summary; with an injected clock."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field

import pytest
import rich.console

from fastcopy.cli.log import Log
from fastcopy.cli.show import Show, bars, choose, units
from fastcopy.cli.show.jsonlines import JsonLines
from fastcopy.cli.show.lines import Lines, Notices, Summary, summary_text
from fastcopy.cli.show.plain import Plain
from fastcopy.cli.show.progress import Progress, Speed
from fastcopy.errors import ManifestUnknown
from fastcopy.events import (
    BlobDone,
    BlobMeter,
    BlobStarted,
    CopyDone,
    CopyReport,
    CopyStarted,
    Event,
    ImageDone,
    ImageFailed,
    ImageStarted,
    ListStarted,
    ManifestWritten,
    Message,
    Retrying,
    Snapshot,
    Waiting,
    as_dict,
    kind_of,
)
from tests.cli.support import streams, written

A, B, C, M, L = (f"sha256:{letter * 64}" for letter in "abc12")
MIB = 1 << 20


@dataclass
class FakeMeters:
    """Meters that show what they are told."""

    now: Snapshot = field(default_factory=Snapshot)

    def snapshot(self) -> Snapshot:
        return self.now


ONE_IMAGE: list[Event] = [
    CopyStarted("docker://a/x:1", "docker://b/x:1"),
    ImageStarted(M),
    BlobStarted(A, 25 * MIB),
    BlobStarted(C, 300, "config"),
    BlobStarted(B, 10),
    BlobDone(C, 300, "copied", "config"),
    BlobDone(A, 25 * MIB, "copied"),
    BlobDone(B, 10, "present"),
    ManifestWritten(M),
    ImageDone(M),
    CopyDone(CopyReport(M)),
]


def _lines(events: list[Event]) -> list[str]:
    found: list[str] = []
    listener = Lines(found.append)
    for event in events:
        listener.event(event)
    listener.close()
    return found


def test_one_image_prints_the_lines_of_skopeo() -> None:
    """Signatures, blobs also when they exist, the config behind them, the manifest."""
    assert _lines(ONE_IMAGE) == [
        "Getting image source signatures",
        f"Copying blob {A}",
        f"Copying blob {B}",
        f"Copying config {C}",
        "Writing manifest to image destination",
    ]


def test_a_list_prints_the_lines_of_skopeo() -> None:
    """The list's own lines, and each image numbered, also when it is the only one."""
    events = [
        ListStarted(L, 1, 5),
        ImageStarted(M, "linux/amd64", 1, 1),
        ManifestWritten(M),
        ManifestWritten(L, "list"),
    ]
    assert _lines(events) == [
        "Getting image list signatures",
        "Copying 1 images generated from 5 images in list",
        f"Copying image {M} (1/1)",
        "Getting image source signatures",
        "Writing manifest to image destination",
        "Writing manifest list to image destination",
        "Storing list signatures",
    ]


def test_an_image_that_is_there_already_is_said_to_be_skipped() -> None:
    """skopeo's words for it."""
    assert _lines([ImageDone(M, present=True)]) == [
        "Getting image source signatures",
        "Skipping: image already present at destination",
    ]


def test_messages_for_stdout_are_printed_and_others_are_not() -> None:
    """Only the level print belongs to skopeo's lines."""
    assert _lines([Message("Storing signatures"), Message("hush", "debug")]) == ["Storing signatures"]


def test_retries_waits_failures_and_messages_go_to_the_log() -> None:
    """At their levels, in skopeo's words where it has them."""
    stream = io.StringIO()
    notices = Notices(Log(stream, terminal=False, debug=True))
    notices.event(Retrying("reading blob", "connection reset", 1.0, "source", 1, 3))
    notices.event(ImageFailed(M, "gone"))
    notices.event(Message("detail", "debug"))
    notices.event(Waiting("r.example", "rate limit", 30.0))
    first, second, third, fourth = stream.getvalue().splitlines()
    assert (
        'level=warning msg="Failed, retrying in 1.0s ... (1/3). Error: reading blob (source): connection reset"'
        in first
    )
    assert f'level=error msg="Copying image {M} failed: gone"' in second
    assert "level=debug msg=detail" in third
    assert 'level=info msg="Waiting 30s for r.example: rate limit"' in fourth


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (CopyReport(M, seconds=0.25), "Nothing had to be copied, in 0.2s"),
        (
            CopyReport(M, bytes_copied=10 * MIB, blobs_copied=1, seconds=2.0),
            "Copied 1 blob, 10.0MiB, 5.0 MiB/s, in 2.0s",
        ),
        (
            CopyReport(M, bytes_copied=2048, blobs_copied=2, bytes_reused=MIB, blobs_reused=1, bytes_mounted=MIB,
                       blobs_mounted=3, seconds=1.0),
            "Copied 2 blobs, 2.0KiB, 2.0 KiB/s, in 1.0s; saved 2.0MiB: 1 blob already there, 3 blobs mounted",
        ),
    ],
)  # fmt: skip
def test_the_summary_tells_what_was_moved_and_what_was_saved(report: CopyReport, text: str) -> None:
    """Blobs, bytes, rate, time; existing and mounted blobs."""
    assert summary_text(report) == text


def test_there_is_no_summary_of_a_run_that_failed() -> None:
    """Without CopyDone nothing is written."""
    found: list[str] = []
    Summary(found.append).close()
    assert found == []


def test_speed_is_measured_over_the_last_seconds_only() -> None:
    """An old burst is forgotten, a stall shows as zero."""
    speed = Speed()
    assert speed.value == 0.0
    for second in range(10):
        speed.sample(float(second), 100 * second)
    assert speed.value == pytest.approx(100.0)
    for second in range(10, 14):
        speed.sample(float(second), 900)
    assert speed.value == 0.0


def test_the_estimate_is_what_is_left_at_the_present_rate() -> None:
    """Settled and half-done blobs are not left; without a plan or a rate there is no estimate."""
    meters = FakeMeters()
    progress = Progress()
    progress.event(CopyStarted("a", "b", meters))
    assert progress.eta is None
    meters.now = Snapshot(bytes_in=0, planned=1000, settled=200, active=(BlobMeter(A, 800, 0),))
    progress.sample(0.0)
    meters.now = Snapshot(bytes_in=100, planned=1000, settled=200, active=(BlobMeter(A, 800, 100),))
    progress.sample(1.0)
    assert progress.moved == 300
    assert progress.eta == pytest.approx(7.0)
    assert progress.blob_eta(progress.last.active[0]) == pytest.approx(7.0)


def test_plain_progress_is_a_line_per_tick_while_bytes_are_on_their_way() -> None:
    """And none while nothing is in flight."""
    found: list[str] = []
    plain, meters = Plain(found.append), FakeMeters()
    plain.event(CopyStarted("a", "b", meters))
    plain.tick(0.0)
    meters.now = Snapshot(
        10 * MIB, 10 * MIB, (BlobMeter(A, 40 * MIB, 10 * MIB),), 50 * MIB, 10 * MIB, ("r.example: rate limit",)
    )
    plain.tick(5.0)
    assert found == ["20.0MiB of 50.0MiB, 2.0 MiB/s, 1 blob in flight, 15s left, waiting for r.example: rate limit"]


def test_json_progress_is_an_object_per_event_and_per_sample() -> None:
    """Every line is JSON with an event and a time; the meters never are in it."""
    found: list[str] = []
    ticks = iter([10.0, *[10.5] * 20, 12.0])
    listener, meters = (
        JsonLines(found.append, lambda: next(ticks)),
        FakeMeters(Snapshot(5, 4, (BlobMeter(A, 9, 5),), 9)),
    )
    listener.event(CopyStarted("a", "b", meters))
    listener.event(BlobDone(A, 9, "mounted", origin="library/x"))
    listener.tick(11.0)
    listener.event(CopyDone(CopyReport(M, digest_map={A: B})))
    listener.failed(ManifestUnknown("nope", side="source", hint="look"), "source x: nope", 2)
    started, done, sample, report, failed = map(json.loads, found)
    assert started == {"event": "copy-started", "time": 0.5, "source": "a", "destination": "b"}
    assert done["event"] == "blob-done"
    assert (done["how"], done["origin"]) == ("mounted", "library/x")
    assert sample["active"] == [{"digest": A, "size": 9, "done": 5}]
    assert (sample["event"], sample["time"], sample["bytes_in"]) == ("snapshot", 1.0, 5)
    assert report["digest_map"] == {A: B}
    assert failed["event"] == "failed"
    assert (failed["slug"], failed["side"], failed["exit_code"]) == ("manifest-unknown", "source", 2)


@pytest.mark.parametrize("event", ONE_IMAGE, ids=kind_of)
def test_every_event_survives_json(event: Event) -> None:
    """as_dict holds nothing that JSON cannot."""
    assert json.loads(json.dumps(as_dict(event), default=dict))["event"] == kind_of(event)


def _progress(snapshot: Snapshot) -> Progress:
    progress = Progress()
    progress.event(CopyStarted("a", "b", FakeMeters(snapshot)))
    progress.event(BlobStarted(A, 100 * MIB))
    progress.event(BlobStarted(B, 20, "config"))
    progress.sample(0.0)
    return progress


def test_a_frame_has_a_row_for_each_blob_and_a_total() -> None:
    """Bar, sizes, rate and time left, as wide as the terminal."""
    meters = FakeMeters(Snapshot(0, 0, (BlobMeter(A, 100 * MIB, 0),), 200 * MIB, 100 * MIB))
    progress = Progress()
    progress.event(CopyStarted("a", "b", meters))
    progress.event(BlobStarted(A, 100 * MIB))
    progress.event(BlobDone(B, 100 * MIB))
    progress.sample(0.0)
    meters.now = Snapshot(50 * MIB, 0, (BlobMeter(A, 100 * MIB, 50 * MIB),), 200 * MIB, 100 * MIB)
    progress.sample(1.0)
    blob, total = bars.frame(progress, 120, 10)
    assert blob == f"Copying blob {'a' * 12} [{'=' * 18}>{'-' * 19}] 50.0MiB / 100.0MiB | 50.0 MiB/s | 1.0s left"
    assert total == "Total 150.0MiB / 200.0MiB | 75% | 50.0 MiB/s | 1.0s left | 1 blob done"


def test_a_narrow_terminal_loses_the_bar_first_and_no_row_is_too_long() -> None:
    """Rows are cut to the width, never wrapped."""
    progress = _progress(Snapshot(0, 0, (BlobMeter(A, 100 * MIB, 50 * MIB), BlobMeter(B, 20, 1))))
    for width in (200, 80, 60, 40, 10):
        rows = bars.frame(progress, width, 10)
        assert all(len(row) <= width for row in rows)
    assert "[" not in bars.frame(progress, 62, 10)[0]
    assert "[" in bars.frame(progress, 80, 10)[0]


def test_a_low_terminal_shows_how_many_blobs_it_does_not_show() -> None:
    """The rows never exceed the height."""
    many = tuple(BlobMeter(f"sha256:{n:064x}", 10, 1) for n in range(30))
    rows = bars.frame(_progress(Snapshot(active=many)), 100, 6)
    assert len(rows) == 6
    assert rows[-2] == "... and 26 more blobs"


def test_an_unknown_size_has_neither_bar_nor_estimate() -> None:
    """Only what is known is drawn."""
    row, _ = bars.frame(_progress(Snapshot(active=(BlobMeter(A, -1, 2048),))), 100, 6)
    assert row == f"Copying blob {'a' * 12} 2.0KiB | 0 B/s"


@pytest.mark.parametrize(
    ("part", "width", "drawn"),
    [(0.0, 10, "[--------] "), (0.5, 10, "[===>----] "), (1.0, 10, "[========] "), (2.0, 10, "[========] "),
     (-1.0, 10, "[--------] "), (0.5, 7, "")],
)  # fmt: skip
def test_a_bar_is_never_longer_than_its_brackets(part: float, width: int, drawn: str) -> None:
    """Also for parts that cannot be."""
    assert bars.bar(part, width) == drawn


def test_finished_blobs_stand_above_the_live_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first frame they are written plainly, then by the display; closing leaves no live row behind."""
    monkeypatch.setattr(rich.console.Console, "is_terminal", property(lambda _self: True))
    screen, plain = io.StringIO(), []
    drawn = bars.Bars(screen, plain.append, delay=0.25)
    meters = FakeMeters(Snapshot(active=(BlobMeter(A, 100, 50),), planned=100))
    drawn.event(CopyStarted("a", "b", meters))
    drawn.event(BlobDone(B, 10, "present"))
    drawn.tick(0.0)
    assert plain == [f"Copying blob {'b' * 12} skipped: already exists"]
    assert screen.getvalue() == ""
    drawn.tick(0.3)
    assert "Total 50B / 100B | 50%" in screen.getvalue()
    drawn.event(BlobDone(A, 100, "mounted", origin="library/x"))
    assert f"Copying blob {'a' * 12} mounted from library/x" in screen.getvalue()
    before = len(screen.getvalue())
    drawn.close()
    assert "\x1b[?25h" in screen.getvalue()[before:], "the cursor must be visible again"
    assert len(plain) == 1


def test_bars_cost_no_import_until_something_is_drawn() -> None:
    """A copy that is done in a moment draws nothing."""
    found: list[str] = []
    drawn = bars.Bars(io.StringIO(), found.append)
    for event in ONE_IMAGE:
        drawn.event(event)
    drawn.close()
    assert found == [
        "Getting image source signatures",
        f"Copying config {'c' * 10} done   | 300B",
        f"Copying blob {'a' * 12} done   | 25.0MiB",
        f"Copying blob {'b' * 12} skipped: already exists",
        "Writing manifest to image destination",
    ]


def _shown(show: Show) -> None:
    for event in ONE_IMAGE:
        show.on_event(event)
    show.close()


@pytest.mark.parametrize(
    ("mode", "quiet", "shim", "out", "err"),
    [
        ("auto", False, False, "Getting image source signatures", "Nothing had to be copied"),
        ("auto", False, True, "Getting image source signatures", ""),
        ("none", False, False, "Getting image source signatures", ""),
        ("auto", True, False, "", ""),
        ("json", True, False, '{"event": "copy-started"', ""),
    ],
)
def test_streams_carry_what_the_mode_says(mode: str, quiet: bool, shim: bool, out: str, err: str) -> None:
    """skopeo's lines on stdout, ours on stderr; quiet silences both; json has stdout to itself; the shim is bare."""
    made = streams()
    _shown(choose(mode, made, Log(made.err, terminal=False), quiet=quiet, shim=shim))  # type: ignore[arg-type]
    assert written(made.out).startswith(out) if out else written(made.out) == ""
    assert written(made.err).startswith(err) if err else written(made.err) == ""


def test_a_reader_that_went_away_does_not_stop_the_copy() -> None:
    """A broken pipe on stdout is not an error of the run."""

    class Broken(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    made = streams()
    made.out = Broken()
    _shown(choose("none", made, Log(made.err, terminal=False), quiet=False, shim=False))


async def test_a_show_ticks_until_it_is_cancelled(autojump_clock: object) -> None:
    """Listeners are asked to draw at the interval."""
    import trio

    ticks: list[float] = []

    class Counting:
        def event(self, event: Event) -> None: ...
        def tick(self, now: float) -> None:
            ticks.append(now)

        def close(self) -> None: ...

    with trio.move_on_after(10.5):
        await Show([Counting()], 1.0, clock=trio.current_time).run()
    assert len(ticks) == 10


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (27158118, "25.9MiB"), (1 << 50, "1.0PiB")]
)
def test_sizes_are_binary_with_one_decimal(value: int, text: str) -> None:
    """As skopeo's bars."""
    assert units.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (12.4, "12s"), (185, "3m05s"), (7620, "2h07m")]
)
def test_times_are_short(value: float, text: str) -> None:
    """Tenths below ten seconds, then seconds, minutes, hours."""
    assert units.seconds(value) == text
