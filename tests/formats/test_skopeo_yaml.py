"""skopeo sync's YAML: its maps, its settings, its naming, and what it skips."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import BadConfig, BadName, FastcopyError
from fastcopy.formats import Given, parse
from fastcopy.formats.skopeo import repository_rule
from fastcopy.jobs import expand
from fastcopy.options import Credentials, HostOptions

D = "sha256:" + "0123" * 16
MAN_PAGE = f"""\
registry.example.com:
    images:
        busybox: []
        redis:
            - "1.0"
            - 2.0
            - "{D}"
    images-by-tag-regex:
        nginx: ^1\\.13\\.[12]-alpine-perl$
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
quay.io:
    tls-verify: false
    images:
        coreos/etcd:
            - latest
    images-by-semver:
        alpine: ">= 3.12.0"
local.lan:5000:
    images:
        team/app: [v1]
"""
WORDS = Given(destination="mirror.lan:5000/in")


def destinations(text, words=WORDS, tags=()):
    """Destinations of every job."""
    return [job.destination for rule in parse(text, "s.yaml", words, "skopeo") for job in expand(rule, tags)]


def test_the_man_pages_example_means_what_it_says():
    """Three maps, in the order of the file, each with its own selection."""
    rules = parse(MAN_PAGE, "s.yaml", WORDS).rules
    assert [rule.source.removeprefix("docker://") for rule in rules] == [
        "registry.example.com/busybox",
        "registry.example.com/redis",
        "registry.example.com/nginx",
        "quay.io/coreos/etcd",
        "quay.io/alpine",
        "local.lan:5000/team/app",
    ]
    busybox, redis, nginx, etcd, alpine, _ = rules
    assert busybox.needs_tags
    assert not redis.needs_tags
    assert [str(name) for name in redis.select.names] == ["1.0", "2.0", D]
    assert [str(name) for name in nginx.select.pick(["1.13.1-alpine-perl", "1.13.3-alpine-perl"])] == [
        "1.13.1-alpine-perl"
    ]
    assert [str(name) for name in alpine.select.pick(["3.11", "3.12", "v3.13.1", "edge"])] == ["3.12", "v3.13.1"]
    assert redis.where == "s.yaml:4:9"
    assert etcd.access.tls_verify is False


def test_settings_of_a_registry_override_the_command_line():
    """Credentials win, tls-verify only when given, cert-dir always, even when absent (as skopeo)."""
    rules = parse(MAN_PAGE, "s.yaml", WORDS).rules
    line = HostOptions(credentials=Credentials("cli", "x"), tls_verify=True, cert_dir=Path("/cli"))
    first = rules[0].access.over(line)
    assert (first.credentials, first.tls_verify, first.cert_dir) == (
        Credentials("john", "this is a secret"),
        True,
        Path("/home/john/certs"),
    )
    local = rules[-1].access.over(line)
    assert (local.credentials, local.tls_verify, local.cert_dir) == (line.credentials, True, None)


@pytest.mark.parametrize(
    ("words", "destination"),
    [
        (Given(destination="m.lan/in"), "docker://m.lan/in/app:v1"),
        (Given(destination="m.lan/in", scoped=True), "docker://m.lan/in/local.lan_5000/team/app:v1"),
        (Given(destination="m.lan", append_suffix="-x"), "docker://m.lan/app:v1-x"),
        (Given(destination="/out", transport="dir"), "dir:/out/app:v1"),
        (Given(destination="/out", transport="dir", scoped=True), "dir:/out/local.lan:5000/team/app:v1"),
        (Given(destination="/out/", transport="dir", append_suffix="-x"), "dir:/out/app:v1-x"),
    ],
)
def test_destinations_are_named_as_skopeo_names_them(words, destination):
    """Base name, --scoped (with ports, where skopeo fails) and --append-suffix."""
    assert destinations("local.lan:5000: {images: {team/app: [v1]}}", words) == [destination]


def test_a_suffix_on_a_digest_is_refused_clearly():
    """skopeo fails on the invalid reference; the line says why."""
    with pytest.raises(BadConfig, match=r"s.yaml:1:22: \{tag\} has no value: the source is named by digest"):
        destinations(f"r.lan: {{images: {{    a: ['{D}']}}}}", Given(destination="m.lan", append_suffix="-x"))


def test_entries_skopeo_skips_become_problems():
    """Bad names, expressions and tags are left out with their place; the rest goes on."""
    loaded = parse(
        "r.lan:\n  images:\n    a:1: []\n    b: [ok, '-bad']\n  images-by-tag-regex:\n    c: '('\n"
        "  images-by-semver:\n    d: 'x.y'\n    e: '>1'\n  tls_verify: false\n",
        "s.yaml",
        WORDS,
    )
    assert [rule.source for rule in loaded] == ["docker://r.lan/b", "docker://r.lan/e"]
    assert [problem.partition(": ")[0] for problem in loaded.problems] == [
        "s.yaml:3:5",
        "s.yaml:4:13",
        "s.yaml:6:5",
        "s.yaml:8:5",
    ]
    assert loaded.warnings == ('s.yaml:10:3: unknown key "tls_verify" is ignored',)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a.lan:\n  images:\n   b: [\n", "s.yaml:4:1"),
        ("a.lan:\n\timages: {}\n", "s.yaml:2:1"),
        ("a.lan: [x]\n", "s.yaml:1:8"),
        ("- a\n", "s.yaml:1:1"),
        ("a.lan:\n  images: [b]\n", "s.yaml:2:11"),
        ("a.lan:\n  images:\n    b: tag\n", "s.yaml:3:8"),
        ("a.lan:\n  images:\n    b: [{}]\n", "s.yaml:3:9"),
        ("a.lan:\n  tls-verify: maybe\n", "s.yaml:2:15"),
        ("a.lan:\n  images-by-semver:\n    b: ['>1']\n", "s.yaml:3:8"),
        ("a.lan: {}\nb.lan: {}\na.lan: {}\n", "s.yaml:3:1"),
        ("a.lan: !!python/object:x {}\n", "s.yaml:1:8"),
        ("a: &x [*x]\n", "s.yaml:1:4"),
    ],
)
def test_a_bad_file_is_reported_with_its_place(text, place):
    """Line and column, and skopeo's own words."""
    with pytest.raises(BadConfig) as caught:
        parse(text, "s.yaml", WORDS, "skopeo")
    assert str(caught.value).startswith(place + ": ")
    assert 'Failed to unmarshal "s.yaml"' in str(caught.value)


def test_go_spellings_of_booleans_are_read():
    """Go's decoder takes yes and off."""
    rules = parse("a.lan: {images: {b: [x]}, tls-verify: off}", "s", WORDS, "skopeo").rules
    assert rules[0].access.tls_verify is False


def test_secrets_stay_out_of_messages():
    """A value beside a password may be wrong; the password is not shown."""
    with pytest.raises(BadConfig) as caught:
        parse("a.lan:\n  credentials: {username: u, password: hunter2}\n  tls-verify: 3\n", "s", WORDS, "skopeo")
    assert "hunter2" not in str(caught.value)


KEYS = st.sampled_from(
    ["images", "images-by-semver", "images-by-tag-regex", "credentials", "tls-verify", "r.lan", "*a"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(TREES)
def test_no_tree_crashes_the_reader(tree):
    """Any YAML value gives rules or one clear error."""
    import yaml

    try:
        for rule in parse(yaml.safe_dump(tree), "f", WORDS, "skopeo"):
            expand(rule, ["1.0"])
    except FastcopyError as problem:
        assert str(problem).startswith("f:")  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("q.io/a/b:1", [("docker://q.io/a/b:1", "docker://mirror.lan:5000/in/b:1")]),
        (f"docker://q.io/a/b@{D}", [(f"docker://q.io/a/b@{D}", f"docker://mirror.lan:5000/in/b@{D}")]),
        ("b", [("docker://docker.io/library/b:x", "docker://mirror.lan:5000/in/b:x")]),
    ],
)
def test_a_repository_on_the_command_line_is_a_rule(text, jobs):
    """--src docker: one image, or every tag of a bare repository."""
    rule = repository_rule(text, WORDS)
    assert [(job.source, job.destination) for job in expand(rule, ["x"])] == jobs


def test_a_tag_and_a_digest_together_are_refused_as_skopeo_refuses_them():
    """Only lists may pin a tag."""
    with pytest.raises(BadName, match="both a tag and digest"):
        repository_rule(f"q.io/a:1@{D}", WORDS)


def test_identity_tokens_are_read():
    """Go's field of the login structure."""
    rules = parse("a.lan: {images: {b: [x]}, credentials: {identitytoken: t}}", "s", WORDS, "skopeo").rules
    assert rules[0].access.credentials == Credentials(identity_token="t")
