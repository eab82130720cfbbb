"""Syntax and positions of YAML, JSON and TOML; detection; loading; Go's templates."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import BadConfig, UsageError
from fastcopy.formats import Given, detect, load, parse
from fastcopy.formats.document import Document, read_json, read_toml, read_yaml
from fastcopy.formats.gotext import Words, origin, render
from fastcopy.jobs import expand
from tests.formats import test_dregsy, test_image_syncer, test_native, test_regsync, test_skopeo_yaml


def test_scalars_keep_their_spelling_and_nulls_are_none():
    """1.10 stays 1.10; only an unquoted null is none."""
    document = read_yaml("a: 1.10\nb: yes\nc: ~\nd: 'null'\ne: 0x10\nf: 2024-01-01\n", "f")
    assert document.value == {"a": "1.10", "b": "yes", "c": None, "d": "null", "e": "0x10", "f": "2024-01-01"}


def test_merged_mappings_give_what_is_not_given():
    """<< of one mapping or of several, the first strongest."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {<<: *b}\n"
    assert read_yaml(text, "f").value["c"] == {"x": "3", "y": "1", "z": "2"}
    with pytest.raises(BadConfig, match=r"f:1:4: << must name a mapping"):
        read_yaml("a: {<<: [x]}", "f")


def test_repeated_aliases_are_stopped():
    """A billion laughs take no time."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(BadConfig, match="aliases repeat too much"):
        read_yaml("\n".join(lines), "f")


def test_deep_nesting_is_an_error_not_a_crash():
    """Brackets and dashes to the horizon; libyaml alone would crash the process."""
    for text in ("[" * 1_000_000 + "]" * 1_000_000, "[" * 500 + "]" * 500, "- " * 100_000 + "x"):
        for read in (read_json, read_yaml) if text[0] == "[" else (read_yaml,):
            with pytest.raises(BadConfig, match=r"^f:\d+:\d+: .*nested too deeply"):
                read(text, "f")


@pytest.mark.parametrize(
    ("path", "place"),
    [((), "f:1:1"), (("a",), "f:1:4"), (("b", 1), "f:4:5"), (("b", 1, "c"), "f:4:8"), (("b", 9, "x"), "f:3:3")],
)
def test_places_are_those_of_values_or_of_what_is_around_them(path, place):
    """Line and column from 1."""
    assert read_yaml("a: 1\nb:\n  - x\n  - c: 2\n", "f").where(*path) == place


@given(
    st.recursive(
        st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    ),
    st.sampled_from([None, "\t", 1]),
)
def test_json_is_read_as_json(tree, indent):
    """Strings, keys and structure survive, tabs and escapes included."""
    assert read_json(json.dumps(tree, indent=indent), "f").value == tree


TOML = '''\
title = "x" # a comment with [brackets] and = signs
[a.b]
"quoted key" = 1
c.d = [ 1, # one
  2, "]" ]
e = """
[not.a.table]
f = 1
"""
g = {h = 1, i = [1, 2]}
[[list]]
k = \'\'\'
[[list]]\'\'\'
[[list]]
k = 2
  [list.sub]
  m = 3
[[list.inner]]
n = 4
[[list.inner]]
n = 5
'''


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("title",), 1, 9),
        (("a", "b", "quoted key"), 3, 16),
        (("a", "b", "c", "d"), 4, 7),
        (("a", "b", "e"), 6, 5),
        (("a", "b", "g"), 10, 5),
        (("a", "b", "g", "h"), 10, 5),
        (("list", 0, "k"), 12, 5),
        (("list", 1), 14, 1),
        (("list", 1, "k"), 15, 5),
        (("list", 1, "sub", "m"), 17, 7),
        (("list", 1, "inner", 1, "n"), 21, 5),
    ],
)
def test_toml_values_have_places(path, line, column):
    """tomllib gives none; ours follow strings, arrays and tables."""
    document = read_toml(TOML, "f")
    value = document.value
    for step in path:
        value = value[step]
    assert document.where(*path) == f"f:{line}:{column}"


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=6),
        st.text(max_size=12) | st.integers(0, 99) | st.lists(st.text(max_size=6), max_size=3),
        max_size=4,
    )
)
def test_every_toml_key_is_found_on_its_line(table):
    """Whatever its spelling and value."""
    keys = [json.dumps(key).replace("\\u007f", "") for key in table]
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in zip(keys, table.values(), strict=True))
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    document = read_toml(text, "f")
    for number, key in enumerate(keys, 1):
        spelled = json.loads(key)
        if key == f'"{spelled}"':
            assert document.where(spelled) == f"f:{number}:{len(key) + 4}"


@pytest.mark.parametrize(
    ("text", "name", "format"),
    [
        (test_skopeo_yaml.MAN_PAGE, "any.yaml", "skopeo"),
        ("r.lan: {images: {a: []}}", "x", "skopeo"),
        (test_regsync.FILE, "regsync.yml", "regsync"),
        (test_dregsy.FILE, "config.yaml", "dregsy"),
        (test_image_syncer.IMAGES, "images.yaml", "image-syncer"),
        ('{"auth": {}, "images": {"a/b": "c/d"}}', "config.json", "image-syncer"),
        ('{"q.io/a/b": ["r.io/a", "s.io/b"]}', "-", "image-syncer"),
        (test_native.YAML, "s.yaml", "native"),
        (test_native.TOML, "s.toml", "native"),
        (test_native.TOML, "<stdin>", "native"),
        ("images: [{from: a.io/b}]", "", "native"),
        ("team/app:1\n# x\nother:2\n", "images.txt", "list"),
        ("a:1=b:2\n", "pairs", "list"),
        ("localhost:5000/app:1\n", "", "list"),
        ("q.io/a@sha256:12=r.io/a\n", "dir/mapping.txt", "mapping"),
    ],
)
def test_formats_are_recognised(text, name, format):
    """By their keys and the shape of their lines."""
    assert detect(text, name) == format


@pytest.mark.parametrize("text", ["hello: world\n", "[]", "{}", "- a: b\n"])
def test_what_is_no_known_format_is_said(text):
    """With a way out."""
    with pytest.raises(BadConfig, match=r"^f:1:1: .*no format that is known"):
        detect(text, "f")


def test_files_and_standard_input_are_loaded(tmp_path, monkeypatch):
    """A path, or -."""
    path = tmp_path / "images.txt"
    path.write_bytes(b"\xef\xbb\xbfq.io/a:1=r.io/a\r\n")
    assert [job.source for rule in load(str(path)) for job in expand(rule)] == ["docker://q.io/a:1"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"q.io/b:1\n")))
    assert load("-").rules[0].where == "<stdin>:1:1"


def test_files_that_cannot_be_read_are_named(tmp_path):
    """Missing, a directory, not text."""
    with pytest.raises(BadConfig, match=r"nope.txt: No such file"):
        load(str(tmp_path / "nope.txt"))
    with pytest.raises(BadConfig, match="Is a directory"):
        load(str(tmp_path))
    (tmp_path / "bad").write_bytes(b"ok:1\n\xff")
    with pytest.raises(BadConfig, match=r"bad:2:1: not UTF-8 text"):
        load(str(tmp_path / "bad"))


def test_secrets_beside_a_configuration_are_found(tmp_path):
    """A relative file is relative to the configuration."""
    (tmp_path / "pw").write_text("s3\n")
    (tmp_path / "s.yaml").write_text(
        "registries: {q.io: {username: u, password: {file: pw}}}\nimages: [{from: q.io/a}]\n"
    )
    login = load(str(tmp_path / "s.yaml")).rules[0].access.credentials
    assert login is not None
    assert login.password == "s3"


WORDS = Words({"A": "x", "E": ""}, {"/f": " text\n"}.__getitem__, {".Sync.Source": "src"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ('{{env "A"}}/b', "x/b"),
        ('a{{ file "/f" }}b', "atextb"),
        ("{{.Sync.Source}}", "src"),
        ('{{ env "A" | upper }}', "X"),
        ('{{ env "NO" | default "d" }}', "d"),
        ('{{ env "E" | default "d" | upper }}', "D"),
        ("{{ `raw` }}", "raw"),
        ('a  {{- "x" -}}  b', "axb"),
        (r'{{ "q\"q" }}', 'q"q'),
    ],
)
def test_go_templates_of_regsync_are_filled(text, result):
    """env, file, fields and a few filters."""
    assert render(text, WORDS) == result


@pytest.mark.parametrize("text", ["{{env}}", "{{range .}}", '{{env "NO"}}', '{{env "A" | nope}}', "{{ env", '{{ "a }}'])
def test_other_go_templates_are_refused(text):
    """By name, not silently."""
    with pytest.raises(UsageError):
        render(text, WORDS)


def test_the_origin_of_a_whole_value_is_known():
    """Only when the template is nothing else."""
    assert origin(' {{env "A"}}') == "env:A"
    assert origin('{{ file "/f" }}') == "file:/f"
    assert origin('x{{env "A"}}') == ""


@given(st.text(alphabet='{}"`|. envfileA-', max_size=30))
def test_no_template_crashes(text):
    """Text or a UsageError."""
    with contextlib.suppress(UsageError):
        render(text, Words({"A": "x"}, lambda path: path))


def test_a_place_outside_the_document_is_the_beginning():
    """Never a crash while reporting."""
    assert Document("f", None).where("a", 1) == "f:1:1"


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("flags", [[], ["--scoped"]])
@pytest.mark.parametrize("transport", ["docker", "dir"])
def test_skopeo_names_the_same_copies(flags, transport, tmp_path):
    """skopeo sync --dry-run lists the sources and destinations that we make (order apart, names in full)."""
    digest = "sha256:" + "0123" * 16
    text = (
        f"r.example.com:\n  images:\n    busybox: ['1.0', 2.0]\n    team/redis: ['{digest}']\n"
        "docker.io:\n  images: {alpine: [latest]}\nmyreg:\n  images: {x: ['1']}\n"
    )
    if transport == "dir" or not flags:
        text += "localhost:5999:\n  images: {a/b: [v1]}\n"
    (tmp_path / "s.yaml").write_text(text)
    place = str(tmp_path / "out") if transport == "dir" else "m.lan:5000/in"
    command = ["skopeo", "--insecure-policy", "sync", "--dry-run", *flags, "--src", "yaml", "--dest", transport]
    done = subprocess.run([*command, str(tmp_path / "s.yaml"), place], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if "Would have copied" in line]
    said = {(line.split('from="')[1].split('"')[0], line.split('to="')[1].split('"')[0]) for line in lines}
    words = Given(destination=place, transport=transport, scoped=bool(flags))
    ours = {(job.source, job.destination) for rule in parse(text, "s.yaml", words) for job in expand(rule)}
    assert len(said) == len(ours) >= 5

    def canonical(name: str) -> str:
        from fastcopy.names import parse as parse_name

        ref = parse_name(name)
        return f"docker://{ref}" if name.startswith("docker://") else str(ref)

    assert {(canonical(source), canonical(destination)) for source, destination in said} == ours


DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "formats.md").read_text().replace("sha256:…", test_native.D)
TABLE = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in DOCUMENTATION.partition("| line | `--from`")[2].partition("\n\n")[0].splitlines()[2:]
]


@pytest.mark.parametrize("row", TABLE)
def test_the_table_of_lines_in_the_documentation_is_true(row):
    """docs/formats.md is the contract."""
    line, source_prefix, destination_prefix, rename, source, destination = row
    words = Given(source=source_prefix, destination=destination_prefix, rename=rename)
    if source.startswith("refused"):
        with pytest.raises(BadConfig, match="does not lie below" if "below" in source else "neither tag nor digest"):
            parse(line, "l", words, "list")
        return
    (job,) = [job for rule in parse(line, "l", words, "list") for job in expand(rule)]
    assert (job.source, job.destination) == (f"docker://{source}", f"docker://{destination}")


def test_the_documentations_examples_are_read():
    """Each YAML block, by the format it shows."""
    blocks = [block.partition("```")[0] for block in DOCUMENTATION.split("```yaml\n")[1:]]
    skopeo, native = blocks
    assert len(parse(skopeo, "s.yaml", Given(destination="m.lan"))) == 4
    words = Given(environment={"HARBOR_USER": "u", "HARBOR_PASSWORD": "p"})
    assert len(parse(native, "n.yaml", words)) == 4
    assert len(TABLE) == 10
