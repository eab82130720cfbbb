"""Authorization: from a challenge to the header that satisfies it.

Owns, for one registry: whether it wants Basic or Bearer, the tokens held, who is fetching one just now, and what a
401 or 403 means. Refuses to know how requests travel: the client hands in `send`, which sends a request to the very
place its URL names, without credentials of its own and without following redirects.

How a client uses it, for each request::

    attempt = authority.attempt(request)
    while True:
        header = attempt.ready() or await attempt.header(send)     # value of Authorization, or None
        response = ...
        if response.status not in (401, 403) or not await attempt.challenged(response, send):
            return replace(response, auth=attempt.proves)           # retry.error_from reads `auth`

Law 1: credentials and tokens go to the registry's own origin, and to a token server that `realm` has let pass.
Law 2: one token request per scope set at a time; the others wait for it, and share its failure.
Law 3: a token that was just fetched and is refused is final. Harbor then asks for Basic; the password is not for it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from fastcopy.errors import Denied, FastcopyError, NeedsLogin, ProtocolBroken
from fastcopy.http import token
from fastcopy.http.challenge import Challenge, parse_challenges, pick
from fastcopy.http.realm import check_realm, same_host
from fastcopy.http.scopes import Scopes, canonical, merge, repository
from fastcopy.http.token import Basic, Bearer, Grant, Key
from fastcopy.http.wire import Request, Response, Url
from fastcopy.options import Credentials

if TYPE_CHECKING:
    from fastcopy.http.hosts import HostAccess

Send = Callable[[Request], Awaitable[Response]]
#: A refused token younger than this (seconds), or than half its life, was not refused for its age.
YOUNG = 10.0
#: After a failed attempt to renew a token that is still good, the next one waits this long (seconds).
RENEW_PAUSE = 5.0


class Authority:
    """The authorization state of one registry; shared by all requests to it within one run."""

    def __init__(self, host: HostAccess, *, now: Callable[[], float] = time.time) -> None:
        self._host = host
        self._now = now
        self._mode: Basic | Bearer | None = None
        self._wallet = token.Wallet()
        self._ready: dict[Scopes, Grant] = {}
        self._wider: dict[Scopes, Scopes] = {}
        self._flights: dict[Key, _Flight] = {}
        self._accounts: dict[str, Credentials | None] = {}
        self._asking = trio.Lock()
        self._thread = trio.CapacityLimiter(1)  # of its own: pumps may hold every thread of the default one
        self._rotated: dict[Credentials, str] = {}

    @property
    def knows(self) -> bool:
        """Whether one answer of the registry was seen that tells how it wants to be asked."""
        return self._mode is not None

    def attempt(self, request: Request) -> Attempt:
        """The authorization of one request, re-sends included."""
        return Attempt(self, request)

    # -- what Attempt asks

    def ready(self, scopes: Scopes) -> Grant | None:
        """The grant of an earlier request with the same scopes, while nobody needs to renew it."""
        grant = self._ready.get(scopes)
        return grant if grant is not None and self._now() < grant.renew else None

    def preset(self) -> Grant | None:
        """The ready-made registry token of the options, sent from the first request on."""
        given = self._host.registry_token
        return Grant(token.raw_bearer(given), "bearer") if given else None

    def serves(self, url: Url) -> bool:
        """Whether *url* is the registry itself; nobody else is given anything."""
        return self._host.serves(url.origin)

    def widened(self, scopes: Scopes) -> Scopes:
        """What the registry really wants when asked for *scopes*, as far as it is known."""
        return self._wider.get(scopes, canonical(scopes))

    def is_young(self, grant: Grant) -> bool:
        """Whether *grant* cannot have been refused for its age."""
        return self._now() - grant.born < min(YOUNG, (grant.end - grant.born) / 2)

    def forget(self, grant: Grant) -> None:
        """The registry has refused *grant*."""
        self._wallet.drop(grant)
        self._ready = {scopes: held for scopes, held in self._ready.items() if held is not grant}

    def stop_reuse(self) -> None:
        """The registry wants tokens for exactly the scopes of a request."""
        self._wallet.reuse = False
        self._ready.clear()

    def widen(self, scopes: Scopes, wider: Scopes) -> None:
        """Remember that the registry wants *wider* where we thought *scopes* enough."""
        self._wider[scopes] = wider
        self._ready.pop(scopes, None)

    async def learn(self, challenges: list[Challenge], asked: Url, send: Send) -> bool:
        """Take up a challenge; False when there is none we could answer.

        Raises Denied or ProtocolBroken when the token server named is not acceptable, NeedsLogin when the registry
        wants schemes we do not speak.
        """
        if not challenges:  # old GCR: the challenge is found at /v2/ only (protocol reference 2.1)
            challenges = await self._ping(asked, send)
        bearer = next((each for each in challenges if each.scheme == "bearer" and each.params.get("realm")), None)
        if bearer is not None:
            self._set_mode(self._bearer(bearer, asked))
        elif pick(challenges, "basic"):
            self._set_mode(Basic())
        elif challenges:
            schemes = ", ".join(sorted({each.scheme[:20] for each in challenges}))
            raise NeedsLogin(f"{self._host.registry} asks for authentication by {schemes}, which is not supported")
        return bool(challenges)

    async def grant(self, scopes: Scopes, send: Send, *, exact: bool = False) -> Grant | None:
        """A grant for canonical *scopes*, fetched if need be; None when there is nothing to offer.

        Raises what the token server's answer means (NeedsLogin, TooManyRequests, ServerFault, ProtocolBroken) and
        what fetching credentials may raise (BadConfig, AuthError).
        """
        credentials = await self._account(repository(scopes))
        if credentials is not None and credentials.registry_token:
            return Grant(token.raw_bearer(credentials.registry_token), "bearer", scopes)
        if not isinstance(self._mode, Bearer):
            usable = self._mode is not None and credentials is not None and not credentials.identity_token
            return Grant(token.basic(credentials), "basic") if usable and credentials else None
        if credentials is None and not scopes:
            return None  # nothing was asked for that anonymity would change (and Quay answers 401)
        return await self._token(Key(self._mode, credentials, scopes), send, exact)

    def keep(self, scopes: Scopes, grant: Grant) -> None:
        """Let `ready` serve *grant* to further requests with *scopes*."""
        self._ready[scopes] = grant

    # -- within

    def _set_mode(self, mode: Basic | Bearer) -> None:
        if mode != self._mode:
            self._mode = mode
            self._ready.clear()

    def _bearer(self, challenge: Challenge, asked: Url) -> Bearer:
        realm = check_realm(challenge.params["realm"], asked, insecure=self._host.insecure)
        known = self._mode
        moved = isinstance(known, Bearer) and realm.origin != known.realm.origin
        if isinstance(known, Bearer) and moved and not same_host(realm.origin, asked.origin):
            raise Denied(
                f"{self._host.registry} names another token server ({realm.origin}) than before ({known.realm.origin});"
                " no credentials are sent there"
            )
        return Bearer(realm, challenge.params.get("service", ""))

    async def _ping(self, asked: Url, send: Send) -> list[Challenge]:
        response = await send(Request("GET", Url(asked.origin, "/v2/"), follow=False))
        return parse_challenges(response.headers.all("www-authenticate")) if response.status == 401 else []

    async def _account(self, name: str) -> Credentials | None:
        if name not in self._accounts:
            async with self._asking:  # a helper may ask the user to unlock a keychain: once is enough
                if name not in self._accounts:
                    lookup = self._host.credentials
                    self._accounts[name] = await trio.to_thread.run_sync(lookup, name, limiter=self._thread)
        return self._accounts[name]

    async def _token(self, key: Key, send: Send, exact: bool) -> Grant:
        while True:
            held, flight = self._wallet.find(key, self._now(), exact=exact), self._flights.get(key)
            if held is not None and (flight is not None or self._now() < held.renew):
                return held
            if flight is None:
                return await self._lead(key, held, send)
            await flight.landed.wait()
            if flight.failure is not None:
                raise copy.copy(flight.failure)

    async def _lead(self, key: Key, held: Grant | None, send: Send) -> Grant:
        flight = self._flights[key] = _Flight()
        try:
            return self._wallet.put(key, await self._fetch(key, send))
        except FastcopyError as failure:
            if held is not None and self._now() < held.end:  # the old one is still good: no reason to fail
                return self._wallet.put(key, _postponed(held, self._now() + RENEW_PAUSE))
            flight.failure = failure
            raise
        finally:
            del self._flights[key]
            flight.landed.set()

    async def _fetch(self, key: Key, send: Send) -> Grant:
        for flow in (ways := token.flows(key.credentials)):
            asked = self._now()
            refresh = self._rotated.get(key.credentials, "") if key.credentials else ""
            response = await send(token.token_request(flow, key, refresh))
            if response.status in token.OTHER_WAY and flow != ways[-1]:
                continue
            grant, rotated = token.read_token(response, key, asked, self._now())
            if rotated and key.credentials and flow == "refresh":
                self._rotated[key.credentials] = rotated
            return grant
        raise ProtocolBroken("no way to ask for a token")  # pragma: no cover - flows() is never empty


class _Flight:
    """A token request under way."""

    __slots__ = ("failure", "landed")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.failure: FastcopyError | None = None


def _postponed(grant: Grant, renew: float) -> Grant:
    return grant._replace(renew=min(renew, grant.end))


class Attempt:
    """One request's way through 401 and 403: at most three re-sends (learn, renew, widen), each for another reason."""

    __slots__ = ("_authority", "_grant", "_renewed", "_request", "_widened")

    def __init__(self, authority: Authority, request: Request) -> None:
        self._authority = authority
        self._request = request
        self._grant = authority.ready(request.scopes) if authority.serves(request.url) else None
        self._renewed = self._widened = False

    @property
    def proves(self) -> str:
        """What the request as last sent proved: nothing (""), "anonymous", "basic" or "bearer"."""
        return self._grant.kind if self._grant else ""

    def ready(self) -> str | None:
        """The header if it is there without waiting; None means: ask `header`."""
        return self._grant.header if self._grant else None

    async def header(self, send: Send) -> str | None:
        """The value of Authorization, or None while nothing is to be sent. Raises as `Authority.grant` does."""
        authority = self._authority
        if self._grant is None and authority.serves(self._request.url):
            self._grant = authority.preset()
            if self._grant is None and authority.knows:
                await self._obtain(send)
        return self.ready()

    async def challenged(self, response: Response, send: Send) -> bool:
        """Judge a 401 or 403: True when the request should be sent once more with what `ready` gives now.

        False is final: `retry.error_from` words it. Raises as `Authority.learn` and `Authority.grant` do.
        """
        if not self._authority.serves(self._request.url):
            return False  # a stranger's challenge is never answered (CVE-2020-15157)
        if response.status == 403:
            return await self._exactly(send)
        challenges = parse_challenges(response.headers.all("www-authenticate"))
        if self._grant is None:
            return await self._introduce(challenges, send)
        if self._grant.kind == "basic":
            return pick(challenges, "bearer") is not None and await self._introduce(challenges, send)
        return not self._grant.fixed and await self._renew(challenges, send)

    async def _introduce(self, challenges: list[Challenge], send: Send) -> bool:
        if self._renewed or not await self._authority.learn(challenges, self._request.url, send):
            return False
        self._renewed = self._grant is not None
        return await self._obtain(send)

    async def _renew(self, challenges: list[Challenge], send: Send) -> bool:
        """A refused token: too narrow, too wide, or too old; otherwise the refusal is final."""
        assert self._grant is not None
        bearer = pick(challenges, "bearer")
        wanted = self._wanted()
        wider = merge(wanted, bearer.params.get("scope", "")) if bearer else wanted
        if wider != wanted and not self._widened:
            self._widened = True
            self._authority.widen(self._request.scopes, wider)
            return await self._obtain(send, exact=True)
        if await self._exactly(send):
            return True
        invalid = bearer is not None and bearer.params.get("error") == "invalid_token"
        if self._renewed or (self._authority.is_young(self._grant) and not invalid):
            return False
        self._renewed = True
        self._authority.forget(self._grant)
        return await self._obtain(send)

    async def _exactly(self, send: Send) -> bool:
        """Whether the token was one for wider scopes, now replaced by an exact one."""
        grant = self._grant
        if grant is None or grant.fixed or grant.scopes == self._wanted():
            return False
        self._authority.stop_reuse()
        return await self._obtain(send, exact=True)

    async def _obtain(self, send: Send, *, exact: bool = False) -> bool:
        self._grant = await self._authority.grant(self._wanted(), send, exact=exact)
        if self._grant is not None:
            self._authority.keep(self._request.scopes, self._grant)
        return self._grant is not None

    def _wanted(self) -> Scopes:
        return self._authority.widened(self._request.scopes)


__all__ = ["Attempt", "Authority", "Send"]
