"""Image names on the command line: parsed with the prefixes skopeo's errors have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcopy.errors import BadName, Unsupported, UsageError

if TYPE_CHECKING:
    from fastcopy.names import Ref


def parse(text: str, prefix: str) -> Ref:
    """The name *text*; raises UsageError (or Unsupported) whose message begins with *prefix*."""
    from fastcopy.names import parse as parse_name

    try:
        return parse_name(text)
    except BadName as error:
        raise UsageError(f"{prefix}: {error.message}", hint=error.hint) from None
    except Unsupported as error:
        raise Unsupported(f"{prefix}: {error.message}", hint=error.hint) from None
