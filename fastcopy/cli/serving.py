"""``serve``: the embedded registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fastcopy.cli.build import refuse, split_credentials
from fastcopy.cli.call import Call, WrongArguments
from fastcopy.errors import UsageError

if TYPE_CHECKING:
    from fastcopy.serve import ServeConfig


async def run(call: Call) -> int:
    """Serve until Ctrl-C or SIGTERM; a server that was asked to end has not failed."""
    from fastcopy.serve import running

    with trio.CancelScope() as scope:
        call.on_drain = call.on_interrupt = scope.cancel
        async with running(config_of(call)) as server:
            place = server.config.directory or "memory"
            call.streams.tell(f"Serving {place} at {server.url} (Ctrl-C ends it)")
            if server.authority is not None:
                call.streams.tell(f"Clients trust it with --cert-dir {server.authority.parent}")
            await trio.sleep_forever()
    return 0


def config_of(call: Call) -> ServeConfig:
    """The registry that the flags describe; raises UsageError."""
    from fastcopy.serve import Account, Behaviour, ServeConfig

    parsed = call.parsed
    refuse(parsed)
    if len(parsed.positionals) > 1:
        raise WrongArguments("At most one argument expected: the directory of an OCI layout")
    if parsed.given("tls-cert") != parsed.given("tls-key"):
        raise UsageError("--tls-cert and --tls-key must be given together")
    accounts = (Account(*split_credentials(parsed.get("auth"))),) if parsed.given("auth") else ()
    return ServeConfig(
        directory=Path(parsed.positionals[0]) if parsed.positionals else None,
        listen=parsed.get("listen", "127.0.0.1:5000"),
        name=parsed.get("name", ""),
        tls=parsed.get("tls", False),
        tls_cert=parsed.get("tls-cert"),
        tls_key=parsed.get("tls-key"),
        accounts=accounts,
        read_only=parsed.get("read-only", False),
        behaviour=Behaviour(
            keep_alive=not parsed.get("close-connections", False), connections=parsed.get("max-connections", 0)
        ),
    )
