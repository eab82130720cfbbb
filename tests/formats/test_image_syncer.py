"""image-syncer's files: rules, pairs of tags, logins by longest prefix, variables."""

from __future__ import annotations

import json

import pytest

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig
from fastcopy.formats import Given, parse
from fastcopy.jobs import check, expand
from fastcopy.options import Credentials

D = "sha256:" + "cd" * 32
AUTH = """{
\t"quay.io": {"username": "xxx", "password": "${QUAY_PASSWORD}", "insecure": true},
\t"quay.io/coreos": {"username": "abc", "password": "$CORE"},
\t"registry.hub.docker.com": {"username": "hub", "password": "hubpw"}
}"""
IMAGES = f"""\
quay.io/coreos/kube-rbac-proxy: quay.io/ruohe/kube-rbac-proxy
quay.io/coreos/kube-rbac-proxy:v1.0:
- quay.io/ruohe/proxy
- ${{TARGET}}/proxy:one
quay.io/coreos/etcd:a,b,c: r.lan/etcd:x,y,z
quay.io/coreos/re:/^v[0-9]/: r.lan/re
quay.io/coreos/dig@{D}: r.lan/dig
busybox:1: r.lan:5000/b
"""
GIVEN = Given(
    environment={"QUAY_PASSWORD": "qp", "CORE": "cp", "TARGET": "t.lan"},
    read=lambda path: {"auth.json": AUTH}[path],
    auth="auth.json",
)


def pairs(text, given=GIVEN, tags=("v1", "w1"), name="images.yaml"):
    """(source, destination) of every job."""
    return [
        (job.source.removeprefix("docker://"), job.destination.removeprefix("docker://"))
        for job in check(job for rule in parse(text, name, given, "image-syncer") for job in expand(rule, tags))
    ]


def test_every_kind_of_rule_maps():
    """All tags, one tag to several places, lists of tags in pairs, an expression, a digest, Docker Hub."""
    assert pairs(IMAGES) == [
        ("quay.io/coreos/kube-rbac-proxy:v1", "quay.io/ruohe/kube-rbac-proxy:v1"),
        ("quay.io/coreos/kube-rbac-proxy:w1", "quay.io/ruohe/kube-rbac-proxy:w1"),
        ("quay.io/coreos/kube-rbac-proxy:v1.0", "quay.io/ruohe/proxy:v1.0"),
        ("quay.io/coreos/kube-rbac-proxy:v1.0", "t.lan/proxy:one"),
        ("quay.io/coreos/etcd:a", "r.lan/etcd:x"),
        ("quay.io/coreos/etcd:b", "r.lan/etcd:y"),
        ("quay.io/coreos/etcd:c", "r.lan/etcd:z"),
        ("quay.io/coreos/re:v1", "r.lan/re:v1"),
        (f"quay.io/coreos/dig@{D}", f"r.lan/dig@{D}"),
        ("docker.io/library/busybox:1", "r.lan:5000/b:1"),
    ]


def test_logins_come_by_the_longest_prefix():
    """registry/namespace beats registry; insecure means no verification; Docker Hub's old name is docker.io."""
    rules = parse(IMAGES, "images.yaml", GIVEN, "image-syncer").rules
    assert rules[0].access.credentials == Credentials("abc", "cp")
    assert rules[0].access.tls_verify is None
    assert rules[0].targets[0].access.credentials == Credentials("xxx", "qp")
    assert rules[0].targets[0].access.tls_verify is False
    assert rules[-1].access.credentials == Credentials("hub", "hubpw")
    assert rules[0].access.secret_from == {"password": "env:CORE"}


def test_the_old_single_file_is_read():
    """`auth` and `images` in one file, JSON; its passwords are not expanded (as there)."""
    text = json.dumps({"auth": {"q.io": {"username": "u", "password": "p$x"}}, "images": {"q.io/a:1": "r.lan/a"}})
    loaded = parse(text, "config.json", Given())
    assert loaded.format == "image-syncer"
    assert loaded.rules[0].access.credentials == Credentials("u", "p$x")


def test_every_platform_is_copied_unless_some_are_named():
    """image-syncer copies whole lists; --os and --arch narrow them."""
    assert parse("a.io/b:1: r.lan/b", "i.yaml", Given()).rules[0].settings.all_platforms is True
    narrowed = parse("a.io/b:1: r.lan/b", "i.yaml", Given(platforms=("linux/arm64",))).rules[0].settings
    assert (narrowed.platforms, narrowed.all_platforms) == ((Platform("linux", "arm64"),), None)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a.io/b:1,2: r.lan/b:1\n", "i.yaml:1:1", "number of tags"),
        ("a.io/b: r.lan/b:1\n", "i.yaml:1:1", "number of tags"),
        ("x.io/a:1: r.lan/a\na.io/b:/(/: r.lan/b\n", "i.yaml:2:1", "regular expression"),
        ("a.io/b:/x: r.lan/b\n", "i.yaml:1:1", "begin and end"),
        ("a.io/b:1: []\n", "i.yaml:1:11", "no destination"),
        ("a.io/b:1:\n- ''\n", "i.yaml:2:3", "must be an image name"),
        ("a.io/b:1: {}\n", "i.yaml:1:11", "must be an image name"),
        ("a.io/B:1: r.lan/b\n", "i.yaml:1:1", "lowercase"),
        ("a.io/b:1: $NOPE/b\n", "i.yaml:1:11", "not set"),
        (f"a.io/b@{D}: r.lan/b@{D[:-1]}0\n", "i.yaml:1:1", "must match"),
    ],
)
def test_a_bad_rule_is_reported_with_its_place(text, place, says):
    """File, line and column."""
    with pytest.raises(BadConfig) as caught:
        parse(text, "i.yaml", Given(), "image-syncer")
    assert str(caught.value).startswith(place + ": ")
    assert says in str(caught.value)


def test_a_bad_login_is_reported_in_its_own_file():
    """The second file has its own name, line and column, and its password stays secret."""
    given = Given(read=lambda path: '{"q.io": {"username": "u", "password": "hu$nter", "x": 1}}', auth="a.json")
    with pytest.raises(BadConfig, match=r'^a.json:1:\d+: unknown key "x"'):
        parse("q.io/a:1: r.lan/a", "i.yaml", given, "image-syncer")
    given = Given(read=lambda path: '{"q.io": {"username": "u", "password": "hu$nter"}}', auth="a.json")
    with pytest.raises(BadConfig) as caught:
        parse("q.io/a:1: r.lan/a", "i.yaml", given, "image-syncer")
    assert "nter" not in str(caught.value)


def test_a_bad_platform_of_the_command_line_is_refused():
    """--os and --arch make os/arch."""
    with pytest.raises(BadConfig, match="os/arch"):
        parse("a.io/b:1: r.lan/b", "i.yaml", Given(platforms=("linux",)), "image-syncer")
