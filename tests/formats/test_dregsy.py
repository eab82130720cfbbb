"""dregsy's configuration: mappings, tag filters, logins, platforms."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig
from fastcopy.formats import Given, parse
from fastcopy.jobs import check, expand, expand_catalog
from fastcopy.options import Credentials

D = "sha256:" + "ef" * 32
AUTH = base64.b64encode(json.dumps({"username": "alex", "password": "secret"}).encode()).decode()
FILE = f"""\
relay: skopeo
skopeo:
  binary: skopeo
  certs-dir: /etc/certs
lister: {{maxItems: 100}}
tasks:
  - name: task1
    interval: 60
    verbose: yes
    source:
      registry: source.acme.com:5000
      auth: {AUTH}
    target:
      registry: dest.acme.com
      auth: none
      skip-tls-verify: true
    mappings:
      - from: test/image
        to: archive/test/image
        tags: ['0.1.0', 0.1.1, '{D}', 'pinned@{D}']
      - from: /test/another
      - from: busy/box
        to: 'regex:^/busy/(b)(.*)$,/lazy/${{1}}-$2'
        tags:
          - 'semver: >=1.31.0 <1.31.9'
          - 'regex: 1\\.26\\.[0-9]-(glibc|uclibc|musl)'
          - 'keep: !.*-rc.*'
          - latest
        platform: all
      - from: regex:library/.*
        to: hub
        tags: ['keep: latest 2']
        platform: linux/arm64/v8
      - from: regex:team/.*
        to: regex:/team/,/x/
"""


def load(text=FILE):
    """Parsed."""
    return parse(text, "dregsy.yaml", Given())


def pairs(rules, tags=()):
    """(source, destination) of the jobs."""
    jobs = check(job for rule in rules for job in expand(rule, tags))
    strip = "docker://"
    return [(job.source.removeprefix(strip), job.destination.removeprefix(strip)) for job in jobs]


def test_verbatim_tags_and_digests_are_taken_by_name():
    """No tag list is needed; tag@digest copies the digest under the tag."""
    rule = load().rules[0]
    assert not rule.needs_tags
    assert pairs([rule]) == [
        ("source.acme.com:5000/test/image:0.1.0", "dest.acme.com/archive/test/image:0.1.0"),
        ("source.acme.com:5000/test/image:0.1.1", "dest.acme.com/archive/test/image:0.1.1"),
        (f"source.acme.com:5000/test/image@{D}", f"dest.acme.com/archive/test/image@{D}"),
        (f"source.acme.com:5000/test/image@{D}", "dest.acme.com/archive/test/image:pinned"),
    ]


def test_no_tags_mean_every_tag_and_no_to_the_same_path():
    """The defaults of a mapping."""
    rule = load().rules[1]
    assert pairs([rule], ["1"]) == [("source.acme.com:5000/test/another:1", "dest.acme.com/test/another:1")]


def test_filters_are_ored_and_keep_prunes_what_they_found():
    """semver (blang) or regex (anchored), minus keep's negation; verbatim tags are never pruned."""
    rule = load().rules[2]
    tags = ["1.31.0", "1.31.9", "1.31.2-rc1", "v1.31.4", "1.26.3-musl", "1.26.3-musl-x", "1.26.33-musl", "latest"]
    assert [destination for _, destination in pairs([rule], tags)] == [
        "dest.acme.com/lazy/b-ox:latest",
        "dest.acme.com/lazy/b-ox:1.31.0",
        "dest.acme.com/lazy/b-ox:v1.31.4",
        "dest.acme.com/lazy/b-ox:1.26.3-musl",
    ]
    assert rule.settings.all_platforms is True


def test_keep_latest_limits_versions_as_dregsy_does():
    """Where there are versions only they are limited; without any, the last by text."""
    rule = load().rules[3]
    (found,) = expand_catalog(rule, ["library/nginx", "team/x"])
    assert found.settings.platform == Platform("linux", "arm64", "v8")
    assert [destination for _, destination in pairs([found], ["1.2", "edge", "1.10", "0.1", "1.9"])] == [
        "dest.acme.com/hub/library/nginx:edge",
        "dest.acme.com/hub/library/nginx:1.10",
        "dest.acme.com/hub/library/nginx:1.9",
    ]
    assert [str(name) for name in found.select.pick(["c", "a", "b"])] == ["b", "c"]


def test_an_expression_in_to_maps_listed_paths():
    """The expression sees the path with its slash in front."""
    (found,) = expand_catalog(load().rules[4], ["team/a/b"])
    assert pairs([found], ["1"]) == [("source.acme.com:5000/team/a/b:1", "dest.acme.com/x/a/b:1")]


def test_access_is_read_as_dregsy_hands_it_to_skopeo():
    """Base64 login, none, TLS, and the certificate directory without the port."""
    rule = load().rules[0]
    assert rule.access.credentials == Credentials("alex", "secret")
    assert rule.access.cert_dir == Path("/etc/certs/source.acme.com")
    assert rule.targets[0].access.anonymous
    assert rule.targets[0].access.tls_verify is False


def test_what_is_not_used_is_said():
    """The interval belongs to --watch."""
    assert load().warnings == ("dregsy.yaml:8:15: the interval is not used; run fastcopy sync with --watch",)


TASK = "tasks:\n- name: t\n  source: {registry: a.io}\n  target: {registry: b.io}\n  mappings:\n  - "


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (TASK + "{from: x, tags: ['semver: 1.x.x.x']}\n", "d:6:5", "1.2.x"),
        (TASK + "{from: x, tags: ['regex: (']}\n", "d:6:5", "regular expression"),
        (TASK + "{from: x, tags: ['a b']}\n", "d:6:5", "neither a tag"),
        (TASK + "{from: x, to: 'regex:a'}\n", "d:6:5", "replacement expression missing"),
        (TASK + "{from: x, to: 'regex:(a),$1x'}\n", "d:6:5", "no group number"),
        (TASK + "{from: x, to: 'regex:a,${1}'}\n", "d:6:5", "is no group"),
        (TASK + "{from: X}\n", "d:6:5", "lowercase"),
        (TASK + "{from: x, platform: linux}\n", "d:6:5", "os/arch"),
        (TASK + "{from: x, tag: [a]}\n", "d:6:15", 'unknown key "tag"'),
        (TASK + "{to: x}\n", "d:6:5", "from"),
        ("tasks:\n- name: t\n  source: {registry: a.io, auth: '%%'}\n  target: {registry: b.io}\n", "d:3:34", "base64"),
        ("tasks:\n- name: t\n  source: {registry: abc}\n  target: {registry: b.io}\n", "d:3:22", "no registry"),
        ("relay: podman\ntasks: []\n", "d:1:8", "relay must be"),
    ],
)
def test_a_bad_file_is_reported_with_its_place(text, place, says):
    """File, line, column, and what is wrong."""
    with pytest.raises(BadConfig) as caught:
        parse(text, "d", Given(), "dregsy")
    assert str(caught.value).startswith(place + ": "), str(caught.value)
    assert says in str(caught.value)
