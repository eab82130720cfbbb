"""Whatever a registry answers, in whatever order: it ends, and secrets go where they may."""

from __future__ import annotations

import contextlib

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy.errors import FastcopyError
from fastcopy.http.wire import Request, Response
from fastcopy.options import Credentials
from tests.http_auth.world import ALICE, World, access, answer, basic, get, header_of

LINES = st.sampled_from([
    'Bearer realm="https://auth.example/token",service="svc"',
    'Bearer realm="https://auth.example/token",service="svc",error="invalid_token"',
    'Bearer realm="https://auth.example/token",service="svc",scope="repository:a:pull,push",error="insufficient_scope"',
    'Bearer realm="https://auth.example/token",service="svc",scope="repository:z:pull",error="insufficient_scope"',
    'Bearer realm="https://auth.example/token",service="other"',
    'Bearer realm="/own"',
    'Bearer realm="https://evil.example/token"',
    'Bearer realm="http://auth.example/token"',
    "Bearer",
    'Basic realm="harbor"',
    'Basic realm="x", Bearer realm="https://auth.example/token"',
    "Negotiate",
    "",
])  # fmt: skip
REFUSALS = st.builds(
    lambda status, lines: answer(status, *(("WWW-Authenticate", line) for line in lines)),
    st.sampled_from([401, 401, 401, 403]),
    st.lists(LINES, max_size=2),
)
SCRIPTS = st.lists(st.one_of(REFUSALS, st.just(answer(200))), max_size=24)
REQUESTS = st.lists(st.sampled_from([get("a"), get("a", "pull,push"), get("b"), get("a", "pull", "repository:b:pull")]))
PEOPLE = st.sampled_from([None, ALICE, Credentials(identity_token="refresh-me")])


@settings(deadline=None)
@given(SCRIPTS, REQUESTS, PEOPLE, st.lists(st.integers(0, 400), max_size=8))
def test_a_registry_that_answers_at_random(
    script: list[Response], requests: list[Request], person: Credentials | None, steps: list[int]
) -> None:
    """Each request ends; the password reaches the registry only after it asked for Basic, and no token was refused."""
    script, steps = [*script], [*steps]
    world = World(access(person))
    sent: list[tuple[str | None, Response]] = []

    def judge(_request: Request, header: str | None) -> Response:
        response = script.pop(0) if script else answer(200)
        sent.append((header, response))
        return response

    world.judge = judge

    async def run() -> None:
        for request in requests:
            sent.clear()
            with contextlib.suppress(FastcopyError):
                await world.request(request)  # fails by itself when it does not end
            _check_attempt(sent)
            world.now += steps.pop(0) if steps else 0

    trio.run(run)
    for asked in world.log:
        assert asked.url.origin.scheme == "https"
        assert asked.url.origin.host in ("auth.example", "evil.example", "registry.example")
        if person is not ALICE:
            assert header_of(asked, "authorization") == ""
    assert len({asked.url.origin.host for asked in world.log} - {"registry.example"}) <= 1


def _check_attempt(sent: list[tuple[str | None, Response]]) -> None:
    password = basic(ALICE.username, ALICE.password)
    for before, (header, _) in enumerate(sent):
        if header == password:
            assert not any(each and each.startswith("Bearer") for each, _ in sent[:before])
