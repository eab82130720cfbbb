"""``convert``: what a list or another tool's configuration means, as native YAML on stdout."""

from __future__ import annotations

import os

from fastcopy.cli.call import Call


def run(call: Call) -> int:
    """Print the native form; what the file's reader left out or wondered at goes to the log."""
    from fastcopy.formats import Given, convert, read_text

    (path,) = call.arguments(1, "Exactly one file expected")
    given = Given(
        source=call.parsed.get("from", ""),
        destination=call.parsed.get("to", ""),
        rename=call.parsed.get("rename", ""),
        environment=dict(os.environ),
        read=read_text,
    )
    name = "<stdin>" if path == "-" else path
    text, remarks = convert(read_text(path), name, given, call.parsed.get("config-format"))
    for remark in remarks:
        call.log.warning(remark)
    call.streams.write(text)
    return 0
