"""What front ends and handlers say to each other: request heads, bodies, replies, refusals.

Owns the vocabulary of one exchange. Refuses to know sockets, HTTP versions, routes and storage.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, unquote

from fastcopy.http.wire import Headers

if TYPE_CHECKING:
    from fastcopy.serve.content import Blob, Spool

#: Statuses whose replies never have a body (RFC 9110 6.4.1).
BODILESS = frozenset({204, 304})
#: The first bytes of an HTTP/2 client (RFC 9113 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class BodyLost(Exception):  # an event of the wire, not an error a user meets
    """The client went away, or stalled, before its body was complete; what arrived is kept."""


class Hangup(Exception):
    """Close this connection (or reset this stream) now, without another byte."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; `authority` is Host or :authority, `target` the undecoded path and query."""

    method: str
    target: str
    headers: Headers
    authority: str = ""
    scheme: str = "http"
    http: str = "1.1"

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, list[str]]:
        """Query parameters, decoded; empty values are kept."""
        text = self.target.partition("?")[2]
        return parse_qs(text, keep_blank_values=True) if text else {}

    def asked(self, name: str) -> str:
        """The first value of a query parameter, or ""."""
        return self.query.get(name, [""])[0]


class Body(Protocol):
    """The incoming body of one request; exactly `length` bytes, or unknown (None) when chunked or h2 without length."""

    @property
    def length(self) -> int | None: ...

    @property
    def received(self) -> int:
        """Bytes read so far."""

    async def read(self, max_bytes: int) -> bytes:
        """Some bytes, b"" at the end; raises BodyLost."""

    async def pour(self, spool: Spool) -> None:
        """Move the rest into an open upload; on BodyLost the spool holds what arrived, digested."""


@dataclass(frozen=True, slots=True)
class Slice:
    """`length` bytes of a blob from `start`."""

    blob: Blob
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunks:
    """A body made on the way; the source may raise Hangup."""

    length: int
    source: AsyncGenerator[bytes, None]


@dataclass(slots=True)
class Reply:
    """One response; Content-Length is added by the front end, and HEAD is its business too."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Slice | Chunks = b""

    @property
    def length(self) -> int:
        """Bytes of body (what a HEAD announces)."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def get(self, name: str) -> str:
        """The first value of a header, or ""."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @classmethod
    def json(cls, status: int, value: object, *headers: tuple[str, str], kind: str = "application/json") -> Reply:
        """A JSON document."""
        return cls(status, [("Content-Type", kind), *headers], json.dumps(value).encode())


class Refusal(Exception):
    """A request that is answered with an error body (distribution-spec "Error Codes")."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[str, str], detail: object = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers, self.detail = status, code, message, headers, detail

    def reply(self) -> Reply:
        """The refusal as a reply."""
        error = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error |= {"detail": self.detail}  # type: ignore[dict-item]
        return Reply.json(self.status, {"errors": [error]}, *self.headers)


Handler = Callable[[Head, Body], Awaitable[Reply]]
#: The one hook of the server: sees every request before the registry does, and every reply after it.
Middleware = Callable[[Head, Body, Handler], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request in the server's log; `status` 0 means the connection ended without an answer."""

    method: str
    target: str
    status: int
    bytes_in: int
    bytes_out: int
    http: str
