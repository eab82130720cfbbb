"""A registry and a token server made of functions, a clock that is set by hand, and the loop every client runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs

import trio
import trio.testing

from fastcopy.http.auth import Authority
from fastcopy.http.hosts import HostAccess
from fastcopy.http.scopes import canonical, covers
from fastcopy.http.wire import Headers, Origin, Request, Response, Url
from fastcopy.options import Credentials

HOST = Origin("https", "registry.example", 443)
REALM = "https://auth.example/token"
ALICE = Credentials("alice", "s3cret")


def answer(status: int, *headers: tuple[str, str], body: object = None) -> Response:
    """A response; *body* is sent as it is if bytes, else as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Response(status, Headers(headers), raw)


def get(repository: str, actions: str = "pull", *more: str, origin: Origin = HOST) -> Request:
    """GET of a manifest with its scopes."""
    scopes = (f"repository:{repository}:{actions}", *more)
    return Request("GET", Url(origin, f"/v2/{repository}/manifests/1"), scopes=scopes)


def access(credentials: Credentials | None = None, **changes: object) -> HostAccess:
    """The registry, whose repositories all have *credentials*."""
    host = HostAccess("registry.example", HOST, credentials=lambda _repository: credentials)
    return replace(host, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """`rights`: what the token server grants at most; `answers`: its own answers first; `log`: requests for tokens."""

    host: HostAccess = field(default_factory=access)
    rights: tuple[str, ...] = ("repository:*",)
    life: float | None = 300
    challenge: str = f'Bearer realm="{REALM}",service="svc"'
    extra: dict[str, object] = field(default_factory=dict)
    answers: list[Response] = field(default_factory=list)
    before_token: Callable[[], object] | None = None
    judge: Callable[[Request, str | None], Response | None] = lambda _request, _header: None
    now: float = 1_000_000.0
    log: list[Request] = field(default_factory=list)
    seen: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority = Authority(self.host, now=lambda: self.now)
        self._issued: dict[str, tuple[tuple[str, ...], float]] = {}

    # -- the token server

    async def send(self, request: Request) -> Response:
        if request.url.target == "/v2/":
            return answer(401, ("WWW-Authenticate", self.challenge))
        self.log.append(request)
        await trio.testing.wait_all_tasks_blocked()  # everybody who is going to wait for this token does so by now
        if self.before_token is not None:
            self.before_token()
        if self.answers:
            return self.answers.pop(0)
        token = f"token-{len(self.log)}"
        self._issued[f"Bearer {token}"] = (self._granted(request), self.now + (self.life or 60))
        body = {"token": token, **self.extra} | ({} if self.life is None else {"expires_in": self.life})
        return answer(200, body=body)

    def _granted(self, request: Request) -> tuple[str, ...]:
        asked = scopes_of(request)
        if self.rights == ("repository:*",):
            return asked
        return tuple(each for each in asked if covers(self.rights, (each,)))

    # -- the registry

    def respond(self, request: Request, header: str | None) -> Response:
        self.seen.append(header)
        judged = self.judge(request, header)
        if judged is not None:
            return judged
        held, until = self._issued.get(header or "", ((), 0.0))
        if header is None or not held:
            return answer(401, ("WWW-Authenticate", self.challenge))
        if self.now >= until:
            return answer(401, ("WWW-Authenticate", f'{self.challenge},error="invalid_token"'))
        if not covers(canonical(held), canonical(request.scopes)):
            scope = " ".join(request.scopes)
            return answer(401, ("WWW-Authenticate", f'{self.challenge},error="insufficient_scope",scope="{scope}"'))
        return answer(200)

    def revoke_all(self) -> None:
        self._issued.clear()

    # -- the client's loop

    async def request(self, request: Request) -> Response:
        attempt = self.authority.attempt(request)
        for _ in range(6):
            header = attempt.ready() or await attempt.header(self.send)
            response = self.respond(request, header)
            if response.status not in (401, 403) or not await attempt.challenged(response, self.send):
                return replace(response, auth=attempt.proves)
        raise AssertionError("the authority asks to send again without end")


def scopes_of(request: Request) -> tuple[str, ...]:
    """The scopes a token request names."""
    if request.method == "POST":
        return tuple(form_of(request).get("scope", "").split())
    return tuple(parse_qs(request.url.target.partition("?")[2]).get("scope", ()))


def form_of(request: Request) -> dict[str, str]:
    """The fields of a form."""
    return {name: values[0] for name, values in parse_qs((request.body or b"").decode()).items()}


def query_of(request: Request) -> dict[str, list[str]]:
    """The query of a token request."""
    return parse_qs(request.url.target.partition("?")[2])


def header_of(request: Request, name: str) -> str:
    """A header field of a request."""
    return Headers(request.headers).get(name)


def basic(user: str, password: str) -> str:
    """What Authorization should be."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
