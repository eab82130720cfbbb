"""Notes are hints: what a destination lost behind our back is noticed, forgotten, and brought again."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace

import pyzstd

import fastcopy.api as api
from fastcopy.jobs import Job
from fastcopy.migrate.report import SyncReport
from fastcopy.migrate.runner import SyncOptions
from tests.copy.world import HASTY, Made, assert_complete, digest_of, fresh, image, options
from tests.journal.world import journal, sync
from tests.recode import images
from tests.sync.world import Place, moved


def test_a_repository_that_vanished_is_filled_again_whatever_the_journal_says(real_place: Place) -> None:
    """The registry's storage is emptied behind everybody's back; the journal knows all blobs to be there."""
    base, to, later = fresh("gone/a"), fresh("gone/b"), fresh("gone/c")
    made = real_place.images(base, 2, shared=[b"shared" * 100_000])
    lines = "i0:1\ni1:1\n"
    assert sync(real_place, lines, base, to).code == 0
    assert real_place.destination.storage is not None
    root = real_place.destination.storage / "data" / "docker" / "registry" / "v2"
    shutil.rmtree(root / "repositories" / to)
    shutil.rmtree(root / "blobs")
    for target in (to, later):
        ran = sync(real_place, lines, base, target)
        assert ran.code == 0, ran.err
        for n, each in enumerate(made):
            assert_complete(real_place.destination, f"{target}/i{n}", each)
    assert not moved(real_place.destination, "PUT", f"{later}/")  # what was put back is known again, and mounted


def test_a_blob_that_was_deleted_is_brought_and_its_note_forgotten(real_place: Place) -> None:
    """By HEAD where the note says it is, before a manifest is written that needs it."""
    base, to = fresh("gone/a"), fresh("gone/b")
    made = image(real_place.source, f"{base}/i0")
    assert sync(real_place, "i0:1\n", base, to).code == 0
    with real_place.destination.client() as probe:
        for target in (f"manifests/{made.digest}", *(f"blobs/{digest}" for digest in made.blobs)):
            assert probe.request("DELETE", f"/v2/{to}/i0/{target}").status == 202
    ran = sync(real_place, "i0:1\n", base, to)
    assert ran.code == 0, ran.err
    assert_complete(real_place.destination, f"{to}/i0", made)


def test_a_wrong_note_of_another_repository_costs_one_refused_mount_and_is_gone(place: Place) -> None:
    """The upload that the refusal opens is the one that carries the blob."""
    base, to = fresh("wrong/a"), fresh("wrong/b")
    made = image(place.source, f"{base}/i0")
    assert sync(place, "i0:1\n", base, fresh("wrong/c")).code == 0
    _cache(place, "DELETE FROM blob")
    _cache(place, *(f"INSERT INTO blob VALUES ('{place.destination.host}', '{digest}', 'no/where', 1)"
                    for digest in made.blobs))  # fmt: skip
    before = len(place.destination.requests())
    ran = sync(place, "i0:1\n", base, to)
    assert ran.code == 0, ran.err
    started = [each for each in place.destination.requests()[before:] if each[0] == "POST"]
    assert len(started) == len(made.blobs)
    assert all("from=no%2Fwhere" in target or "from=no/where" in target for _, target, _ in started)
    assert _cache(place, "SELECT * FROM blob WHERE place = 'no/where'") == []
    assert_complete(place.destination, f"{to}/i0", made)


def test_a_layer_that_was_recompressed_is_not_recompressed_by_the_next_run(place: Place) -> None:
    """The variant is found at the destination by the digest that the cache remembers: no byte of it moves."""
    base, to = fresh("recode/a"), fresh("recode/b")
    made = images.image(place.source, repo=base)
    assert _recompressed(place, made, place.destination.ref(to, "1")).complete
    before = moved(place.source, "GET", base)
    report = _recompressed(place, made, place.destination.ref(f"{to}/later", "1"))
    after = moved(place.source, "GET", base)
    assert report.complete
    assert report.bytes_mounted > 1_000_000
    layers = {digest_of(data) for data in made.blobs.values() if not data.startswith(b"{")}
    assert set(before) >= layers
    assert {digest: after[digest] - before[digest] for digest in layers} == dict.fromkeys(layers, 0)
    one, two = (images.manifest(place.destination, repo)[0] for repo in (to, f"{to}/later"))
    assert one == two


def test_a_variant_that_one_destination_has_and_another_lacks_is_made_anew_for_both(place: Place) -> None:
    """Another release's compressor made it, so the new one differs: both manifests name what their registry has."""
    base, to = fresh("recode/a"), fresh("recode/b")
    made = images.image(place.source, (images.TARS[1],), repo=base)
    assert _recompressed(place, made, place.destination.ref(to, "1")).complete
    variant = pyzstd.compress(images.TARS[1], 1)
    with place.destination.client() as probe:
        digest = probe.push_blob(f"{to}/variant", variant)["digest"]
    _cache(
        place,
        f"UPDATE recoded SET new_digest = '{digest}', size = {len(variant)}",
        f"INSERT INTO blob VALUES ('{place.destination.host}', '{digest}', '{to}/variant', 1)",
    )
    report = _recompressed(place, made, place.destination.ref(f"{to}/one", "1"), place.source.ref(f"{to}/two", "1"))
    assert report.complete, report.as_dict()
    ends = ((place.destination, f"{to}/one"), (place.source, f"{to}/two"))
    one, two = (images.manifest(*end)[0] for end in ends)
    assert one == two
    assert one["layers"][0]["digest"] != digest
    for registry, repo in ends:
        with registry.client() as probe:
            assert probe.request("HEAD", f"/v2/{repo}/blobs/{one['layers'][0]['digest']}").status == 200


def _recompressed(place: Place, made: Made, *destinations: str) -> SyncReport:
    """Copy *made* with zstd layers to every one of *destinations*, with a journal."""
    running = replace(HASTY, journal=place.files / "journal")
    chosen = options(place.source, place.destination, run_options=running, compression_format="zstd")
    return api.sync([], chosen, SyncOptions(jobs=tuple(Job(made.ref, each) for each in destinations)))


def _cache(place: Place, *statements: str) -> list[tuple[object, ...]]:
    """Run SQL in the cache; the rows of the last statement."""
    file = sqlite3.connect(journal(place, "cache.sqlite"))
    try:
        for each in statements:
            rows = file.execute(each).fetchall()
        file.commit()
        return rows
    finally:
        file.close()
