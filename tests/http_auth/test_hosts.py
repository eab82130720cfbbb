"""Where a registry is and how it is reached."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import pytest

from fastcopy.errors import BadConfig, PolicyRefused
from fastcopy.http import registries
from fastcopy.http.hosts import HostAccess, HostTable, api_origin
from fastcopy.http.wire import Origin, Url
from fastcopy.options import Credentials, HostOptions
from tests.certificates import make_certificates

CONF = """
[[registry]]
location = "blocked.example"
blocked = true
[[registry]]
location = "blocked.example/but/this"
insecure = true
[[registry]]
location = "lax.example"
insecure = true
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
insecure = true
"""


@pytest.fixture(autouse=True)
def _no_machine_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "SYSTEM_CONF", tmp_path / "none")
    monkeypatch.setattr(registries, "SYSTEM_DROP_INS", tmp_path / "none.d")


def table(tmp_path: Path, **options: object) -> HostTable:
    """A table that reads CONF and nothing of this machine."""
    path = tmp_path / "registries.conf"
    path.write_text(CONF)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "lax.example"}
    made = HostOptions(registries_conf=path, **options)  # type: ignore[arg-type]
    return HostTable(made, environ=environ, home=tmp_path)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("quay.io", "https://quay.io"),
        ("docker.io", "https://registry-1.docker.io"),
        ("index.docker.io", "https://registry-1.docker.io"),
        ("localhost:5000", "https://localhost:5000"),
        ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000"),
    ],
)
def test_the_api_is_where_the_name_says(registry: str, expected: str) -> None:
    """Docker Hub is the one exception."""
    assert str(api_origin(registry)) == expected


def test_registries_conf_decides_unless_the_command_line_does(tmp_path: Path) -> None:
    """insecure by file, by flag, and overruled by the flag."""
    assert table(tmp_path).access("lax.example", "a").insecure
    assert table(tmp_path).access("strict.example", "a").verify
    assert table(tmp_path, tls_verify=True).access("lax.example", "a").verify
    assert table(tmp_path, tls_verify=False).access("strict.example", "a").insecure


def test_blocked_registries_are_refused_for_every_use(tmp_path: Path) -> None:
    """Pushes too; a longer prefix may free a part."""
    with pytest.raises(PolicyRefused, match=r"registry blocked\.example is blocked in"):
        table(tmp_path).access("blocked.example", "a")
    assert table(tmp_path).access("blocked.example", "but/this/one").insecure


def test_mirrors_are_reached_with_their_own_settings_and_without_given_credentials(tmp_path: Path) -> None:
    """Credentials of the command line are for the host that was named, not for mirrors elsewhere."""
    given = Credentials("u", "p", registry_token="t")
    hosts = table(tmp_path, credentials=given)
    mirror, primary = hosts.resolve_pull("docker.io", "library/x", is_digest=False)
    reached = hosts.access_endpoint(mirror)
    assert (reached.registry, reached.insecure, reached.registry_token) == ("mirror.example", True, "")
    assert reached.credentials("hub/library/x") is None
    named = hosts.access_endpoint(primary)
    assert (named.credentials("library/x"), named.registry_token) == (given, "t")


def test_credentials_come_from_the_auth_files_by_repository(tmp_path: Path) -> None:
    """Unless --no-creds."""
    auth = tmp_path / "auth.json"
    auths = {"a.io/ns": {"auth": base64.b64encode(b"u:p").decode()}}
    auth.write_text(json.dumps({"auths": auths}))
    found = table(tmp_path, authfile=auth).access("a.io", "ns/x").credentials
    assert found("ns/x") == Credentials("u", "p")
    assert found("other/x") is None
    assert found("") is None
    assert table(tmp_path, authfile=auth, anonymous=True).access("a.io").credentials("ns/x") is None


def test_one_registry_has_one_access(tmp_path: Path) -> None:
    """Repositories share it unless registries.conf tells them apart; no file is read twice."""
    hosts = table(tmp_path)
    assert hosts.access("a.io", "x") is hosts.access("a.io", "y")
    assert hosts.access("a.io", "x") is not hosts.access("b.io", "x")


def test_every_hop_has_its_own_proxy_decision(tmp_path: Path) -> None:
    """NO_PROXY is looked at for the URL, not for the registry."""
    access = table(tmp_path).access("lax.example")
    assert access.proxy_for(Url.parse("https://lax.example/v2/")) is None
    proxy = access.proxy_for(Url.parse("https://storage.example/blob"))
    assert proxy is not None
    assert proxy.origin == Origin("http", "proxy.example", 3128)


def test_client_certificates_and_blind_trust_stay_at_the_registry(tmp_path: Path) -> None:
    """Redirect targets and token servers elsewhere are verified, and see no client certificate."""
    made = make_certificates(tmp_path / "made")
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(made.ca.read_bytes())
    (folder / "me.cert").write_bytes(made.cert.read_bytes())
    (folder / "me.key").write_bytes(made.key.read_bytes())
    access = table(tmp_path, cert_dir=folder, tls_verify=False).access("r.example:5000")
    own, own_name = access.tls_context(Origin("https", "r.example", 5000))
    port, port_name = access.tls_context(Origin("https", "r.example", 5001))
    other, other_name = access.tls_context(Origin("https", "s3.example", 443))
    assert (own.verify_mode, port.verify_mode, other.verify_mode) == (
        ssl.CERT_NONE,
        ssl.CERT_NONE,
        ssl.CERT_REQUIRED,
    )
    assert len({own_name, port_name, other_name}) == 3
    assert own is not port
    ours = ssl.PEM_cert_to_DER_cert(made.ca.read_text())
    assert ours in other.get_ca_certs(binary_form=True)


@pytest.mark.parametrize(
    ("origin", "insecure", "expected"),
    [
        (Origin("https", "r.example", 443), False, True),
        (Origin("https", "r.example", 8443), False, False),
        (Origin("http", "r.example", 443), False, False),
        (Origin("http", "r.example", 80), False, False),
        (Origin("http", "r.example", 80), True, True),
        (Origin("https", "cdn.r.example", 443), True, False),
    ],
)
def test_only_the_registrys_own_origin_is_served(origin: Origin, insecure: bool, expected: bool) -> None:
    """Scheme, host and port; plain http (port 80 for 443) only where it is configured insecure."""
    assert HostAccess("r.example", api_origin("r.example"), insecure=insecure).serves(origin) is expected


def test_bad_files_are_reported_when_the_registry_is_first_used(tmp_path: Path) -> None:
    """Making a table reads nothing."""
    hosts = HostTable(HostOptions(registries_conf=tmp_path / "none"), environ={}, home=tmp_path)
    with pytest.raises(BadConfig, match="no such file"):
        hosts.access("a.io")


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    """Options and accesses may be logged."""
    hosts = table(tmp_path, credentials=Credentials("u", "hidden", registry_token="hidden"))
    assert "hidden" not in repr(hosts.access("a.io")) + repr(hosts.__dict__)
