"""A token server for docker-registry: issues JWTs it accepts (distribution's token specification, x5c header)."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.certificates import Certificates

ISSUER, SERVICE = "fastcopy tests", "registry.tests"


@dataclass
class TokenServer:
    """A running token server; `lifetime` (seconds) and `accounts` may be changed while it runs."""

    certificates: Certificates
    accounts: dict[str, str]
    lifetime: int = 300
    anonymous_pull: bool = False
    realm: str = ""
    #: one entry per token request: method and parsed parameters (scope is a list)
    log: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def grant(self, method: str, query: dict[str, list[str]], account: str | None) -> dict[str, Any] | None:
        """The token answer, or None when the account is unknown and anonymous pulls are not allowed."""
        self.log.append((method, query))
        if account is None and not self.anonymous_pull:
            return None
        scopes = [scope for text in query.get("scope", []) for scope in text.split()]
        access = [self._access(scope, account) for scope in scopes]
        token = self._sign({"sub": account or "", "access": [entry for entry in access if entry["actions"]]})
        return {"token": token, "access_token": token, "expires_in": self.lifetime}

    @staticmethod
    def _access(scope: str, account: str | None) -> dict[str, Any]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        wanted = [action for action in actions.split(",") if account is not None or action == "pull"]
        return {"type": kind, "name": name, "actions": wanted}

    def _sign(self, claims: dict[str, Any]) -> str:
        key = serialization.load_pem_private_key(self.certificates.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        cert = x509.load_pem_x509_certificate(self.certificates.cert.read_bytes())
        der = base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode()
        now = int(time.time())
        claims |= {"iss": ISSUER, "aud": SERVICE, "jti": secrets.token_hex(8)}
        claims |= {"iat": now, "nbf": now - 5, "exp": now + self.lifetime}
        text = f"{_b64({'typ': 'JWT', 'alg': 'ES256', 'x5c': [der]})}.{_b64(claims)}"
        r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(value: bytes | dict[str, Any]) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: TokenServer

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        user, _, password = self._basic().partition(":")
        if user and self.state.accounts.get(user) != password:
            return self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
        return self._finish(self.state.grant("GET", query, user or None))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        query = urllib.parse.parse_qs(body)
        user, password = query.get("username", [""])[0], query.get("password", [""])[0]
        if query.get("grant_type") == ["refresh_token"]:
            user, _, password = query.get("refresh_token", [""])[0].partition(":")
        query.pop("password", None)
        known = bool(user) and self.state.accounts.get(user) == password
        return self._finish(self.state.grant("POST", query, user) if known else None)

    def _basic(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if scheme == "Basic" else ""

    def _finish(self, granted: dict[str, Any] | None) -> None:
        refusal = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        self._answer(200 if granted else 401, granted or refusal)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away is not an event worth a traceback."""


@contextlib.contextmanager
def token_server(certificates: Certificates, accounts: dict[str, str], *, tls: bool = True) -> Iterator[TokenServer]:
    """Run a token server on a free loopback port until the block ends."""
    state = TokenServer(certificates, accounts)
    handler = type("Handler", (_Handler,), {"state": state, "timeout": 30})
    server = _Server(("127.0.0.1", 0), handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state.realm = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
