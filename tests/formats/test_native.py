"""Our own configuration: YAML, JSON and TOML, the schema, places of errors, and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig, FastcopyError
from fastcopy.formats import Given, convert, parse
from fastcopy.formats.native_dump import dump_native, secrets
from fastcopy.formats.native_file import schema
from fastcopy.jobs import Access, Rule, Settings, Target, check, expand, expand_catalog
from fastcopy.naming import Rename
from fastcopy.options import Credentials
from fastcopy.tags.pattern import Glob, Regex, VersionRange
from fastcopy.tags.selection import Name, Selection
from tests.formats import test_dregsy, test_image_syncer, test_regsync, test_skopeo_yaml

D = "sha256:" + "56" * 32
YAML = f"""\
fastcopy: 1
defaults:
  to: mirror.lan:5000/in/
  referrers: true
  immutable: ["v*", "regex:^[0-9]+$"]
registries:
  harbor.lan:
    username: {{env: HARBOR_USER}}
    password: {{env: HARBOR_PASSWORD}}
    cert_dir: certs
  harbor.lan/public: {{anonymous: true}}
  mirror.lan:5000:
    username: robot
    password: {{file: secrets/mirror}}
    tls_verify: no
images:
  - from: harbor.lan/team/app
    include: [1.*, "semver:>=2.1, <3"]
    exclude: ["*-rc*"]
    newest: 3
    to:
      - mirror.lan:5000/team/app
      - name: backup.lan/{{repository}}:{{tag}}-old
        rename: [{{field: tag, match: ^v, to: ""}}]
    platforms: [linux/amd64, linux/arm64/v8]
    prune: true
  - from: harbor.lan/public/tool:1.10
  - from: quay.io/a/b
    tags: [1.10, {D}, "1.0@{D}"]
    to: {{name: mirror.lan:5000/ab, references: {{"1.10": ten}}}}
    referrers: false
    immutable: []
  - from: harbor.lan/team
    base: harbor.lan/team
    repositories: {{include: ["team/*"], exclude: ["regex:-test$"]}}
  - from: oci:/srv/layout:v1
    to: mirror.lan:5000/layout
"""
FILES = {"/etc/fastcopy/secrets/mirror": "m1rr0r\n"}
GIVEN = Given(environment={"HARBOR_USER": "h", "HARBOR_PASSWORD": "hp"}, read=lambda path: FILES[path])


def load(text=YAML, name="/etc/fastcopy/sync.yaml", words=GIVEN):
    """The rules of a native file."""
    return parse(text, name, words, "native").rules


def pairs(rule, tags=()):
    """(source, destination) of a rule."""
    strip = "docker://"
    return [(job.source.removeprefix(strip), job.destination.removeprefix(strip)) for job in expand(rule, tags)]


def test_filters_targets_and_renames():
    """Globs, ranges, newest; two destinations; a rename of the tag."""
    rule = load()[0]
    assert pairs(rule, ["1.0", "1.1", "v2.2.0", "2.0.0", "2.5.0-rc1", "3.0.0"]) == [
        ("harbor.lan/team/app:v2.2.0", "mirror.lan:5000/team/app:v2.2.0"),
        ("harbor.lan/team/app:v2.2.0", "backup.lan/team/app:2.2.0-old"),
        ("harbor.lan/team/app:1.1", "mirror.lan:5000/team/app:1.1"),
        ("harbor.lan/team/app:1.1", "backup.lan/team/app:1.1-old"),
        ("harbor.lan/team/app:1.0", "mirror.lan:5000/team/app:1.0"),
        ("harbor.lan/team/app:1.0", "backup.lan/team/app:1.0-old"),
    ]
    assert rule.settings == Settings(
        platforms=(Platform("linux", "amd64"), Platform("linux", "arm64", "v8")),
        referrers=True,
        immutable=(Glob("v*"), Regex("^[0-9]+$")),
        prune=True,
    )


def test_logins_by_longest_prefix_and_by_reference():
    """Environment, file beside the configuration, anonymous below a path; certificates beside the file."""
    rules = load()
    assert rules[0].access == Access(credentials=Credentials("h", "hp"), cert_dir=Path("/etc/fastcopy/certs"))
    assert rules[0].access.secret_from == {"username": "env:HARBOR_USER", "password": "env:HARBOR_PASSWORD"}
    assert rules[0].targets[0].access == Access(credentials=Credentials("robot", "m1rr0r"), tls_verify=False)
    assert rules[0].targets[1].access == Access()
    assert rules[1].access == Access(anonymous=True)


def test_defaults_hold_where_an_entry_says_nothing():
    """The default destination ends in a slash: the path follows. A list may be emptied again."""
    rules = load()
    assert pairs(rules[1]) == [("harbor.lan/public/tool:1.10", "mirror.lan:5000/in/public/tool:1.10")]
    assert (rules[2].settings.referrers, rules[2].settings.immutable) == (False, ())


def test_names_digests_and_references():
    """A tag keeps its spelling; a digest may have a tag; references name copies."""
    assert pairs(load()[2]) == [
        ("quay.io/a/b:1.10", "mirror.lan:5000/ab:ten"),
        (f"quay.io/a/b@{D}", f"mirror.lan:5000/ab@{D}"),
        (f"quay.io/a/b@{D}", "mirror.lan:5000/ab:1.0"),
    ]


def test_registries_and_layouts_are_sources():
    """A catalog with patterns, paths below the base; a local place."""
    catalog, layout = load()[3:]
    found = expand_catalog(catalog, ["team/x", "team/x-test", "other/y"])
    assert [pairs(one, ["1"]) for one in found] == [[("harbor.lan/team/x:1", "mirror.lan:5000/in/x:1")]]
    assert pairs(layout) == [("oci:/srv/layout:v1", "mirror.lan:5000/layout:v1")]


TOML = """\
fastcopy = 1
[defaults]
to = "mirror.lan/in/"
[registries."quay.io"]
username = "u"
password = { env = "HARBOR_PASSWORD" }
[[images]]
from = "quay.io/a/b"   # everything
[[images]]
from = "quay.io/c/d"
tags = [
  "1.0", # one
  "2.0",
]
newest = 0
"""


def test_toml_and_json_say_the_same_as_yaml():
    """Three syntaxes, one model."""
    import tomllib

    toml = load(TOML, "s.toml")
    assert toml == load(json.dumps(tomllib.loads(TOML)), "s.json")
    assert [rule.where for rule in toml] == ["s.toml:7:1", "s.toml:9:1"]
    assert toml[0].access.credentials == Credentials("u", "hp")


@pytest.mark.parametrize(
    ("name", "text", "place", "says"),
    [
        ("a.yaml", "images:\n- from: q.io/a\n  newst: 3\n", "a.yaml:3:3", 'unknown key "newst"'),
        ("a.yaml", "images:\n- form: q.io/a\n", "a.yaml:2:3", '"form"'),
        ("a.yaml", "images:\n- from: q.io/a\n  newest: some\n", "a.yaml:3:11", "int"),
        ("a.yaml", "images:\n- from: q.io/a\n  newest: -1\n", "a.yaml:3:11", ">= 0"),
        ("a.yaml", "images:\n- from: q.io/A\n", "a.yaml:2:3", "lowercase"),
        ("a.yaml", "images:\n- from: q.io/a\n  include: ['regex:(']\n", "a.yaml:2:3", "regular expression"),
        ("a.yaml", "images:\n- from: q.io/a\n  to: mirror.lan\n", "a.yaml:3:7", "names no repository"),
        ("a.yaml", "images:\n- from: q.io/a\n  to: mirror/in\n", "a.yaml:3:7", "names no registry"),
        ("a.yaml", "images:\n- from: q.io/a\n  to: [m.lan/x, 'm.lan/{no}']\n", "a.yaml:3:17", "unknown placeholder"),
        ("a.yaml", "images:\n- from: q.io/a:1\n  include: ['*']\n", "a.yaml:2:3", "names its tag"),
        ("a.yaml", "images:\n- from: q.io/a\n  platforms: [linux]\n", "a.yaml:3:15", "matching regex"),
        ("a.yaml", "registries:\n  q.io:\n    password: hunter2\n", "a.yaml:3:15", "must not be written"),
        ("a.yaml", "registries:\n  a.io: {}\n  q.io:\n    pasword: {env: X}\n", "a.yaml:4:5", '"pasword"'),
        ("a.yaml", "registries:\n  q.io:\n    password: {env: NOPE}\n", "a.yaml:3:15", "NOPE is not set"),
        ("a.yaml", "registries:\n  q.io:\n    password: {}\n", "a.yaml:3:15", "exactly one"),
        ("a.yaml", "images:\n- from: q.io/a\n  access: {password: hunter2}\n", "a.yaml:3:22", "must not be written"),
        ("a.yaml", "fastcopy: 2\n", "a.yaml:1:11", "version 1"),
        ("a.yaml", "images:\n- from: 'q\n", "a.yaml:3:1", "bad YAML"),
        ("a.json", '{"images": [\n\t{"from": "q.io/a", "nope": 1}]}', "a.json:2:21", '"nope"'),
        ("a.json", '{"images": [}', "a.json:1:13", "bad JSON"),
        ("a.json", '{"images": [], "images": []}', "a.json:1:16", "given twice"),
        ("a.toml", '[[images]]\nfrom = "q.io/a"\n[[images]]\nfrom = "q.io/b"\nnewest = "x"\n', "a.toml:5:10", "int"),
        ("a.toml", '[[images]]\nfrom = "q.io/a"\nnope = 1\n', "a.toml:3:1", '"nope"'),
        ("a.toml", "images = [\n", "a.toml:2:1", "bad TOML"),
        ("a.toml", 'a = "x\n', "a.toml:1:7", "bad TOML"),
    ],
)
def test_a_bad_file_is_reported_with_its_place(name, text, place, says):
    """File, line, column; a secret is never repeated."""
    with pytest.raises(BadConfig) as caught:
        load(text, name, Given())
    assert str(caught.value).startswith(place + ": "), str(caught.value)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_published_schema_is_the_one_of_the_code():
    """docs/schema/fastcopy-sync.schema.json; write it anew with `python -m fastcopy.formats.native_file`."""
    published = Path(__file__).parents[2] / "docs" / "schema" / "fastcopy-sync.schema.json"
    assert json.loads(published.read_text()) == schema()


def again(rules):
    """What reading the dump of *rules* gives."""
    text = dump_native(rules)
    environment = {
        **GIVEN.environment,
        **test_image_syncer.GIVEN.environment,
        **test_regsync.GIVEN.environment,
        **secrets(rules),
    }
    for secret in secrets(rules).values():
        assert f": {secret}\n" not in text
    files = {**FILES, "/run/secrets/hub": "s3cret\n"}
    return parse(
        text, "/etc/fastcopy/dump.yaml", Given(environment=environment, read=files.__getitem__), "native"
    ).rules


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (YAML, "/etc/fastcopy/sync.yaml", GIVEN),
        (test_skopeo_yaml.MAN_PAGE, "s.yaml", Given(destination="m.lan/in", scoped=True, append_suffix="-x")),
        (test_skopeo_yaml.MAN_PAGE, "s.yaml", Given(destination="/out/{x}", transport="dir")),
        (test_skopeo_yaml.MAN_PAGE, "s.yaml", Given()),
        (test_image_syncer.IMAGES, "images.yaml", test_image_syncer.GIVEN),
        (test_regsync.FILE, "regsync.yml", test_regsync.GIVEN),
        (test_dregsy.FILE, "dregsy.yaml", Given()),
        (f"a:1\nb:1.*\nx:1@{D}\nc:1=d:2\n", "l", Given(source="a.lan/p", destination="b.lan/m", rename="s#a#b#")),
        (f"q.io/a@{D}=m.lan/a\noci:/x{{}}:1=dir:/y{{}}\n", "mapping.txt", Given()),
    ],
)
def test_every_format_survives_the_way_through_native(text, name, words):
    """convert, then read: the same rules. Secrets travel by reference only."""
    rules = parse(text, name, words).rules
    assert rules
    assert again(rules) == rules


def test_convert_prints_native_yaml_and_remarks():
    """The text that `fastcopy convert` prints."""
    text, warnings = convert(test_dregsy.FILE, "dregsy.yaml", Given())
    assert text.startswith(
        "# Set these variables to the secrets that were written in the original file:\n"
        "#   FASTCOPY_PASSWORD_SOURCE_ACME_COM_5000\nfastcopy: 1\nregistries:\n  source.acme.com:5000:\n"
    )
    assert "secret" not in text.partition("fastcopy: 1")[2]
    assert len(warnings) == 1


def test_one_registry_reached_in_two_ways_is_written_per_entry():
    """Pulling as one user and pushing as another."""
    one, two = Access(credentials=Credentials("a", "x")), Access(credentials=Credentials("b", "y"))
    rules = (
        Rule("docker://r.lan/a", Selection(everything=True), (Target("docker://r.lan/b", access=two),), access=one),
        Rule("docker://r.lan/c", Selection(everything=True), (Target("docker://s.lan/c", access=one),)),
    )
    assert again(rules) == rules
    assert secrets(rules) == {"FASTCOPY_PASSWORD_R_LAN": "x", "FASTCOPY_PASSWORD_R_LAN_2": "y"}


words = st.from_regex(r"\A[a-z0-9]{1,5}\Z")
patterns = st.one_of(
    words.map(lambda text: Glob(f"{text}*")),
    st.builds(Regex, words, st.booleans()),
    st.builds(VersionRange, st.sampled_from([">=1.2.3", "^1.0.0"]), st.sampled_from(["masterminds", "regclient"])),
)
lists = st.lists(patterns, max_size=2).map(tuple)
names = st.one_of(st.builds(Name, words), st.just(Name(digest=D)), st.builds(Name, words, st.just(D)))
selections = st.builds(
    Selection,
    st.lists(names, max_size=2, unique=True).map(tuple),
    st.booleans(),
    lists,
    lists,
    lists,
    st.integers(0, 3),
    st.booleans(),
).filter(lambda one: one.everything or one.names or one.include or one.require or one.exclude)
access = st.builds(
    Access,
    st.none() | st.builds(Credentials, words, words),
    anonymous=st.booleans(),
    tls_verify=st.none() | st.booleans(),
    cert_dir=st.none() | st.just(Path("/certs")),
)
targets = st.builds(
    Target,
    st.sampled_from(
        ["docker://m.lan/{path}", "docker://n.lan:5000/x:{tag}", "dir:/out/{name}{reference}", "docker://{registry}/x"]
    ),
    st.lists(st.builds(Rename, st.sampled_from(["tag", "path", "/path"]), words, words), max_size=1).map(tuple),
    st.none() | st.dictionaries(words, words, min_size=1, max_size=2),
    access,
)
platforms = st.sampled_from([Platform("linux", "amd64"), Platform("linux", "arm", "v7")])
rules = st.builds(
    Rule,
    st.sampled_from(["docker://a.lan/p/x", "docker://docker.io/library/y", "docker://b.lan:5000/z"]),
    selections,
    st.lists(targets, max_size=2).map(tuple),
    st.sampled_from(["", "a.lan/p"]),
    st.none(),
    st.builds(
        Settings,
        st.none() | platforms,
        st.lists(platforms, max_size=2).map(tuple),
        st.none() | st.booleans(),
        st.none() | st.booleans(),
        st.lists(words, max_size=1).map(tuple),
        st.none() | st.booleans(),
        lists,
        st.booleans(),
    ),
    access,
)


@given(st.lists(rules, max_size=4).map(tuple))
def test_any_rules_survive_the_way_through_native(some):
    """dump_native and parse are inverse, given the variables of secrets()."""
    text = dump_native(some)
    assert parse(text, "n.yaml", Given(environment=secrets(some)), "native").rules == some


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["images", "from", "to", "registries", "defaults", "tags", "include", "name", "password", "env", "a.io"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(TREES, st.sampled_from(["f.yaml", "f.json"]))
def test_no_tree_crashes_the_reader(tree, name):
    """Any value gives rules or one clear error with a place."""
    try:
        check(job for rule in parse(json.dumps(tree), name, Given(), "native") for job in expand(rule, ["1"]))
    except FastcopyError as problem:
        assert str(problem).startswith("f.")  # noqa: PT017
    except ValueError as problem:
        assert "list the repositories" in str(problem)  # noqa: PT017
