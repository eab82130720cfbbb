"""The HTTP client of one registry side: token, road, redirect.

Law 1: it never sleeps, never queues and never limits concurrency; what must wait goes back to the scheduler. Before a
request to the registry it asks `turns`, the scheduler's, and tells it what the answer says about limits.
Law 2: it repeats a request only when nothing of an answer arrived on a reused link, when the server says it has not
looked at it, or with a refreshed token.
Law 3: Authorization goes to the registry's own origin and nowhere else, whatever redirects say.

Errors leave here with the side empty; texts and traces show redacted URLs and no header value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fastcopy.errors import ProtocolBroken, TooManyConnections
from fastcopy.http.auth import Attempt, Authority
from fastcopy.http.lease import BodyLease, UploadLease
from fastcopy.http.multiplex import Multiplex
from fastcopy.http.over_h1 import Judge, OverH1
from fastcopy.http.pacing import FREE, Turn, Turns, tell
from fastcopy.http.reach import Reach
from fastcopy.http.redirect import REDIRECT_LIMIT, next_request
from fastcopy.http.roads import Roads
from fastcopy.http.terms import Terms
from fastcopy.http.wire import Request, Response

if TYPE_CHECKING:
    from fastcopy.http.choice import Road
    from fastcopy.http.hosts import HostAccess
    from fastcopy.http.over_h2 import OverH2
    from fastcopy.http.roads import Facts
    from fastcopy.options import RunOptions


def _ignore(status: int) -> None:
    """Who counts no answers."""


class Client:
    """Requests to one registry, and to wherever it redirects. Close it with `aclose` or as a context manager."""

    def __init__(
        self,
        host: HostAccess,
        *,
        run: RunOptions,
        trace: Callable[[str], None] | None = None,
        turns: Turns | None = None,
        facts: Callable[[], Facts] | None = None,
        heard: Callable[[int], None] | None = None,
    ) -> None:
        self.host = host
        self._heard = heard or _ignore
        self._turns = turns
        self.requests = 0  #: heads sent so far; redirects and token requests count
        self._terms = Terms(host.user_agent, run.stall, trace)
        self._reach = Reach(host, run.connect_timeout)
        self._authority = Authority(host)
        self._multiplex = Multiplex(self._reach, host.http)
        self._roads = Roads(host.http, self._reach, facts)
        self._h1 = OverH1(self._reach, self._terms, self._multiplex.closes, self._roads)
        self._h2: OverH2 | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close idle connections; leases must have been settled or closed before."""
        self._multiplex.close()
        self._reach.close()

    async def request(self, request: Request) -> Response:
        """Perform *request* with its whole body in memory, and return the whole answer, whatever its status.

        Raises LinkError (and its kinds), AuthError from the token server, ProtocolBroken.
        """
        answer = await self._resolve(request, lend=False)
        assert isinstance(answer, Response)
        return answer

    async def open_body(self, request: Request) -> BodyLease:
        """A GET whose 200 or 206 body will be pumped; other answers come back whole in ``lease.response``."""
        answer = await self._resolve(request, lend=True)
        return BodyLease(answer) if isinstance(answer, Response) else answer

    async def open_upload(self, request: Request, length: int | None) -> UploadLease:
        """Send the head of an upload of *length* bytes (None: unknown, from the loop only) and lend its writing side.

        The token is fetched before. After a 401 a fresh one is ready for the next request; this one's answer is 401.
        """
        attempt = self._authority.attempt(request)
        authorization = attempt.ready() or await attempt.header(self._send_token)
        turn = await self._turn(request)
        try:
            lease = await self._upload(request, authorization, length, self._judge(attempt, turn))
        except BaseException:
            turn.over()
            raise
        lease.turn = turn
        return lease

    async def _upload(
        self, request: Request, authorization: str | None, length: int | None, judge: Judge
    ) -> UploadLease:
        self.requests += 1
        under_way = self._roads.begin(request.url.origin)
        lease = None
        try:
            if under_way.road != "1.1":  # a body that goes up has a connection of its own, also where others share one
                lease = await self._over_h2().upload(request, authorization, length, judge)
            lease = lease or await self._h1.upload(request, authorization, length, judge)
        except BaseException:
            under_way.given_up()
            raise
        under_way.lent(lease, length)
        return lease

    async def _turn(self, request: Request) -> Turn:
        """Permission to send *request*: the registry's requests are counted, those to storage behind it are not."""
        if self._turns is None or not self.host.serves(request.url.origin):
            return FREE
        return await self._turns(self.host.registry)

    def _judge(self, attempt: Attempt, turn: Turn) -> Judge:
        async def judge(response: Response) -> Response:
            tell(turn, response)
            self._heard(response.status)
            turn.over()
            if response.status not in (401, 403):
                return response
            await attempt.challenged(response, self._send_token)
            return replace(response, auth=attempt.proves)

        return judge

    async def _resolve(self, request: Request, *, lend: bool) -> Response | BodyLease:
        for _ in range(REDIRECT_LIMIT + 1):
            answer = await self._authorised(request, lend)
            if not isinstance(answer, Response):
                return answer
            onward = next_request(request, answer)
            if onward is None:
                return answer
            request = onward
        raise ProtocolBroken(f"{request.url.origin}: more than {REDIRECT_LIMIT} redirects")

    async def _authorised(self, request: Request, lend: bool) -> Response | BodyLease:
        """*request* with what its origin may see, sent again as long as the authority has something better to offer."""
        attempt = self._authority.attempt(request)
        while True:
            authorization = attempt.ready() or await attempt.header(self._send_token)
            answer = await self._perform(request, authorization, lend)
            if not isinstance(answer, Response) or answer.status not in (401, 403):
                return answer
            if not await attempt.challenged(answer, self._send_token):
                return replace(answer, auth=attempt.proves)

    async def _send_token(self, request: Request) -> Response:
        """Requests of the authority: their own headers, no redirects, no further authorisation."""
        answer = await self._perform(request, None, lend=False)
        assert isinstance(answer, Response)
        return answer

    async def _perform(self, request: Request, authorization: str | None, lend: bool) -> Response | BodyLease:
        """One exchange in its turn."""
        turn = await self._turn(request)
        try:
            answer = await self._exchange(request, authorization, lend)
        except BaseException:
            turn.over()
            raise
        self._heard(answer.status if isinstance(answer, Response) else answer.response.status)
        if isinstance(answer, Response):
            tell(turn, answer)
            turn.over()
        else:
            tell(turn, answer.response)
            answer.turn = turn
        return answer

    async def _exchange(self, request: Request, authorization: str | None, lend: bool) -> Response | BodyLease:
        """Over the road that suits it; at once over another where the first one turned out too narrow."""
        self.requests += 1
        send = self._lend if lend else self._ask
        road = self._roads.of(request.url.origin).road
        try:
            return await send(request, authorization)
        except TooManyConnections:
            if road == self._roads.of(request.url.origin).road:
                raise
        return await send(request, authorization)

    async def _ask(self, request: Request, authorization: str | None) -> Response | BodyLease:
        origin = request.url.origin
        if self._multiplex.is_worth_it(origin):
            answer = await self._over_h2().perform(request, authorization)
            if answer is not None:
                return answer
        with self._multiplex.counted(origin):
            return await self._h1.perform(request, authorization, lend=False)

    async def _lend(self, request: Request, authorization: str | None) -> Response | BodyLease:
        under_way = self._roads.begin(request.url.origin)
        try:
            answer = await self._over(under_way.road, request, authorization)
        except BaseException:
            under_way.given_up()
            raise
        if answer is None:
            under_way.given_up()
            under_way.choice.without_h2()
            return await self._lend(request, authorization)
        if isinstance(answer, Response):
            under_way.given_up()
        else:
            under_way.lent(answer, answer.length)
        return answer

    async def _over(self, road: Road, request: Request, authorization: str | None) -> Response | BodyLease | None:
        if road == "1.1":
            return await self._h1.perform(request, authorization, lend=True)
        return await self._over_h2().perform(request, authorization, lend=road)

    def _over_h2(self) -> OverH2:
        if self._h2 is None:
            from fastcopy.http.over_h2 import OverH2

            self._h2 = OverH2(self._multiplex, self._terms)
        return self._h2
