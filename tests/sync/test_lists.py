"""``sync --list`` and ``--config``: how lines map, what a second run costs, what is told at the end."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from fastcopy.cli.show.plain import plain_text
from fastcopy.cli.show.progress import Progress
from fastcopy.events import CopyStarted, Snapshot, SyncedImage, SyncPlanned
from tests.cli.support import run
from tests.copy.world import assert_complete, flags, fresh, image, index, named
from tests.sync.world import Place, log_lines, moved


def test_a_list_arrives_below_the_other_prefix_byte_for_byte(any_place: Place) -> None:
    """image:tag lines keep path and tag; every manifest and blob is there."""
    base, to = fresh("list/a"), fresh("list/b")
    made = any_place.images(base, 4)
    ran = any_place.listed([f"i{n}:1" for n in range(4)], base=base, to=to)
    assert ran.code == 0, ran.err
    for n, each in enumerate(made):
        assert_complete(any_place.destination, f"{to}/i{n}", each)
    assert "4 images: 4 copied" in ran.err


def test_nothing_goes_to_stdout_but_what_was_asked_for(place: Place) -> None:
    """A list's run is told on stderr."""
    base = fresh("list/a")
    place.images(base, 1)
    assert place.listed(["i0:1"], base=base, to=fresh("list/b")).out == ""


def test_every_blob_is_downloaded_once_and_uploaded_once_whatever_shares_it(any_place: Place) -> None:
    """Ten images share two layers: one GET and one PUT each, mounts for the rest."""
    base, to = fresh("list/a"), fresh("list/b")
    shared = [f"{base} small".encode() * 300, f"{base} large".encode() * 40_000]
    made = any_place.images(base, 10, shared=shared)
    ran = any_place.listed([f"i{n}:1" for n in range(10)], base=base, to=to)
    assert ran.code == 0, ran.err
    unique = {digest for each in made for digest in each.blobs}
    assert moved(any_place.source, "GET", f"{base}/") == dict.fromkeys(unique, 1)
    assert moved(any_place.destination, "PUT", f"{to}/") == dict.fromkeys(unique, 1)
    for n, each in enumerate(made):
        assert_complete(any_place.destination, f"{to}/i{n}", each)


def test_the_second_run_moves_nothing_and_asks_both_sides_once_per_image(place: Place) -> None:
    """Unchanged is concluded by HEAD at source and destination."""
    base, to = fresh("list/a"), fresh("list/b")
    place.images(base, 3)
    lines = [f"i{n}:1" for n in range(3)]
    assert place.listed(lines, base=base, to=to).code == 0
    before = len(place.source.requests()), len(place.destination.requests())
    ran = place.listed(lines, base=base, to=to)
    after = place.source.requests()[before[0] :], place.destination.requests()[before[1] :]
    assert ran.code == 0
    assert "3 images: 3 already there" in ran.err
    for requests in after:
        assert [method for method, target, _ in requests if "/manifests/" in target] == ["HEAD"] * 3


def test_a_moved_source_tag_and_a_deleted_destination_tag_are_noticed(place: Place) -> None:
    """The second run brings the new image and the lost one, and nothing else."""
    base, to = fresh("list/a"), fresh("list/b")
    made = place.images(base, 3)
    lines = [f"i{n}:1" for n in range(3)]
    assert place.listed(lines, base=base, to=to).code == 0
    newer = image(place.source, f"{base}/i0", "1", sizes=(70,))
    with place.destination.client() as probe:
        assert probe.request("DELETE", f"/v2/{to}/i1/manifests/{made[1].digest}").status == 202
    ran = place.listed(lines, base=base, to=to)
    assert "3 images: 2 copied, 1 already there" in ran.err
    assert_complete(place.destination, f"{to}/i0", newer)
    assert_complete(place.destination, f"{to}/i1", made[1])


def test_one_failed_image_does_not_stop_the_others_and_its_pair_can_be_fed_back(place: Place) -> None:
    """Exit code 3, a list of what is missing, and a second run with that list that completes."""
    base, to = fresh("list/a"), fresh("list/b")
    place.images(base, 2)
    failed = str(place.files / "failed.txt")
    ran = place.listed(["i0:1", "gone:1", "i1:1"], "--failed", failed, base=base, to=to)
    assert ran.code == 3
    assert named(place.destination, f"{to}/i1")
    late = image(place.source, f"{base}/gone", "1")
    again = place.sync("--list", failed, "--failed", failed)
    assert again.code == 0, again.err
    assert "1 images: 1 copied" in again.err
    assert_complete(place.destination, f"{to}/gone", late)
    assert (place.files / "failed.txt").read_text() == ""


def test_the_report_has_every_image_with_the_digests_of_both_sides(place: Place) -> None:
    """--report FILE is JSON: copied, present and failed images, bytes and requests."""
    base, to = fresh("list/a"), fresh("list/b")
    made = place.images(base, 2)
    place.listed(["i0:1"], base=base, to=to)
    place.listed(["i0:1", "i1:1", "gone:1"], "--report", str(place.files / "report.json"), base=base, to=to)
    report = place.report()
    assert report["counts"] == {"present": 1, "copied": 1, "failed": 1}
    first, second, third = report["images"]
    assert (first["status"], first["source_digest"], first["destination_digest"]) == (
        "present", made[0].digest, made[0].digest,
    )  # fmt: skip
    assert second["source"] == made[1].ref
    assert second["destination"] == place.destination.ref(f"{to}/i1", "1")
    assert (third["status"], third["class"], third["side"]) == ("failed", "manifest-unknown", "source")
    assert report["bytes_copied"] == report["bytes_written"] == sum(map(len, made[1].blobs.values()))
    assert report["requests"] > 0


def test_a_single_image_that_fails_gives_the_exit_code_of_its_class(place: Place) -> None:
    """Where nothing else was asked for, 2 (not there) says more than 3 (partly done)."""
    assert place.listed(["gone:1"], base=fresh("list/a"), to=fresh("list/b")).code == 2


def test_fail_fast_stops_at_the_first_failure_and_lists_what_was_not_tried(place: Place) -> None:
    """--fail-fast: what never had its turn is in --failed as well."""
    base, to = fresh("list/a"), fresh("list/b")
    failed = place.files / "failed.txt"
    lines = [f"gone{n}:1" for n in range(300)]
    ran = place.listed(lines, "--fail-fast", "--failed", str(failed), base=base, to=to)
    assert ran.code == 3
    pairs = [line for line in failed.read_text().splitlines() if not line.startswith("#")]
    assert len(pairs) == 300
    assert "# not tried" in failed.read_text()


def test_two_sources_with_one_destination_are_refused_before_anything_is_copied(place: Place) -> None:
    """skopeo lets the later one win silently; here both lines are named."""
    base, to = fresh("list/a"), fresh("list/b")
    place.images(f"{base}/x", 1)
    place.images(f"{base}/y", 1)
    ran = place.listed(["x/i0:1", "y/i0:1"], "--rename", "{name}", base=base, to=to)
    assert ran.code == 64
    assert "two sources for one destination" in ran.fatal
    assert "images.txt:1:1" in ran.fatal
    assert "images.txt:2:1" in ran.fatal
    assert not named(place.destination, f"{to}/i0")


def test_a_rename_changes_paths_on_their_way(place: Place) -> None:
    """s#regex#replacement#."""
    base, to = fresh("list/a"), fresh("list/b")
    (made,) = place.images(base, 1)
    assert place.listed(["i0:1"], "--rename", "s#^i#image-#", base=base, to=to).code == 0
    assert_complete(place.destination, f"{to}/image-0", made)


def test_a_glob_takes_the_tags_that_fit(place: Place) -> None:
    """``repo:1.*`` asks for the tag list; a repository that cannot be listed counts as a failure."""
    base, to = fresh("list/a"), fresh("list/b")
    made = [image(place.source, f"{base}/r", tag) for tag in ("1.0", "1.1", "2.0")]
    ran = place.listed(["r:1.*", "nobody:*"], base=base, to=to)
    assert ran.code == 3
    assert "2 images: 2 copied, 1 could not be listed" in ran.err
    assert_complete(place.destination, f"{to}/r", made[1], "1.1")
    assert not named(place.destination, f"{to}/r", "2.0")


def test_a_dry_run_copies_nothing_and_names_everything(place: Place) -> None:
    """--dry-run."""
    base, to = fresh("list/a"), fresh("list/b")
    place.images(base, 1)
    ran = place.listed(["i0:1"], "--dry-run", base=base, to=to)
    source, destination = place.source.ref(f"{base}/i0", "1"), place.destination.ref(f"{to}/i0", "1")
    assert ran.code == 0
    assert log_lines(ran) == [
        'level=warning msg="Running in dry-run mode"',
        f'level=info msg="Would have copied 1/1" from="{source}" to="{destination}"',
    ]
    assert not named(place.destination, f"{to}/i0")


def test_a_bad_line_is_named_by_file_line_and_column(place: Place) -> None:
    """Nothing is contacted; exit code 64."""
    ran = place.listed(["ok:1", "  no-tag"], base="a", to="b")
    assert ran.code == 64
    assert "images.txt:2:3: no-tag has neither tag nor digest" in ran.fatal


def test_json_lines_end_with_the_totals(place: Place) -> None:
    """--progress json: every line is an object, the last says how it ended."""
    base, to = fresh("list/a"), fresh("list/b")
    place.images(base, 1)
    ran = place.listed(["i0:1"], "--progress", "json", base=base, to=to)
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert events[0]["event"] == "copy-started"
    assert events[-1]["event"] == "sync-done"
    assert events[-1]["totals"]["counts"] == {"copied": 1}
    assert [each["status"] for each in events if each["event"] == "synced-image"] == ["copied"]


def test_bars_of_a_list_leave_no_line_per_blob(place: Place) -> None:
    """On a terminal the log's line per image is all that stays."""
    base, to = fresh("list/a"), fresh("list/b")
    place.images(base, 2)
    ran = place.listed(["i0:1", "i1:1"], "--progress", "tty", base=base, to=to)
    assert ran.code == 0
    assert "Copying blob" not in ran.out + ran.err
    assert "Copied 2/2" in ran.err


def test_an_estimate_says_at_least_while_images_are_left() -> None:
    """Their blobs are not known yet; the last image's estimate needs no such word."""
    progress = Progress()
    progress.event(CopyStarted("", "", _Meters()))
    progress.event(SyncPlanned(images=2, sources=1))
    progress.sample(0.0)
    progress.sample(1.0)
    assert plain_text(progress).endswith("0 of 2 images, at least 5.0s left")
    for number in range(2):
        progress.event(SyncedImage(f"s{number}", f"d{number}", "copied"))
    assert plain_text(progress).endswith("2 of 2 images, 5.0s left")


class _Meters:
    """A hundred bytes a second, five hundred to go."""

    def __init__(self) -> None:
        self.calls = 0

    def snapshot(self) -> Snapshot:
        self.calls += 1
        return Snapshot(bytes_in=100 * self.calls, planned=500)


def test_a_configuration_copies_to_several_places_for_one_download(place: Place) -> None:
    """Two repositories at the destination and a third place at another registry: one GET per blob."""
    base, to = fresh("list/a"), fresh("list/b")
    (made,) = place.images(base, 1)
    text = f"""
fastcopy: 1
images:
  - from: {place.source.host}/{base}/i0
    tags: ["1"]
    to: ["{place.destination.host}/{to}/x", "{place.destination.host}/{to}/y", "{place.source.host}/{to}/z"]
"""
    ran = place.sync("--config", place.file(text, "sync.yaml"))
    assert ran.code == 0, ran.err
    assert moved(place.source, "GET", f"{base}/") == dict.fromkeys(made.blobs, 1)
    assert_complete(place.destination, f"{to}/x", made)
    assert_complete(place.destination, f"{to}/y", made)
    assert_complete(place.source, f"{to}/z", made)


def test_an_immutable_tag_that_is_there_is_done_without_asking_the_source(place: Place) -> None:
    """Declared never to move: the source sees no request, even where its tag moved all the same."""
    base, to = fresh("list/a"), fresh("list/b")
    (made,) = place.images(base, 1, tag="v1")
    text = f"""
fastcopy: 1
images:
  - from: {place.source.host}/{base}/i0
    tags: ["v1"]
    immutable: ["v*"]
    to: "{place.destination.host}/{to}/i0"
"""
    config = place.file(text, "sync.yaml")
    assert place.sync("--config", config).code == 0
    image(place.source, f"{base}/i0", "v1", sizes=(10,))
    before = len(place.source.requests())
    ran = place.sync("--config", config)
    assert "1 already there" in ran.err
    assert len(place.source.requests()) == before
    assert_complete(place.destination, f"{to}/i0", made, "v1")


def test_converted_lists_copy_the_same(place: Place) -> None:
    """``convert`` prints a configuration whose run does what the list's would."""
    base, to = fresh("list/a"), fresh("list/b")
    (made,) = place.images(base, 1)
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    ran = run("convert", *ends, place.file("i0:1\n"))
    assert ran.code == 0, ran.err
    assert place.sync("--config", place.file(ran.out, "native.yaml")).code == 0
    assert_complete(place.destination, f"{to}/i0", made)


def test_a_destination_that_fails_does_not_keep_the_other_from_arriving(place: Place) -> None:
    """Two destinations, one of which nobody answers at: exit code 3, the other complete."""
    base, to = fresh("list/a"), fresh("list/b")
    (made,) = place.images(base, 1)
    text = f"{made.ref}={place.destination.host}/{to}/i0\n{made.ref}=127.0.0.1:1/{to}/i0\n"
    ran = place.sync("--list", place.file(text), "--retry-times=0")
    assert ran.code == 3
    assert "2 images: 1 copied, 1 failed" in ran.err
    assert_complete(place.destination, f"{to}/i0", made)


def test_a_list_comes_from_standard_input_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--list -``."""
    base, to = fresh("list/a"), fresh("list/b")
    (made,) = place.images(base, 1)
    line = f"{made.ref}={place.destination.host}/{to}/i0\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
    assert place.sync("--list", "-").code == 0
    assert_complete(place.destination, f"{to}/i0", made)


def test_an_index_takes_every_platform_with_all_and_the_chosen_ones_by_configuration(place: Place) -> None:
    """--all copies the index; `platform` copies one instance as an image; `platforms` some, and the index."""
    base, to = fresh("list/a"), fresh("list/b")
    made = index(place.source, f"{base}/i", "1")
    assert place.listed(["i:1"], "--all", base=base, to=to).code == 0
    assert_complete(place.destination, f"{to}/i", made)
    text = f"""
fastcopy: 1
images:
  - from: {place.source.host}/{base}/i
    tags: ["1"]
    platform: linux/arm64
    to: "{place.destination.host}/{to}/one"
"""
    assert place.sync("--config", place.file(text, "sync.yaml")).code == 0
    assert named(place.destination, f"{to}/one") == made.children[1].digest


@pytest.mark.slow
def test_two_thousand_images_need_little_memory_and_no_request_twice(place: Place) -> None:
    """Below 200 MiB in all, and one GET per manifest and blob."""
    base, to = fresh("list/a"), fresh("list/b")
    count = 2000
    place.images(base, count, shared=[b"shared" * 100])
    lines = place.file("".join(f"i{n}:1\n" for n in range(count)))
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    script = (
        "import sys\n"
        "from fastcopy.cli import main\n"
        "code = main(sys.argv)\n"
        # not ru_maxrss: that begins with the peak of the process that started this one
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
        "sys.exit(code)"
    )
    words = ["sync", "-q", "--list", lines, *ends, *flags(place.source, place.destination)]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200 << 10
    assert set(moved(place.source, "GET", f"{base}/").values()) == {1}
    gets = [target for method, target, _ in place.source.requests() if method == "GET" and f"/{base}/" in target]
    assert len([target for target in gets if "/manifests/" in target]) == count
