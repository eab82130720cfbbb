"""``login`` and ``logout``: credentials checked against a registry, then kept or forgotten in the auth file.

Owns prompts and skopeo's words; the file's format and helpers are http.credentials'. Prompts come before trio starts,
so that Ctrl-C at one ends the program as everywhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from fastcopy.cli import supervise
from fastcopy.cli.call import Call
from fastcopy.cli.govalues import quote
from fastcopy.errors import AuthError, FastcopyError, UsageError
from fastcopy.options import Credentials, Options

if TYPE_CHECKING:
    from fastcopy.http.credentials import CredentialStore

_TWO_FILES = (
    "options for paths to the credential file and to the Docker-compatible credential file "
    "can not be set simultaneously"
)
_IN = ("login accepts only one registry to log in to", "please provide a registry to log in to")
_OUT = ("logout accepts only one registry to log out from", "please provide a registry to log out from")


def login(call: Call) -> int:
    """Check and keep credentials."""
    options = call.options()
    store = _store(call, options)
    key = _registry(call, *_IN)
    if call.parsed.get("get-login"):
        call.streams.print(store.get_login(key))
        return 0
    user, password = _given(call)
    kept = _kept(store, key)
    if kept is not None and user is None and password is None:
        call.streams.print(f"Authenticating with existing credentials for {key}")
        if _accepted(call, options, key, kept):
            call.streams.print(f"Existing credentials are valid. Already logged in to {key}")
            return 0
        call.streams.print("Existing credentials are invalid, please enter valid username and password")
    entered = _asked(call, user, password, kept.username if kept else "")
    if not _accepted(call, options, key, entered):
        raise AuthError(f"logging into {quote(key)}: invalid username/password")
    where = store.login(key, entered)
    if call.parsed.get("verbose"):
        call.streams.print(f"Used:  {where}")
    call.streams.print("Login Succeeded!")
    return 0


def logout(call: Call) -> int:
    """Forget the credentials of one registry, or of all."""
    options = call.options()
    store = _store(call, options)
    if call.parsed.get("all"):
        call.arguments(0, "--all takes no arguments")
        store.logout_all()
        call.streams.print("Removed login credentials for all registries")
        return 0
    key = _registry(call, *_OUT)
    store.logout(key)
    call.streams.print(f"Removed login credentials for {key}")
    return 0


def _store(call: Call, options: Options) -> CredentialStore:
    from fastcopy.http.credentials import DockerStore
    from fastcopy.http.hosts import HostTable

    compatible = call.parsed.get("compat-auth-file")
    if compatible and call.parsed.get("authfile"):
        raise UsageError(_TWO_FILES)
    return DockerStore(compatible) if compatible else HostTable(options.source).store


def _registry(call: Call, too_many: str, none: str) -> str:
    words = call.parsed.positionals
    if len(words) != 1:
        raise UsageError(too_many if words else none)
    word = words[0]
    if word.startswith(("http://", "https://")):  # skopeo forgives the scheme, and then keeps the host alone
        word = word.partition("://")[2].partition("/")[0]
    return word


def _given(call: Call) -> tuple[str | None, str | None]:
    parsed = call.parsed
    user, password = parsed.get("username") or None, parsed.get("password") or None
    if parsed.get("password-stdin"):
        if password is not None:
            raise UsageError("can't specify both --password-stdin and --password")
        if user is None:
            raise UsageError("must provide --username with --password-stdin")
        password = call.streams.inp.read().rstrip("\r\n")
    return user, password


def _kept(store: CredentialStore, key: str) -> Credentials | None:
    """What is kept already; a file or helper that cannot be read must not stop a login."""
    try:
        return store.lookup(key)
    except FastcopyError:
        return None


def _accepted(call: Call, options: Options, key: str, credentials: Credentials) -> bool:
    """Whether the registry takes *credentials*; raises FastcopyError when it cannot be asked."""
    from fastcopy.api import ping_async

    async def ask() -> int:
        source = replace(options.source, credentials=credentials)
        try:
            await ping_async(key.partition("/")[0], replace(options, source=source), trace=call.trace)
        except AuthError:
            return 1
        return 0

    call.prefix = f"authenticating creds for {quote(key)}: "
    refused = supervise.run(ask(), call)
    call.prefix = ""
    return not refused


def _asked(call: Call, user: str | None, password: str | None, old: str) -> Credentials:
    if user is None:
        user = _prompt(call, f"Username ({old}): " if old else "Username: ", "username") or old
    if password is None:
        with _silent(call):
            password = _prompt(call, "Password: ", "password")
        call.streams.print("")
    return Credentials(user, password)


def _prompt(call: Call, text: str, what: str) -> str:
    call.streams.write(text)
    line = call.streams.inp.readline()
    if not line:
        raise UsageError(f"getting username and password: reading {what}: EOF")
    return line.rstrip("\r\n")


@contextlib.contextmanager
def _silent(call: Call) -> Iterator[None]:
    """No echo while a password is typed; raises UsageError when stdin is no terminal, as skopeo."""
    if not call.streams.inp.isatty():
        raise UsageError("getting username and password: reading password: inappropriate ioctl for device")
    restore = _echo_off(call.streams.inp.fileno())
    try:
        yield
    finally:
        restore()


def _echo_off(terminal: int) -> Callable[[], None]:
    import termios

    before = termios.tcgetattr(terminal)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
    return lambda: termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
