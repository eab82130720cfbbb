"""Who may do what: Basic, and Bearer tokens with an embedded token endpoint (distribution token specification).

Pure: it reads a request head and says yes, or raises the Refusal to send. Tokens are HMAC-signed JWTs of a key that
lives as long as the process.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from fastcopy.serve.config import Account, Behaviour
from fastcopy.serve.message import Head, Refusal, Reply

_HEADER = {"typ": "JWT", "alg": "HS256"}


class Access:
    """The doorkeeper of one server."""

    def __init__(
        self, accounts: Iterable[Account], behaviour: Behaviour, clock: Callable[[], float] = time.time
    ) -> None:
        self.accounts = {account.user: account for account in accounts}
        self.behaviour = behaviour
        self.clock = clock
        self._key = secrets.token_bytes(32)

    def admit(self, head: Head, name: str, actions: frozenset[str]) -> None:
        """Let the request do `actions` on a repository ("" for none in particular); raises Refusal 401 or 403."""
        if not self.accounts or (self.behaviour.anonymous_pull and actions <= {"pull"}):
            return
        scheme, _, value = head.headers.get("Authorization").partition(" ")
        if self.behaviour.auth == "token":
            self._admit_token(head, scheme.lower(), value.strip(), name, actions)
        else:
            self._admit_basic(scheme.lower(), value.strip(), name, actions)

    def allows(self, head: Head, name: str, actions: frozenset[str]) -> bool:
        """As admit, for optional rights (the source of a mount)."""
        try:
            self.admit(head, name, actions)
        except Refusal:
            return False
        return True

    def admit_catalog(self, head: Head) -> None:
        """The catalogue is a right of its own with tokens (registry:catalog:*); raises Refusal."""
        if not self.accounts:
            return
        scheme, _, value = head.headers.get("Authorization").partition(" ")
        if self.behaviour.auth == "basic":
            self._admit_basic(scheme.lower(), value.strip(), "", frozenset())
            return
        claims = self._verified(value.strip()) if scheme.lower() == "bearer" else None
        grants = claims["access"] if claims else []
        if not any(grant["type"] == "registry" and grant["name"] == "catalog" and grant["actions"] for grant in grants):
            raise _unauthorized(f'{self._challenge(head, "", frozenset())},scope="registry:catalog:*"')

    def _admit_basic(self, scheme: str, value: str, name: str, actions: frozenset[str]) -> None:
        account = self._known(*_userpass(value)) if scheme == "basic" else None
        if account is None:
            raise _unauthorized(f'Basic realm="{self.behaviour.basic_realm}"')
        if name and not actions <= account.may(name):
            raise _denied()

    def _admit_token(self, head: Head, scheme: str, value: str, name: str, actions: frozenset[str]) -> None:
        claims = self._verified(value) if scheme == "bearer" else None
        if claims is None:
            error = ',error="invalid_token"' if scheme == "bearer" else ""
            raise _unauthorized(self._challenge(head, name, actions) + error)
        held = {action for grant in claims["access"] if grant["name"] == name for action in grant["actions"]}
        if name and not actions <= held:
            raise self._lacking(head, name, actions)

    def _lacking(self, head: Head, name: str, actions: frozenset[str]) -> Refusal:
        if self.behaviour.lacking == "denied":
            return _denied()
        if self.behaviour.lacking == "basic":
            return _unauthorized(f'Basic realm="{self.behaviour.basic_realm}"')
        return _unauthorized(self._challenge(head, name, actions) + ',error="insufficient_scope"')

    def _challenge(self, head: Head, name: str, actions: frozenset[str]) -> str:
        realm = f"{head.scheme}://{head.authority}{self.behaviour.realm_path}"
        text = f'Bearer realm="{realm}",service="{self.behaviour.service}"'
        ordered = [action for action in ("pull", "push", "delete") if action in actions]
        return f'{text},scope="repository:{name}:{",".join(ordered)}"' if name else text

    def token(self, head: Head, body: bytes) -> Reply:
        """Answer the token endpoint: GET with optional Basic, or the OAuth2 POST (password, refresh_token)."""
        asked = parse_qs(body.decode(errors="replace")) if head.method == "POST" else head.query
        account = self._asking(head, asked)
        if account is None and not self.behaviour.anonymous_pull:
            raise _unauthorized(f'Basic realm="{self.behaviour.basic_realm}"')
        grants = [self._grant(scope, account) for text in asked.get("scope", []) for scope in text.split()]
        now = int(self.clock())
        claims = {"sub": account.user if account else "", "exp": now + self.behaviour.token_seconds, "access": grants}
        signed = self._signed(claims)
        answer: dict[str, object] = {"token": signed, "access_token": signed}
        if self.behaviour.announce_expiry:
            answer |= {"expires_in": self.behaviour.token_seconds}
            answer |= {"issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))}
        if account and (asked.get("offline_token") == ["true"] or asked.get("access_type") == ["offline"]):
            answer |= {"refresh_token": self._signed({"sub": account.user, "exp": now + 86400, "refresh": True})}
        return Reply.json(200, answer)

    def _asking(self, head: Head, asked: dict[str, list[str]]) -> Account | None:
        """The account behind a token request; wrong credentials are refused, none are anonymous."""
        if head.method == "POST" and asked.get("grant_type") == ["refresh_token"]:
            claims = self._claims(asked.get("refresh_token", [""])[0])
            known = claims and claims.get("refresh") and self.accounts.get(claims["sub"])
        elif head.method == "POST":
            known = self._known(asked.get("username", [""])[0], asked.get("password", [""])[0])
        elif head.headers.get("Authorization"):
            known = self._known(*_userpass(head.headers.get("Authorization").partition(" ")[2]))
        else:
            return None
        if not known:
            raise _unauthorized(f'Basic realm="{self.behaviour.basic_realm}"')
        return known

    def _grant(self, scope: str, account: Account | None) -> dict[str, Any]:
        """The part of a scope that the account has: the intersection, silently (token specification)."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = account.may(name) if account else frozenset({"pull"})
        if kind == "registry":
            allowed = frozenset({"*"}) if account else frozenset()
        wanted = set(actions.split(","))
        return {"type": kind, "name": name, "actions": sorted(allowed if "*" in wanted else wanted & allowed)}

    def _known(self, user: str, password: str) -> Account | None:
        account = self.accounts.get(user)
        same = hmac.compare_digest((account.password if account else "").encode(), password.encode())
        return account if same else None

    def _signed(self, claims: dict[str, Any]) -> str:
        text = f"{_b64(json.dumps(_HEADER).encode())}.{_b64(json.dumps(claims).encode())}"
        return f"{text}.{_b64(hmac.digest(self._key, text.encode(), 'sha256'))}"

    def _verified(self, token: str) -> dict[str, Any] | None:
        """The claims of an access token that is ours and has not expired."""
        claims = self._claims(token)
        return claims if claims and "access" in claims else None

    def _claims(self, token: str) -> dict[str, Any] | None:
        text, _, signature = token.rpartition(".")
        expected = _b64(hmac.digest(self._key, text.encode(), "sha256"))
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return None
        payload = text.partition(".")[2]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return claims if claims["exp"] > self.clock() else None


def _unauthorized(challenge: str) -> Refusal:
    return Refusal(401, "UNAUTHORIZED", "authentication required", ("WWW-Authenticate", challenge))


def _denied() -> Refusal:
    return Refusal(403, "DENIED", "requested access to the resource is denied")


def _userpass(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", "\0"  # no account has this password
    return user, password


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
