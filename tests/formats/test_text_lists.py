"""Plain text lists: how each kind of line maps, and what is refused where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import BadConfig, FastcopyError, UsageError
from fastcopy.formats import Given, parse
from fastcopy.formats.pairs import dump_pairs
from fastcopy.jobs import Job, check, expand

D = "sha256:" + "ab" * 32
MOVE = Given(source="harbor-a.lan/proj", destination="harbor-b.lan/mirror")


def pairs(text, words=MOVE, tags=(), **more):
    """(source, destination) of every job of *text*."""
    jobs = check(job for rule in parse(text, "images.txt", words, "list", **more) for job in expand(rule, tags))
    return [(job.source.removeprefix("docker://"), job.destination.removeprefix("docker://")) for job in jobs]


@pytest.mark.parametrize(
    ("line", "words", "source", "destination"),
    [
        ("team/app:1", MOVE, "harbor-a.lan/proj/team/app:1", "harbor-b.lan/mirror/team/app:1"),
        ("  app:1   # why", MOVE, "harbor-a.lan/proj/app:1", "harbor-b.lan/mirror/app:1"),
        ("harbor-a.lan/proj/app:1", MOVE, "harbor-a.lan/proj/app:1", "harbor-b.lan/mirror/app:1"),
        ("docker://harbor-a.lan/proj/app:1", MOVE, "harbor-a.lan/proj/app:1", "harbor-b.lan/mirror/app:1"),
        (f"app@{D}", MOVE, f"harbor-a.lan/proj/app@{D}", f"harbor-b.lan/mirror/app@{D}"),
        (f"app:1@{D}", MOVE, f"harbor-a.lan/proj/app@{D}", "harbor-b.lan/mirror/app:1"),
        ("app:1=other/name", MOVE, "harbor-a.lan/proj/app:1", "harbor-b.lan/mirror/other/name:1"),
        ("app:1 = other/name:2", MOVE, "harbor-a.lan/proj/app:1", "harbor-b.lan/mirror/other/name:2"),
        ("app:1=harbor-b.lan/mirror/x:3", MOVE, "harbor-a.lan/proj/app:1", "harbor-b.lan/mirror/x:3"),
        (
            "busybox:1",
            Given(destination="r.lan:5000/m"),
            "docker.io/library/busybox:1",
            "r.lan:5000/m/library/busybox:1",
        ),
        ("quay.io/a/b:1", Given(destination="r.lan:5000"), "quay.io/a/b:1", "r.lan:5000/a/b:1"),
        ("quay.io/a/b:1=r.lan/c:2", Given(), "quay.io/a/b:1", "r.lan/c:2"),
        ("localhost:5000/b:1=[::1]:5001/c", Given(), "localhost:5000/b:1", "[::1]:5001/c:1"),
    ],
)
def test_a_line_maps_as_documented(line, words, source, destination):
    """Every row of the table in docs/formats.md."""
    assert pairs(line, words) == [(source, destination)]


@pytest.mark.parametrize(
    ("rename", "destination"),
    [
        ("{name}:{tag}", "app:1"),
        ("{name}", "app:1"),
        ("old/{path}", "old/team/app:1"),
        ("{namespace}-x/{name}:v{tag}", "proj/team-x/app:v1"),
        ("s#^team/#platform/#", "platform/app:1"),
        (r"s|(te)am|\1x|g", "tex/app:1"),
    ],
)
def test_a_rename_shapes_what_follows_the_prefix(rename, destination):
    """--rename is a template or a substitution of the path."""
    words = Given(source=MOVE.source, destination=MOVE.destination, rename=rename)
    assert pairs("team/app:1", words) == [("harbor-a.lan/proj/team/app:1", f"harbor-b.lan/mirror/{destination}")]


def test_a_rename_leaves_explicit_destinations_alone():
    """What a line says itself wins over --rename."""
    words = Given(source=MOVE.source, destination=MOVE.destination, rename="{name}")
    assert pairs("team/app:1=kept/as:is", words)[0][1] == "harbor-b.lan/mirror/kept/as:is"


def test_a_glob_tag_selects_among_the_listed_tags():
    """`app:1.*` needs the tag list and takes what matches."""
    assert pairs("app:1.*", tags=["1.0", "1.1", "2.0"]) == [
        ("harbor-a.lan/proj/app:1.0", "harbor-b.lan/mirror/app:1.0"),
        ("harbor-a.lan/proj/app:1.1", "harbor-b.lan/mirror/app:1.1"),
    ]


def test_local_places_stand_on_either_side_of_a_pair():
    """A pair may name any transport."""
    jobs = [
        job
        for rule in parse("oci:/srv/l:v1=r.lan/a\nr.lan/b:1=dir:/out/b\n", "l", Given(), "list")
        for job in expand(rule)
    ]
    assert [(job.source, job.destination) for job in jobs] == [
        ("oci:/srv/l:v1", "docker://r.lan/a:v1"),
        ("docker://r.lan/b:1", "dir:/out/b"),
    ]


def test_the_destination_may_be_a_whole_template():
    """--to with a placeholder or another transport is the template itself."""
    words = Given(source="a.lan/p", destination="oci:/srv/{path}:{tag}")
    assert pairs("t/app:1", words)[0][1] == "oci:/srv/t/app:1"


@pytest.mark.parametrize(
    ("text", "words", "place", "says"),
    [
        ("ok:1\n\n  app", MOVE, "images.txt:3:3", "neither tag nor digest"),
        ("a:1\nquay.io/x:1", MOVE, "images.txt:2:1", "does not lie below --from"),
        ("a:1=quay.io/x:1", MOVE, "images.txt:1:1", "does not lie below --to"),
        ("quay.io/a:1=x:1", Given(), "images.txt:1:1", "names no registry"),
        ("a:1 b:1", MOVE, "images.txt:1:1", "one image"),
        ("a:1=", MOVE, "images.txt:1:1", "one image"),
        ("a:1=b:2=c:3", MOVE, "images.txt:1:1", "invalid reference"),
        ("App:1", MOVE, "images.txt:1:1", "lowercase"),
        ("app:-1", MOVE, "images.txt:1:1", "invalid reference"),
        ("app@sha256:12", MOVE, "images.txt:1:1", "invalid"),
    ],
)
def test_a_bad_line_is_reported_with_its_place(text, words, place, says):
    """File, line and column, and what is wrong."""
    with pytest.raises(BadConfig) as caught:
        parse(text, "images.txt", words, "list")
    assert str(caught.value).startswith(place + ": ")
    assert says in str(caught.value)


def test_two_sources_of_one_destination_are_refused_with_both_places():
    """skopeo would overwrite silently."""
    words = Given(source=MOVE.source, destination=MOVE.destination, rename="{name}")
    with pytest.raises(BadConfig, match=r"images.txt:2:1.*a/app:1 \(images.txt:1:1\).*b/app:1"):
        pairs("a/app:1\nb/app:1", words)


def test_a_line_given_twice_is_copied_once():
    """Exact repetitions are dropped."""
    assert len(pairs("a:1\nb:1\na:1\n")) == 2


@pytest.mark.parametrize("flag", [{"source": "harbor-a/proj"}, {"destination": "harbor-b"}])
def test_a_prefix_without_a_registry_is_refused(flag):
    """harbor-a/proj would silently mean Docker Hub."""
    with pytest.raises(UsageError, match="names no registry"):
        parse("a:1", "l", Given(**flag), "list")


def test_a_list_without_a_destination_fails_only_when_it_is_used():
    """`convert` needs no --to; expanding does."""
    loaded = parse("quay.io/a:1", "l", Given(), "list")
    with pytest.raises(BadConfig, match="no destination is given"):
        expand(loaded.rules[0])


def test_mapping_lines_must_be_pairs():
    """mapping.txt knows no single names."""
    assert len(parse(f"quay.io/a@{D}=r.lan/a\n", "mapping.txt", Given())) == 1
    with pytest.raises(BadConfig, match=r"m:1:1: expected source=destination"):
        parse("quay.io/a:1\n", "m", Given(), "mapping")


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text):
    """Whatever is in the file, the answer is rules or one clear error."""
    try:
        for rule in parse(text, "f", MOVE, "list"):
            expand(rule, ["1"])
    except FastcopyError as problem:
        assert str(problem).startswith("f:")  # noqa: PT017


def test_pairs_are_written_and_read_back():
    """The file of failed pairs feeds the next run; what the format cannot say is a comment."""
    text = f"q.io/a:1=r.lan/a\nq.io/b:2@{D}=r.lan/b:2\noci:/x:y=dir:/z\n"
    jobs = [job for rule in parse(text, "l", Given(), "list") for job in expand(rule)]
    written = dump_pairs(jobs, {jobs[0].key: "manifest unknown\nreally"})
    assert written.splitlines()[:3] == ["# manifest unknown", "# really", "docker://q.io/a:1=docker://r.lan/a:1"]
    again = [job for rule in parse(written, "l", Given(), "list") for job in expand(rule)]
    assert [(job.source, job.destination) for job in again] == [(job.source, job.destination) for job in jobs]
    assert dump_pairs([Job("dir:/a=b", "docker://r.lan/a:1")]).startswith("# not writable")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (Given(rename="{name}"), "needs --to"),
        (Given(destination="b.lan", rename="fixed"), "the same name"),
        (Given(destination="b.lan", rename="{nope}"), "unknown placeholder"),
        (Given(destination="b.lan", rename="s#a#b"), "expected s#match"),
        (Given(destination="b.lan", rename="s#(#b#"), "regular expression"),
        (Given(destination="b.lan/{path}", rename="{name}"), "exclude each other"),
        (Given(destination="b.lan/UP"), "lowercase"),
    ],
)
def test_bad_words_of_the_command_line_are_refused(words, says):
    """Before the first line is read."""
    with pytest.raises(UsageError, match=says):
        parse("a.io/a:1", "l", words, "list")
