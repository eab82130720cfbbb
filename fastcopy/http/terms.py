"""What every request of a client has in common, whichever HTTP version carries it (values and pure helpers)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastcopy.http.h1 import Head
from fastcopy.http.wire import Origin, Request, Response, Url

#: Bodies of error answers are for people; c/image and ggcr read 64 KiB to 1 MiB of them.
ERROR_LIMIT = 64 << 10
#: Verbs that announce even an empty body (RFC 9110 8.6).
_BODY_VERBS = frozenset({"POST", "PUT", "PATCH"})
Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How we present ourselves, how long we wait without progress (seconds), and who is told about each answer."""

    user_agent: str
    stall: float
    trace: Callable[[str], None] | None = None


def body_limit(request: Request, status: int) -> int:
    """How many bytes of the body of an answer with *status* are read into memory."""
    return request.limit if 200 <= status < 300 else ERROR_LIMIT


def repeatable(request: Request) -> bool:
    """Whether sending *request* a second time is harmless (PATCH appends; the caller knows about its PUTs)."""
    return request.repeatable and request.method != "PATCH"


def length_field(method: str, fields: Sequence[tuple[str, str]], length: int | None) -> Fields:
    """Content-Length where a body, or a verb that has one, wants it and the caller has not given it."""
    if length is None or not (length or method in _BODY_VERBS):
        return []
    return [] if any(name == "content-length" for name, _ in fields) else [("content-length", str(length))]


def response_of(
    head: Head, request: Request, origin: Origin, body: bytes, *, http: str, started: float, terms: Terms
) -> Response:
    """The Response of an exchange with *origin*; tells the trace, with the URL redacted and no header."""
    url = request.url if request.url.origin == origin else Url(origin, request.url.target)
    if terms.trace is not None:
        elapsed = (time.monotonic() - started) * 1000
        terms.trace(f"{request.method} {url.redacted} -> {head.status} HTTP/{http} {elapsed:.0f} ms")
    return Response(head.status, head.headers, body, url, http)
