"""Token scopes: ``type:name:action[,action…]`` (distribution token specification).

Owns their grammar, order and merging. Refuses to know who asks for them.
Law: the most important scope stays first (some token servers look at no other); actions have one canonical order, so
that equal rights are equal keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

Scopes = tuple[str, ...]
_ORDER = {"pull": 0, "push": 1, "delete": 2}


@lru_cache(1024)
def canonical(scopes: Scopes) -> Scopes:
    """*scopes* with the actions of equal resources merged and ordered; the order of resources is kept."""
    rights: dict[str, set[str]] = {}
    for scope in scopes:
        resource, actions = _split(scope)
        rights.setdefault(resource, set()).update(actions)
    return tuple(f"{resource}:{_spell(actions)}" if actions else resource for resource, actions in rights.items())


def merge(ours: Scopes, theirs: str) -> Scopes:
    """*ours* widened by the space separated *theirs* of a challenge."""
    return canonical(ours + tuple(theirs.split()))


@lru_cache(4096)
def covers(held: Scopes, wanted: Scopes) -> bool:
    """Whether rights *held* include all *wanted*. Both are canonical."""
    rights = dict(map(_split, held))
    for scope in wanted:
        resource, actions = _split(scope)
        if not actions <= rights.get(resource, frozenset()):
            return False
    return True


def repository(scopes: Iterable[str]) -> str:
    """The repository of the first repository scope, or the empty string."""
    for scope in scopes:
        resource, _ = _split(scope)
        kind, _, name = resource.partition(":")
        if kind.partition("(")[0] == "repository":
            return name
    return ""


def _split(scope: str) -> tuple[str, frozenset[str]]:
    """Resource and actions; the name between may contain ``host:port/``, so the cuts are the outermost colons."""
    resource, colon, actions = scope.rpartition(":")
    if not colon or ":" not in resource:
        return scope, frozenset()
    return resource, frozenset(filter(None, actions.split(",")))


def _spell(actions: Iterable[str]) -> str:
    return ",".join(sorted(actions, key=lambda action: (_ORDER.get(action, 9), action)))
