"""regsync.yml: entries, filters, templates, logins, and what is refused."""

from __future__ import annotations

import pytest

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig
from fastcopy.formats import Given, parse
from fastcopy.jobs import expand, expand_catalog
from fastcopy.options import Credentials

FILE = """\
x-sched: &sched
  interval: 60m
version: 1
creds:
  - registry: registry.lan:5000
    tls: disabled
  - registry: docker.io
    user: "{{env \\"HUB_USER\\"}}"
    pass: '{{ file "/run/secrets/hub" }}'
  - registry: ghcr.io
    tls: insecure
    token: tok
defaults:
  <<: *sched
  parallel: 2
  referrers: true
  ratelimit: {min: 100, retry: 15m}
sync:
  - source: busybox:latest
    target: registry.lan:5000/library/busybox:latest
    type: image
  - source: alpine
    target: registry.lan:5000/library/alpine
    type: repository
    tags:
      allow:
        - "latest"
        - "3"
        - "3.\\\\d+"
      deny: ["3.0"]
    platform: linux/arm/v7
  - source: ghcr.io/team/app
    target: "{{ env \\"MIRROR\\" | lower }}/app"
    type: repository
    tagSets:
      - semverRange: [">=1.2.0 <2.0.0", "^3.0.0"]
      - allow: ["edge"]
    platforms: [linux/amd64, linux/arm64]
    digestTags: true
    referrers: false
    referrerFilters: [{artifactType: application/x}]
  - source: ghcr.io
    target: registry.lan:5000/gh
    type: registry
    repos: {allow: ["team/.*"], deny: [".*-test"]}
  - source: ocidir:///srv/l:v1
    target: "registry.lan:5000/{{ .Sync.Type }}/x:1"
    type: image
"""
GIVEN = Given(
    environment={"HUB_USER": "hubby", "MIRROR": "Mirror.lan"}, read={"/run/secrets/hub": "s3cret\n"}.__getitem__
)


def load(text=FILE, given=GIVEN):
    """Parsed."""
    return parse(text, "regsync.yml", given)


def pairs(rule, tags=()):
    """(source, destination) of the rule's jobs."""
    return [(job.source, job.destination) for job in expand(rule, tags)]


def test_the_file_is_recognised_and_remarks_are_placed():
    """Detection, and one warning for what only tunes regsync."""
    loaded = load()
    assert loaded.format == "regsync"
    assert loaded.warnings == ("regsync.yml:14:3: not used by fastcopy: interval, parallel, ratelimit",)


def test_an_image_entry_copies_one_image():
    """Source and target as written; credentials by registry, whole index."""
    image = load().rules[0]
    assert pairs(image) == [
        ("docker://docker.io/library/busybox:latest", "docker://registry.lan:5000/library/busybox:latest")
    ]
    assert image.access.credentials == Credentials("hubby", "s3cret")
    assert image.access.secret_from == {"username": "env:HUB_USER", "password": "file:/run/secrets/hub"}
    assert image.targets[0].access.tls_verify is False
    assert (image.settings.all_platforms, image.settings.referrers) == (True, True)


def test_expressions_are_anchored_by_text():
    """`3` is not 3.1, and deny wins."""
    rule = load().rules[1]
    assert [source.rpartition(":")[2] for source, _ in pairs(rule, ["latest", "3", "3.1", "13.1", "3.0", "edge"])] == [
        "latest",
        "3",
        "3.1",
    ]
    assert rule.settings.platform == Platform("linux", "arm", "v7")


def test_tag_sets_are_a_union_and_ranges_speak_regclients_dialect():
    """One rule per set; pre-releases are ordinary versions there."""
    ranges, edge = load().rules[2:4]
    tags = ["1.1.9", "1.2", "1.9.0-rc1", "v2.0.0", "3.4.5.6", "edge"]
    assert [destination for _, destination in pairs(ranges, tags)] == [
        "docker://mirror.lan/app:1.2",
        "docker://mirror.lan/app:1.9.0-rc1",
        "docker://mirror.lan/app:3.4.5.6",
    ]
    assert [destination for _, destination in pairs(edge, tags)] == ["docker://mirror.lan/app:edge"]
    assert ranges.settings.platforms == (Platform("linux", "amd64"), Platform("linux", "arm64"))
    assert (ranges.settings.digest_tags, ranges.settings.referrers) == (True, False)
    assert ranges.settings.referrer_types == ("application/x",)
    assert ranges.access.credentials == Credentials(identity_token="tok")


def test_a_registry_entry_lists_repositories_first():
    """repos.allow and deny choose; the path stays."""
    rule = load().rules[4]
    assert rule.needs_catalog
    found = expand_catalog(rule, ["team/a", "team/b-test", "other/a"])
    assert [one.source for one in found] == ["docker://ghcr.io/team/a"]
    assert pairs(found[0], ["1"]) == [("docker://ghcr.io/team/a:1", "docker://registry.lan:5000/gh/team/a:1")]


def test_layouts_and_sync_fields_are_read():
    """ocidir:// is oci:, and .Sync fields may stand in the target."""
    assert pairs(load().rules[5]) == [("oci:/srv/l:v1", "docker://registry.lan:5000/image/x:1")]


def test_skipping_dockers_logins_makes_unnamed_registries_anonymous():
    """skipDockerConfig: no login that the file does not hold."""
    text = (
        "defaults: {skipDockerConfig: true}\ncreds: [{registry: a.io, user: u, pass: p}]\n"
        "sync:\n- {source: a.io/x:1, target: b.io/x:1, type: image}\n"
    )
    rule = load(text).rules[0]
    assert rule.access.credentials == Credentials("u", "p")
    assert rule.targets[0].access.anonymous


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("sync:\n- source: a.io/b:1\n  type: image\n", "regsync.yml:2:3", "target"),
        ("sync:\n- {source: a.io/b, target: c.io/d, type: thing}\n", "regsync.yml:2:42", "type must be"),
        (
            "sync:\n- {source: a.io/b, target: c.io/d, type: repository, tags: {alow: []}}\n",
            "regsync.yml:2:61",
            '"alow"',
        ),
        (
            "sync:\n- {source: a.io/b, target: c.io/d, type: repository, tags: {allow: ['(']}}\n",
            "regsync.yml:2:3",
            "regular",
        ),
        (
            "sync:\n- {source: a.io/b, target: c.io/d, type: repository, tags: {semverRange: ['!1']}}\n",
            "regsync.yml:2:3",
            "range",
        ),
        (
            "sync:\n- {source: a.io/b, target: c.io/d, type: repository, backup: x}\n",
            "regsync.yml:2:54",
            "backup is not",
        ),
        ("sync:\n- {source: '{{env \"NO\"}}', target: c.io/d, type: image}\n", "regsync.yml:2:12", "NO is not set"),
        ("sync:\n- {source: 'a.io/{{range .}}', target: c.io/d, type: image}\n", "regsync.yml:2:12", "not supported"),
        ("sync:\n- {source: a.io/b:1, target: c.io/d, type: repository}\n", "regsync.yml:2:3", "must not have a tag"),
        ("creds:\n- registry: a.io\n  mirrors: [b.io]\nsync: []\n", "regsync.yml:3:12", "mirrors is not supported"),
        ("creds:\n- registry: a.io\n  tls: maybe\nsync: []\n", "regsync.yml:3:8", "tls must be"),
        ("sync: {}\n", "regsync.yml:1:7", "expected a list"),
        ("version: 2\nsync: []\n", "regsync.yml:1:10", "version 1"),
        ("sync: []\nsnyc: []\n", "regsync.yml:2:1", "unknown key"),
        ("sync:\n- {source: a.io/b, target: c.io/d, type: image, referrers: perhaps}\n", "regsync.yml:2:60", "bool"),
    ],
)
def test_a_bad_file_is_reported_with_its_place(text, place, says):
    """File, line, column, and what is wrong."""
    with pytest.raises(BadConfig) as caught:
        parse(text, "regsync.yml", Given(), "regsync")
    assert str(caught.value).startswith(place + ": "), str(caught.value)
    assert says in str(caught.value)
