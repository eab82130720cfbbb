"""A self-signed authority and server certificate for `--tls` without files (needs the `serve` extra).

Kept and used again while valid, so that a client told once to trust the authority goes on trusting it.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastcopy.errors import Unsupported

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_DAYS = 365
_RENEW = datetime.timedelta(days=7)


@dataclass(frozen=True)
class CertificateFiles:
    """PEM files; `authority` is what clients must trust (--cert-dir takes its directory)."""

    authority: Path
    certificate: Path
    key: Path


def ensure_certificate(directory: Path, host: str) -> CertificateFiles:
    """Certificate files below `directory` for a listening address; made when absent or soon to expire.

    Raises Unsupported without the cryptography package, OSError.
    """
    # Names as in certs.d: ca.crt is an authority. The server's own pair has other suffixes there (.cert, .key) and
    # would be taken for a client certificate, so it lives one directory deeper.
    private = directory / "private"
    files = CertificateFiles(directory / "ca.crt", private / "server.pem", private / "server.pem.key")
    try:
        if not _usable(files, host):
            private.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(files, host)
    except ImportError:
        raise Unsupported(
            "--tls without --tls-cert needs the cryptography package", hint="pip install 'fastcopy[serve]'"
        ) from None
    return files


def _usable(files: CertificateFiles, host: str) -> bool:
    from cryptography import x509

    if not all(path.exists() for path in (files.authority, files.certificate, files.key)):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    fresh = certificate.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + _RENEW
    return fresh and set(_alternatives(host)) <= set(names)


def _make(files: CertificateFiles, host: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _builder("fastcopy serve authority", "fastcopy serve authority", ca_key)
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = ca.add_extension(identifier, critical=False).add_extension(_usage(signs=True), critical=True)
    leaf = _builder(f"fastcopy serve {host}"[:64], "fastcopy serve authority", key)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(_alternatives(host)), critical=False)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs=False), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    leaf = leaf.add_extension(authority, critical=False)
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(files.key, key.private_bytes(pem, *plain), 0o600)
    _write(files.certificate, leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem), 0o644)
    _write(files.authority, ca.sign(ca_key, hashes.SHA256()).public_bytes(pem), 0o644)


def _builder(subject: str, issuer: str, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(host: str) -> list[x509.GeneralName]:
    """The loopback names, this machine's name, and the address that is listened on."""
    from cryptography import x509

    names = {"localhost", os.uname().nodename}
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    try:
        address = ipaddress.ip_address(host)
        if not address.is_unspecified:
            addresses.add(address)
    except ValueError:
        names.add(host)
    found: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(names) if name.isascii()]
    return found + [x509.IPAddress(each) for each in sorted(addresses, key=str)]


def _write(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
