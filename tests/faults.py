"""Faults for the embedded registry, hung into its one hook.

    faults = Faults()
    with embedded_registry(tmp_path, "tls", middleware=faults) as registry:
        faults.add(respond(429, retry_after=1), method="GET", path="/blobs/", times=2)

A rule applies to requests of its method whose target contains its path (a regular expression), `times` times or for
ever. Rules may be added and removed from any thread while the server runs; `rule.hits` counts.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from fastcopy.http.wire import Headers
from fastcopy.serve.message import Body, Chunks, Handler, Hangup, Head, Middleware, Refusal, Reply
from fastcopy.serve.moving import pieces
from fastcopy.serve.pulling import Pulling
from fastcopy.serve.routes import match
from tests.registries import Flavour, Registry, embedded_registry


@dataclass(eq=False)
class Rule:
    """One fault and the requests it meets."""

    fault: Middleware
    method: str = ""
    path: str = ""
    times: int | None = None
    skip: int = 0  #: let so many fitting requests pass first
    hits: int = 0
    _seen: int = field(default=0, repr=False)

    def takes(self, head: Head) -> bool:
        """Whether this request is hit; counts."""
        if self.method and head.method not in self.method.split("|"):
            return False
        if not re.search(self.path, head.target):
            return False
        self._seen += 1
        if self._seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class Faults:
    """The middleware: the first rule that takes a request decides, the others see what it lets through."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(
        self, fault: Middleware, *, method: str = "", path: str = "", times: int | None = None, skip: int = 0
    ) -> Rule:
        """Hang a fault in; `method` may be alternatives ("GET|HEAD")."""
        rule = Rule(fault, method, path, times, skip)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Remove every rule."""
        with self._lock:
            self._rules.clear()

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        with self._lock:
            taken = [rule for rule in self._rules if rule.takes(head)]
        for rule in reversed(taken):
            proceed = _bound(rule.fault, proceed)
        return await proceed(head, body)


def _bound(fault: Middleware, proceed: Handler) -> Handler:
    async def handler(head: Head, body: Body) -> Reply:
        return await fault(head, body, proceed)

    return handler


# -- answers ----------------------------------------------------------------------------------------------------------


def respond(
    status: int, code: str = "UNKNOWN", *, retry_after: int | str | None = None, html: bool = False
) -> Middleware:
    """Answer at once with an error; the registry never sees the request. `html`: a proxy's page for a body."""

    async def fault(_head: Head, _body: Body, _proceed: Handler) -> Reply:
        headers = [] if retry_after is None else [("Retry-After", str(retry_after))]
        if html:
            return Reply(status, [("Content-Type", "text/html"), *headers], b"<html><h1>Bad Gateway</h1></html>")
        return Refusal(status, code, "made to fail", *headers).reply()

    return fault


def storage_full(after: int = 0, status: int = 507) -> Middleware:
    """Take `after` bytes of the request's body, then say that there is no room: an early answer."""

    async def fault(_head: Head, body: Body, _proceed: Handler) -> Reply:
        while body.received < after and await body.read(min(65536, after - body.received)):
            pass
        return Refusal(status, "DENIED" if status == 507 else "UNKNOWN", "no space left on device").reply()

    return fault


def slow(seconds: float) -> Middleware:
    """Answer late."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        await trio.sleep(seconds)
        return await proceed(head, body)

    return fault


def edited(edit: Callable[[Reply], Reply]) -> Middleware:
    """Change the registry's reply: a wrong header, another status."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        return edit(await proceed(head, body))

    return fault


def with_header(name: str, value: str | None) -> Middleware:
    """Replace a header of the reply, or drop it (None)."""

    def edit(reply: Reply) -> Reply:
        kept = [pair for pair in reply.headers if pair[0].lower() != name.lower()]
        return Reply(reply.status, kept + ([] if value is None else [(name, value)]), reply.body)

    return edited(edit)


def hang_up() -> Middleware:
    """Close the connection instead of answering."""

    async def fault(_head: Head, _body: Body, _proceed: Handler) -> Reply:
        raise Hangup

    return fault


def answer_lost() -> Middleware:
    """Do what was asked, then close the connection instead of saying so."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        await proceed(head, body)
        raise Hangup

    return fault


class RateLimit:
    """429 with Retry-After beyond `per_second` requests in any second."""

    def __init__(self, per_second: int, retry_after: int = 1) -> None:
        self._starts: list[float] = []
        self._limit, self._retry_after = per_second, retry_after

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        now = trio.current_time()
        self._starts = [at for at in self._starts if at > now - 1]
        if len(self._starts) >= self._limit:
            return await respond(429, "TOOMANYREQUESTS", retry_after=self._retry_after)(head, body, proceed)
        self._starts.append(now)
        return await proceed(head, body)


# -- downloads --------------------------------------------------------------------------------------------------------


def _cut(at: int, then: Callable[[], Any]) -> Middleware:
    """Send the first `at` bytes of the reply's body, then await `then()`, then go on (unless it raised)."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)

        async def source() -> AsyncGenerator[bytes, None]:
            left = at
            async with contextlib.aclosing(pieces(reply.body)) as whole:
                async for piece in whole:
                    if 0 <= left < len(piece):
                        yield bytes(piece[:left])
                        await then()
                        yield bytes(piece[left:])
                    else:
                        yield bytes(piece)
                    left -= len(piece)

        return Reply(reply.status, reply.headers, Chunks(reply.length, source()))

    return fault


def drop_download(at: int) -> Middleware:
    """Reset the connection after `at` bytes of the body."""

    async def hang() -> None:
        raise Hangup

    return _cut(at, hang)


def stall_download(at: int, seconds: float = 3600) -> Middleware:
    """Send nothing for a while after `at` bytes of the body."""
    return _cut(at, lambda: trio.sleep(seconds))


def trickle_download(at: int, seconds: float, piece: int = 512) -> Middleware:
    """After `at` bytes of the body, send `piece` bytes every so many seconds."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        raw = await _whole(reply)

        async def source() -> AsyncGenerator[bytes, None]:
            yield raw[:at]
            for start in range(at, len(raw), piece):
                await trio.sleep(seconds)
                yield raw[start : start + piece]

        return Reply(reply.status, reply.headers, Chunks(reply.length, source()))

    return fault


class ConcurrencyLimit:
    """429 to whatever comes while `limit` answers are under way, their bodies included."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.under_way = self.most = self.refused = 0

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        if self.under_way >= self.limit:
            self.refused += 1
            return await respond(429, "TOOMANYREQUESTS")(head, body, proceed)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            reply = await proceed(head, body)
            raw = await _whole(reply)
        except BaseException:
            self.under_way -= 1
            raise

        async def source() -> AsyncGenerator[bytes, None]:
            try:
                yield raw
            finally:
                self.under_way -= 1

        return Reply(reply.status, reply.headers, Chunks(reply.length, source()))


class OneAtATime:
    """Answers one request after the other, each after so many seconds: more connections bring nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turn: trio.Lock | None = None

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        self._turn = self._turn or trio.Lock()
        async with self._turn:
            await trio.sleep(self._seconds)
            return await proceed(head, body)


class RangeLog:
    """Lets everything pass and remembers the ranges that were asked for."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    async def __call__(self, head: Head, body: Body, proceed: Handler) -> Reply:
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", head.headers.get("Range")):
            self.ranges.append((int(found[1]), int(found[2])))
        return await proceed(head, body)


async def _whole(reply: Reply) -> bytes:
    async with contextlib.aclosing(pieces(reply.body)) as parts:
        return b"".join([bytes(part) async for part in parts])


def corrupt(at: int) -> Middleware:
    """Flip the bits of the byte at offset `at` of the body."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        raw = bytearray(await _whole(reply))
        raw[at] ^= 0xFF
        return Reply(reply.status, reply.headers, bytes(raw))

    return fault


def resized(by: int) -> Middleware:
    """A body longer or shorter than it should be, honestly announced."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        raw = await _whole(reply)
        return Reply(reply.status, reply.headers, raw + b"\0" * by if by > 0 else raw[:by])

    return fault


def ignore_range() -> Middleware:
    """Answer 200 with everything, as pull-through caches do on a miss."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        kept = Headers((name, value) for name, value in head.headers if name not in ("range", "if-range"))
        return await proceed(replace(head, headers=kept), body)

    return fault


# -- uploads ----------------------------------------------------------------------------------------------------------


class _CutBody:
    """A body that ends in something bad after `at` bytes; what came before reaches the registry."""

    def __init__(self, inner: Body, at: int, then: Callable[[], Any]) -> None:
        self._inner, self._left, self._then = inner, at, then

    @property
    def length(self) -> int | None:
        return self._inner.length

    @property
    def received(self) -> int:
        return self._inner.received

    async def read(self, max_bytes: int) -> bytes:
        if self._left <= 0:
            await self._then()
            self._left = 1 << 62  # once is enough
        data = await self._inner.read(min(max_bytes, self._left))
        self._left -= len(data)
        return data

    async def pour(self, spool: Any) -> None:
        while data := await self.read(65536):
            spool.write(data)


def drop_upload(at: int) -> Middleware:
    """Reset the connection after `at` bytes of the request's body; the registry keeps them."""

    async def hang() -> None:
        raise Hangup

    return _cut_upload(at, hang)


def stall_upload(at: int, seconds: float = 3600) -> Middleware:
    """Stop reading for a while after `at` bytes of the request's body."""
    return _cut_upload(at, lambda: trio.sleep(seconds))


def _cut_upload(at: int, then: Callable[[], Any]) -> Middleware:
    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        return await proceed(head, _CutBody(body, at, then))

    return fault


# -- blobs that live elsewhere ----------------------------------------------------------------------------------------


class SignedOrigin:
    """Another origin for blobs, as object stores are: URLs are signed, expire, and go with no Authorization.

    Use `redirect()` as a fault of the registry. Each URL is good for `uses` requests; `expire()` ends all of them.
    """

    def __init__(self, uses: int = 1_000_000) -> None:
        self.uses = uses
        self.host = ""
        self.scheme = "http"
        self.registry: Registry | None = None
        self.leaked: list[str] = []  #: Authorization values that should never have come here
        self.served = 0  #: requests that were let through
        self._signed: dict[str, int] = {}

    def expire(self) -> None:
        """Make every URL given out so far worthless."""
        self._signed.clear()

    def redirect(self, status: int = 307) -> Middleware:
        """The fault that sends GET and HEAD of blobs here."""

        async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
            reply = await proceed(Head("HEAD", head.target, head.headers, head.authority, head.scheme, head.http), body)
            if reply.status != 200:
                return reply
            signature = secrets.token_hex(16)
            self._signed[signature] = self.uses
            location = f"{self.scheme}://{self.host}{head.target.partition('?')[0]}?signature={signature}"
            return Reply(status, [("Location", location)])

        return fault

    async def __call__(self, head: Head, body: Body, _proceed: Handler) -> Reply:
        if value := head.headers.get("Authorization"):
            self.leaked.append(value)
            return Reply(400, [("Content-Type", "application/xml")], b"<Error><Code>InvalidArgument</Code></Error>")
        signature = head.asked("signature")
        if self._signed.get(signature, 0) <= 0:
            return Reply(403, [("Content-Type", "application/xml")], b"<Error><Code>AccessDenied</Code></Error>")
        self._signed[signature] -= 1
        self.served += 1
        assert self.registry is not None
        server = self.registry.server
        try:
            pulling = Pulling(server.config.behaviour, server.registry.store)
            return await pulling.blob(head, body, match(head.path))
        except Refusal as refusal:
            return refusal.reply()


@contextlib.contextmanager
def redirecting_registry(
    base: Path, flavour: Flavour = "plain", *, uses: int = 1_000_000, status: int = 307, **settings: Any
) -> Iterator[tuple[Registry, Faults, SignedOrigin]]:
    """A registry whose blobs are served by another origin (another port) behind signed URLs."""
    origin, faults = SignedOrigin(uses), Faults()
    faults.add(origin.redirect(status), method="GET|HEAD", path="/blobs/")
    with (
        embedded_registry(base, flavour, middleware=faults, **settings) as registry,
        embedded_registry(base, "tls" if registry.tls else "plain", middleware=origin) as elsewhere,
    ):
        origin.registry = registry
        origin.host, origin.scheme = elsewhere.host, "https" if elsewhere.tls else "http"
        yield registry, faults, origin
