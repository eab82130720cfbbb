"""Which format a text is in: by the keys that only one format has, then by the shape of its lines. Pure."""

from __future__ import annotations

import re
from typing import Any

from fastcopy.errors import BadConfig
from fastcopy.formats.base import Format
from fastcopy.formats.document import read_json, read_yaml

_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
_TOML_LINE = re.compile(r"(?m)^\s*(?:\[\[?[\w.\"-]+\]\]?\s*(?:#.*)?$|[\w-]+\s*=\s*[\"'\[{0-9tf])")
_SKOPEO = frozenset({"images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir"})


def detect(text: str, name: str = "") -> Format:
    """The format of *text*; *name* helps by its suffix. Raises BadConfig when it is none that is known."""
    lowered = name.lower()
    if lowered.endswith(".toml"):
        return "native"
    if not lowered.endswith(_SUFFIXES) and _is_lines(text):
        return "mapping" if lowered.rpartition("/")[2] == "mapping.txt" else "list"
    if not lowered.endswith(_SUFFIXES) and _TOML_LINE.search(text) and ":" not in text.partition("=")[0]:
        return "native"
    read = read_json if lowered.endswith(".json") or text.lstrip().startswith("{") else read_yaml
    document = read(text, name or "<text>")
    found = _by_keys(document.value)
    if found is None:
        raise BadConfig(
            f"{document.where()}: this is no format that is known", hint="say which one with --config-format"
        )
    return found


def _is_lines(text: str) -> bool:
    """Whether every line is one word or a src=dst pair, and no line looks like a mapping's key."""
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return (
        bool(lines)
        and not any(
            line.endswith(":") or ": " in line or line[0] in "{[-\"'" or line in ("---", "...") for line in lines
        )
        and not any(re.match(r"[\w.-]+ *= *[\"'\[{]", line) for line in lines)
    )


def _by_keys(value: Any) -> Format | None:
    if not isinstance(value, dict):
        return None
    if "tasks" in value and ("relay" in value or "skopeo" in value or isinstance(value["tasks"], list)):
        return "dregsy"
    if isinstance(value.get("sync"), list):
        return "regsync" if any(isinstance(one, dict) and "source" in one for one in value["sync"]) else "native"
    if isinstance(value.get("images"), list) or "fastcopy" in value:
        return "native"
    if value and all(isinstance(one, dict) and one.keys() & _SKOPEO for one in value.values()):
        return "skopeo"
    if isinstance(value.get("images"), dict) or _is_image_map(value):
        return "image-syncer"
    return None


def _is_image_map(value: dict[str, Any]) -> bool:
    """Whether every entry maps an image to an image or a list of them; one of them names a path."""
    return any("/" in key for key in value) and all(isinstance(one, str | list) for one in value.values())
