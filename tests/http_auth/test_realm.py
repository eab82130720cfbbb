"""Where a token may be asked for."""

from __future__ import annotations

import pytest

from fastcopy.errors import Denied, FastcopyError, ProtocolBroken
from fastcopy.http.realm import check_realm, is_private, literal, same_host
from fastcopy.http.wire import Url


def realm(text: str, asked: str = "https://registry.example/v2/", *, insecure: bool = False) -> str:
    """The token server for a challenge naming *text*."""
    return str(check_realm(text, Url.parse(asked), insecure=insecure))


@pytest.mark.parametrize(
    ("text", "asked", "insecure", "expected"),
    [
        ("https://auth.docker.io/token", "https://registry-1.docker.io/v2/", False, "https://auth.docker.io/token"),
        ("/service/token", "https://h.example/v2/a", False, "https://h.example/service/token"),
        ("http://r.example:5001/auth", "http://r.example:5000/v2/", True, "http://r.example:5001/auth"),
        ("http://localhost:5001/auth", "http://127.0.0.1:5000/v2/", True, "http://localhost:5001/auth"),
        ("https://10.0.0.5/auth", "https://10.0.0.4/v2/", False, "https://10.0.0.5/auth"),
        ("https://10.0.0.5/auth", "https://registry.internal/v2/", False, "https://10.0.0.5/auth"),
        ("https://10.0.0.4:8443/auth", "https://10.0.0.4/v2/", False, "https://10.0.0.4:8443/auth"),
        ("https://x.example/t?service=a b", "https://x.example/v2/", False, None),
    ],
)
def test_honest_realms_pass(text: str, asked: str, insecure: bool, expected: str | None) -> None:
    """Other hosts by https, the registry's own host by what the registry itself uses, relative ones."""
    if expected is None:
        with pytest.raises(ProtocolBroken):
            realm(text, asked, insecure=insecure)
    else:
        assert realm(text, asked, insecure=insecure) == expected


@pytest.mark.parametrize(
    ("text", "insecure"),
    [
        ("http://registry.example/token", False),
        ("http://auth.example/token", False),
        ("http://auth.example/token", True),
        ("https://169.254.169.254/latest", False),
        ("https://100.100.100.200/", False),
        ("https://[fd00:ec2::254]/", False),
        ("https://[::ffff:169.254.169.254]/", False),
        ("https://[64:ff9b::a9fe:a9fe]/", False),
        ("https://[2002:a9fe:a9fe::]/", False),
        ("https://2852039166/", False),
        ("https://0xa9fea9fe/", False),
        ("https://0.0.0.0/", False),
        ("https://[::]/", False),
    ],
)
def test_no_credentials_for_clear_text_or_machine_local_services(text: str, insecure: bool) -> None:
    """Downgrades, metadata services and link-local addresses are refused in every spelling."""
    with pytest.raises(Denied):
        realm(text, insecure=insecure)


@pytest.mark.parametrize(
    "text", ["https://10.0.0.1/t", "https://127.0.0.1/t", "https://[fc00::1]/t", "https://127.1/t"]
)
def test_a_public_registry_may_not_name_a_private_token_server(text: str) -> None:
    """A literal private address is for registries that are private themselves."""
    with pytest.raises(Denied, match="private address"):
        realm(text, "https://93.184.216.34/v2/")


@pytest.mark.parametrize(
    "text",
    ["https://user:pw@a.example/", "https://a.example/#x", "https://a.example\\@b/", "ftp://a/", "https://a:99999/"],
)
def test_what_is_not_a_plain_url_is_refused_without_quoting_secrets(text: str) -> None:
    """User information, fragments, backslashes, other schemes and impossible ports; the error shows no password."""
    with pytest.raises(FastcopyError) as caught:
        realm(text)
    assert "pw" not in str(caught.value)


def test_addresses_are_looked_through() -> None:
    """Embedded IPv4 addresses count as themselves."""
    for text in ("::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "10.1", "0x0a000001"):
        address = literal(text)
        assert address is not None
        assert is_private(address), text
    public = literal("8.8.8.8")
    assert public is not None
    assert not is_private(public)
    assert literal("registry.example") is None


def test_every_spelling_of_loopback_is_one_host() -> None:
    """localhost, 127.0.0.0/8 and ::1 are this machine."""
    one = Url.parse("http://localhost:1/").origin
    assert same_host(one, Url.parse("http://[::1]:2/").origin)
    assert same_host(one, Url.parse("http://127.8.8.8/").origin)
    assert not same_host(one, Url.parse("http://localhost.example/").origin)
