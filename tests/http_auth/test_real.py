"""The authority and the host table against Debian's docker-registry, by way of the real client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from fastcopy.errors import Denied, NeedsLogin, TlsRefused
from fastcopy.http import registries
from fastcopy.http.client import Client
from fastcopy.http.hosts import HostTable
from fastcopy.http.retry import error_from
from fastcopy.http.wire import Request, Response, Url
from fastcopy.options import Credentials, HostOptions, RunOptions
from tests.registries import PASSWORD, USER, Registry

pytestmark = pytest.mark.real("docker-registry")
GIVEN = Credentials(USER, PASSWORD)


@pytest.fixture(autouse=True)
def _no_machine_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "SYSTEM_CONF", tmp_path / "none")
    monkeypatch.setattr(registries, "SYSTEM_DROP_INS", tmp_path / "none.d")


@contextlib.asynccontextmanager
async def client(registry: Registry, home: Path, credentials: Credentials | None = None) -> AsyncIterator[Client]:
    """A client of *registry* with inline credentials."""
    certificates = registry.certificates
    options = HostOptions(
        credentials=credentials,
        cert_dir=certificates.directory if certificates else None,
        tls_verify=None if certificates else False,
    )
    access = HostTable(options, environ={}, home=home).access(registry.host)
    async with Client(access, run=RunOptions()) as made:
        yield made


def tags(made: Client, repository: str, actions: str = "pull") -> Request:
    """A request that needs *actions*."""
    url = Url(made.host.api, f"/v2/{repository}/tags/list")
    return Request("GET", url, scopes=(f"repository:{repository}:{actions}",))


async def test_one_token_per_scope_set(docker_token: Registry, tmp_path: Path) -> None:
    """Forty requests at once for two repositories cost two tokens; later narrower ones none."""
    assert docker_token.tokens is not None
    log = docker_token.tokens.log
    before = len(log)
    async with client(docker_token, tmp_path, GIVEN) as made:
        answers: list[Response] = []

        async def ask(repository: str) -> None:
            answers.append(await made.request(tags(made, repository, "pull,push")))

        async with trio.open_nursery() as nursery:
            for index in range(40):
                nursery.start_soon(ask, f"auth/r{index % 2}")
        answers.append(await made.request(tags(made, "auth/r0")))
    assert {answer.status for answer in answers} == {404}  # nothing there, and we were let in to see that
    assert {answer.auth for answer in answers} <= {"", "bearer"}
    assert sorted(query["scope"] for _, query in log[before:]) == [
        ["repository:auth/r0:pull,push"],
        ["repository:auth/r1:pull,push"],
    ]


async def test_an_identity_token_is_exchanged_by_post(docker_token: Registry, tmp_path: Path) -> None:
    """The OAuth2 form, and no other."""
    assert docker_token.tokens is not None
    before = len(docker_token.tokens.log)
    async with client(docker_token, tmp_path, Credentials(identity_token=f"{USER}:{PASSWORD}")) as made:
        assert (await made.request(tags(made, "auth/id"))).status == 404
    assert [method for method, _ in docker_token.tokens.log[before:]] == ["POST"]


async def test_a_wrong_password_is_told_by_the_token_server(docker_token: Registry, tmp_path: Path) -> None:
    """One line, without the password."""
    async with client(docker_token, tmp_path, Credentials(USER, "wrong-one")) as made:
        with pytest.raises(NeedsLogin, match="unable to retrieve auth token: invalid username/password") as caught:
            await made.request(tags(made, "auth/r0"))
    assert "wrong-one" not in str(caught.value)


async def test_the_scope_of_a_challenge_is_merged_into_ours(docker_token: Registry, tmp_path: Path) -> None:
    """401 insufficient_scope names what is missing: a second token has both, and the request is let in."""
    assert docker_token.tokens is not None
    before = len(docker_token.tokens.log)
    async with client(docker_token, tmp_path, GIVEN) as made:
        asked = Request("GET", tags(made, "auth/wider").url, scopes=("repository:auth/narrow:pull",))
        assert (await made.request(asked)).status == 404
        assert (await made.request(asked)).status == 404
    scopes = [query["scope"] for _, query in docker_token.tokens.log[before:]]
    assert scopes == [["repository:auth/narrow:pull"], ["repository:auth/narrow:pull", "repository:auth/wider:pull"]]


async def test_an_anonymous_push_asks_for_a_login(docker_token: Registry, tmp_path: Path) -> None:
    """Where nobody may come in without a name."""
    async with client(docker_token, tmp_path) as made:
        with pytest.raises(NeedsLogin, match="authentication required"):
            await made.request(tags(made, "auth/r0", "pull,push"))


async def test_basic_is_learnt_once(docker_basic: Registry, tmp_path: Path) -> None:
    """htpasswd: one 401, then the password up front."""
    async with client(docker_basic, tmp_path, GIVEN) as made:
        before = len(docker_basic.requests())
        for _ in range(3):
            assert (await made.request(tags(made, "auth/r0"))).status == 404
    assert [status for _, _, status in docker_basic.requests()[before:]] == [401, 404, 404, 404]


@pytest.mark.parametrize("credentials", [None, Credentials(USER, "wrong")])
async def test_basic_refused(docker_basic: Registry, tmp_path: Path, credentials: Credentials | None) -> None:
    """No or wrong credentials are both a matter of logging in."""
    async with client(docker_basic, tmp_path, credentials) as made:
        error = error_from(await made.request(tags(made, "auth/r0")), what="reading tags")
    assert isinstance(error, NeedsLogin)
    assert not isinstance(error, Denied)


async def test_an_unknown_authority_is_refused(docker_tls: Registry, tmp_path: Path) -> None:
    """Without --cert-dir the test CA is nobody's; with --tls-verify=false it does not matter."""
    run = RunOptions()
    async with Client(HostTable(HostOptions(), environ={}, home=tmp_path).access(docker_tls.host), run=run) as made:
        with pytest.raises(TlsRefused, match="failed to verify certificate"):
            await made.request(tags(made, "a"))
    lax = HostTable(HostOptions(tls_verify=False), environ={}, home=tmp_path).access(docker_tls.host)
    async with Client(lax, run=run) as made:
        assert (await made.request(tags(made, "a"))).status == 404


async def test_certs_d_is_found_by_the_registrys_name(docker_tls: Registry, tmp_path: Path) -> None:
    """~/.config/containers/certs.d/HOST:PORT."""
    assert docker_tls.certificates is not None
    folder = tmp_path / ".config/containers/certs.d" / docker_tls.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(docker_tls.certificates.ca.read_bytes())
    access = HostTable(HostOptions(), environ={}, home=tmp_path).access(docker_tls.host)
    async with Client(access, run=RunOptions()) as made:
        assert (await made.request(tags(made, "a"))).status == 404


async def test_an_insecure_registry_of_registries_conf_may_be_plain(docker_plain: Registry, tmp_path: Path) -> None:
    """insecure = true: https is tried, then http."""
    conf = tmp_path / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{docker_plain.host}"\ninsecure = true\n')
    access = HostTable(HostOptions(registries_conf=conf), environ={}, home=tmp_path).access(docker_plain.host)
    async with Client(access, run=RunOptions()) as made:
        assert (await made.request(tags(made, "a"))).status == 404
