"""The client with docker-registry and a token server: few tokens, and uploads that have theirs beforehand."""

from __future__ import annotations

import hashlib

import pytest
import trio

from fastcopy.http.client import Client
from fastcopy.http.wire import Origin, Request, Url
from fastcopy.options import Credentials, RunOptions
from tests.http.support import access
from tests.http.test_leases_h2 import push
from tests.registries import Registry


def api_of(registry: Registry) -> Origin:
    """The https origin of *registry*."""
    host, _, port = registry.host.partition(":")
    return Origin("https", host, int(port))


@pytest.mark.real("docker-registry")
@pytest.mark.parametrize("flavour", ["basic", "token"])
async def test_blobs_cross_with_credentials(request: pytest.FixtureRequest, flavour: str) -> None:
    """A push and twenty concurrent HEADs cost one token per scope set, and none with Basic."""
    registry: Registry = request.getfixturevalue(f"docker_{flavour}")
    assert registry.certificates is not None
    assert registry.credentials is not None
    api, given = api_of(registry), Credentials(*registry.credentials)
    lines: list[str] = []
    how = access(api, registry.certificates.ca, given=given)
    async with Client(how, run=RunOptions(stall=10), trace=lines.append) as client:
        digest = await push(client, api, b"layer" * 100_000)
        url = Url(api, f"/v2/t/blobs/{digest}")
        statuses: list[int] = []

        async def ask() -> None:
            response = await client.request(Request("HEAD", url, scopes=("repository:t:pull",)))
            statuses.append(response.status)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
    assert digest == f"sha256:{hashlib.sha256(b'layer' * 100_000).hexdigest()}"
    assert statuses == [200] * 20
    assert sum("scope=" in line for line in lines) <= (2 if flavour == "token" else 0)
    assert sum(" 401 " in line for line in lines) == 1
    assert registry.credentials[1] not in "".join(lines)


@pytest.mark.real("docker-registry")
async def test_wrong_credentials_are_not_tried_again(docker_basic: Registry) -> None:
    """A refused password is a 401 to the caller, after one attempt with it."""
    assert docker_basic.certificates is not None
    api = api_of(docker_basic)
    lines: list[str] = []
    how = access(api, docker_basic.certificates.ca, given=Credentials("flora", "wrong"))
    async with Client(how, run=RunOptions(stall=10), trace=lines.append) as client:
        response = await client.request(Request("GET", Url(api, "/v2/")))
    assert (response.status, response.auth) == (401, "basic")
    assert len(lines) == 2
