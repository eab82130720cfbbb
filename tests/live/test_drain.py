"""SIGTERM in the middle of a run: what is in flight lands, nothing new begins, and the files say what is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from fastcopy.engine import Engine, running
from fastcopy.errors import Drained, TooManyRequests
from fastcopy.options import Options
from fastcopy.schedule import Lane, Limits, Schedule
from fastcopy.transfer.drain import Drain
from fastcopy.transfer.gate import Gate
from fastcopy.transfer.run import Step
from tests.copy.world import Made, content, flags, image, named
from tests.live.program import ended, in_mid_copy, program
from tests.live.relay import held_relay
from tests.registries import Registry
from tests.sync.world import Place, moved

LARGE = 96 << 20


def _large(registry: Registry, repo: str) -> Made:
    return image(registry, repo, layers=[os.urandom(LARGE)])


def _words(place: Place, lines: list[str], to: str, *more: str) -> list[str]:
    path = place.file("".join(f"{line}\n" for line in lines))
    return [
        "sync", *flags(place.source, place.destination), "--no-journal", "--memory=1MiB",
        f"--report={place.files}/report.json", f"--failed={place.files}/failed.txt", *more,
        "--list", path, "--from", f"{place.source.host}/live", "--to", to,
    ]  # fmt: skip


def _repo(path: Path) -> str:
    return path.name.replace("_", "-").lower()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("number", "more"), [(signal.SIGTERM, ()), (signal.SIGINT, ("--drain",))])
def test_what_is_in_flight_lands_and_nothing_new_begins(
    any_place: Place, number: signal.Signals, more: tuple[str, ...]
) -> None:
    """A large image in mid-copy is completed; its neighbours are left without a byte, and named in both files."""
    place, base = any_place, _repo(any_place.files)
    big = _large(place.source, f"live/{base}-big")
    others = [image(place.source, f"live/{base}-{n}", layers=[content(600_000, (base, n))]) for n in range(3)]
    lines = [f"{each.repo.removeprefix('live/')}:1" for each in (big, *others)]
    with (
        held_relay(place.destination.host, LARGE // 3) as relay,
        program(*_words(place, lines, f"{relay.host}/to", *more)) as process,
    ):
        in_mid_copy(relay, process)
        process.send_signal(number)
        assert process.stderr is not None
        while "Finishing what is in flight" not in process.stderr.readline():
            pass
        relay.release()
        code, _, err = ended(process)
    assert code == 128 + number, err
    counts = json.loads((place.files / "report.json").read_text())["counts"]
    assert counts["skipped"] >= 2, "one body at a time: at most one image was done before the large one"
    assert counts["copied"] + counts["skipped"] == 4
    assert f"{counts['skipped']} of 4 images are left" in err
    assert named(place.destination, f"to/{base}-big") == big.digest
    arrived = moved(place.destination, "PUT", f"to/{base}")
    left = [each for each in others if not named(place.destination, each.repo.replace("live/", "to/"))]
    assert len(left) == counts["skipped"]
    assert [each.repo for each in left if each.layer in arrived] == []
    listed = (place.files / "failed.txt").read_text()
    assert all(f"{each.repo}:1" in listed for each in left)


@pytest.mark.real
@pytest.mark.slow
def test_a_run_whose_every_image_is_in_flight_ends_well(any_place: Place) -> None:
    """Nothing is left, so the exit code is that of a complete run."""
    place, base = any_place, _repo(any_place.files)
    big = _large(place.source, f"live/{base}-big")
    with (
        held_relay(place.destination.host, LARGE // 3) as relay,
        program(*_words(place, [f"{base}-big:1"], f"{relay.host}/to")) as process,
    ):
        in_mid_copy(relay, process)
        process.send_signal(signal.SIGTERM)
        relay.release()
        code, _, err = ended(process)
    assert code == 0, err
    assert named(place.destination, f"to/{base}-big") == big.digest


@pytest.mark.slow
def test_a_single_copy_drains_as_well(place: Place) -> None:
    """SIGTERM in mid-copy of a large layer: it is completed."""
    base = _repo(place.files)
    big = _large(place.source, f"live/{base}-big")
    with held_relay(place.destination.host, LARGE // 3) as relay:
        target = f"docker://{relay.host}/to/{base}:1"
        with program("copy", "-q", *flags(place.source, place.destination), big.ref, target) as process:
            in_mid_copy(relay, process)
            process.send_signal(signal.SIGTERM)
            relay.release()
            code, _, err = ended(process)
    assert code == 0, err
    assert named(place.destination, f"to/{base}") == big.digest


@pytest.mark.slow
def test_bodies_in_flight_land_also_where_their_image_is_left(place: Place) -> None:
    """Of two layers one is in flight: it arrives, so that the next run finds it; the image gets no name."""
    base = _repo(place.files)
    made = image(place.source, f"live/{base}", layers=[os.urandom(LARGE), os.urandom(LARGE - 1)])
    with (
        held_relay(place.destination.host, LARGE // 3) as relay,
        program(*_words(place, [f"{base}:1"], f"{relay.host}/to")) as process,
    ):
        in_mid_copy(relay, process)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "Finishing what is in flight" not in process.stderr.readline():
            pass
        relay.release()
        code, _, err = ended(process)
    assert code == 143, err
    layers = {digest for digest, data in made.blobs.items() if len(data) >= LARGE - 1}
    assert len(layers & set(moved(place.destination, "PUT", f"to/{base}"))) == 1
    assert named(place.destination, f"to/{base}") == ""
    again = place.listed([f"{base}:1"], base="live", to="to")
    assert again.code == 0, again.err
    assert moved(place.destination, "PUT", f"to/{base}") == dict.fromkeys(made.blobs, 1)


@pytest.mark.slow
def test_ctrl_c_writes_both_files(place: Place) -> None:
    """The first Ctrl-C ends a run within a second or two, 130, and the files say what is missing."""
    base = _repo(place.files)
    _large(place.source, f"live/{base}-big")
    with (
        held_relay(place.destination.host, LARGE // 3) as relay,
        program(*_words(place, [f"{base}-big:1"], f"{relay.host}/to")) as process,
    ):
        in_mid_copy(relay, process)
        process.send_signal(signal.SIGINT)
        code, _, err = ended(process)
    assert code == 130, err
    assert json.loads((place.files / "report.json").read_text())["counts"] == {"skipped": 1}
    assert f"to/{base}-big:1" in (place.files / "failed.txt").read_text()


async def test_what_waits_for_a_slot_is_left_when_the_last_body_has_landed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Not before: its failure would take the bodies of its own image along."""
    gate, drain, seen = Gate(Schedule(Limits(start={Lane.BULK: 1}, ceiling={Lane.BULK: 1}))), Drain(), []

    async def body() -> None:
        async with gate.slot(Lane.BULK, ("a",), drain=drain), drain.flight():
            await trio.sleep(10)
            seen.append("landed")

    async def waits() -> None:
        try:
            async with gate.slot(Lane.BULK, ("a",), drain=drain):
                seen.append("begun")
        except Drained:
            seen.append("left")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(body)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(waits)
        await trio.sleep(1)
        drain.ask()

    assert seen == ["landed", "left"]
    assert gate.schedule.window("a", Lane.BULK).running == 0


@pytest.mark.parametrize(("due", "seconds"), [(False, 1.0), (True, 600.0)])
async def test_better_times_are_waited_for_only_by_what_is_in_flight(
    autojump_clock: trio.testing.MockClock, due: bool, seconds: float
) -> None:
    """A retry in ten minutes is left at once; a manifest whose blobs have landed is tried again."""
    drain, answers = Drain(), [TooManyRequests("slow down", retry_after=600.0)]

    async def attempt() -> str:
        if answers:
            raise answers.pop()
        return "done"

    async def work(engine: Engine) -> str:
        return await engine.run.perform(Step("x", attempt, destinations=("a.example",), due=due))

    result: object = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask_after, drain, 1.0)
        began = trio.current_time()
        try:
            result = await running(Options(), work, emit=lambda event: None, drain=drain)
        except Drained as error:
            result = error
        took = trio.current_time() - began
    assert (result == "done") is due
    assert took == pytest.approx(seconds, abs=0.5)


async def _ask_after(drain: Drain, seconds: float) -> None:
    await trio.sleep(seconds)
    drain.ask()


async def test_a_body_that_is_due_begins_in_any_case() -> None:
    """What was made of blobs that have landed (a config written anew) is part of what is in flight."""
    drain = Drain()
    drain.ask()
    async with drain.flight(due=True):
        pass
    with pytest.raises(Drained):
        async with drain.flight():
            pytest.fail("it was asked to end")
