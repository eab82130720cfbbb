"""Where a token may be asked for.

Owns the rules about ``realm``, which the server chooses and to which the password goes (CVE-2019-10214, CVE-2026-33540
and their kin; protocol reference 7.2). Pure: names are not resolved here, the dialler checks the addresses they
resolve to with the same `is_private`.
"""

from __future__ import annotations

import ipaddress
import re

from fastcopy.errors import Denied, ProtocolBroken
from fastcopy.http.wire import Origin, Url

_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
#: Cloud metadata services that are not link-local (protocol reference 7.2).
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_realm(realm: str, asked: Url, *, insecure: bool) -> Url:
    """The URL of the token server named by a challenge to a request for *asked*.

    *insecure* is whether the user configured that registry as insecure. Raises ProtocolBroken for what is not a usable
    URL and Denied for a place that must not see credentials.
    """
    if "#" in realm:
        raise ProtocolBroken("the token server's address (realm) carries a fragment")
    try:
        url = asked.join(realm)
    except ProtocolBroken as problem:
        raise ProtocolBroken(f"the token server's address (realm) is not usable: {problem.message}") from None
    home = same_host(url.origin, asked.origin)
    if url.origin.scheme != "https" and not (home and insecure):
        raise Denied(f"the token server {url.origin} is not reached by https; no credentials are sent there")
    if not home:
        _check_place(url.origin, asked.origin)
    return url


def same_host(one: Origin, other: Origin) -> bool:
    """Whether both origins are on one machine by name; every spelling of loopback is the same one."""
    return one.host == other.host or (is_loopback(one.host) and is_loopback(other.host))


def is_loopback(host: str) -> bool:
    """Whether *host* is a name or address of this machine."""
    address = literal(host)
    return address.is_loopback if address else host in _LOOPBACK_NAMES or host.endswith(".localhost")


def literal(host: str) -> Address | None:
    """The address that *host* spells, looking through IPv4-mapped, NAT64 and 6to4 forms; None for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _loose_ipv4(host)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        return inner or address
    return address


def is_private(address: Address) -> bool:
    """Whether *address* is anything but a public unicast address."""
    return not address.is_global or address.is_multicast or address in _METADATA


def _check_place(realm: Origin, registry: Origin) -> None:
    """Refuse private literals to a public literal; metadata and link-local ones to everybody; names when dialled."""
    address = literal(realm.host)
    if address is None:
        return
    if address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA:
        raise _refused(realm)
    own = literal(registry.host)
    if own is not None and is_private(address) and not is_private(own):
        raise _refused(realm)


def _refused(realm: Origin) -> Denied:
    return Denied(f"the registry names a private address as its token server ({realm.host}); nothing is sent there")


def _loose_ipv4(host: str) -> Address | None:
    """What the C library takes for an address though it is no dotted quad: ``127.1``, ``0x7f000001``."""
    parts = host.split(".")
    if len(parts) > 4 or not all(re.fullmatch(r"0x[0-9a-f]+|[0-9]+", part) for part in parts):
        return None
    import socket

    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
