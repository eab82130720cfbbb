"""Certificates, TLS settings, and what contexts made of them accept."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from fastcopy.errors import BadConfig, Unsupported
from fastcopy.http.certs import (
    CIPHERS,
    GROUPS,
    CertFiles,
    TlsDetails,
    find_cert_dir,
    read_cert_dir,
    read_tls_details,
    sort_certs,
    ssl_context,
)
from tests.certificates import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA and a server certificate for localhost."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """Shake hands in memory; the client's end, or the failure of whoever fails."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0]


def server(certificates: Certificates) -> ssl.SSLContext:
    """A server with the leaf certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    return context


def test_files_are_sorted_by_their_endings(tmp_path: Path) -> None:
    """*.crt are authorities, X.cert and X.key a client pair, the rest is nothing."""
    found = sort_certs(tmp_path, ["b.crt", "a.crt", "me.cert", "me.key", "readme.txt", "x.pem"])
    assert found.authorities == (tmp_path / "a.crt", tmp_path / "b.crt")
    assert found.pairs == ((tmp_path / "me.cert", tmp_path / "me.key"),)


@pytest.mark.parametrize(
    ("name", "message"), [("a.cert", "missing key a.key"), ("a.key", "missing client certificate")]
)
def test_half_a_pair_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    """As with docker and skopeo."""
    (tmp_path / name).write_text("")
    with pytest.raises(BadConfig, match=message):
        read_cert_dir(tmp_path)


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Also when it was named by --cert-dir, as with skopeo; a file in its place is an error."""
    assert read_cert_dir(tmp_path / "none") == CertFiles()
    assert read_cert_dir(None) == CertFiles()
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig):
        read_cert_dir(tmp_path / "file")


def test_the_first_host_directory_wins(tmp_path: Path) -> None:
    """The user's certs.d before the system's, never both; the directory is the name with its port."""
    home, system = tmp_path / "home", tmp_path / "etc"
    (system / "a.io:5000").mkdir(parents=True)
    assert find_cert_dir("a.io:5000", home, (system,)) == system / "a.io:5000"
    own = home / ".config/containers/certs.d/a.io:5000"
    own.mkdir(parents=True)
    assert find_cert_dir("a.io:5000", home, (system,)) == own
    assert find_cert_dir("a.io", home, (system,)) is None
    assert find_cert_dir("..", home, (system,)) is None


def test_an_authority_of_the_directory_is_trusted(certificates: Certificates) -> None:
    """With it the handshake succeeds, without it the certificate is refused, as is another name."""
    trusting = ssl_context(read_cert_dir(certificates.directory), TlsDetails(), True)
    assert shake(trusting, server(certificates)).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(ssl_context(CertFiles(), TlsDetails(), True), server(certificates))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(trusting, server(certificates), "other.example")


def test_unverified_means_any_certificate(certificates: Certificates) -> None:
    """--tls-verify=false."""
    assert shake(ssl_context(CertFiles(), TlsDetails(), False), server(certificates), "other.example").version()


def test_a_client_certificate_is_shown_when_asked_for(certificates: Certificates) -> None:
    """The pair of the directory identifies us to a server that demands it."""
    demanding = server(certificates)
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(certificates.ca)
    pair = CertFiles((certificates.ca,), ((certificates.cert, certificates.key),))
    with pytest.raises(ssl.SSLError):
        shake(ssl_context(CertFiles((certificates.ca,)), TlsDetails(), True), demanding)
    try:
        shake(ssl_context(pair, TlsDetails(), True), demanding)
    except ssl.SSLError as error:  # the leaf is for servers only: it was shown, and judged
        assert "purpose" in str(error) or "unsuitable" in str(error)  # noqa: PT017


def test_contexts_are_made_once(certificates: Certificates) -> None:
    """Equal settings share one context; loading a trust store is slow."""
    files = CertFiles((certificates.ca,))
    assert ssl_context(files, TlsDetails(), True) is ssl_context(CertFiles((certificates.ca,)), TlsDetails(), True)
    assert ssl_context(files, TlsDetails(), True) is not ssl_context(files, TlsDetails(), False)


def test_broken_certificates_are_named(tmp_path: Path, certificates: Certificates) -> None:
    """The file is in the message."""
    bad = tmp_path / "bad.crt"
    bad.write_text("-----BEGIN nonsense")
    with pytest.raises(BadConfig, match=r"bad\.crt: not a readable PEM certificate"):
        ssl_context(CertFiles((bad,)), TlsDetails(), True)
    with pytest.raises(BadConfig, match=r"bad\.crt, .*: not a usable client certificate"):
        ssl_context(CertFiles((), ((bad, certificates.key),)), TlsDetails(), True)


@pytest.mark.parametrize(
    ("text", "version", "cipher"),
    [
        ('minVersion: "1.3"', "TLSv1.3", None),
        ("cipherSuites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]", "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        (
            "cipherSuites:\n- TLS_AES_128_GCM_SHA256\n- TLS_AES_256_GCM_SHA384\n- TLS_CHACHA20_POLY1305_SHA256",
            "TLSv1.3",
            None,
        ),
        ("namedGroups: [secp384r1]", "TLSv1.3", None),
        ("namedGroups: [x25519]", "TLSv1.3", None),
        ("", "TLSv1.3", None),
        ("{}", "TLSv1.3", None),
    ],
)
def test_tls_details_are_enforced(
    tmp_path: Path, certificates: Certificates, text: str, version: str, cipher: str | None
) -> None:
    """The handshake uses what the file allows."""
    path = tmp_path / "tls.yaml"
    path.write_text(text)
    if "x25519" in text and not _has_x25519():
        pytest.skip("this build of Python cannot set X25519")
    context = ssl_context(CertFiles((certificates.ca,)), read_tls_details(path), True)
    done = shake(context, server(certificates))
    assert done.version() == version
    used = done.cipher()
    assert cipher is None or (used is not None and used[0] == cipher)


@pytest.mark.parametrize(
    "text", ['minVersion: "1.3"', "namedGroups: [x25519]", "cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"]
)
def test_tls_details_that_the_server_cannot_meet_end_the_handshake(
    tmp_path: Path, certificates: Certificates, text: str
) -> None:
    """A limit is a limit."""
    if "x25519" in text and not _has_x25519():
        pytest.skip("this build of Python cannot set X25519")
    path = tmp_path / "tls.yaml"
    path.write_text(text)
    narrow = server(certificates)
    narrow.maximum_version = ssl.TLSVersion.TLSv1_2
    narrow.set_ecdh_curve("prime256v1")
    with pytest.raises(ssl.SSLError):
        shake(ssl_context(CertFiles((certificates.ca,)), read_tls_details(path), True), narrow)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("minVersion: 1.3", BadConfig, "minVersion must be one of '1.2', '1.3'"),
        ('minVersion: "1.1"', BadConfig, "minVersion"),
        ("cipherSuites: [TLS_RSA_WITH_RC4_128_SHA]", Unsupported, "'TLS_RSA_WITH_RC4_128_SHA' is not supported"),
        ("cipherSuites: [TLS_AES_128_GCM_SHA256]", Unsupported, "cannot leave TLS_AES_256_GCM_SHA384, TLS_CHACHA20"),
        ("cipherSuites: []", Unsupported, "empty"),
        ("cipherSuites: text", BadConfig, "list of names"),
        ("namedGroups: [brainpool]", Unsupported, "brainpool"),
        ("other: 1", BadConfig, "unknown field 'other'"),
        ("- a", BadConfig, "not a mapping"),
        ("a: [", BadConfig, "line 1, column"),
    ],
)
def test_settings_we_cannot_enforce_are_refused(tmp_path: Path, text: str, kind: type[Exception], message: str) -> None:
    """By name and with the place; nothing is ignored."""
    path = tmp_path / "tls.yaml"
    path.write_text(text)
    with pytest.raises(kind, match=message) as caught:
        read_tls_details(path)
    assert str(path) in str(caught.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """--tls-details names a file."""
    with pytest.raises(BadConfig, match="no such file"):
        read_tls_details(tmp_path / "none.yaml")
    assert read_tls_details(None) == TlsDetails()


def test_several_groups_need_a_python_that_can(tmp_path: Path) -> None:
    """One group is enforced everywhere; a list where ssl has set_groups (CPython 3.15), else it is refused."""
    path = tmp_path / "tls.yaml"
    path.write_text("namedGroups: [secp256r1, x25519]")
    if hasattr(ssl.SSLContext, "set_groups"):
        assert ssl_context(CertFiles(), read_tls_details(path), False)
    else:
        with pytest.raises(Unsupported, match="exactly one named group"):
            read_tls_details(path)


@pytest.mark.parametrize("name", CIPHERS)
def test_every_cipher_we_name_exists(name: str) -> None:
    """The table agrees with the OpenSSL in use."""
    context = ssl_context(CertFiles(), TlsDetails(ciphers=(name,)), False)
    assert CIPHERS[name] in {each["name"] for each in context.get_ciphers()}


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_we_name_exists(name: str) -> None:
    """The table agrees with the OpenSSL in use; what this build of Python cannot set is refused by name."""
    if name == "x25519" and not _has_x25519():
        with pytest.raises(Unsupported, match="X25519"):
            ssl_context(CertFiles(), TlsDetails(groups=(name,)), False)
        return
    assert ssl_context(CertFiles(), TlsDetails(groups=(name,)), False)


def _has_x25519() -> bool:
    try:
        ssl.create_default_context().set_ecdh_curve("X25519")
    except (ssl.SSLError, ValueError):
        return False
    return True
