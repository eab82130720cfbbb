"""Which proxy serves a URL, as Go's net/http decides it (users of docker, crane and skopeo expect that).

Owns the meaning of HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Refuses to know how a proxy is spoken to. Pure but for
`from_environment`. Python's urllib and requests read NO_PROXY differently and are not used.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fastcopy.errors import BadConfig, Unsupported
from fastcopy.http.wire import Origin, Proxy, Url

Rule = Callable[[str, int], bool]
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class ProxySettings(NamedTuple):
    """The values of the three variables; "" is unset. `cgi`: we run as a CGI program."""

    http: str = ""
    https: str = ""
    no: str = ""
    cgi: bool = False

    def proxy_for(self, url: Url) -> Proxy | None:
        """The proxy for *url*, or None for a direct connection. Raises BadConfig, Unsupported."""
        origin = url.origin
        value, name = (self.https, "HTTPS_PROXY") if origin.scheme == "https" else (self.http, "HTTP_PROXY")
        if not value or not uses_proxy(origin.host, origin.port, self.no):
            return None
        if name == "HTTP_PROXY" and self.cgi:
            raise BadConfig("HTTP_PROXY is not used in a CGI environment: a client of the web server could have set it")
        return parse_proxy(value, name)


def from_environment(environ: Mapping[str, str] = os.environ) -> ProxySettings:
    """The settings of *environ*; upper case wins over lower case, ALL_PROXY is not read (as in Go)."""

    def get(name: str) -> str:
        return environ.get(name) or environ.get(name.lower()) or ""

    return ProxySettings(get("HTTP_PROXY"), get("HTTPS_PROXY"), get("NO_PROXY"), bool(environ.get("REQUEST_METHOD")))


@lru_cache(8)
def parse_proxy(value: str, name: str) -> Proxy:
    """A proxy's address; without a scheme it is http. The message never shows the value, it may hold a password."""
    text = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadConfig(f"{name} is not a URL") from None
    if parts.scheme in ("socks5", "socks5h"):
        raise Unsupported(f"{name}: SOCKS proxies are not supported, only http and https ones")
    if parts.scheme not in _PORTS or not parts.hostname or re.search(r"[\x00-\x20\x7f]", text):
        raise BadConfig(f"{name} is not the address of an http or https proxy")
    origin = Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
    return Proxy(origin, _authorization(parts.username, parts.password))


def _authorization(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def uses_proxy(host: str, port: int, no_proxy: str) -> bool:
    """Whether a connection to *host* (no brackets) goes through the proxy, given the value of NO_PROXY."""
    host = host.lower()
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(rule(host, port) for rule in _rules(no_proxy))


@lru_cache(8)
def _rules(no_proxy: str) -> tuple[Rule, ...]:
    entries = [entry.strip().lower() for entry in no_proxy.split(",")]
    if "*" in entries:
        return (lambda _host, _port: True,)
    return tuple(rule for rule in map(_rule, entries) if rule is not None)


def _rule(entry: str) -> Rule | None:
    """One entry of NO_PROXY; None for a malformed one, which Go ignores."""
    if not entry:
        return None
    if "/" in entry:
        return _network_rule(entry)
    name, port = _split_port(entry)
    if (address := _address(name)) is not None:
        return lambda host, given: _address(host) == address and port in (0, given)
    return _name_rule(name, port) if name else None


def _network_rule(entry: str) -> Rule | None:
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None
    return lambda host, _port: (address := _address(host)) is not None and address in network


def _name_rule(name: str, port: int) -> Rule:
    """``foo.com``: itself and what is below; ``.foo.com`` and ``*.foo.com``: only what is below."""
    below = name[1:] if name.startswith("*.") else name
    itself = "" if below.startswith(".") else below
    below = below if below.startswith(".") else f".{below}"
    ascii_below, ascii_itself = _ascii(below), _ascii(itself)

    def rule(host: str, given: int) -> bool:
        host = _ascii(host)
        return port in (0, given) and (host.endswith(ascii_below) or (ascii_itself != "" and host == ascii_itself))

    return rule


def _split_port(entry: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})", entry)
    if not found:
        return entry, 0
    return found[1] or found[2] or "", int(found[3])


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _ascii(name: str) -> str:
    if name.isascii():
        return name
    try:
        return ("." if name.startswith(".") else "") + name.lstrip(".").encode("idna").decode()
    except UnicodeError:
        return name
