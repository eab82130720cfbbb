"""Who may do what: Basic, tokens, and their refusals, without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from fastcopy.http.wire import Headers
from fastcopy.serve import HARBOR, Account, Behaviour
from fastcopy.serve.access import Access
from fastcopy.serve.message import Head, Refusal

PULL, PUSH = frozenset({"pull"}), frozenset({"pull", "push"})
READER = Account("reader", "letmeread", rights=(("", PULL), ("team/", frozenset({"pull", "push", "delete"}))))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def head(authorization: str = "", target: str = "/v2/", method: str = "GET") -> Head:
    """A request with credentials."""
    headers = [("Authorization", authorization)] if authorization else []
    return Head(method, target, Headers(headers), "reg.test", "https")


def basic(user: str, password: str) -> str:
    """The header value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def token(access: Access, *scopes: str, authorization: str = basic("reader", "letmeread")) -> str:
    """A Bearer header value from the token endpoint."""
    query = "&".join(f"scope={quote(scope)}" for scope in scopes)
    reply = access.token(head(authorization, f"/service/token?service=x&{query}"), b"")
    assert isinstance(reply.body, bytes)
    return "Bearer " + str(json.loads(reply.body)["token"])


def refused(call: Callable[[], object]) -> Refusal:
    """The refusal a call ends in."""
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value


def test_nobody_is_asked_where_there_are_no_accounts() -> None:
    """An open registry."""
    Access((), Behaviour()).admit(head(), "a", PUSH)


@pytest.mark.parametrize("sent", ["", basic("reader", "wrong"), basic("nobody", "letmeread"), "Basic %%%", "Basic"])
def test_basic_needs_a_known_user_and_the_right_password(sent: str) -> None:
    """Anything else is 401 with the realm."""
    refusal = refused(lambda: Access((READER,), Behaviour()).admit(head(sent), "a", PULL))
    assert (refusal.status, refusal.headers) == (401, (("WWW-Authenticate", 'Basic realm="fastcopy"'),))


def test_the_longest_prefix_decides_what_an_account_may() -> None:
    """Push in team/, pull elsewhere; 403 beyond."""
    access = Access((READER,), Behaviour())
    access.admit(head(basic("reader", "letmeread")), "team/a", PUSH)
    assert refused(lambda: access.admit(head(basic("reader", "letmeread")), "other", PUSH)).status == 403


def test_a_challenge_names_realm_service_and_scope() -> None:
    """What a client needs to ask for a token."""
    refusal = refused(lambda: Access((READER,), HARBOR).admit(head(), "library/a", PUSH))
    wanted = (
        'Bearer realm="https://reg.test/service/token",service="harbor-registry",scope="repository:library/a:pull,push"'
    )
    assert refusal.headers == (("WWW-Authenticate", wanted),)


def test_a_token_grants_the_intersection_silently() -> None:
    """Asked for push, given pull: the registry refuses later, not the token server."""
    access = Access((READER,), Behaviour(auth="token"))
    bearer = token(access, "repository:other:pull,push")
    access.admit(head(bearer), "other", PULL)
    refusal = refused(lambda: access.admit(head(bearer), "other", PUSH))
    assert refusal.status == 401
    assert 'error="insufficient_scope"' in refusal.headers[0][1]


def test_harbor_answers_a_weak_token_with_a_basic_challenge() -> None:
    """401 Basic realm="harbor": a client that obeys would send the password to the registry itself."""
    access = Access((READER,), HARBOR)
    bearer = token(access, "repository:other:pull,push")
    refusal = refused(lambda: access.admit(head(bearer), "other", PUSH))
    assert (refusal.status, refusal.headers) == (401, (("WWW-Authenticate", 'Basic realm="harbor"'),))


def test_a_token_for_one_repository_opens_no_other() -> None:
    """Scopes are names."""
    access = Access((READER,), Behaviour(auth="token"))
    bearer = token(access, "repository:team/a:pull", "repository:team/b:pull,push")
    access.admit(head(bearer), "team/b", PUSH)
    assert refused(lambda: access.admit(head(bearer), "team/c", PULL)).status == 401


def test_a_token_ends_when_it_said() -> None:
    """One second before it is good, at its end it is not, and the refusal says invalid_token."""
    clock = Clock()
    access = Access((READER,), Behaviour(auth="token", token_seconds=5), clock)
    bearer = token(access, "repository:a:pull")
    clock.now += 4
    access.admit(head(bearer), "a", PULL)
    clock.now += 1
    assert 'error="invalid_token"' in refused(lambda: access.admit(head(bearer), "a", PULL)).headers[0][1]


@pytest.mark.parametrize("damage", [lambda text: text[:-2] + "AA", lambda text: "x" + text, lambda _text: "a.b.c"])
def test_a_damaged_token_is_no_token(damage: Callable[[str], str]) -> None:
    """The signature covers everything."""
    access = Access((READER,), Behaviour(auth="token"))
    bearer = "Bearer " + damage(token(access, "repository:a:pull").removeprefix("Bearer "))
    assert refused(lambda: access.admit(head(bearer), "a", PULL)).status == 401


def test_a_token_of_another_server_is_no_token() -> None:
    """Keys live as long as the process."""
    first, second = (Access((READER,), Behaviour(auth="token")) for _ in range(2))
    assert refused(lambda: second.admit(head(token(first, "repository:a:pull")), "a", PULL)).status == 401


def test_wrong_credentials_at_the_token_endpoint_are_not_anonymous() -> None:
    """401, even where anonymous pulls are allowed."""
    access = Access((READER,), Behaviour(auth="token", anonymous_pull=True))
    assert refused(lambda: token(access, "repository:a:pull", authorization=basic("reader", "no"))).status == 401
    assert token(access, "repository:a:pull", authorization="")


def test_the_oauth_post_gives_a_refresh_token_that_gives_tokens() -> None:
    """grant_type=password with access_type=offline, then grant_type=refresh_token."""
    access = Access((READER,), Behaviour(auth="token"))
    form = b"grant_type=password&username=reader&password=letmeread&access_type=offline&service=x&client_id=y"
    first = access.token(head(method="POST"), form)
    assert isinstance(first.body, bytes)
    refresh = json.loads(first.body)["refresh_token"]
    form = f"grant_type=refresh_token&refresh_token={refresh}&scope=repository:team/a:push&service=x".encode()
    second = access.token(head(method="POST"), form)
    assert isinstance(second.body, bytes)
    access.admit(head("Bearer " + json.loads(second.body)["access_token"]), "team/a", frozenset({"push"}))


def test_a_refresh_token_opens_nothing_by_itself() -> None:
    """It is for the token endpoint alone."""
    access = Access((READER,), Behaviour(auth="token"))
    reply = access.token(head(basic("reader", "letmeread"), "/service/token?offline_token=true"), b"")
    assert isinstance(reply.body, bytes)
    refresh = json.loads(reply.body)["refresh_token"]
    assert refused(lambda: access.admit(head(f"Bearer {refresh}"), "a", PULL)).status == 401


def test_the_catalogue_is_a_right_of_its_own() -> None:
    """registry:catalog:* with tokens; any account with Basic."""
    access = Access((READER,), Behaviour(auth="token"))
    access.admit_catalog(head(token(access, "registry:catalog:*")))
    assert refused(lambda: access.admit_catalog(head(token(access, "repository:a:pull")))).status == 401
    Access((READER,), Behaviour()).admit_catalog(head(basic("reader", "letmeread")))
