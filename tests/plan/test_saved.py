"""Plans in files: reviewable, versioned, without secrets, and carried out as they were planned."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from fastcopy.descriptor import Digest, Platform
from fastcopy.errors import BadConfig
from fastcopy.jobs import Access, Job, Settings
from fastcopy.migrate.plan import Image, Plan, Spot
from fastcopy.migrate.planfile import dump, load, schema
from fastcopy.migrate.planning import Planned
from fastcopy.migrate.report import SyncReport
from fastcopy.options import CopyOptions, Credentials
from fastcopy.serve.message import Body, Handler, Head, Middleware, Reply
from fastcopy.tags.pattern import Glob
from tests.cli.support import Ran, run
from tests.copy.world import Made, Pair, assert_complete, content, flags, fresh, image, index, named
from tests.sync.world import Place

NOW = "2026-01-01T00:00:00+00:00"
DIGEST = Digest.of(b"planned")


def save(place: Place, lines: str, base: str, to: str, *more: str) -> str:
    """Plan a list into a file."""
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    saved = str(place.files / "plan.json")
    ran = run(
        "plan", "--list", place.file(lines), *ends, *flags(place.source, place.destination), "--save", saved, *more
    )
    assert ran.code == 0, ran.err
    return saved


def carry_out(place: Place, saved: str, *more: str) -> Ran:
    """``sync --plan``."""
    return place.sync("--plan", saved, "--no-journal", *more)


def _planned(*jobs: Job, copy: CopyOptions | None = None) -> Planned:
    spot = Spot("b.lan", "x", True)
    images = tuple(
        Image(number, job.source, job.destination, Spot("a.lan", "x"), spot, "copy", DIGEST)
        for number, job in enumerate(jobs)
    )
    return Planned(Plan(images, {}), SyncReport(), jobs, copy or CopyOptions())


def _edited(saved: str, **changes: Any) -> str:
    document = json.loads(Path(saved).read_text())
    Path(saved).write_text(json.dumps(document | changes))
    return saved


# -- carried out ------------------------------------------------------------------------------------------------------


def test_a_saved_plan_is_carried_out_later(place: Place) -> None:
    """Everything arrives, byte for byte, and a second time nothing is left to do."""
    base, to = fresh("saved/a"), fresh("saved/b")
    made = place.images(base, 3)
    saved = save(place, "i0:1\ni1:1\ni2:*\n", base, to)
    assert not named(place.destination, f"{to}/i0")
    ran = carry_out(place, saved)
    assert ran.code == 0, ran.err
    for number, each in enumerate(made):
        assert_complete(place.destination, f"{to}/i{number}", each)
    assert "3 images: 3 already there" in carry_out(place, saved).err


def test_a_tag_that_moved_does_not_move_the_plan(place: Place) -> None:
    """The planned digest is copied, with one warning that names both."""
    base, to = fresh("saved/a"), fresh("saved/b")
    old = _with_another_tag(place, base)
    saved = save(place, "app:1\n", base, to)
    new = image(place.source, f"{base}/app", "1", layers=[b"newer" * 30])
    ran = carry_out(place, saved)
    assert ran.code == 0, ran.err
    assert_complete(place.destination, f"{to}/app", old)
    (warning,) = [line for line in ran.err.splitlines() if "has moved since it was planned" in line]
    assert new.digest in warning
    assert old.digest in warning


def _with_another_tag(place: Place, base: str) -> Made:
    """An image that stays in its repository when its tag moves on."""
    made = image(place.source, f"{base}/app", "1")
    with place.source.client() as probe:
        probe.push_manifest(f"{base}/app", "kept", made.raw, made.media_type)
    return made


def test_a_digest_that_is_gone_fails_that_image_alone(place: Place) -> None:
    """One clear line; the others are copied."""
    base, to = fresh("saved/a"), fresh("saved/b")
    made = place.images(base, 2)
    saved = save(place, "i0:1\ni1:1\n", base, to)
    with place.source.client() as probe:
        assert probe.request("DELETE", f"/v2/{base}/i0/manifests/{made[0].digest}").status == 202
    ran = carry_out(place, saved)
    assert ran.code == 3
    assert "what was planned is gone" in ran.err
    assert "it is gone; " in ran.err, "the tag is, too"
    assert not named(place.destination, f"{to}/i0")
    assert_complete(place.destination, f"{to}/i1", made[1])


def test_destinations_are_asked_again(place: Place) -> None:
    """What was there when it was planned, and is not now, is copied."""
    base, to = fresh("saved/a"), fresh("saved/b")
    (made,) = place.images(base, 1)
    assert place.listed(["i0:1"], base=base, to=to).code == 0
    saved = save(place, "i0:1\n", base, to)
    assert json.loads(Path(saved).read_text())["images"][0]["action"] == "present"
    with place.destination.client() as probe:
        assert probe.request("DELETE", f"/v2/{to}/i0/manifests/{made.digest}").status == 202
    assert carry_out(place, saved).code == 0
    assert_complete(place.destination, f"{to}/i0", made)


def test_what_the_plan_found_is_mounted_whoever_comes_first(place: Place, pair: Pair) -> None:
    """The repository that has the blob is asked, though an image of another one needs the blob before."""
    base, to = fresh("saved/a"), fresh("saved/b")
    layer = content(400_000, base)
    first = image(place.source, f"{base}/first", layers=[layer])
    second = image(place.source, f"{base}/second", layers=[layer])
    with place.destination.client() as probe:
        probe.push_blob(f"{to}/first", layer)
    saved = save(place, "first:1\nsecond:1\n", base, to)
    pair.at_source.add(_after_the_tag(place, f"{to}/second"), method="GET", path=f"/{base}/first/manifests/")
    report = place.files / "report.json"
    ran = carry_out(place, saved, "--report", str(report))
    assert ran.code == 0, ran.err
    told = json.loads(report.read_text())
    assert (told["blobs_copied"], told["blobs_mounted"], told["blobs_reused"]) == (2, 1, 1)
    assert_complete(place.destination, f"{to}/first", first)
    assert_complete(place.destination, f"{to}/second", second)


def _after_the_tag(place: Place, repo: str) -> Middleware:
    """Answer when *repo* has its tag at the destination, at the latest after a minute."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        for _ in range(1200):
            if any(
                method == "PUT" and f"/v2/{repo}/manifests/" in target
                for method, target, _ in place.destination.requests()
            ):
                break
            await trio.sleep(0.05)
        return await proceed(head, body)

    return fault


def test_options_that_change_bytes_come_from_the_plan(place: Place) -> None:
    """--all when it was planned means all platforms when it is carried out."""
    base, to = fresh("saved/a"), fresh("saved/b")
    made = index(place.source, f"{base}/many", "all")
    saved = save(place, "many:all\n", base, to, "--all")
    ran = carry_out(place, saved)
    assert ran.code == 0, ran.err
    assert_complete(place.destination, f"{to}/many", made, "all")


def test_a_local_image_that_changed_since_is_refused(place: Place, tmp_path: Path) -> None:
    """A directory has no digests to be read by; it is compared."""
    base, to = fresh("saved/a"), fresh("saved/b")
    place.images(base, 2)
    known = [*flags(place.source, place.destination)]
    directory, saved = tmp_path / "image", str(tmp_path / "plan.json")
    assert run("copy", *known, place.source.ref(f"{base}/i0", "1"), f"dir:{directory}").code == 0
    pair = place.file(f"dir:{directory}={place.destination.host}/{to}/app:1\n")
    ran = run("plan", "--list", pair, *known, "--save", saved)
    assert ran.code == 0, ran.err
    assert run("copy", *known, place.source.ref(f"{base}/i1", "1"), f"dir:{directory}").code == 0
    ran = carry_out(place, saved)
    assert ran.code == 2
    assert "has changed since it was planned" in ran.err
    assert not named(place.destination, f"{to}/app")


def test_what_could_not_be_planned_is_missing_when_it_is_carried_out(place: Place) -> None:
    """It is named again, and the exit code says that not everything is there."""
    base, to = fresh("saved/a"), fresh("saved/b")
    place.images(base, 1)
    ends = ["--from", f"{place.source.host}/{base}", "--to", f"{place.destination.host}/{to}"]
    saved = str(place.files / "plan.json")
    known = flags(place.source, place.destination)
    assert run("plan", "--list", place.file("i0:1\ngone:1\n"), *ends, *known, "--save", saved).code == 3
    ran = carry_out(place, saved)
    assert ran.code == 3
    assert "gone:1 could not be planned" in ran.err
    assert named(place.destination, f"{to}/i0")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--all"], "flags that change what is written come from the plan"),
        (["--format", "oci"], "flags that change what is written come from the plan"),
        (["--list", "x"], "--list and --plan exclude each other"),
        (["--config", "x"], "--config and --plan exclude each other"),
        (["--scoped"], "--scoped and --plan exclude each other"),
        (["a", "b"], "no arguments are expected"),
    ],
)
def test_a_plan_leaves_no_room_for_other_wishes(place: Place, more: list[str], said: str) -> None:
    """Told before anything is contacted."""
    saved = place.file(dump(_planned(), NOW), "plan.json")
    ran = carry_out(place, saved, *more)
    assert ran.code != 0
    assert said in ran.fatal


def test_plan_reads_no_plan(place: Place) -> None:
    """`plan --plan` says what to use."""
    ran = run("plan", "--plan", "x")
    assert ran.code == 64
    assert "--plan is for `sync`" in ran.fatal


# -- the file ---------------------------------------------------------------------------------------------------------

JOB = Job(
    "docker://a.lan/x:1",
    "docker://b.lan/x:1",
    Settings(
        platforms=(Platform("linux", "arm64", "v8"),), referrers=True, referrer_types=("a/b",), digest_tags=False,
        immutable=(Glob("1*"),),
    ),
    Access(tls_verify=False, cert_dir=Path("/certs"), authfile=Path("/auth.json")),
    Access(anonymous=True, cert_dir_decided=True),
    "1",
)  # fmt: skip


def test_a_job_comes_back_with_its_settings_and_a_pinned_source() -> None:
    """Settings, access without secrets, and by which tag it was known."""
    (again,) = load(dump(_planned(JOB), NOW), "plan.json").jobs
    assert again.source == f"docker://a.lan/x@{DIGEST}"
    assert again.source_tag == "1"
    assert again.destination == JOB.destination
    assert again.settings == replace(JOB.settings, immutable=(Glob("1"),))
    assert again.immutable
    assert again.source_access == JOB.source_access
    assert again.destination_access == JOB.destination_access


OPTIONS = CopyOptions(
    multi_arch="all", platforms=(Platform("linux", "amd64"),), strip_removed_platforms=True, override_os="linux",
    override_arch="arm64", override_variant="v8", format="oci", preserve_digests=True, remove_signatures=True,
    compress=True, compression_format="zstd", compression_level=7, accept_uncompressed=True,
    additional_tags=("x:y",), referrers=True, referrer_types=("a/b",), digest_tags=True,
)  # fmt: skip


def test_every_option_that_changes_bytes_comes_back() -> None:
    """Each field of CopyOptions has another value than its default here, so that none can be forgotten."""
    assert [item.name for item in fields(CopyOptions) if getattr(OPTIONS, item.name) == item.default] == []
    assert load(dump(_planned(copy=OPTIONS), NOW), "plan.json").copy == OPTIONS


def test_the_machines_platform_is_written_out() -> None:
    """A plan made here chooses the same instances elsewhere."""
    from fastcopy import platforms

    saved = load(dump(_planned(), NOW), "plan.json").copy
    here = platforms.host()
    assert (saved.override_os, saved.override_arch, saved.override_variant) == (
        here.os, here.architecture, here.variant,
    )  # fmt: skip
    assert platforms.wanted(saved.override_os, saved.override_arch, saved.override_variant) == platforms.wanted()


def test_secrets_are_not_in_the_file() -> None:
    """Logins of a configuration stay out."""
    login = Access(credentials=Credentials("me", "hunter2", "idtoken", "regtoken"))
    text = dump(_planned(replace(JOB, source_access=login, destination_access=login)), NOW)
    assert not any(secret in text for secret in ("hunter2", "idtoken", "regtoken"))


def test_each_image_has_one_line(place: Place) -> None:
    """So that two plans can be compared, and one reviewed, line by line."""
    base, to = fresh("saved/a"), fresh("saved/b")
    made = place.images(base, 3)
    lines = Path(save(place, "i0:1\ni1:1\ni2:1\n", base, to)).read_text().splitlines()
    found = [json.loads(line.rstrip(",")) for line in lines if line.startswith('{"source"')]
    assert [each["digest"] for each in found] == [each.digest for each in made]
    assert {each["digest"]: each["size"] for each in found[0]["blobs"]} == {
        digest: len(data) for digest, data in made[0].blobs.items()
    }


def test_the_published_schema_is_the_one_of_the_code() -> None:
    """docs/schema/fastcopy-plan.schema.json; write it anew with `python -m fastcopy.migrate.planfile`."""
    published = Path(__file__).parents[2] / "docs" / "schema" / "fastcopy-plan.schema.json"
    assert json.loads(published.read_text()) == json.loads(json.dumps(schema()))


GOOD = json.loads(dump(_planned(JOB), NOW))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        json.dumps({}),
        json.dumps(GOOD | {"fastcopy-plan": 2}),
        json.dumps(GOOD | {"more": 1}),
        json.dumps(GOOD | {"options": {"unheard_of": True}}),
        json.dumps(GOOD | {"options": {"multi_arch": "some"}}),
        json.dumps(GOOD | {"images": [GOOD["images"][0] | {"source": "docker://A B"}]}),
        json.dumps(GOOD | {"images": [GOOD["images"][0] | {"digest": "sha256:12"}]}),
        json.dumps(GOOD | {"images": [GOOD["images"][0] | {"action": "delete"}]}),
        json.dumps(GOOD | {"images": [GOOD["images"][0] | {"settings": {"platforms": ["x"]}}]}),
    ],
)
def test_what_is_no_plan_is_refused_by_name(text: str) -> None:
    """Damaged, of a newer version, or edited into something else: one line that names the file."""
    with pytest.raises(BadConfig) as caught:
        load(text, "plan.json")
    assert str(caught.value).startswith("plan.json: ")


def test_two_images_of_an_edited_plan_may_not_meet(place: Place) -> None:
    """A plan is checked like any list before anything is written."""
    line = GOOD["images"][0]
    other = line | {"source": "docker://a.lan/y:1"}
    saved = place.file(json.dumps(GOOD | {"images": [line, other]}), "plan.json")
    ran = carry_out(place, saved)
    assert ran.code == 64
    assert "two sources for one destination" in ran.fatal


def test_a_plan_that_was_edited_down_copies_less(place: Place) -> None:
    """Reviewing may mean striking lines."""
    base, to = fresh("saved/a"), fresh("saved/b")
    place.images(base, 2)
    saved = save(place, "i0:1\ni1:1\n", base, to)
    _edited(saved, images=json.loads(Path(saved).read_text())["images"][1:])
    assert carry_out(place, saved).code == 0
    assert not named(place.destination, f"{to}/i0")
    assert named(place.destination, f"{to}/i1")
