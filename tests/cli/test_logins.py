"""login and logout: prompts, checks, files; the registry itself is played."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastcopy import api
from fastcopy.errors import CannotConnect, NeedsLogin
from fastcopy.options import Options
from tests.cli.support import run

HOST = "r.example:5000"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """A registry that takes u/p; everything it was asked with. The auth file is the test's own."""
    seen: list[Any] = []

    async def ping_async(registry: str, options: Options, *, trace: Any = None) -> None:
        given = options.source.credentials
        seen.append((registry, given.username, given.password) if given else (registry,))
        if registry == "down.example":
            raise CannotConnect("nobody answers")
        if seen[-1][1:] != ("u", "p"):
            raise NeedsLogin("authentication required")

    monkeypatch.setattr(api, "ping_async", ping_async)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "/dev/null")
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    return iter([seen])


@pytest.fixture
def seen(asked: Iterator[list[Any]]) -> list[Any]:
    """What the registry was asked."""
    return next(asked)


def _kept(tmp_path: Path) -> dict[str, str]:
    entries = json.loads((tmp_path / "auth.json").read_text())["auths"]
    return {key: base64.b64decode(entry["auth"]).decode() for key, entry in entries.items()}


def test_good_credentials_are_kept_and_one_line_is_printed(seen: list[Any], tmp_path: Path) -> None:
    """Exactly `Login Succeeded!`; the file is private."""
    ran = run("login", "-u", "u", "-p", "p", HOST)
    assert (ran.code, ran.out, ran.err) == (0, "Login Succeeded!\n", "")
    assert seen == [(HOST, "u", "p")]
    assert _kept(tmp_path) == {HOST: "u:p"}
    assert (tmp_path / "auth.json").stat().st_mode & 0o777 == 0o600


def test_a_password_may_come_from_stdin(seen: list[Any], tmp_path: Path) -> None:
    """Its line end is not part of it; --verbose tells the file."""
    ran = run("login", "-u", "u", "--password-stdin", "--verbose", HOST, inp="p\n")
    assert ran.out == f"Used:  {tmp_path}/auth.json\nLogin Succeeded!\n"
    assert _kept(tmp_path) == {HOST: "u:p"}


def test_wrong_credentials_are_not_kept(seen: list[Any], tmp_path: Path) -> None:
    """skopeo's words, exit code 1, no secret in them."""
    ran = run("login", "-u", "u", "-p", "hunter2", HOST)
    assert ran.code == 1
    assert ran.fatal == r'level=fatal msg="logging into \"r.example:5000\": invalid username/password"'
    assert not (tmp_path / "auth.json").exists()


def test_a_registry_that_cannot_be_asked_is_not_a_wrong_password(seen: list[Any]) -> None:
    """The reason is told."""
    ran = run("login", "-u", "u", "-p", "p", "down.example")
    assert ran.fatal == r'level=fatal msg="authenticating creds for \"down.example\": nobody answers"'


def test_credentials_for_a_namespace_are_checked_at_the_host(seen: list[Any], tmp_path: Path) -> None:
    """And kept under the namespace."""
    assert run("login", "-u", "u", "-p", "p", f"{HOST}/team").code == 0
    assert seen == [(HOST, "u", "p")]
    assert _kept(tmp_path) == {f"{HOST}/team": "u:p"}


def test_kept_credentials_are_tried_before_anybody_is_asked(seen: list[Any]) -> None:
    """skopeo's two lines."""
    run("login", "-u", "u", "-p", "p", HOST)
    ran = run("login", HOST)
    assert ran.out == (
        f"Authenticating with existing credentials for {HOST}\n"
        f"Existing credentials are valid. Already logged in to {HOST}\n"
    )


def test_get_login_prints_the_user(seen: list[Any]) -> None:
    """Or says that there is none."""
    assert run("login", "--get-login", HOST).fatal == f'level=fatal msg="not logged into {HOST}"'
    run("login", "-u", "u", "-p", "p", HOST)
    assert run("login", "--get-login", HOST).out == "u\n"


def test_logout_forgets_one_or_all(seen: list[Any], tmp_path: Path) -> None:
    """With skopeo's lines; what is not there is an error."""
    for host in (HOST, "s.example", "t.example"):
        run("login", "-u", "u", "-p", "p", host)
    assert run("logout", HOST).out == f"Removed login credentials for {HOST}\n"
    assert sorted(_kept(tmp_path)) == ["s.example", "t.example"]
    assert run("logout", HOST).fatal == f'level=fatal msg="not logged into {HOST}"'
    assert run("logout", "--all").out == "Removed login credentials for all registries\n"
    assert _kept(tmp_path) == {}


def test_a_scheme_is_forgiven(seen: list[Any], tmp_path: Path) -> None:
    """https://host is the host."""
    assert run("login", "-u", "u", "-p", "p", f"https://{HOST}/v2/").code == 0
    assert _kept(tmp_path) == {HOST: "u:p"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--password-stdin", HOST], "must provide --username with --password-stdin"),
        (["--password-stdin", "-u", "u", "-p", "p", HOST], "can't specify both --password-stdin and --password"),
        ([HOST], "getting username and password: reading username: EOF"),
        (["-u", "u", HOST], "getting username and password: reading password: inappropriate ioctl for device"),
        (["--get-login"], "please provide a registry to log in to"),
    ],
)
def test_what_is_missing_is_said_in_skopeos_words(seen: list[Any], words: list[str], text: str) -> None:
    """Nothing is asked of the registry."""
    ran = run("login", *words)
    assert (ran.code, ran.fatal) == (1, f'level=fatal msg="{text}"')
    assert seen == []


def test_a_docker_file_is_written_for_docker(seen: list[Any], tmp_path: Path) -> None:
    """--compat-auth-file."""
    compatible = tmp_path / "config.json"
    assert run("login", "-u", "u", "-p", "p", f"--compat-auth-file={compatible}", "docker.io").code == 0
    assert list(json.loads(compatible.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert not (tmp_path / "auth.json").exists()
