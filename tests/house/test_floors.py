"""Imports only go down. The table is the documentation: a unit is a module or package directly below `fastcopy`.

Imports inside functions and under TYPE_CHECKING count too: a lazy import is an import. A unit may use every lower
floor and nothing beside it; inside a package anything goes.
"""

from __future__ import annotations

import pytest

from tests.house.sources import imports, modules

#: Lowest first.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("_native", "errors", "exposition", "layoutfile", "media", "schedule", "threads"),  # leaves: they know nobody
    ("codecs", "descriptor", "events", "gojson", "strictjson"),
    ("gostruct", "names", "options", "schema1"),
    ("gotemplate", "http", "imageconfig", "manifest", "tags"),
    ("naming", "platforms"),
    ("convert",),
    ("inspecting", "jobs", "serve", "transports"),
    ("formats", "transfer"),
    ("journal",),
    ("engine",),
    ("places",),
    ("migrate",),
    ("api",),
    ("cli",),
    ("__main__",),
)
FLOOR = {unit: number for number, floor in enumerate(FLOORS) for unit in floor}

#: Decides, and does no I/O: what these import of the world outside is computation.
PURE = {
    "codecs", "convert", "descriptor", "events", "exposition", "gojson", "gostruct", "gotemplate", "imageconfig",
    "inspecting", "jobs", "manifest", "media", "names", "naming", "options", "platforms", "schedule", "schema1",
    "strictjson", "tags",
}  # fmt: skip
IO = {"trio", "socket", "ssl", "subprocess", "selectors", "select", "http", "urllib.request", "shutil", "tempfile"}
#: One event loop, one HTTP client: ours.
NEVER = {"asyncio", "anyio", "httpx", "requests", "aiohttp", "urllib3"}
#: Who may know that registries speak HTTP: who implements it, who opens it, and login, which asks for credentials.
KNOWS_HTTP = {"http", "transports", "serve", "engine", "places", "cli"}


def unit_of(module: str) -> str:
    """The unit a module belongs to; "" is the package itself (version and public names)."""
    return module.split(".")[1] if "." in module else ""


def edges() -> list[tuple[str, str]]:
    """(importing module, imported module), inside fastcopy."""
    return [(name, to) for name, path in modules().items() for to in imports(path) if to.split(".")[0] == "fastcopy"]


def test_every_unit_has_a_floor() -> None:
    """The table is complete, and names nothing that is gone."""
    assert {unit_of(name) for name in modules()} - {""} == set(FLOOR)


def test_imports_only_go_down() -> None:
    """The dependency graph follows the table."""
    wrong = [
        f"{name} imports {to}"
        for name, to in edges()
        if (here := unit_of(name)) != (there := unit_of(to)) and here and there and FLOOR[here] <= FLOOR[there]
    ]
    assert wrong == []


def test_the_native_corner_imports_nothing_of_fastcopy() -> None:
    """It could be lifted out as it is."""
    assert [edge for edge in edges() if unit_of(edge[0]) == "_native" and unit_of(edge[1]) != "_native"] == []


def test_what_decides_does_no_input_or_output() -> None:
    """Pure units import neither the loop nor sockets, processes or temporary files."""
    found = [
        f"{name} imports {to}"
        for name, path in modules().items()
        if unit_of(name) in PURE
        for to in imports(path)
        if to in IO or to.split(".")[0] in IO
    ]
    assert found == []


def test_there_is_one_loop_and_one_http_client() -> None:
    """No second asynchronous library, no second HTTP client."""
    found = [
        f"{name} imports {to}" for name, path in modules().items() for to in imports(path) if to.split(".")[0] in NEVER
    ]
    assert found == []


def test_few_know_that_registries_speak_http() -> None:
    """transfer, migrate and api see places, never requests."""
    assert {unit_of(name) for name, to in edges() if unit_of(to) == "http"} <= KNOWS_HTTP


@pytest.mark.parametrize("unit", sorted(KNOWS_HTTP - {"http"}))
def test_the_list_of_those_who_know_http_is_not_longer_than_needed(unit: str) -> None:
    """An entry that is no longer true is removed."""
    assert any(unit_of(name) == unit and unit_of(to) == "http" for name, to in edges())
