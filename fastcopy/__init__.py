"""fastcopy: copies container images between registries and local places, verified while streaming.

The public names are loaded when they are first used, so that importing the package costs and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcopy.api import (
        copy,
        copy_async,
        delete,
        delete_async,
        inspect,
        inspect_async,
        list_tags,
        list_tags_async,
        plan,
        plan_async,
        sync,
        sync_async,
    )
    from fastcopy.errors import FastcopyError
    from fastcopy.events import CopyReport, Event
    from fastcopy.options import CopyOptions, Credentials, HostOptions, Options, RunOptions

__version__ = "0.1.0"

__all__ = [
    "CopyOptions",
    "CopyReport",
    "Credentials",
    "Event",
    "FastcopyError",
    "HostOptions",
    "Options",
    "RunOptions",
    "copy",
    "copy_async",
    "delete",
    "delete_async",
    "inspect",
    "inspect_async",
    "list_tags",
    "list_tags_async",
    "plan",
    "plan_async",
    "sync",
    "sync_async",
]

_HOMES = {
    "FastcopyError": "errors",
    "CopyReport": "events",
    "Event": "events",
    **dict.fromkeys(("CopyOptions", "Credentials", "HostOptions", "Options", "RunOptions"), "options"),
}


def __getattr__(name: str) -> Any:
    """A public name, from the module that owns it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
