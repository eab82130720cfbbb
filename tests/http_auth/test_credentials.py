"""Where credentials are found, and login and logout."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import AuthError, BadConfig, FastcopyError, Unsupported
from fastcopy.http import authfile
from fastcopy.http.authfile import HUB_KEY, AuthFile, decode, encode
from fastcopy.http.credentials import CredentialStore, DockerStore, check_key, read_order
from fastcopy.options import Credentials


def entry(user: str, password: str = "pw") -> dict[str, str]:
    """An entry of ``auths``."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, auths: object = None, **more: object) -> Path:
    """An auth file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(({"auths": auths} if auths is not None else {}) | more))
    return path


def store(path: Path | None = None, home: Path | None = None, **environ: str) -> CredentialStore:
    """A store that sees no file of this machine."""
    base = home or (path.parent if path else Path("/nonexistent"))
    environ.setdefault("XDG_RUNTIME_DIR", str(base / "run"))
    return CredentialStore(path, environ=environ, home=base)


def user(found: Credentials | None) -> str | None:
    """The user name, or None."""
    return found.username if found else None


LAYERED = {
    "quay.io": entry("host"),
    "quay.io/ns": entry("namespace"),
    "quay.io/ns/app": entry("repository"),
    "https://old.example/v1/": entry("old"),
    "http://plain.example/v2/": entry("plain"),
    "port.example:5000": entry("port"),
    HUB_KEY: entry("hub"),
    "slash.example/": entry("slash"),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quay.io", "host"),
        ("quay.io/other/app", "host"),
        ("quay.io/ns", "namespace"),
        ("quay.io/ns/other", "namespace"),
        ("quay.io/nsx/app", "host"),
        ("quay.io/ns/app", "repository"),
        ("quay.io/ns/app/deeper", "repository"),
        ("quay.io/ns/app2", "namespace"),
        ("old.example/x", "old"),
        ("plain.example", "plain"),
        ("port.example:5000/x", "port"),
        ("port.example/x", None),
        ("port.example:5001/x", None),
        ("docker.io/library/x", "hub"),
        ("index.docker.io/library/x", "hub"),
        ("registry-1.docker.io/library/x", "hub"),
        ("slash.example/x", None),
        ("quay.io.evil.example/x", None),
        ("evil.example/quay.io", None),
    ],
)
def test_the_longest_key_wins_and_hosts_are_matched_whole(tmp_path: Path, name: str, expected: str | None) -> None:
    """Repository, its parents, the host; then hosts written as URLs. Never another host's."""
    assert user(store(write(tmp_path / "auth.json", LAYERED)).lookup(name)) == expected


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("name", ["quay.io", "quay.io/ns", "quay.io/ns/app", "quay.io/ns/app2", "quay.io/nsx/app",
    "old.example", "old.example/x", "plain.example", "port.example:5000", "port.example", "docker.io", "docker.io/a/b",
    "registry-1.docker.io", "slash.example", "quay.io.evil.example"])  # fmt: skip
def test_skopeo_finds_the_same(tmp_path: Path, name: str) -> None:
    """The lookup agrees with Debian's skopeo, name by name."""
    import subprocess

    path = write(tmp_path / "auth.json", LAYERED)
    done = subprocess.run(
        ["skopeo", "login", "--get-login", "--authfile", str(path), name], capture_output=True, text=True, check=False
    )
    theirs = done.stdout.strip() if done.returncode == 0 else None
    assert user(store(path).lookup(name)) == theirs


def test_files_are_read_in_order_and_the_first_match_wins(tmp_path: Path) -> None:
    """Runtime directory, configuration directory, docker's file, the ancient one."""
    run, conf, docker = tmp_path / "run", tmp_path / "conf", tmp_path / "docker"
    write(run / "containers/auth.json", {"a.io": entry("runtime")})
    write(conf / "containers/auth.json", {"a.io": entry("x"), "b.io": entry("configuration")})
    write(docker / "config.json", {"b.io": entry("x"), "c.io": entry("docker")})
    (tmp_path / ".dockercfg").write_text(json.dumps({"https://d.io/v1/": entry("ancient"), "c.io": entry("x")}))
    found = store(None, tmp_path, XDG_RUNTIME_DIR=str(run), XDG_CONFIG_HOME=str(conf), DOCKER_CONFIG=str(docker))
    names = ["a.io/x", "b.io/x", "c.io/x", "d.io/x", "e.io/x"]
    assert [user(found.lookup(name)) for name in names] == ["runtime", "configuration", "docker", "ancient", None]


def test_a_named_file_excludes_all_others(tmp_path: Path) -> None:
    """--authfile, or $REGISTRY_AUTH_FILE; the flag wins."""
    write(tmp_path / ".docker/config.json", {"a.io": entry("docker")})
    named = write(tmp_path / "named.json", {"b.io": entry("named")})
    flag = write(tmp_path / "flag.json", {"b.io": entry("flag")})
    assert store(None, tmp_path, REGISTRY_AUTH_FILE=str(named)).lookup("a.io/x") is None
    assert user(store(None, tmp_path, REGISTRY_AUTH_FILE=str(named)).lookup("b.io/x")) == "named"
    assert user(CredentialStore(flag, environ={"REGISTRY_AUTH_FILE": str(named)}).lookup("b.io")) == "flag"
    assert store(tmp_path / "missing.json").lookup("a.io") is None


def test_the_default_places_depend_on_the_environment(tmp_path: Path) -> None:
    """A runtime directory that does not exist is passed over when reading."""
    assert read_order({"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path)[0] == tmp_path / "containers/auth.json"
    assert read_order({"XDG_RUNTIME_DIR": "/nonexistent"}, tmp_path)[0] == tmp_path / ".config/containers/auth.json"
    assert read_order({}, tmp_path)[0] == Path(f"/run/containers/{os.getuid()}/auth.json")


def test_docker_auth_config_comes_first_and_may_hold_nothing_else(tmp_path: Path) -> None:
    """The variable of CI systems; a field docker would refuse is refused."""
    write(tmp_path / ".docker/config.json", {"a.io": entry("file"), "b.io": entry("file")})
    variable = json.dumps({"auths": {"a.io": entry("variable")}})
    found = store(None, tmp_path, DOCKER_AUTH_CONFIG=variable)
    assert [user(found.lookup(name)) for name in ("a.io", "b.io")] == ["variable", "file"]
    for bad in ('{"auths": {}, "credsStore": "x"}', '{"auths": {"a.io": {"identitytoken": "x"}}}', "{"):
        with pytest.raises(BadConfig, match="DOCKER_AUTH_CONFIG"):
            store(None, tmp_path, DOCKER_AUTH_CONFIG=bad).lookup("a.io")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (entry("u", "p:w"), Credentials("u", "p:w")),
        (entry("u", "p\x00\x00"), Credentials("u", "p")),
        (entry("", "t") | {"identitytoken": "id"}, Credentials("", "t", "id")),
        ({"identitytoken": "id"}, Credentials(identity_token="id")),
        ({"registrytoken": "reg"}, Credentials(registry_token="reg")),
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        ({"auth": base64.b64encode(b"nocolon").decode()}, None),
        ({}, None),
    ],
)
def test_entries_are_decoded_as_docker_does(fields: dict[str, str], expected: Credentials | None) -> None:
    """Passwords with colons, trailing NULs, tokens, and entries that hold nothing."""
    assert decode(fields, "here") == expected


@given(st.text().filter(lambda text: ":" not in text), st.text().map(lambda text: text.strip("\x00")), st.text())
def test_what_is_encoded_is_decoded(name: str, password: str, token: str) -> None:
    """Any user name without a colon, any password."""
    credentials = Credentials(name, password, token)
    expected = credentials if credentials != Credentials() else None
    assert decode(encode(credentials), "x") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"auths": {"a.io": {"auth": "***"}}}', "not base64"),
        ('{"auths": {"a.io": {"auth": 5}}}', "auth is not a string"),
        ('{"auths": {"a.io": "secret"}}', "not an object"),
        ('{"auths": ["secret"]}', "auths is not an object"),
        ('{"auths": {,}}', "line 1, column 12"),
        ("[]", "not a JSON object"),
        ("\xff\xfe", "not"),
        ('{"credsStore": {}}', "credsStore"),
    ],
)
def test_a_broken_file_is_one_line_without_its_secrets(tmp_path: Path, text: str, message: str) -> None:
    """The file, the entry, what is wrong; never what it holds. Broken is not anonymous."""
    path = tmp_path / "auth.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadConfig, match=message) as caught:
        store(path).lookup("a.io")
    assert str(caught.value).startswith(str(path))
    assert "secret" not in str(caught.value)


def helper(folder: Path, name: str, script: str) -> str:
    """A credential helper on a PATH of its own; what it was asked is appended to ``log``."""
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f'#!/bin/sh\ninput=$(/bin/cat)\necho "$1 $input" >> {folder}/log\n{script}\n')
    program.chmod(0o700)
    return str(folder)


def asked(folder: str) -> list[str]:
    """What the helpers were asked."""
    return (Path(folder) / "log").read_text().splitlines()


GOOD = """echo '{"ServerURL":"x","Username":"helped","Secret":"s3cret"}'"""
NONE = "echo 'credentials not found in native keychain'; exit 1"


def test_a_helper_of_the_file_answers_for_its_registry(tmp_path: Path) -> None:
    """credHelpers is by host, comes before auths, and the helper is asked once."""
    path = helper(tmp_path / "bin", "good", GOOD)
    file = write(tmp_path / "auth.json", {"a.io": entry("file")}, credHelpers={"a.io": "good"})
    found = store(file, PATH=path)
    assert [user(found.lookup(name)) for name in ("a.io/x", "a.io/y")] == ["helped", "helped"]
    assert asked(path) == ["get a.io"]


def test_a_helper_may_give_an_identity_token(tmp_path: Path) -> None:
    """The user name <token> marks the secret as a refresh token."""
    path = helper(tmp_path / "bin", "tok", """echo '{"Username":"<token>","Secret":"refresh"}'""")
    file = write(tmp_path / "auth.json", credHelpers={"a.io": "tok"})
    assert store(file, PATH=path).lookup("a.io/x") == Credentials(identity_token="refresh")


def test_only_not_found_means_anonymous(tmp_path: Path) -> None:
    """A helper that has nothing says so with its own words; anything else is an error (CVE-2021-41092)."""
    path = helper(tmp_path / "bin", "none", NONE)
    file = write(tmp_path / "auth.json", credHelpers={"a.io": "none", "b.io": "bad", "c.io": "mad", "d.io": "missing"})
    helper(tmp_path / "bin", "bad", "echo 'locked keychain'; exit 2")
    helper(tmp_path / "bin", "mad", """echo '{"Username":"u","Secret":12345678}'""")
    found = store(file, PATH=path)
    assert found.lookup("a.io/x") is None
    for name, message in (
        ("b.io", r"exit status 2\): locked keychain"),
        ("c.io", "protocol"),
        ("d.io", "not installed"),
    ):
        with pytest.raises(AuthError, match=message) as caught:
            found.lookup(name)
        assert "12345678" not in str(caught.value)


def test_the_store_of_docker_is_asked_when_the_file_has_nothing(tmp_path: Path) -> None:
    """credsStore: entries are empty objects, Docker Hub goes by its old name as well."""
    path = helper(tmp_path / "bin", "hub", f'[ "$input" = {HUB_KEY} ] && {GOOD} || {{ {NONE}; }}')
    file = write(tmp_path / "config.json", {HUB_KEY: {}, "b.io": entry("file")}, credsStore="hub")
    found = store(file, PATH=path)
    assert user(found.lookup("docker.io/library/x")) == "helped"
    assert user(found.lookup("b.io/x")) == "file"
    assert asked(path) == ["get docker.io", f"get {HUB_KEY}"]


def test_a_helper_that_failed_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """Many repositories of one registry do not start a broken program again and again."""
    path = helper(tmp_path / "bin", "bad", "exit 2")
    found = store(write(tmp_path / "auth.json", credHelpers={"a.io": "bad"}), PATH=path)
    for name in ("a.io/x", "a.io/y", "a.io/x"):
        with pytest.raises(AuthError, match="exit status 2"):
            found.lookup(name)
    assert asked(path) == ["get a.io"]


def test_a_broken_store_matters_only_where_there_is_an_entry(tmp_path: Path) -> None:
    """Pulling anonymously from a registry nobody logged into works without the desktop's helper."""
    file = write(tmp_path / "config.json", {"a.io": {}}, credsStore="gone")
    found = store(file, PATH="/nonexistent")
    assert found.lookup("b.io/x") is None
    with pytest.raises(AuthError, match="docker-credential-gone is not installed"):
        found.lookup("a.io/x")


@pytest.mark.parametrize("name", ["../evil", "a/b", "a b", "", "-x", "a\\b", "a..b", "a\nb"])
def test_a_helpers_name_cannot_leave_the_path(tmp_path: Path, name: str) -> None:
    """The name comes from a file that is copied around."""
    file = write(tmp_path / "auth.json", {"x.io": {}}, credsStore=name or " ")
    with pytest.raises(BadConfig, match="not the name of a credential helper"):
        store(file, PATH=str(tmp_path)).lookup("x.io")


def test_a_helper_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit the program is killed."""
    from fastcopy.http import helpers

    monkeypatch.setattr(helpers, "TIME_LIMIT", 0.3)
    path = helper(tmp_path / "bin", "slow", f"echo $$ > {tmp_path}/pid; exec /bin/sleep 100")
    file = write(tmp_path / "auth.json", credHelpers={"a.io": "slow"})
    with pytest.raises(AuthError, match="did not answer"):
        store(file, PATH=path).lookup("a.io")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_cancelling_ends_the_helper(tmp_path: Path) -> None:
    """A lookup in a thread leaves no program behind when its task is cancelled."""
    import trio

    path = helper(tmp_path / "bin", "slow", f"echo $$ > {tmp_path}/pid; exec /bin/sleep 100")
    found = store(write(tmp_path / "auth.json", credHelpers={"a.io": "slow"}), PATH=path)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, found.lookup, "a.io")
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                await trio.sleep(0.01)
            scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_configured_helpers_are_asked_in_order(tmp_path: Path) -> None:
    """credential-helpers of registries.conf; a failing one matters only if nobody else knows."""
    path = helper(tmp_path / "bin", "good", GOOD)
    helper(tmp_path / "bin", "bad", "exit 3")
    file = write(tmp_path / "auth.json", {"a.io": entry("file")})
    sources = ("bad", "containers-auth.json", "good")
    found = CredentialStore(file, helpers=sources, environ={"PATH": path})
    assert [user(found.lookup(name)) for name in ("a.io/x", "b.io/x")] == ["file", "helped"]
    with pytest.raises(AuthError):
        CredentialStore(file, helpers=("bad", "containers-auth.json"), environ={"PATH": path}).lookup("b.io/x")


def test_login_writes_what_skopeo_writes(tmp_path: Path) -> None:
    """Tabs, sorted, mode 0600; what the file holds besides is kept."""
    file = write(tmp_path / "deep/auth.json", {"zz": entry("z")}, other={"kept": [1]})
    assert store(file).login("a.io/ns", Credentials("u", "p<&é")) == str(file)
    lines = [
        "{",
        '\t"auths": {',
        '\t\t"a.io/ns": {',
        '\t\t\t"auth": "dTpwPCbDqQ=="',
        "\t\t},",
        '\t\t"zz": {',
        '\t\t\t"auth": "ejpwdw=="',
        "\t\t}",
        "\t},",
        '\t"other": {',
        '\t\t"kept": [',
        "\t\t\t1",
        "\t\t]",
        "\t}",
        "}",
    ]
    assert file.read_text() == "\n".join(lines)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert user(store(file).lookup("a.io/ns/x")) == "u"


def test_login_creates_the_default_file(tmp_path: Path) -> None:
    """In the runtime directory if there is one; $DOCKER_CONFIG takes precedence, as in skopeo."""
    found = store(None, tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
    assert found.login("a.io", Credentials("u", "p")) == str(tmp_path / "containers/auth.json")
    assert stat.S_IMODE((tmp_path / "containers").stat().st_mode) == 0o700
    assert found.get_login("a.io") == "u"
    with pytest.raises(BadConfig, match="XDG_RUNTIME_DIR does not exist"):
        store(None, tmp_path, XDG_RUNTIME_DIR="/nonexistent").login("a.io", Credentials("u", "p"))
    assert store(None, tmp_path, DOCKER_CONFIG=str(tmp_path / "d")).path == tmp_path / "d/config.json"


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    """Dotfile managers link auth files; the target is replaced, not the link."""
    target = write(tmp_path / "real/auth.json", {})
    link = tmp_path / "auth.json"
    link.symlink_to(target)
    store(link).login("a.io", Credentials("u", "p"))
    assert link.is_symlink()
    assert "a.io" in target.read_text()


def test_login_at_a_registry_with_a_helper_stores_there(tmp_path: Path) -> None:
    """credHelpers: the file is left alone."""
    path = helper(tmp_path / "bin", "keep", "")
    file = write(tmp_path / "auth.json", credHelpers={"a.io": "keep"})
    before = file.read_text()
    assert "docker-credential-keep" in store(file, PATH=path).login("a.io", Credentials("u", "p"))
    assert file.read_text() == before
    assert asked(path) == ['store {"ServerURL": "a.io", "Username": "u", "Secret": "p"}']


def test_logout_removes_one_and_says_when_there_was_none(tmp_path: Path) -> None:
    """Exactly the named key; a second time it is an error."""
    file = write(tmp_path / "auth.json", {"a.io": entry("u"), "a.io/ns": entry("v")})
    found = store(file)
    assert found.logout("a.io") == str(file)
    assert json.loads(file.read_text()) == {"auths": {"a.io/ns": entry("v")}}
    with pytest.raises(AuthError, match=r"^not logged into a\.io$"):
        found.logout("a.io")
    with pytest.raises(AuthError, match=r"^not logged into b\.io$"):
        found.get_login("b.io")


def test_logout_of_all_empties_the_file_and_its_helpers(tmp_path: Path) -> None:
    """Unknown keys survive."""
    path = helper(tmp_path / "bin", "keep", "")
    file = write(tmp_path / "auth.json", {"a.io": entry("u")}, credHelpers={"b.io": "keep"}, other=1)
    store(file, PATH=path).logout_all()
    assert json.loads(file.read_text()) == {"auths": {}, "other": 1}
    assert asked(path) == ["erase b.io"]


def test_docker_files_have_no_namespaces(tmp_path: Path) -> None:
    """--compat-auth-file: Docker Hub under its old key, other keys kept."""
    file = write(tmp_path / "config.json", {}, credsStore="x", HttpHeaders={"A": "b"})
    found = DockerStore(file, environ={}, home=tmp_path)
    found.login("docker.io", Credentials("u", "p"))
    assert json.loads(file.read_text()) == {
        "auths": {HUB_KEY: {"auth": "dTpw"}},
        "credsStore": "x",
        "HttpHeaders": {"A": "b"},
    }
    assert found.get_login("docker.io") == "u"
    found.logout("docker.io")
    with pytest.raises(Unsupported, match="namespaces"):
        found.login("a.io/ns", Credentials("u", "p"))


@pytest.mark.parametrize("name", ["https://a.io", "a.io/x:1", "a.io/x@sha256:0", "", "/x"])
def test_images_and_urls_are_no_keys(tmp_path: Path, name: str) -> None:
    """Credentials are for a registry or a namespace."""
    with pytest.raises(BadConfig):
        store(tmp_path / "auth.json").login(name, Credentials("u", "p"))
    check_key("localhost:5000/ns")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced whole or not at all, and no temporary file stays."""
    file = write(tmp_path / "auth.json", {"a.io": entry("u")})
    before = file.read_text()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(authfile.os, "fsync", full)
    with pytest.raises(FastcopyError, match="No space left"):
        store(file).login("b.io", Credentials("u", "p"))
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_no_repr_shows_what_a_file_holds(tmp_path: Path) -> None:
    """Entries are not printed with the object."""
    assert "hidden" not in repr(AuthFile.read(write(tmp_path / "a.json", {"a.io": {"auth": "hidden"}})))
