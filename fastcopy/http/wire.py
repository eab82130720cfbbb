"""HTTP values: URLs, origins, headers, requests and responses.

Law 1: values only; nothing here knows sockets, h11 or h2.
Law 2: one URL parser for checking and for dialling (parser differentials are how SSRF filters are bypassed).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from fastcopy.errors import ProtocolBroken

DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\uffff\\]")
#: Query values that are identifiers, not capabilities; every other value is redacted (protocol.md 7.2).
SAFE_QUERY = frozenset({"scope", "service", "mount", "from", "digest", "n", "last", "artifactType", "ns"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case, brackets of IPv6 kept off) and port: the unit of trust and of pooling."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """``host[:port]`` as the Host header wants it (RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: where it listens, and the value of Proxy-Authorization ("" when it wants none)."""

    origin: Origin
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http(s) URL: an origin and a request target (path and query, percent-encoding untouched)."""

    origin: Origin
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse an absolute URL; raises ProtocolBroken on anything a strict parser dislikes."""
        if _FORBIDDEN.search(text):
            raise ProtocolBroken("URL contains characters that no URL may contain")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ProtocolBroken(f"not a URL: {error}") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ProtocolBroken(f"not an absolute http or https URL: {text.partition('?')[0][:200]!r}")
        if parts.username is not None or parts.password is not None:
            raise ProtocolBroken("URL must not carry user information")
        origin = Origin(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme])
        target = parts.path or "/"
        return cls(origin, f"{target}?{parts.query}" if parts.query else target)

    def join(self, reference: str) -> Url:
        """Resolve a Location or Link value against this URL (RFC 3986 5.2), query kept verbatim."""
        if _FORBIDDEN.search(reference):
            raise ProtocolBroken("Location contains characters that no URL may contain")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", reference):
            return Url.parse(reference)
        if reference.startswith("//"):
            return Url.parse(f"{self.origin.scheme}:{reference}")
        reference = reference.partition("#")[0]
        if reference.startswith("/"):
            return Url(self.origin, reference)
        path = self.target.partition("?")[0]
        if reference.startswith("?") or not reference:
            return Url(self.origin, path + reference)
        return Url(self.origin, path.rpartition("/")[0] + "/" + reference)

    def with_query(self, **values: str) -> Url:
        """Append query parameters, percent-encoded; what is there stays untouched."""
        added = "&".join(f"{key}={quote(value, safe='')}" for key, value in values.items())
        return replace(self, target=f"{self.target}{'&' if '?' in self.target else '?'}{added}")

    @property
    def redacted(self) -> str:
        """The URL for people: values of unknown query parameters are hidden, they may be capabilities."""
        path, _, query = self.target.partition("?")
        if not query:
            return f"{self.origin}{path}"
        return f"{self.origin}{path}?" + "&".join(_redact(pair) for pair in query.split("&"))

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def _redact(pair: str) -> str:
    key, _, _value = pair.partition("=")
    return pair if key in SAFE_QUERY else f"{key}=REDACTED"


class Headers:
    """An ordered multi-map of header fields; names compare without case."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple((name.lower(), value) for name, value in pairs)

    def get(self, name: str, default: str = "") -> str:
        """The first value of *name*."""
        name = name.lower()
        return next((value for key, value in self._pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of *name*, in order."""
        name = name.lower()
        return [value for key, value in self._pairs if key == name]

    def integer(self, name: str) -> int | None:
        """The value of *name* as a non-negative integer, or None."""
        text = self.get(name).strip()
        return int(text) if text.isascii() and text.isdigit() else None

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __repr__(self) -> str:
        return f"<Headers {[name for name, _ in self._pairs]}>"


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the body is None or in memory (streamed bodies go through Client.open_upload).

    `scopes` are the token scopes it needs, most important first; `limit` caps the response body in bytes;
    `patience` is the number of seconds to wait for the response head.
    """

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  #: may hold credentials
    body: bytes | None = field(default=None, repr=False)  #: a token request's holds a password
    scopes: tuple[str, ...] = ()
    limit: int = 4 << 20
    patience: float = 60.0
    follow: bool = True  #: follow redirects (GET and HEAD only)
    repeatable: bool = True  #: may be sent again at once when a reused link broke before any byte of the answer

    def with_body(self, body: bytes) -> Request:
        """A copy that carries *body* and its Content-Length."""
        return replace(self, headers=(*self.headers, ("content-length", str(len(body)))), body=body)

    def once(self) -> Request:
        """A copy that is never sent twice by the client: registries append a repeated upload body."""
        return replace(self, repeatable=False)

    def limited(self, limit: int) -> Request:
        """A copy whose response body may have at most *limit* bytes."""
        return replace(self, limit=limit)

    def with_headers(self, *pairs: tuple[str, str]) -> Request:
        """A copy with more header fields."""
        return replace(self, headers=self.headers + pairs)


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body (if any) is in memory. `url` is where it finally came from."""

    status: int
    headers: Headers
    body: bytes = b""
    url: Url | None = None
    http: str = field(default="1.1", compare=False)  #: "1.1" or "2"
    auth: str = field(default="", compare=False)  #: what the request proved: "", "anonymous", "basic" or "bearer"
