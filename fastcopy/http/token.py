"""Tokens: asking a token server and reading its answer (distribution token specification, OAuth2 flavour included).

Pure: builds a Request, judges a Response, keeps what is still good. Nothing here waits, and nothing quotes what a token
server said (its answer may hold a token, or what we sent).
"""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec

from fastcopy.errors import BadConfig, FastcopyError, NeedsLogin, ProtocolBroken
from fastcopy.http.retry import error_from
from fastcopy.http.scopes import Scopes, covers, repository
from fastcopy.http.wire import Request, Response, Url
from fastcopy.options import Credentials

#: What containers/image reads of a token answer at most (protocol reference 7.1).
ANSWER_LIMIT = 1 << 20
#: Token specification: a token without expires_in lives one minute.
DEFAULT_LIFE = 60.0
#: ECR's password is the longest-lived secret we meet (12 h); a claim beyond a day is an error of the server.
LONGEST_LIFE = 86400.0
CLIENT_ID = "fastcopy"
#: Statuses by which servers say "not this way of asking" (protocol reference 2.3).
OTHER_WAY = frozenset({404, 405})
_VISIBLE = re.compile(r"[\x21-\x7e]+")

Flow = Literal["get", "password", "refresh"]


class Bearer(NamedTuple):
    """A registry that wants tokens: where from, and for which service."""

    realm: Url
    service: str


class Basic(NamedTuple):
    """A registry that wants the password with each request."""


class Grant(NamedTuple):
    """A value for Authorization: what it proves, its scopes, and when to renew it (seconds, wall clock)."""

    header: str
    kind: Literal["anonymous", "basic", "bearer"]
    scopes: Scopes = ()
    born: float = 0.0
    renew: float = float("inf")  #: from here on somebody should fetch its successor
    end: float = float("inf")  #: from here on it must not be used

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to renew: a password, or a ready-made token."""
        return self.end == float("inf")

    def __repr__(self) -> str:
        return f"<Grant {self.kind} {' '.join(self.scopes)}>"


class Key(NamedTuple):
    """Which tokens are interchangeable."""

    mode: Bearer
    credentials: Credentials | None
    scopes: Scopes


def flows(credentials: Credentials | None) -> tuple[Flow, ...]:
    """Ways to ask, best first. An identity token has one way only: it must not leak into another form."""
    if credentials is None:
        return ("get",)
    return ("refresh",) if credentials.identity_token else ("get", "password")


def token_request(flow: Flow, key: Key, refresh_token: str = "") -> Request:
    """The request for a token; *refresh_token* replaces the identity token once the server has rotated it."""
    headers: tuple[tuple[str, str], ...] = (("accept", "application/json"),)
    if flow == "get":
        headers += (("authorization", basic(key.credentials)),) if key.credentials else ()
        return Request("GET", _query(key), headers, limit=ANSWER_LIMIT, follow=False)
    assert key.credentials is not None
    form = {"client_id": CLIENT_ID, "service": key.mode.service, "scope": " ".join(key.scopes)}
    if flow == "refresh":
        form |= {"grant_type": "refresh_token", "refresh_token": refresh_token or key.credentials.identity_token}
    else:
        form |= {
            "grant_type": "password",
            "username": key.credentials.username,
            "password": key.credentials.password,
        }
    body = urlencode({name: value for name, value in form.items() if value}).encode()
    headers += (("content-type", "application/x-www-form-urlencoded"),)
    return Request("POST", key.mode.realm, headers, body, limit=ANSWER_LIMIT, follow=False)


def _query(key: Key) -> Url:
    url = key.mode.realm
    if key.credentials and key.credentials.username:
        url = url.with_query(account=key.credentials.username)
    if key.mode.service:
        url = url.with_query(service=key.mode.service)
    for scope in key.scopes:
        url = url.with_query(scope=scope)
    return url


def basic(credentials: Credentials) -> str:
    """The value of Authorization for *credentials* (RFC 7617, UTF-8). Raises BadConfig if they cannot be sent."""
    if ":" in credentials.username or re.search(r"[\x00-\x1f\x7f]", credentials.username + credentials.password):
        raise BadConfig("user name or password contain characters that HTTP Basic cannot carry")
    pair = f"{credentials.username}:{credentials.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def raw_bearer(token: str) -> str:
    """The value of Authorization for a ready token. Raises BadConfig if it cannot be sent."""
    if not _VISIBLE.fullmatch(token):
        raise BadConfig("the registry token contains characters that no token has")
    return f"Bearer {token}"


def read_token(response: Response, key: Key, asked: float, now: float) -> tuple[Grant, str]:
    """The grant and a new refresh token ("" if none). *asked* and *now*: before and after the request (wall clock).

    Raises NeedsLogin, TooManyRequests, ServerFault, ProtocolBroken.
    """
    if response.status != 200:
        raise refusal(response, key)
    answer = _decode(response.body, key)
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
        raise ProtocolBroken(f"{_server(key)} answered without a usable token", status=200)
    refresh = answer.get("refresh_token")
    kind: Literal["anonymous", "bearer"] = "bearer" if key.credentials else "anonymous"
    life = _life(answer, now)
    grant = Grant(f"Bearer {token}", kind, key.scopes, now, asked + life - _margin(life), asked + life - _skew(life))
    return grant, refresh if isinstance(refresh, str) and _VISIBLE.fullmatch(refresh) else ""


def refusal(response: Response, key: Key) -> FastcopyError:
    """The error for a token server's *response*, which is not quoted."""
    if response.status in (400, 401, 403):
        what = "invalid username/password" if key.credentials else "authentication required"
        return NeedsLogin(f"unable to retrieve auth token: {what} ({_server(key)}, status {response.status})")
    return error_from(response, what=f"unable to retrieve auth token: {_server(key)}", quote=False)


def _server(key: Key) -> str:
    return f"token server {key.mode.realm.origin}"


def _decode(body: bytes, key: Key) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body[:ANSWER_LIMIT])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ProtocolBroken(f"{_server(key)} answered with something that is not a JSON object", status=200)
    return answer


def _life(answer: dict[str, Any], now: float) -> float:
    """Seconds the token is good for; what it has aged in a cache is taken off where the clocks allow to know it."""
    stated = answer.get("expires_in")
    if isinstance(stated, str) and stated.isascii() and stated.isdigit():
        stated = int(stated[:9])
    usable = isinstance(stated, int | float) and not isinstance(stated, bool) and stated > 0
    life = min(float(stated), LONGEST_LIFE) if usable and stated else DEFAULT_LIFE
    age = now - _moment(answer.get("issued_at"), now)
    return life - age if 0 < age < life / 2 else life


def _moment(text: object, default: float) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return default


def _skew(life: float) -> float:
    """A token is not used in its last moments: it must survive the way to the registry."""
    return min(5.0, life / 10)


def _margin(life: float) -> float:
    """How long before its end a token's successor is fetched, while others still use it."""
    return min(30.0, life / 4)


class Wallet:
    """The tokens held. A token for more rights serves a request for fewer, unless the registry has refused that.

    Tokens are grouped by what must be equal in any case, so that a run over many repositories searches few of them.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[Bearer, Credentials | None, str], dict[Scopes, Grant]] = {}
        self.reuse = True  #: cgr.dev answers 403 to a token of wider scope (protocol reference 2.4)

    def find(self, key: Key, now: float, *, exact: bool = False) -> Grant | None:
        """A grant usable now for *key*; *exact*: given for these scopes and no others."""
        group = self._group(key)
        grant = group.get(key.scopes)
        if grant is not None and now < grant.end:
            return grant
        if exact or not self.reuse or not key.scopes:
            return None
        return next((each for each in group.values() if now < each.renew and covers(each.scopes, key.scopes)), None)

    def put(self, key: Key, grant: Grant) -> Grant:
        """Hold *grant* in the place of its predecessor."""
        self._group(key)[key.scopes] = grant
        return grant

    def drop(self, grant: Grant) -> None:
        """Forget *grant*: the registry has refused it."""
        for group in self._groups.values():
            if group.get(grant.scopes) is grant:
                del group[grant.scopes]

    def _group(self, key: Key) -> dict[Scopes, Grant]:
        return self._groups.setdefault((key.mode, key.credentials, repository(key.scopes)), {})
