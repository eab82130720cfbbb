"""Rules, targets and jobs: expansion, checks, keys, pruning, and skopeo's names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig, BadName, UsageError
from fastcopy.jobs import (
    Access,
    Job,
    Rule,
    Settings,
    Target,
    check,
    directory_jobs,
    expand,
    expand_catalog,
    left_over,
    to_prune,
)
from fastcopy.names import DockerRef
from fastcopy.naming import Rename, as_component, completed, literal, render, sync_destination, sync_template, values
from fastcopy.options import Credentials, HostOptions
from fastcopy.tags.pattern import Glob
from fastcopy.tags.selection import Name, Selection

D = "sha256:" + "34" * 32
ALL = Selection(everything=True)
parts = st.from_regex(r"\A[a-z0-9]{1,6}([._-][a-z0-9]{1,3})?\Z")


def rule(*templates, source="docker://a.lan/p/app", select=ALL, **more):
    """A rule with these targets."""
    return Rule(source, select, tuple(Target(f"docker://{text}") for text in templates), where="f:1:1", **more)


def names(jobs):
    """The destinations without transport."""
    return [job.destination.removeprefix("docker://") for job in jobs]


def test_every_target_gets_every_reference():
    """Several destinations per source, in selection order."""
    assert names(expand(rule("b.lan/x", "c.lan/{path}"), ["1", "2"])) == [
        "b.lan/x:1",
        "c.lan/p/app:1",
        "b.lan/x:2",
        "c.lan/p/app:2",
    ]


@pytest.mark.parametrize(
    ("template", "name", "destination"),
    [
        ("b.lan:5000/x", Name("1"), "b.lan:5000/x:1"),
        ("b.lan/x", Name(digest=D), f"b.lan/x@{D}"),
        ("b.lan/x", Name("1", D), "b.lan/x:1"),
        ("b.lan/x:fixed", Name("1"), "b.lan/x:fixed"),
        ("b.lan/{repository}:v{tag}", Name("1"), "b.lan/p/app:v1"),
        ("b.lan/{host}/{namespace}/{name}", Name("1"), "b.lan/a.lan_5000/p/app:1"),
        ("b.lan/{path}-{hex}:{tag}", Name("1", D), "b.lan/app-343434343434:1"),
        ("b.lan/x{reference}", Name(digest=D), f"b.lan/x@{D}"),
    ],
)
def test_templates_are_filled(template, name, destination):
    """Each placeholder, and the tag that a template does not name."""
    one = rule(template, source="docker://a.lan:5000/p/app", select=Selection((name,)), base="a.lan:5000/p")
    assert names(expand(one)) == [destination]


def test_an_empty_component_takes_its_slash_along():
    """A repository without namespace."""
    assert names(expand(rule("b.lan/{namespace}/{name}", source="docker://a.lan/app"), ["1"])) == ["b.lan/app:1"]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("mirror.lan", "names no registry"),
        ("mirror/app", "names no registry"),
        ("b.lan/{nope}", "unknown placeholder"),
        ("b.lan/{tag", "unknown placeholder"),
        ("b.lan/x:{tag}", "has no value"),
        ("b.lan/X", "lowercase"),
        ("b.lan/x:{hex}:y", "invalid reference"),
    ],
)
def test_what_a_target_cannot_name_is_refused_with_its_place(template, says):
    """The rule's place is in the message."""
    with pytest.raises(BadConfig, match=rf"^f:1:1: .*{says}"):
        expand(rule(template, select=Selection((Name(digest=D),))))


def test_references_name_copies_one_by_one():
    """A table of source reference to destination tag."""
    target = Target("docker://b.lan/x", references={"1": "one", D: "pinned"})
    one = Rule("docker://a.lan/app", Selection((Name("1"), Name(digest=D), Name("3"))), (target,))
    assert names(expand(one)) == ["b.lan/x:one", "b.lan/x:pinned", "b.lan/x:3"]


def test_renames_change_path_and_tag():
    """RE2, with groups; the tag that is left out keeps its rename."""
    target = Target("docker://b.lan/{path}", (Rename("path", "^p/", "q/"), Rename("tag", "^v(.*)", r"\1")))
    assert names(expand(Rule("docker://a.lan/p/app", ALL, (target,)), ["v1", "2"])) == [
        "b.lan/q/app:1",
        "b.lan/q/app:2",
    ]


@pytest.mark.parametrize("to", [r"\2", r"\x", "\\", r"\g<7>"])
def test_a_replacement_with_a_wrong_group_is_refused_at_once(to):
    """Not at the first match."""
    with pytest.raises(UsageError, match="is no group"):
        Rename("tag", "(a)", to)


def test_sources_are_canonical_and_pinned_ones_go_by_digest():
    """Names in full; the tag names the copy."""
    (job,) = expand(rule("b.lan/x", source="docker://busybox", select=Selection((Name("1", D),))))
    assert (job.source, job.source_tag, job.source_reference) == (f"docker://docker.io/library/busybox@{D}", "1", D)
    assert job.destination_reference == "1"
    assert isinstance(job.source_ref, DockerRef)


def test_two_sources_of_one_destination_are_refused():
    """Both sources and both places are named; the list of clashes is cut."""
    jobs = [Job(f"docker://a.lan/{n}:1", "docker://b.lan/x:1", where=f"f:{n}:1") for n in range(30)]
    with pytest.raises(BadConfig) as caught:
        check(jobs)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "f:1:1: two sources for one destination docker://b.lan/x:1: docker://a.lan/0:1 (f:0:1) and docker://a.lan/1:1"
    )
    assert lines[-1] == "… and 19 more"


def test_the_same_copy_with_other_settings_is_refused():
    """Only one of the two could be at the destination."""
    job = Job("docker://a.lan/a:1", "docker://b.lan/a:1")
    with pytest.raises(BadConfig, match="a second time, with other settings"):
        check([job, replace(job, settings=Settings(platforms=(Platform("linux", "arm64"),)))])


def test_repetitions_are_dropped_whatever_their_login_and_place():
    """Exact repetitions only."""
    job = Job("docker://a.lan/a:1", "docker://b.lan/a:1", where="f:1:1")
    assert check([job, replace(job, where="f:2:1", source_access=Access(anonymous=True))]) == [job]


def test_a_key_depends_on_what_is_copied_and_how():
    """Not on the place in a file, nor on the login; stable over releases."""
    job = Job("docker://a.lan/a:1", "docker://b.lan/a:1", where="f:1:1")
    assert job.key == replace(job, where="g:9:9", source_access=Access(anonymous=True), source_tag="1").key
    others = [
        replace(job, source="docker://a.lan/a:2"),
        replace(job, destination="docker://b.lan/a:2"),
        replace(job, settings=Settings(platform=Platform("linux", "arm64"))),
        replace(job, settings=Settings(platforms=(Platform("linux", "arm64"),))),
        replace(job, settings=Settings(all_platforms=True)),
        replace(job, settings=Settings(referrers=True)),
        replace(job, settings=Settings(referrer_types=("x",))),
        replace(job, settings=Settings(digest_tags=True)),
    ]
    assert len({job.key, *(other.key for other in others)}) == len(others) + 1
    assert job.key == "8f3e1353eca317632fff7ebdfe5f26d8"


def test_immutable_patterns_speak_of_the_destinations_tag():
    """Present means done."""
    settings = Settings(immutable=(Glob("v*"),))
    assert [job.immutable for job in expand(rule("b.lan/x", settings=settings), ["v1", "latest"])] == [True, False]
    assert not Job("docker://a.lan/a:1", f"docker://b.lan/a@{D}", settings).immutable


def test_pruning_needs_the_consent_of_every_rule():
    """A repository that one rule did not consent to is left alone."""
    yes, no = Settings(prune=True), Settings()
    jobs = [
        Job("docker://a.lan/a:1", "docker://b.lan/a:1", yes),
        Job("docker://a.lan/a:2", "docker://b.lan/a:2", yes),
        Job("docker://a.lan/b:1", "docker://b.lan/b:1", yes),
        Job("docker://a.lan/c:1", "docker://b.lan/b:2", no),
        Job("docker://a.lan/c:1", "dir:/x", yes),
    ]
    assert to_prune(jobs) == {"b.lan/a": frozenset({"1", "2"})}


def test_what_is_left_over_spares_immutable_and_digest_tags():
    """cosign's tags go with their subject."""
    digest_tag = "sha256-" + "ab" * 32 + ".sig"
    assert left_over(["1", "old", "v1", digest_tag], frozenset({"1"}), (Glob("v*"),)) == ["old"]


def test_a_catalog_becomes_rules():
    """Prefix, patterns, and names."""
    one = rule(
        "b.lan/{path}", source="docker://a.lan/p", base="a.lan/p", repositories=Selection(exclude=(Glob("*/x"),))
    )
    found = expand_catalog(one, ["p/a", "p/x", "q/a", "pp/a"])
    assert [each.source for each in found] == ["docker://a.lan/p/a"]
    assert names(expand(found[0], ["1"])) == ["b.lan/a:1"]
    with pytest.raises(ValueError, match="list the repositories first"):
        expand(one)


def test_local_places_are_sources_and_destinations():
    """A layout's reference name is the tag."""
    one = Rule("oci:/srv/app:v1", targets=(Target("docker://b.lan/{name}"), Target("dir:/out")))
    assert [(job.source, job.destination) for job in expand(one)] == [
        ("oci:/srv/app:v1", "docker://b.lan/app:v1"),
        ("oci:/srv/app:v1", "dir:/out"),
    ]


def test_access_is_laid_over_the_command_line():
    """Only what is decided changes."""
    base = HostOptions(credentials=Credentials("cli", "x"), cert_dir=Path("/cli"), tls_verify=True)
    assert Access().over(base) == base
    assert Access(anonymous=True).over(base).credentials is None
    assert Access(tls_verify=False).over(base).tls_verify is False
    assert Access(cert_dir_decided=True).over(base).cert_dir is None


@pytest.mark.parametrize(
    ("suffix", "words", "name"),
    [
        ("docker.io/library/busybox:1", {}, "docker://h.lan/p/busybox:1"),
        ("r.lan:5000/a/b:1", {"scoped": True}, "docker://h.lan/p/r.lan_5000/a/b:1"),
        ("r.lan/a/b:1", {"scoped": True}, "docker://h.lan/p/r.lan/a/b:1"),
        ("r.lan/a/b:1", {"append_suffix": "-x"}, "docker://h.lan/p/b:1-x"),
        (f"r.lan/a/b@{D}", {}, f"docker://h.lan/p/b@{D}"),
        ("r.lan:5000/a/b:1", {"scoped": True, "transport": "dir"}, "dir:h.lan/p/r.lan:5000/a/b:1"),
        (f"r.lan/a/b@{D}", {"transport": "dir"}, f"dir:h.lan/p/b@{D}"),
    ],
)
def test_skopeos_sync_names(suffix, words, name):
    """Base name, --scoped (ports too), --append-suffix, dir."""
    assert sync_destination(suffix, "h.lan/p", **words) == name


def test_a_destination_of_sync_without_registry_is_on_docker_hub():
    """skopeo sync … me pushes to docker.io/me."""
    assert sync_destination("r.lan/a/b:1", "me") == "docker://docker.io/me/b:1"
    assert sync_template("me") == "docker://docker.io/me/{name}{reference}"


def test_a_suffix_cannot_follow_a_digest():
    """skopeo makes an invalid reference of it."""
    with pytest.raises(BadName, match="cannot be appended to the digest"):
        sync_destination(f"r.lan/a@{D}", "h.lan", append_suffix="x")


@given(
    st.sampled_from(["r.lan", "r.lan:5000", "localhost:80", "[::1]:5000", "R.lan"]),
    st.lists(parts, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["docker", "dir"]),
    st.booleans(),
    st.sampled_from(["", "-x", "{y}"]),
)
def test_the_template_and_the_rule_of_sync_agree(host, path, transport, scoped, suffix):
    """sync_template fills to what sync_destination says."""
    words = {"transport": transport, "scoped": scoped, "append_suffix": suffix}
    known = values(DockerRef(host, path), Name("1.0"))
    assert render(sync_template("h.lan/p{}", **words), known) == sync_destination(
        f"{host}/{path}:1.0", "h.lan/p{}", **words
    )


@given(st.sampled_from(["a.lan", "A.lan", "a.lan:1", "a.lan_1", "[::1]", "[::1]:1", "1.2.3.4:5"]))
def test_a_host_becomes_a_path_component(host):
    """Lower case, no colon, no bracket; a port is set off by an underscore, which no host has."""
    made = as_component(host)
    assert made == made.lower()
    assert not set(made) & set(":[]")


@given(st.text(max_size=30))
def test_a_literal_text_is_itself(text):
    """literal() escapes braces."""
    assert render(f"dir:{literal(text)}", dict.fromkeys(["tag", "digest"], "")) == f"dir:{text}"


@given(st.text(max_size=30))
def test_no_template_crashes(text):
    """A template or a UsageError."""
    try:
        render(completed(f"docker://{text}"), values(DockerRef("a.lan", "p/app"), Name("1")))
    except UsageError as problem:
        assert "placeholder" in str(problem) or "has no value" in str(problem)  # noqa: PT017


def test_directories_are_named_by_their_path():
    """sync --src dir: base name, or the whole path when scoped; the directory itself may be the image."""
    words = {"transport": "docker"}
    assert [
        (job.source, job.destination) for job in directory_jobs("/in", ["x/app:1", "y/b:2"], "h.lan/p", **words)
    ] == [
        ("dir:/in/x/app:1", "docker://h.lan/p/app:1"),
        ("dir:/in/y/b:2", "docker://h.lan/p/b:2"),
    ]
    assert directory_jobs("/in", ["x/app:1"], "h.lan", scoped=True, **words)[0].destination == "docker://h.lan/x/app:1"
    assert directory_jobs("/in/app:3", [""], "h.lan", **words)[0].destination == "docker://h.lan/app:3"
    with pytest.raises(BadConfig, match=r"^/in/App: "):
        directory_jobs("/in", ["App"], "h.lan", **words)
