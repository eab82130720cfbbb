"""The plan as a pure value: what it says does not depend on the order of answers, and can be done in its order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.migrate import costs
from fastcopy.migrate.plan import Action, Image, Part, Plan, Planner, Question, Spot

BLOBS = [Descriptor(Digest.of(f"blob {n}".encode()), size) for n, size in enumerate((7, 100, 0, 4096, -1, 31))]
SOURCES = [Spot(host, place) for host in ("s", "a") for place in ("x", "y")]
SPOTS = [Spot(host, place, mounts) for host, mounts in (("a", True), ("b", True), ("c", False)) for place in "xyz"]
SPOTS += [Spot("", "/layout"), Spot("", "/other")]
#: Where every blob is from the start, whatever is asked.
OWNERS = {(spot.host, spot.place) for spot in SOURCES}


def _part(blobs: Iterable[Descriptor], children: Sequence[Part] = ()) -> Part:
    what = tuple(dict.fromkeys(blobs))
    text = "|".join([*(each.digest for each in what), *(each.digest for each in children)])
    return Part(Digest.of(text.encode()), 10, what, tuple(child.digest for child in children))


#: Twice as many copies as the others: they are what the plan is about.
ACTIONS: tuple[Action, ...] = ("copy", "copy", "present", "failed")
PARTS = st.lists(st.sampled_from(BLOBS), min_size=1, max_size=4).map(_part)


@st.composite
def _parts(draw: st.DrawFn) -> tuple[Part, ...]:
    """One manifest, or an index behind its children."""
    children = draw(st.lists(PARTS, min_size=1, max_size=3, unique_by=lambda part: part.digest))
    return (*children, _part((), children)) if draw(st.booleans()) else (children[0],)


@st.composite
def _images(draw: st.DrawFn) -> list[Image]:
    found = []
    for number in range(draw(st.integers(1, 7))):
        origin, spot = draw(st.sampled_from(SOURCES)), draw(st.sampled_from(SPOTS))
        action, parts = draw(st.sampled_from(ACTIONS)), draw(_parts())
        digest = parts[-1].digest
        image = Image(number, f"s{number}", f"d{number}", origin, spot, action, digest, (digest,), parts, number + 1)
        found.append(image if action == "copy" else replace(image, parts=()))
    return found


PRESENCE = st.sets(st.tuples(st.sampled_from([(spot.host, spot.place) for spot in SPOTS]), st.sampled_from(BLOBS)))


There = set[tuple[tuple[str, str], Descriptor]]


class World:
    """What is where at the destinations before the run."""

    def __init__(self, there: Iterable[tuple[tuple[str, str], Descriptor]]) -> None:
        self.there: set[tuple[str, str, str]] = {(host, place, what.digest) for (host, place), what in there}

    def answer(self, planner: Planner, questions: Iterable[Question]) -> None:
        for each in questions:
            planner.presence(each, (each.host, each.place, each.digest) in self.there)

    def plan(self, images: Iterable[Image]) -> Plan:
        planner = Planner()
        for image in images:
            planner.image(image)
        self.answer(planner, planner.questions())
        return planner.plan()


@given(_images(), PRESENCE, st.data())
@settings(max_examples=200)
def test_the_plan_is_the_same_whatever_the_order_of_answers(
    images: list[Image], there: There, data: st.DataObject
) -> None:
    """Images in any order, blobs asked for early or late, early answers that turn out not to be needed."""
    world = World(there)
    planner = Planner()
    for image in data.draw(st.permutations(images)):
        planner.image(image)
        early = planner.questions()
        if early:
            world.answer(planner, data.draw(st.lists(st.sampled_from(early))))
    world.answer(planner, data.draw(st.permutations(planner.questions())))
    plan, expected = planner.plan(), world.plan(images)
    assert plan == expected
    assert [plan.of(image) for image in plan.images] == [expected.of(image) for image in expected.images]
    assert plan.steps() == expected.steps()


@given(_images(), PRESENCE)
@settings(max_examples=200)
def test_the_steps_can_be_done_in_their_order(images: list[Image], there: There) -> None:
    """Carried out on a model: a mount finds its blob, a manifest its blobs and children, and a name its manifest."""
    world = World(there)
    plan = world.plan(images)
    has = set(world.there)
    manifests: set[tuple[str, str, str]] = set()
    done: set[tuple[str, ...]] = set()
    for step in plan.steps():
        assert step.key not in done, "each is done once"
        assert done.issuperset(step.after)
        done.add(step.key)
        kind, *where = step.key
        if kind == "ensure":
            host, place, digest = where
            assert step.does != "present" or (host, place, digest) in has
            origins = {each.origin for _, each in plan.blobs if (each.spot.host, each.spot.place) == (host, place)
                       and each.what.digest == digest and each.how == "mount"}  # fmt: skip
            for origin in origins:
                assert (host, origin, digest) in has or (host, origin) in OWNERS
            has.add((host, place, digest))
        elif kind == "put":
            manifests.add((where[0], where[1], where[2]))
    for image in images:
        if image.action == "copy":
            spot = image.spot
            for part in image.parts:
                assert (spot.host, spot.place, part.digest) in manifests
                assert all((spot.host, spot.place, what.digest) in has for what in part.blobs)
            assert ("tag", image.destination) in done


@given(_images(), PRESENCE)
@settings(max_examples=200)
def test_names_come_last_and_children_before_their_index(images: list[Image], there: There) -> None:
    """Reads, blobs, manifests, names: no name before the last manifest, no index before what it lists."""
    keys = [step.key for step in World(there).plan(images).steps()]
    kinds = [key[0] for key in keys]
    assert kinds == sorted(kinds, key=["read", "ensure", "put", "tag"].index)
    for image in images:
        for part in image.parts:
            for child in part.children:
                spot = (image.spot.host, image.spot.place)
                assert keys.index(("put", *spot, child)) < keys.index(("put", *spot, part.digest))


@given(_images(), PRESENCE)
@settings(max_examples=200)
def test_a_blob_is_uploaded_once_per_registry_and_mounted_everywhere_else(images: list[Image], there: There) -> None:
    """Where a registry mounts; elsewhere once per place."""
    plan = World(there).plan(images)
    uploads = Counter(
        (each.spot.host, "" if each.spot.mounts else each.spot.place, each.what.digest)
        for _, each in plan.blobs
        if each.how == "upload"
    )
    assert max(uploads.values(), default=0) <= 1
    for _, each in plan.blobs:
        assert (each.how == "mount") == bool(each.origin)
        assert each.how != "mount" or each.spot.mounts
        assert each.origin != each.spot.place


@given(_images(), PRESENCE)
@settings(max_examples=200)
def test_the_sums_fit_together(images: list[Image], there: There) -> None:
    """Naive is everything; what is unique is not more; what is downloaded is uploaded somewhere."""
    plan = World(there).plan(images)
    ways = [plan.tally(how) for how in ("upload", "mount", "present", "repeated")]
    assert plan.naive.bytes == sum(way.bytes for way in ways)
    assert plan.naive.blobs == sum(way.blobs for way in ways)
    assert plan.naive.blobs == sum(
        len(part.blobs) for image in images if image.action == "copy" for part in image.parts
    )
    assert plan.download.blobs <= plan.unique.blobs <= plan.naive.blobs
    assert plan.download.bytes <= plan.unique.bytes <= plan.naive.bytes
    volume = costs.volume(plan)
    for way in ("upload", "mount", "present", "repeated"):
        assert volume[way]["bytes"] == sum(of[way]["bytes"] for of in volume["registries"].values())


@given(_images(), PRESENCE)
def test_only_what_decides_is_asked(images: list[Image], there: There) -> None:
    """One place per registry and blob at most, and nothing for images that need nothing."""
    planner = Planner()
    for image in images:
        planner.image(image)
    asked = planner.questions()
    accounts = [(each.host, each.place if each.host == "c" else "", each.digest) for each in asked]
    assert len(set(accounts)) == len(accounts)
    needed = {what.digest for image in images if image.action == "copy" for part in image.parts for what in part.blobs}
    assert {each.digest for each in asked} <= needed


def test_a_plan_with_open_questions_is_none() -> None:
    """Guessing would be planning something else."""
    planner = Planner()
    planner.image(Image(0, "s", "d", SOURCES[0], SPOTS[4], "copy", "", (), (_part(BLOBS[:1]),), 1))
    with pytest.raises(ValueError, match="answered"):
        planner.plan()


def test_a_copy_within_one_registry_asks_and_moves_nothing() -> None:
    """The source's repository has every blob: all is mounted from there."""
    image = Image(0, "s", "d", Spot("a", "x"), Spot("a", "y", True), "copy", "", (), (_part(BLOBS[:3]),), 1)
    planner = Planner()
    planner.image(image)
    assert planner.questions() == []
    assert {(each.how, each.origin) for each in planner.plan().of(image)} == {("mount", "x")}


def test_digests_of_the_fixtures_are_real() -> None:
    """The order of questions is that of digests; two blobs with one digest would prove nothing."""
    assert BLOBS[0].digest == "sha256:" + hashlib.sha256(b"blob 0").hexdigest()
    assert len({each.digest for each in BLOBS}) == len(BLOBS)
