"""The credential-helper protocol: ``docker-credential-<name> get|store|erase``.

Owns starting the program, its time limit and reading its answer. Refuses to know configuration files.
Law: only the helper's own words for "not found" mean anonymous; every other failure is an error (CVE-2021-41092).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Mapping

from fastcopy.errors import AuthError, BadConfig
from fastcopy.options import Credentials

#: A helper may ask a person to unlock a keychain.
TIME_LIMIT = 60.0
ANSWER_LIMIT = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_NOT_FOUND = "credentials not found in native keychain"
#: The user name by which a helper marks its secret as an identity token.
TOKEN_USER = "<token>"  # noqa: S105  # not a secret


def get(name: str, server: str, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials that helper *name* has for *server*; None when it says that it has none.

    Raises BadConfig for a name no program may have, AuthError for any other failure.
    """
    code, output = _run(name, "get", server, environ)
    if code != 0:
        if _NOT_FOUND in output:
            return None
        raise _failed(name, f"exit status {code}", output)
    try:
        answer = json.loads(output)
        user, secret = answer["Username"], answer["Secret"]
        if not isinstance(user, str) or not isinstance(secret, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _failed(name, "its answer is not what the protocol says") from None
    if user == TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(user, secret) if user or secret else None


def store(name: str, server: str, credentials: Credentials, environ: Mapping[str, str]) -> None:
    """Let helper *name* keep *credentials* for *server*. Raises as `get`."""
    user = TOKEN_USER if credentials.identity_token else credentials.username
    secret = credentials.identity_token or credentials.password
    code, output = _run(name, "store", json.dumps({"ServerURL": server, "Username": user, "Secret": secret}), environ)
    if code != 0:
        raise _failed(name, f"exit status {code}", output)


def erase(name: str, server: str, environ: Mapping[str, str]) -> bool:
    """Let helper *name* forget *server*; False when it knew nothing of it. Raises as `get`."""
    code, output = _run(name, "erase", server, environ)
    if code != 0 and _NOT_FOUND not in output:
        raise _failed(name, f"exit status {code}", output)
    return code == 0


def _run(name: str, action: str, text: str, environ: Mapping[str, str]) -> tuple[int, str]:
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadConfig(f"{name[:80]!r} is not the name of a credential helper")
    program = shutil.which(f"docker-credential-{name}", path=environ.get("PATH"))
    if program is None:
        raise AuthError(f"credential helper docker-credential-{name} is not installed")
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [program, action], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=dict(environ)
        )
    except OSError as error:
        raise AuthError(f"credential helper docker-credential-{name} cannot be started: {error.strerror}") from None
    with process:
        try:
            output = _talk(process, text.encode(), name)
        except BaseException:
            process.kill()
            raise
    return process.returncode, output[:ANSWER_LIMIT].decode("utf-8", "replace")


def _talk(process: subprocess.Popen[bytes], text: bytes, name: str) -> bytes:
    deadline = time.monotonic() + TIME_LIMIT
    unsent: bytes | None = text
    while time.monotonic() < deadline:
        try:
            return process.communicate(unsent, timeout=0.1)[0]
        except subprocess.TimeoutExpired:
            unsent = None  # communicate goes on with what it was given
            _check_cancelled()
    raise AuthError(f"credential helper docker-credential-{name} did not answer within {TIME_LIMIT:g} seconds")


def _check_cancelled() -> None:
    """In a thread of trio's: end the helper when the task that waits for it is cancelled."""
    import trio

    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return  # not in a thread of trio's


def _failed(name: str, why: str, output: str = "") -> AuthError:
    """The error for a helper's failure; its own words only where they cannot hold a secret."""
    words = " ".join(output.split())[:200]
    quoted = f": {words}" if words.isprintable() and words and "{" not in words else ""
    return AuthError(f"credential helper docker-credential-{name} failed ({why}){quoted}")
