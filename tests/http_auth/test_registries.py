"""registries.conf: blocked, insecure, rewritten and mirrored names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastcopy.errors import BadConfig, PolicyRefused
from fastcopy.http import registries
from fastcopy.http.registries import Endpoint, RegistriesConf, match_length, rewrite

CONF = """
credential-helpers = ["containers-auth.json", "secretservice"]

[[registry]]
location = "bad.example"
blocked = true

[[registry]]
prefix = "bad.example/good"
location = "good.example:5000/really"
insecure = true

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
insecure = true

[[registry]]
prefix = "*.corp.example"
insecure = true

[[registry]]
location = "old.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example/old"
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistriesConf:
    """The configuration above, without the machine's drop-ins."""
    monkeypatch.setattr(registries, "SYSTEM_DROP_INS", tmp_path / "none")
    path = tmp_path / "registries.conf"
    path.write_text(CONF)
    return registries.load(path, {}, tmp_path)


def places(endpoints: list[Endpoint]) -> list[str]:
    """``host/path`` of each, with a bang when insecure."""
    return [f"{each.registry}/{each.repository}{'!' * each.insecure}" for each in endpoints]


def test_unknown_names_are_read_where_they_say(conf: RegistriesConf) -> None:
    """No entry: one endpoint, the name itself."""
    assert places(conf.resolve("quay.io", "a/b", is_digest=False)) == ["quay.io/a/b"]


def test_blocked_names_are_refused_with_skopeos_words(conf: RegistriesConf) -> None:
    """The message names the prefix and the files."""
    with pytest.raises(PolicyRefused, match=r"^registry bad\.example is blocked in .*registries\.conf or "):
        conf.resolve("bad.example", "x", is_digest=False)


def test_the_longest_prefix_decides(conf: RegistriesConf) -> None:
    """A namespace of a blocked registry may be rewritten to another place."""
    assert places(conf.resolve("bad.example", "good/app", is_digest=False)) == ["good.example:5000/really/app!"]
    with pytest.raises(PolicyRefused):
        conf.resolve("bad.example", "goodies/app", is_digest=False)


def test_mirrors_come_first_and_only_for_the_references_they_serve(conf: RegistriesConf) -> None:
    """pull-from-mirror all, digest-only and tag-only."""
    assert places(conf.resolve("docker.io", "library/x", is_digest=False)) == [
        "mirror.example/hub/library/x",
        "tags.example/library/x!",
        "docker.io/library/x",
    ]
    assert places(conf.resolve("docker.io", "library/x", is_digest=True)) == [
        "mirror.example/hub/library/x",
        "digests.example/library/x",
        "docker.io/library/x",
    ]


def test_mirror_by_digest_only_spares_tags(conf: RegistriesConf) -> None:
    """The older way of saying digest-only for all mirrors."""
    assert places(conf.resolve("old.example", "x", is_digest=False)) == ["old.example/x"]
    assert places(conf.resolve("old.example", "x", is_digest=True)) == ["m.example/old/x", "old.example/x"]


def test_a_blocked_mirror_is_passed_over(tmp_path: Path) -> None:
    """The others, and the place itself, still serve."""
    path = tmp_path / "r.conf"
    path.write_text(
        '[[registry]]\nlocation="a.io"\n[[registry.mirror]]\nlocation="m.io/a"\n[[registry.mirror]]\nlocation="n.io"\n'
        '[[registry]]\nlocation="m.io"\nblocked=true\n'
    )
    found = registries.load(path, {}, tmp_path)
    assert places(found.resolve("a.io", "x", is_digest=False)) == ["n.io/x", "a.io/x"]


def test_given_credentials_are_for_the_named_host_only(conf: RegistriesConf) -> None:
    """Endpoints on other hosts are marked as not the user's own choice."""
    assert [each.own for each in conf.resolve("docker.io", "library/x", is_digest=False)] == [False, False, True]


def test_wildcards_cover_subdomains_without_rewriting(conf: RegistriesConf) -> None:
    """``*.corp.example`` makes every host below it insecure, and leaves names alone."""
    assert places(conf.resolve("a.b.corp.example:5000", "x", is_digest=False)) == ["a.b.corp.example:5000/x!"]
    assert places(conf.resolve("corp.example", "x", is_digest=False)) == ["corp.example/x"]
    assert places(conf.resolve("q.io", "a.corp.example", is_digest=False)) == ["q.io/a.corp.example"]


def test_credential_helpers_are_listed_in_order(conf: RegistriesConf) -> None:
    """The global list, and the auth files alone where there is none."""
    assert conf.credential_helpers == ("containers-auth.json", "secretservice")
    assert RegistriesConf().credential_helpers == ("containers-auth.json",)


@pytest.mark.parametrize(
    ("name", "prefix", "expected"),
    [
        ("a.io/b/c", "a.io", 4),
        ("a.io/b/c", "a.io/b", 6),
        ("a.io/b/c", "a.io/b/c", 8),
        ("a.io/bc", "a.io/b", -1),
        ("a.io:5000/b", "a.io", 4),
        ("a.io.evil/b", "a.io", -1),
        ("x.a.io/b", "*.a.io", 6),
        ("a.io/b", "*.a.io", -1),
        ("x.a.io.evil/b", "*.a.io", -1),
        ("b/x.a.io", "*.a.io", -1),
    ],
)
def test_prefixes_end_at_boundaries(name: str, prefix: str, expected: int) -> None:
    """Only a slash, a colon, an at sign or the end may follow."""
    assert match_length(name, prefix) == expected


def test_rewriting_replaces_the_prefix_alone() -> None:
    """What follows the prefix is kept, a port included."""
    assert rewrite("a.io:5000/b", "a.io", "c.io") == "c.io:5000/b"
    assert rewrite("x.a.io/b", "*.a.io", "proxy.io/cache") == "proxy.io/cache/b"
    assert rewrite("x.a.io/b", "*.a.io", "") == "x.a.io/b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[registry]\n", "line 1, column 1"),
        ("a = 1\nb = nope\n", "line 2"),
        ('[[registry]]\nprefix = "x.io"\n', "no location"),
        ('[[registry]]\nlocation = "https://x.io"\n', "no scheme"),
        ('[[registry]]\nprefix = "a*.io"\nlocation = "b"\n', "wildcard"),
        ('[[registry]]\nlocation = "x"\nblocked = "yes"\n', "neither true nor false"),
        ('[registry]\nlocation = "x"\n', r"\[\[registry\]\]"),
        ('[[registry]]\nlocation = "x"\n[[registry.mirror]]\n', "mirror has no location"),
        ('[[registry]]\nlocation = "x"\n[[registry.mirror]]\nlocation = "y"\npull-from-mirror = "no"\n', "unsupported"),
        (
            '[[registry]]\nlocation="x"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="y"\n'
            'pull-from-mirror="all"\n',
            "exclude each other",
        ),
        ('[[registry]]\nlocation="x"\n[[registry]]\nlocation="x"\ninsecure=true\n', "twice"),
        ('[registries.block]\nregistries=["x"]\n[[registry]]\nlocation="x"\n', "mixing"),
        ("credential-helpers = 5\n", "list of strings"),
        ("a = " + "[" * 100_000, "recursion"),
    ],
)
def test_bad_files_are_one_line_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    """File, line and column where the parser knows them, and what is wrong."""
    path = tmp_path / "r.conf"
    path.write_text(text)
    with pytest.raises(BadConfig, match=message) as caught:
        registries.load(path, {}, tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    """--registries-conf and $CONTAINERS_REGISTRIES_CONF; the default files need not."""
    with pytest.raises(BadConfig, match="no such file"):
        registries.load(tmp_path / "none", {}, tmp_path)
    with pytest.raises(BadConfig, match="no such file"):
        registries.load(None, {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "none")}, tmp_path)


def test_drop_ins_replace_entries_in_alphabetical_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later files win, the user's folder after the system's."""
    system, home = tmp_path / "system", tmp_path / "home"
    user = home / ".config/containers/registries.conf.d"
    system.mkdir()
    user.mkdir(parents=True)
    monkeypatch.setattr(registries, "SYSTEM_CONF", tmp_path / "registries.conf")
    monkeypatch.setattr(registries, "SYSTEM_DROP_INS", system)
    (tmp_path / "registries.conf").write_text('[[registry]]\nlocation = "x"\nblocked = true\n')
    (system / "20.conf").write_text('[[registry]]\nlocation = "x"\ninsecure = true\n')
    (system / "10.conf").write_text('[[registry]]\nlocation = "x"\n[[registry]]\nlocation = "y"\n')
    (system / "ignored.txt").write_text("not toml at all")
    found = registries.load(None, {}, home)
    assert found.find("x/a") == registries.Registry("x", "x", insecure=True)
    assert found.find("y/a") is not None
    (user / "00.conf").write_text('[[registry]]\nlocation = "x"\n')
    assert registries.load(None, {}, home).find("x/a") == registries.Registry("x", "x")
    (home / ".config/containers/registries.conf").write_text("")
    assert registries.load(None, {}, home).find("y/a") is None


def test_version_one_still_works(tmp_path: Path) -> None:
    """Insecure and blocked registries of the old format."""
    path = tmp_path / "v1.conf"
    path.write_text('[registries.insecure]\nregistries=["i.io","b.io"]\n[registries.block]\nregistries=["b.io"]\n')
    found = registries.load(path, {}, tmp_path)
    entry = found.find("i.io/a")
    assert entry is not None
    assert (entry.insecure, entry.blocked) == (True, False)
    with pytest.raises(PolicyRefused):
        found.resolve("b.io", "a", is_digest=False)
