"""``fastcopy plan`` against real registries: what it says is what a run then does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.cli.support import Ran, run
from tests.copy.world import Pair, content, flags, fresh, image, index, named
from tests.faults import with_header
from tests.registries import Registry
from tests.sync.world import Place, log_lines

#: What is counted of a request, by what its target looks like.
KINDS = (("mount=", "mount"), ("/blobs/uploads/", "upload"), ("/blobs/", "blob"), ("/manifests/", "manifest"),
         ("/tags/", "tags"))  # fmt: skip


def words(place: Place, base: str, to: str) -> list[str]:
    """The ends of a list's images, and how both registries are reached."""
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    return [*ends, *flags(place.source, place.destination)]


def planned(place: Place, listed: Sequence[str], base: str, to: str, *more: str) -> dict[str, Any]:
    """``fastcopy plan --json`` of a list."""
    path = place.file("".join(f"{line}\n" for line in listed), "planned.txt")
    ran = run("plan", "--list", path, *words(place, base, to), "--json", *more)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def synced(place: Place, listed: Sequence[str], base: str, to: str, *more: str) -> dict[str, Any]:
    """The report of a run over the same list."""
    report = place.files / "report.json"
    ran = place.listed(listed, "--report", str(report), "--no-journal", *more, base=base, to=to)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def fleet(place: Place, base: str) -> list[str]:
    """Images that share layers across and within repositories, two tags of one, and an index."""
    shared = [content(300_000, base), f"{base} small".encode() * 50]
    for n in range(5):
        image(place.source, f"{base}/i{n}", layers=[*shared, content(20_000, f"{base} {n}")])
    image(place.source, f"{base}/i0", "2", layers=[shared[0], f"{base} two".encode() * 40])
    index(place.source, f"{base}/many", "all")
    return [*(f"i{n}:1" for n in range(5)), "i0:2", "many:all"]


def requests(registry: Registry, first: int) -> Counter[str]:
    """Requests from the *first* on by method and kind; a connection's preface is none."""
    found: Counter[str] = Counter()
    for method, target, _ in registry.requests()[first:]:
        kind = next((name for mark, name in KINDS if mark in target), "")
        found[f"{method} {kind}"] += bool(kind)
    return found


def assert_same(plan: dict[str, Any], report: dict[str, Any]) -> None:
    """What was planned is what was done, blob by blob and byte by byte."""
    assert report["blobs_copied"] == plan["upload"]["blobs"]
    assert report["bytes_copied"] == plan["upload"]["bytes"]
    assert report["bytes_read"] == plan["download"]["bytes"]
    assert report["bytes_written"] == plan["upload"]["bytes"]
    assert report["blobs_mounted"] == plan["mount"]["blobs"]
    assert report["bytes_mounted"] == plan["mount"]["bytes"]
    assert report["blobs_reused"] == plan["present"]["blobs"] + plan["repeated"]["blobs"]
    assert report["bytes_reused"] == plan["present"]["bytes"] + plan["repeated"]["bytes"]
    counts = report["counts"]
    assert (counts.get("copied", 0), counts.get("present", 0)) == (plan["images"]["copy"], plan["images"]["present"])


@pytest.mark.real("docker-registry")
@pytest.mark.parametrize("platforms", [[], ["--all"]])
def test_a_run_does_what_was_planned_at_an_empty_destination(real_place: Place, platforms: list[str]) -> None:
    """Bytes, uploads, mounts and requests of the run are those of the plan."""
    base, to = fresh("plan/a"), fresh("plan/b")
    listed = fleet(real_place, base)
    plan = planned(real_place, listed, base, to, *platforms)
    first = len(real_place.source.requests()), len(real_place.destination.requests())
    report = synced(real_place, listed, base, to, *platforms)
    assert_same(plan, report)
    assert plan["images"] == {"copy": 7, "present": 0, "failed": 0}
    assert plan["unique"]["bytes"] == plan["download"]["bytes"] == plan["upload"]["bytes"] < plan["naive"]["bytes"]
    source, destination = plan["requests"]["source"], plan["requests"]["destination"]
    assert requests(real_place.source, first[0]) == Counter(
        {"HEAD manifest": source["HEAD manifest"], "GET manifest": source["GET manifest"],
         "GET blob": source["GET blob"]}
    )  # fmt: skip
    assert requests(real_place.destination, first[1]) == Counter(
        {"HEAD manifest": destination["HEAD manifest"], "HEAD blob": destination["HEAD blob"],
         "POST mount": destination["POST mount"], "POST upload": destination["POST upload"],
         "PUT upload": destination["PUT blob"], "PUT manifest": destination["PUT manifest"]}
    )  # fmt: skip


@pytest.mark.real("docker-registry")
def test_a_run_does_what_was_planned_at_a_half_filled_destination(real_place: Place) -> None:
    """Some images are there, one moved since, a blob came without its image. No two repositories share what is there:
    which of them a run asks first is a matter of time (docs/plan.md).
    """
    base, to = fresh("plan/a"), fresh("plan/b")
    listed = [name for name in fleet(real_place, base) if name != "i0:2"]
    synced(real_place, listed[:3], base, to)
    moved = image(real_place.source, f"{base}/i1", layers=[content(20_000, f"{base} 1"), b"moved on" * 90])
    with real_place.destination.client() as probe:
        probe.push_blob(f"{to}/i4", content(20_000, f"{base} 4"))
    plan = planned(real_place, listed, base, to)
    assert plan["images"] == {"copy": 4, "present": 2, "failed": 0}
    config = min(map(len, moved.blobs.values()))
    assert plan["present"] == {"blobs": 3, "bytes": 40_000 + config}, "what i1 kept, and the layer that lay about"
    assert_same(plan, synced(real_place, listed, base, to))


@pytest.mark.real("docker-registry")
def test_a_saved_plan_moves_no_more_than_it_says_wherever_blobs_lie(real_place: Place) -> None:
    """One repository has a layer that five need: its run asks there, whichever image is read first."""
    base, to = fresh("plan/a"), fresh("plan/b")
    listed = fleet(real_place, base)
    synced(real_place, listed[:3], base, to)
    moved = image(real_place.source, f"{base}/i1", layers=[content(300_000, base), b"moved on" * 90])
    saved, report = str(real_place.files / "plan.json"), real_place.files / "report.json"
    plan = planned(real_place, listed, base, to, "--save", saved)
    assert plan["present"] == {"blobs": 2, "bytes": 300_000 + min(map(len, moved.blobs.values()))}
    ran = real_place.sync("--plan", saved, "--no-journal", "--report", str(report))
    assert ran.code == 0, ran.err
    assert_same(plan, json.loads(report.read_text()))


def test_planning_twice_gives_the_same_and_writes_nothing(place: Place) -> None:
    """Not a byte at the destination: no upload, no manifest, no local directory."""
    base, to = fresh("plan/a"), fresh("plan/b")
    listed = fleet(place, base)
    first = planned(place, listed, base, to)
    assert planned(place, listed, base, to) == first
    seen = {method for method, target, _ in place.destination.requests() if f"/{to}/" in target}
    assert seen == {"HEAD"}
    ran = run("plan", "--src", "docker", "--dest", "dir", *flags(place.source, place.destination),
              f"{place.source.host}/{base}/i0", str(place.files / "out"))  # fmt: skip
    assert ran.code == 0, ran.err
    assert not (place.files / "out").exists()
    assert "local destinations are not looked at" in ran.out


def test_two_destinations_cost_one_download(place: Place) -> None:
    """Bytes to upload count per registry, bytes to download once; a copy within a registry mounts."""
    base, to = fresh("plan/a"), fresh("plan/b")
    made = image(place.source, f"{base}/app")
    text = f"""
fastcopy: 1
images:
  - from: {place.source.host}/{base}/app
    tags: ["1"]
    to: ["{place.destination.host}/{to}/app", "{place.source.host}/{to}/app"]
"""
    config = place.file(text, "sync.yaml")
    ran = run("plan", "--config", config, *flags(place.source, place.destination), "--json")
    plan = json.loads(ran.out)
    total = sum(map(len, made.blobs.values()))
    assert plan["naive"]["bytes"] == 2 * total
    assert plan["download"]["bytes"] == total
    assert plan["registries"][place.destination.host]["upload"]["bytes"] == total
    assert plan["registries"][place.source.host]["upload"]["bytes"] == 0
    assert plan["registries"][place.source.host]["mount"]["bytes"] == total
    report = place.files / "report.json"
    assert place.sync("--config", config, "--report", str(report), "--no-journal").code == 0
    assert_same(plan, json.loads(report.read_text()))


def test_what_cannot_be_read_is_counted_and_named(place: Place) -> None:
    """Exit code 3; the rest is planned all the same."""
    base, to = fresh("plan/a"), fresh("plan/b")
    place.images(base, 1)
    path = place.file("i0:1\ngone:1\nnobody:*\n")
    ran = run("plan", "--list", path, *words(place, base, to))
    assert ran.code == 3
    assert "2 images: 1 to copy, 0 already there, 1 could not be read" in ran.out
    assert f"failed: docker://{place.source.host}/{base}/gone:1: " in ran.out
    assert "Error determining repository tags" in ran.err
    assert "2 images or repositories could not be planned" in ran.fatal


def test_a_plan_refuses_a_collision_wherever_it_shows(place: Place) -> None:
    """A plan waits for all tag lists, so none is found too late."""
    base, to = fresh("plan/a"), fresh("plan/b")
    image(place.source, f"{base}/x/app")
    image(place.source, f"{base}/y/app")
    path = place.file("x/app:*\ny/app:*\n")
    ran = run("plan", "--list", path, *words(place, base, to), "--rename", "{name}")
    assert ran.code == 64
    assert "two sources for one destination" in ran.fatal


def test_pulls_are_told_where_a_registry_rations_them(
    place: Place, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those needed against those a HEAD says are left; without such a registry not a word."""
    base, to = fresh("plan/a"), fresh("plan/b")
    place.images(base, 3)
    listed = [f"i{n}:1" for n in range(3)]
    pair.at_source.add(with_header("RateLimit-Remaining", "2;w=21600"), method="HEAD", path="/manifests/")
    pair.at_source.add(with_header("RateLimit-Limit", "100;w=21600"), method="HEAD", path="/manifests/")
    assert planned(place, listed, base, to)["pulls"] == []
    _ration(monkeypatch, place.source)
    assert planned(place, listed, base, to)["pulls"] == [
        {"registry": place.source.host, "needed": 3, "left": 2, "limit": 100, "window": 21600}
    ]
    ran = run("plan", "--list", str(place.files / "planned.txt"), *words(place, base, to))
    assert f"{place.source.host}: 3 pulls needed, 2 of 100 left in 6h00m: NOT ENOUGH" in ran.out


def _ration(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    """Have the table of manners say that *registry* counts pulls."""
    import re

    from fastcopy.transports import _manners

    row = (re.compile(re.escape(registry.host.partition(":")[0])), _manners.Manners(counts_pulls=True))
    monkeypatch.setattr(_manners, "ROWS", (row, *_manners.ROWS))


def test_docker_hub_is_known_to_ration_pulls() -> None:
    """By all the names it goes by, and nobody else of the table."""
    from fastcopy.transports._manners import manners_of

    assert all(manners_of(name).counts_pulls for name in ("docker.io", "registry-1.docker.io", "index.docker.io"))
    assert not any(manners_of(name).counts_pulls for name in ("quay.io", "ghcr.io", "docker.io.example.com"))


def test_the_dry_run_of_a_list_ends_with_the_plan(place: Place) -> None:
    """What would be copied and what is there already, one by one, then the sums; nothing is copied."""
    base, to = fresh("plan/a"), fresh("plan/b")
    place.images(base, 2)
    assert place.listed(["i0:1"], base=base, to=to).code == 0
    ran = place.listed(["i0:1", "i1:1"], "--dry-run", base=base, to=to)
    assert ran.code == 0
    lines = log_lines(ran)
    assert sum("Would have copied" in line for line in lines) == 1
    assert sum("Already there" in line for line in lines) == 1
    assert "2 images: 1 to copy, 1 already there" in ran.err
    assert not named(place.destination, f"{to}/i1")


def test_tables_on_a_terminal_have_the_numbers_of_the_lines(place: Place) -> None:
    """The same numbers, drawn."""
    base, to = fresh("plan/a"), fresh("plan/b")
    place.images(base, 2)
    path = place.file("i0:1\ni1:1\n")
    plain = run("plan", "--list", path, *words(place, base, to))
    drawn = run("plan", "--list", path, *words(place, base, to), terminal=True)
    assert _numbers(plain) == _numbers(drawn)


def _numbers(ran: Ran) -> list[str]:
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", "", ran.out)
    return [word for word in text.split() if re.fullmatch(r"[0-9.]+(B|KiB|MiB)?", word)]
