"""JSON from strangers: UTF-8, no duplicate keys, no NaN, bounded size and nesting.

Owns the refusal of documents that two parsers could read differently (CVE-2021-41190 and its kin: Go keeps the last
of two equal keys and matches names without regard to case). Refuses to know what the fields mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from fastcopy.errors import BadManifest

#: Manifests of all formats need 6 levels, container configs about 8; Go's own limit is 10 000.
MAX_DEPTH: Final = 64
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def load(raw: bytes, *, limit: int, what: str) -> Any:
    """Decode *raw*, at most *limit* bytes; *what* names the document in messages. Raises BadManifest."""
    if len(raw) > limit:
        raise BadManifest(f"{what} has {len(raw)} bytes, more than the limit of {limit}")
    if _too_deep(raw):
        raise BadManifest(f"{what} is nested deeper than {MAX_DEPTH} levels")
    try:
        return _DECODER.decode(raw.decode("utf-8"))
    except BadManifest as problem:
        raise BadManifest(f"{what} {problem.message}") from None
    except UnicodeDecodeError:
        raise BadManifest(f"{what} is not UTF-8") from None
    except (ValueError, RecursionError) as problem:
        raise BadManifest(f"{what} is not JSON: {problem}") from None


def load_object(raw: bytes, *, limit: int, what: str) -> dict[str, Any]:
    """As `load`, for a document that must be one JSON object."""
    document = load(raw, limit=limit, what=what)
    if not isinstance(document, dict):
        raise BadManifest(f"{what} is not a JSON object")
    return document


def refuse_lookalikes(document: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    """Refuse keys equal to one of *names* but for case: Go would read them as that name."""
    known = {name.casefold(): name for name in names}
    for key in document:
        name = known.get(key.casefold())
        if name is not None and name != key:
            raise BadManifest(f"{what} has a field {key[:80]!r} that some readers take for {name!r}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise BadManifest(f"has the key {twice[:80]!r} twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_deep(raw: bytes) -> bool:
    """Whether brackets nest deeper than MAX_DEPTH; counting them first spares nearly everybody the scan."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(raw):
        first = token[0][0]
        depth += (first in b"{[") - (first in b"}]")
        if depth > MAX_DEPTH:
            return True
    return False


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
