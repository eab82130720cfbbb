"""Which proxy serves a URL: Go's semantics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import BadConfig, Unsupported
from fastcopy.http.noproxy import ProxySettings, from_environment, parse_proxy, uses_proxy
from fastcopy.http.wire import Origin, Url

DIRECT = (
    "reg.example, .inner.net ,*.star.org,10.1.2.3,10.1.2.4:5000,192.168.0.0/16,fd00::/8,[2001:db8::1]:443,p.example:81"
)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("other.example", 443, True),
        ("reg.example", 443, False),
        ("REG.example", 443, False),
        ("a.b.reg.example", 443, False),
        ("notreg.example", 443, True),
        ("inner.net", 443, True),
        ("x.inner.net", 443, False),
        ("star.org", 443, True),
        ("x.y.star.org", 443, False),
        ("10.1.2.3", 8080, False),
        ("10.1.2.4", 5000, False),
        ("10.1.2.4", 443, True),
        ("192.168.77.1", 443, False),
        ("192.169.0.1", 443, True),
        ("fd12::5", 443, False),
        ("2001:db8::1", 443, False),
        ("2001:db8::1", 80, True),
        ("p.example", 81, False),
        ("x.p.example", 81, False),
        ("p.example", 443, True),
        ("localhost", 5000, False),
        ("127.9.9.9", 5000, False),
        ("::1", 5000, False),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(host: str, port: int, expected: bool) -> None:
    """Names with what is below them, addresses, networks, optional ports; loopback never uses a proxy."""
    assert uses_proxy(host, port, DIRECT) is expected


@pytest.mark.parametrize("value", ["*", " * ", "a.example,*"])
def test_a_star_alone_bypasses_everything(value: str) -> None:
    """One entry that is just a star."""
    assert not uses_proxy("anything.example", 443, value)


@pytest.mark.parametrize(
    "value", ["", ",,", "1.2.3.0/99", ":443", "[::1", "*reg.example", "reg.example:http", "[fd00::1]"]
)
def test_malformed_entries_are_ignored(value: str) -> None:
    """What Go does not understand changes nothing."""
    assert uses_proxy("reg.example", 443, value)
    assert uses_proxy("fd00::1", 443, value)


def test_international_names_match_their_ascii_form() -> None:
    """NO_PROXY may be written with umlauts."""
    assert not uses_proxy("xn--bcher-kva.example", 443, "bücher.example")
    assert not uses_proxy("a.xn--bcher-kva.example", 443, ".bücher.example")


@given(st.text(max_size=80), st.text(max_size=40), st.integers(1, 65535))
def test_no_value_breaks_the_decision(no_proxy: str, host: str, port: int) -> None:
    """Any text in the variable and any host give an answer."""
    assert uses_proxy(host, port, no_proxy) in (True, False)


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){1,3}", fullmatch=True), st.from_regex(r"[a-z]{1,5}", fullmatch=True))
def test_a_name_covers_itself_and_what_is_below(name: str, label: str) -> None:
    """``name`` and ``.name`` differ in the name itself only."""
    assert not uses_proxy(name, 443, name)
    assert not uses_proxy(f"{label}.{name}", 443, name)
    assert not uses_proxy(f"{label}.{name}", 443, f".{name}")
    assert uses_proxy(name, 443, f".{name}") is (name != "localhost")
    assert uses_proxy(f"{label}{name}", 443, name)


def test_the_scheme_of_the_url_chooses_the_variable() -> None:
    """HTTPS_PROXY is for https URLs, HTTP_PROXY for http ones; each hop decides anew."""
    settings = ProxySettings(http="h.example:3128", https="http://user:p%40ss@s.example")
    plain, secure = Url.parse("http://r.example:5000/"), Url.parse("https://r.example/")
    proxy = settings.proxy_for(plain)
    assert proxy is not None
    assert (proxy.origin, proxy.authorization) == (Origin("http", "h.example", 3128), "")
    proxy = settings.proxy_for(secure)
    assert proxy is not None
    assert (proxy.origin, proxy.authorization) == (Origin("http", "s.example", 80), "Basic dXNlcjpwQHNz")
    assert "dXNlc" not in repr(proxy)
    assert ProxySettings(http="h.example").proxy_for(secure) is None


def test_upper_case_wins_and_all_proxy_is_not_read() -> None:
    """The environment as Go reads it."""
    settings = from_environment({"HTTPS_PROXY": "a", "https_proxy": "b", "http_proxy": "c", "ALL_PROXY": "d"})
    assert (settings.https, settings.http, settings.no) == ("a", "c", "")


def test_a_cgi_program_does_not_believe_http_proxy() -> None:
    """With REQUEST_METHOD set, HTTP_PROXY may be a header of a stranger (httpoxy)."""
    settings = from_environment({"HTTP_PROXY": "evil.example", "REQUEST_METHOD": "GET"})
    with pytest.raises(BadConfig, match="CGI"):
        settings.proxy_for(Url.parse("http://r.example/"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("socks5://u:secret@p.example", Unsupported),
        ("ftp://u:secret@p.example", BadConfig),
        ("http://u:secret@p.example:bad", BadConfig),
        ("http://u:secret@", BadConfig),
    ],
)
def test_proxies_we_cannot_use_are_refused_without_their_password(value: str, kind: type[Exception]) -> None:
    """One line that names the variable, not its value."""
    with pytest.raises(kind, match="HTTPS_PROXY") as caught:
        parse_proxy(value, "HTTPS_PROXY")
    assert "secret" not in str(caught.value)
