"""From a challenge to the header that satisfies it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from fastcopy.errors import Denied, FastcopyError, NeedsLogin, ProtocolBroken, ServerFault, TooManyRequests
from fastcopy.http.auth import Authority
from fastcopy.http.retry import error_from
from fastcopy.http.wire import Origin, Request, Response, Url
from fastcopy.options import Credentials
from tests.http_auth.world import (
    ALICE,
    HOST,
    REALM,
    World,
    access,
    answer,
    basic,
    form_of,
    get,
    header_of,
    query_of,
    scopes_of,
)


async def test_an_anonymous_pull_gets_one_token_and_keeps_it() -> None:
    """The first 401 leads to one token request; further requests with the same scopes carry the token at once."""
    world = World()
    for _ in range(5):
        response = await world.request(get("a/b"))
        assert (response.status, response.auth) == (200, "anonymous")
    assert world.seen == [None] + ["Bearer token-1"] * 5
    (asked,) = world.log
    assert query_of(asked) == {"service": ["svc"], "scope": ["repository:a/b:pull"]}
    assert asked.method == "GET"
    assert header_of(asked, "authorization") == ""
    assert (asked.follow, asked.limit) == (False, 1 << 20)


async def test_the_password_goes_to_the_token_server_only() -> None:
    """With a password the token request has Basic and names the account; the registry sees the token alone."""
    world = World(access(ALICE))
    assert (await world.request(get("a/b"))).auth == "bearer"
    assert header_of(world.log[0], "authorization") == basic("alice", "s3cret")
    assert query_of(world.log[0])["account"] == ["alice"]
    assert world.seen == [None, "Bearer token-1"]


async def test_a_known_registry_is_asked_with_the_token_up_front() -> None:
    """Once Bearer was learnt, a request with other scopes fetches its token before it is sent."""
    world = World()
    await world.request(get("a/b"))
    await world.request(get("c/d"))
    assert world.seen == [None, "Bearer token-1", "Bearer token-2"]


async def test_a_ping_teaches_the_scheme_without_fetching_an_anonymous_token() -> None:
    """GET /v2/ has no scopes: its 401 is final for the anonymous, and what it taught is used afterwards."""
    world = World()
    ping = Request("GET", Url(HOST, "/v2/"))
    assert (await world.request(ping)).status == 401
    assert world.log == []
    await world.request(get("a/b"))
    assert world.seen == [None, "Bearer token-1"]


async def test_a_login_check_asks_for_a_token_without_scopes() -> None:
    """With credentials, GET /v2/ is answered by a token that names no scope (skopeo login)."""
    world = World(access(ALICE), judge=lambda _r, header: answer(200) if header else None)
    assert (await world.request(Request("GET", Url(HOST, "/v2/")))).status == 200
    assert "scope" not in query_of(world.log[0])


async def test_a_mount_asks_for_both_scopes_with_push_first() -> None:
    """Some token servers look at the first scope only, so the destination's comes first."""
    world = World(access(ALICE))
    await world.request(get("dst", "pull,push", "repository:src:pull"))
    assert scopes_of(world.log[0]) == ("repository:dst:pull,push", "repository:src:pull")


async def test_a_wider_token_serves_a_narrower_request() -> None:
    """A HEAD with pull does not fetch a token when one for pull,push is held."""
    world = World(access(ALICE))
    await world.request(get("a/b", "pull,push"))
    await world.request(get("a/b", "pull"))
    assert len(world.log) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_registry_that_dislikes_wider_tokens_gets_exact_ones(status: int) -> None:
    """cgr.dev answers 403 to a token of other scope: fetch the exact one, and never reuse there again."""

    def judge(request: Request, header: str | None) -> Response | None:
        if header and scopes_of(world.log[int(header.rpartition("-")[2]) - 1]) != request.scopes:
            return answer(status, ("WWW-Authenticate", f'Bearer realm="{REALM}"'))
        return None

    world = World(access(ALICE), judge=judge)
    await world.request(get("a", "pull,push"))
    assert (await world.request(get("a", "pull"))).status == 200
    await world.request(get("b", "pull,push"))
    assert (await world.request(get("b", "pull"))).status == 200
    assert len(world.log) == 4
    assert len(world.seen) == 1 + 1 + 2 + 1 + 1


async def test_insufficient_scope_is_merged_once_and_remembered() -> None:
    """The registry wants more than we thought: the scopes are merged, and the next request starts with them."""
    wanted = f'Bearer realm="{REALM}",service="svc",scope="repository:a:pull,push",error="insufficient_scope"'

    def judge(_request: Request, header: str | None) -> Response | None:
        if header and scopes_of(world.log[int(header.rpartition("-")[2]) - 1]) == ("repository:a:pull",):
            return answer(401, ("WWW-Authenticate", wanted))
        return None

    world = World(access(ALICE), judge=judge)
    assert (await world.request(get("a"))).status == 200
    assert [scopes_of(each) for each in world.log] == [("repository:a:pull",), ("repository:a:pull,push",)]
    assert (await world.request(get("a"))).status == 200
    assert len(world.log) == 2


async def test_missing_rights_are_final_after_one_token() -> None:
    """The token server grants less than was asked for; a 401 to the fresh token is not answered again."""
    world = World(access(ALICE), rights=("repository:a:pull",))
    response = await world.request(get("a", "pull,push"))
    assert (response.status, response.auth, len(world.log)) == (401, "bearer", 1)
    assert isinstance(error_from(response, what="x"), Denied)


async def test_harbors_basic_after_a_valid_token_does_not_get_the_password() -> None:
    """401 Basic to a fresh token that lacks the right is a refusal, not a challenge (Harbor)."""
    world = World(
        access(ALICE),
        judge=lambda _r, header: answer(401, ("WWW-Authenticate", 'Basic realm="harbor"')) if header else None,
    )
    response = await world.request(get("a"))
    assert (response.status, len(world.log)) == (401, 1)
    assert all(header is None or header.startswith("Bearer ") for header in world.seen)
    assert isinstance(error_from(response, what="writing"), Denied)


async def test_an_anonymous_refusal_asks_for_a_login() -> None:
    """Without credentials a final 401 means: log in."""
    world = World(rights=())
    response = await world.request(get("private"))
    assert response.auth == "anonymous"
    assert isinstance(error_from(response, what="x"), NeedsLogin)


async def test_a_token_that_expired_under_way_is_replaced_once() -> None:
    """A 401 with invalid_token to an old token gets a fresh one; the request is sent again."""
    world = World(access(ALICE))
    await world.request(get("a"))
    world.revoke_all()
    world.now += 200
    world.judge = lambda _r, header: (
        answer(401, ("WWW-Authenticate", f'Bearer realm="{REALM}",service="svc",error="invalid_token"'))
        if header == "Bearer token-1"
        else None
    )
    assert (await world.request(get("a"))).status == 200
    assert len(world.log) == 2


async def test_harbors_basic_to_an_old_token_gets_a_fresh_one() -> None:
    """Harbor challenges an expired token with Basic as well; age is what tells it from a missing right."""
    world = World(access(ALICE))
    await world.request(get("a"))
    world.now += 200
    world.judge = lambda _r, header: (
        answer(401, ("WWW-Authenticate", 'Basic realm="harbor"')) if header == "Bearer token-1" else None
    )
    assert (await world.request(get("a"))).status == 200
    assert (len(world.log), world.seen[-1]) == (2, "Bearer token-2")


async def test_a_second_refusal_of_a_fresh_token_is_final() -> None:
    """However often a server says invalid_token, a request fetches at most one token to replace a refused one."""
    world = World(access(ALICE))
    refused = answer(401, ("WWW-Authenticate", f'Bearer realm="{REALM}",service="svc",error="invalid_token"'))
    world.judge = lambda _r, header: refused if header else None
    assert (await world.request(get("a"))).status == 401
    assert len(world.log) == 2


@pytest.mark.parametrize(("life", "good_until"), [(300, 269), (None, 44), (8, 5), (2, 1)])
async def test_tokens_are_used_for_as_long_as_they_say(life: float | None, good_until: int) -> None:
    """expires_in, one minute without it; renewed before the end so that no request meets an expired token."""
    world = World(life=life)
    await world.request(get("a"))
    world.now += good_until
    await world.request(get("a"))
    assert len(world.log) == 1
    world.now += (life or 60) - good_until
    await world.request(get("a"))
    assert len(world.log) == 2
    assert world.seen.count(None) == 1


async def test_one_request_renews_while_the_others_use_the_old_token() -> None:
    """Shortly before its end one request fetches the successor; nobody else waits for it."""
    world = World()
    await world.request(get("a"))
    world.now += 280
    waiting = trio.Event()

    async def slow(request: Request) -> Response:
        await waiting.wait()
        return await world.send(request)

    async with trio.open_nursery() as nursery:
        leader = world.authority.attempt(get("a"))
        nursery.start_soon(leader.header, slow)
        await trio.testing.wait_all_tasks_blocked()
        follower = world.authority.attempt(get("a"))
        assert await follower.header(world.send) == "Bearer token-1"
        waiting.set()
    assert leader.ready() == "Bearer token-2"


async def test_a_failed_renewal_does_not_harm_while_the_token_is_good() -> None:
    """429 from the token server is no reason to fail a request whose token still lives; the next try waits."""
    world = World()
    await world.request(get("a"))
    world.now += 280
    world.answers = [answer(429)]
    assert (await world.request(get("a"))).status == 200
    assert (await world.request(get("a"))).status == 200
    assert len(world.log) == 2
    world.now += 6
    await world.request(get("a"))
    assert (len(world.log), world.seen[-1]) == (3, "Bearer token-3")


async def test_many_requests_share_one_token_request() -> None:
    """Sixty-four requests that start together fetch one token."""
    world = World()
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(world.request, get("a"))
    assert len(world.log) == 1


async def test_all_who_wait_share_the_failure() -> None:
    """A token server that fails is asked once for all who wait, and each of them gets an error of its own."""
    world = World(answers=[answer(500)])
    failures: list[FastcopyError] = []

    async def one() -> None:
        try:
            await world.request(get("a"))
        except FastcopyError as failure:
            failures.append(failure)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(one)
    assert len(world.log) == 1
    assert [type(each) for each in failures] == [ServerFault] * 8
    assert len(set(map(id, failures))) == 8


async def test_a_cancelled_leader_hands_over() -> None:
    """When the request that fetches the token is cancelled, one of those that wait fetches it instead."""
    world = World()
    await world.request(Request("GET", Url(HOST, "/v2/")))
    scope = trio.CancelScope()

    async def never(_request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async def leader() -> None:
        with scope:
            await world.authority.attempt(get("a")).header(never)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader)
        await trio.testing.wait_all_tasks_blocked()
        follower = world.authority.attempt(get("a"))
        nursery.start_soon(follower.header, world.send)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
    assert follower.ready() == "Bearer token-1"


async def test_basic_is_sent_up_front_once_it_was_asked_for() -> None:
    """A registry that challenges with Basic gets the password with each further request (ECR, htpasswd)."""
    world = World(access(ALICE), challenge='Basic realm="r"')
    world.judge = lambda _r, header: answer(200) if header == basic("alice", "s3cret") else None
    for _ in range(3):
        response = await world.request(get("a", "pull,push"))
        assert (response.status, response.auth) == (200, "basic")
    await world.request(get("b"))
    assert world.seen == [None] + [basic("alice", "s3cret")] * 4


async def test_a_wrong_password_is_sent_once() -> None:
    """Basic refused is final and says so."""
    world = World(access(ALICE), challenge='Basic realm="r"')
    response = await world.request(get("a"))
    assert (response.status, len(world.seen)) == (401, 2)
    assert "invalid username/password" in str(error_from(response, what="x"))


async def test_bearer_is_preferred_over_basic() -> None:
    """Of both, the one that keeps the password away from the registry."""
    world = World(access(ALICE), challenge=f'Basic realm="r", Bearer realm="{REALM}",service="svc"')
    await world.request(get("a"))
    assert world.seen == [None, "Bearer token-1"]


async def test_schemes_we_do_not_speak_are_named() -> None:
    """Digest and Negotiate end in one line."""
    world = World(challenge='Digest realm="r", Negotiate')
    with pytest.raises(NeedsLogin, match="digest, negotiate"):
        await world.request(get("a"))


async def test_a_challenge_without_text_is_looked_up_at_the_api_root() -> None:
    """Old GCR sends 401 without WWW-Authenticate; /v2/ has it."""
    world = World()
    world.judge = lambda _r, header: None if header else answer(401)
    assert (await world.request(get("a"))).status == 200


async def test_an_identity_token_is_posted_and_never_leaks() -> None:
    """A refresh token goes into one form field of a POST; no other way is tried when that fails."""
    token = Credentials("ignored", identity_token="refresh-me")
    world = World(access(token))
    await world.request(get("a", "pull,push", "repository:b:pull"))
    (asked,) = world.log
    assert asked.method == "POST"
    assert str(asked.url) == REALM
    assert form_of(asked) == {
        "client_id": "fastcopy",
        "grant_type": "refresh_token",
        "refresh_token": "refresh-me",
        "service": "svc",
        "scope": "repository:a:pull,push repository:b:pull",
    }
    assert header_of(asked, "authorization") == ""

    world = World(access(token), answers=[answer(404)])
    with pytest.raises(FastcopyError):
        await world.request(get("a"))
    assert len(world.log) == 1


async def test_a_rotated_refresh_token_is_used_from_then_on() -> None:
    """The server may answer with the next refresh token."""
    world = World(access(Credentials(identity_token="first")), extra={"refresh_token": "second"})
    await world.request(get("a"))
    await world.request(get("b"))
    assert [form_of(each)["refresh_token"] for each in world.log] == ["first", "second"]


async def test_a_token_server_that_knows_only_post_gets_one() -> None:
    """405 to GET: the OAuth2 form with the password, to the same address."""
    world = World(access(ALICE), answers=[answer(405)])
    assert (await world.request(get("a"))).status == 200
    assert [each.method for each in world.log] == ["GET", "POST"]
    assert form_of(world.log[1])["grant_type"] == "password"
    assert form_of(world.log[1])["password"] == "s3cret"


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_wrong_credentials_at_the_token_server_are_tried_once(status: int) -> None:
    """One request, one clear line without the server's words."""
    world = World(access(ALICE), answers=[answer(status, body={"details": "password s3cret is wrong"})])
    with pytest.raises(NeedsLogin, match="invalid username/password") as caught:
        await world.request(get("a"))
    assert "s3cret" not in str(caught.value)
    assert len(world.log) == 1


async def test_a_rate_limited_token_server_says_when() -> None:
    """429 keeps its Retry-After."""
    world = World(answers=[answer(429, ("Retry-After", "7"))])
    with pytest.raises(TooManyRequests) as caught:
        await world.request(get("a"))
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b'{"token": ""}', b'{"token": 5}', b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}'],
)
async def test_a_broken_token_answer_is_not_quoted(body: bytes) -> None:
    """What is not a token answer is an error of the token server, without its text."""
    world = World(answers=[answer(200, body=body)])
    with pytest.raises(ProtocolBroken, match=r"token server https://auth\.example answered"):
        await world.request(get("a"))


async def test_access_token_is_as_good_as_token() -> None:
    """OAuth2 servers name it differently."""
    world = World(answers=[answer(200, body={"access_token": "other"})])
    world.judge = lambda _r, header: answer(200) if header == "Bearer other" else None
    assert (await world.request(get("a"))).status == 200


async def test_a_ready_registry_token_is_sent_from_the_first_request_on() -> None:
    """--registry-token skips the token server, and its refusal is final."""
    world = World(access(None, registry_token="ready"))
    world.judge = lambda _r, header: answer(200) if header == "Bearer ready" else answer(403)
    assert (await world.request(get("a"))).status == 200
    assert (world.seen, world.log) == (["Bearer ready"], [])
    world.judge = lambda _r, _h: answer(401, ("WWW-Authenticate", world.challenge))
    assert (await world.request(get("a"))).status == 401
    assert world.log == []


async def test_a_registry_token_of_an_auth_file_is_sent_when_asked_for() -> None:
    """docker's registrytoken is a Bearer token as it stands."""
    world = World(access(Credentials(registry_token="filed")))
    world.judge = lambda _r, header: answer(200) if header == "Bearer filed" else None
    assert (await world.request(get("a"))).status == 200
    assert (world.seen, world.log) == ([None, "Bearer filed"], [])


async def test_strangers_get_nothing() -> None:
    """A request to another origin carries no header, and its challenge is not answered (CVE-2020-15157)."""
    world = World(access(ALICE, registry_token="ready"))
    other = get("a", origin=Origin("https", "cdn.example", 443))
    assert (await world.request(other)).status == 401
    assert (world.seen, world.log) == ([None], [])


async def test_plain_http_gets_credentials_only_when_configured_insecure() -> None:
    """The downgrade to http does not carry a password unless the user allowed it."""
    plain = Origin("http", "registry.example", 80)
    world = World(access(ALICE), challenge='Basic realm="r"')
    assert (await world.request(get("a", origin=plain))).status == 401
    assert world.seen == [None]
    world = World(access(ALICE, insecure=True), challenge='Basic realm="r"')
    await world.request(get("a", origin=plain))
    assert world.seen == [None, basic("alice", "s3cret")]


async def test_a_realm_in_clear_text_ends_the_request() -> None:
    """Nothing is sent to a token server that is not https."""
    world = World(access(ALICE), challenge='Bearer realm="http://auth.example/token"')
    with pytest.raises(Denied, match="not reached by https"):
        await world.request(get("a"))
    assert world.log == []


async def test_a_registry_cannot_move_its_token_server_to_a_stranger() -> None:
    """A later challenge with another realm host gets no credentials; the registry's own host may be named."""
    world = World(access(ALICE))
    await world.request(get("a"))
    world.now += 400
    world.revoke_all()
    world.judge = lambda _r, _h: answer(401, ("WWW-Authenticate", 'Bearer realm="https://evil.example/t"'))
    attempt = world.authority.attempt(Request("GET", Url(HOST, "/v2/")))
    assert await attempt.header(world.send)
    world.log.clear()
    fresh = Authority(world.host, now=lambda: world.now)
    await fresh.learn([*_challenges(f'Bearer realm="{REALM}"')], Url(HOST, "/v2/"), world.send)
    await fresh.learn([*_challenges('Bearer realm="https://registry.example/t"')], Url(HOST, "/v2/"), world.send)
    with pytest.raises(Denied, match=r"another token server \(https://evil\.example\)"):
        await fresh.learn([*_challenges('Bearer realm="https://evil.example/t"')], Url(HOST, "/v2/"), world.send)


def _challenges(line: str) -> list[object]:
    from fastcopy.http.challenge import parse_challenges

    return [*parse_challenges([line])]


async def test_each_repository_uses_its_own_credentials() -> None:
    """Namespaced entries of auth.json: the first scope's repository decides, and tokens are not mixed."""
    people = {"a/x": Credentials("ann", "1"), "b/y": Credentials("bob", "2")}
    world = World(replace(access(), credentials=people.get))
    for name in ("a/x", "b/y", "a/x"):
        await world.request(get(name))
    assert [query_of(each)["account"] for each in world.log] == [["ann"], ["bob"]]


async def test_credentials_are_looked_up_once_per_repository_and_only_when_needed() -> None:
    """A helper may be slow: an open registry never asks it, a closed one asks once."""
    asked: list[str] = []

    def lookup(name: str) -> None:
        asked.append(name)

    world = World(replace(access(), credentials=lookup))
    world.judge = lambda _r, _h: answer(200)
    await world.request(get("a"))
    assert asked == []
    world.judge = lambda _r, _h: None
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(world.request, get("a"))
    assert asked == ["a"]


async def test_no_text_shows_a_secret() -> None:
    """Neither reprs of what is held nor of requests that carry credentials say them."""
    world = World(access(ALICE))
    await world.request(get("a"))
    shown = repr(world.authority._wallet.__dict__) + repr(world.authority._ready) + repr(world.host)
    assert "s3cret" not in shown
    assert "token-1" not in shown
