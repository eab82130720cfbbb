"""Who the server is on TLS: the certificate files given, or an authority made for the purpose."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastcopy.errors import BadConfig
from fastcopy.serve.config import ServeConfig


@dataclass(frozen=True)
class Identity:
    """The context connections are wrapped in (None: plain), and the made authority's file, if one was made."""

    context: ssl.SSLContext | None = None
    authority: Path | None = None


@contextlib.contextmanager
def server_identity(config: ServeConfig) -> Iterator[Identity]:
    """The identity while the server runs; raises BadConfig, Unsupported."""
    if not config.secure:
        yield Identity()
    elif config.tls_cert is not None:
        yield Identity(_context(config, config.tls_cert, config.tls_key))
    else:
        with _certificate_directory(config) as directory:
            from fastcopy.serve.certificate import ensure_certificate

            files = ensure_certificate(directory, config.address[0])
            yield Identity(_context(config, files.certificate, files.key), files.authority)


@contextlib.contextmanager
def _certificate_directory(config: ServeConfig) -> Iterator[Path]:
    """Next to the layout, so that it is trusted again tomorrow; for a registry in memory gone with it."""
    if config.directory is not None:
        yield config.directory.with_name(f"{config.directory.absolute().name}.tls")
        return
    with tempfile.TemporaryDirectory(prefix="fastcopy-serve-") as directory:
        yield Path(directory)


def _context(config: ServeConfig, certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if config.http2 else ["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise BadConfig(f"cannot use {certificate} and its key: {reason}") from None
    return context
