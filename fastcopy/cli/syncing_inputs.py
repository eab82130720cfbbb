"""What ``sync`` is to copy: skopeo's two positionals, a list, or a configuration, read into rules and jobs.

Owns skopeo's checks and texts about the sources. Contacts nothing; reads the files that the command line names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from fastcopy.cli.build import refuse
from fastcopy.cli.call import Call
from fastcopy.cli.govalues import quote
from fastcopy.errors import BadName, FastcopyError, UsageError

if TYPE_CHECKING:
    from fastcopy.formats import Given, Loaded
    from fastcopy.jobs import Job, Rule
    from fastcopy.migrate.planfile import SavedPlan

#: skopeo's words, and "oci": a layout that is carried from site to site.
SOURCES, DESTINATIONS = ("docker", "dir", "yaml", "oci"), ("docker", "dir", "oci")
_OF_SKOPEO = ("src", "dest", "scoped", "append-suffix")
_OF_LISTS = ("from", "to", "rename", "config-format")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to copy. `form` is skopeo's --src, or ``list`` for --list and --config."""

    form: Literal["docker", "dir", "yaml", "oci", "list"]
    rules: tuple[Rule, ...] = ()
    jobs: tuple[Job, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    name: str = ""  #: the source as the user gave it
    plan: SavedPlan | None = None  #: where the jobs come from


def inputs(call: Call) -> Inputs:
    """Read the command line and its files; raises UsageError, BadName, BadConfig or Unsupported."""
    if call.parsed.given("plan"):
        return _of_plan(call)
    if call.parsed.given("list") or call.parsed.given("config"):
        return _of_file(call)
    for name in _OF_LISTS:
        if call.parsed.given(name):
            raise UsageError(f"--{name} needs --list or --config")
    return _of_skopeo(call)


def _of_file(call: Call) -> Inputs:
    parsed = call.parsed
    call.own_codes = True
    call.arguments(0, "with --list or --config no arguments are expected")
    if parsed.given("list") and parsed.given("config"):
        raise UsageError("--list and --config exclude each other")
    for name in _OF_SKOPEO:
        if parsed.given(name):
            raise UsageError(f"--{name} is for --src and --dest; a list is read with --from, --to and --rename")
    refuse(parsed)
    from fastcopy.formats import Given, load

    given = Given(source=parsed.get("from", ""), destination=parsed.get("to", ""), rename=parsed.get("rename", ""))
    is_list = parsed.given("list")
    loaded = load(
        parsed.get("list" if is_list else "config"), given, "list" if is_list else parsed.get("config-format")
    )
    return _inputs("list", loaded)


def _of_plan(call: Call) -> Inputs:
    call.own_codes = True
    call.arguments(0, "with --plan no arguments are expected")
    for name in ("list", "config", "prune", *_OF_SKOPEO, *_OF_LISTS):
        if call.parsed.given(name):
            raise UsageError(f"--{name} and --plan exclude each other: the plan says what is copied")
    refuse(call.parsed)
    from fastcopy.formats import read_text
    from fastcopy.migrate.planfile import load

    name = call.parsed.get("plan")
    saved = load(read_text(name), name)
    return Inputs("list", (), saved.jobs, problems=saved.failed, name=name, plan=saved)


def _inputs(form: Literal["yaml", "list"], loaded: Loaded) -> Inputs:
    return Inputs(form, loaded.rules, (), loaded.warnings, loaded.problems, name=loaded.name)


def _of_skopeo(call: Call) -> Inputs:
    source, destination = call.arguments(2, "Exactly two arguments expected")
    refuse(call.parsed)
    kind = _word(call.parsed.get("src"), "source", SOURCES)
    target = _word(call.parsed.get("dest"), "destination", DESTINATIONS)
    if kind == target == "dir":
        raise UsageError("sync from 'dir' to 'dir' not implemented, consider using rsync instead")
    given = _given(call, target, destination)
    if kind == "dir":
        return _directories(source, given)
    if kind == "oci":
        return _layout(source, given)
    if kind == "yaml":
        from fastcopy.formats import load

        return _inputs("yaml", load(source, given, "skopeo"))
    return _repository(source, given)


def _given(call: Call, target: str, destination: str) -> Given:
    from fastcopy.formats import Given

    return Given(
        destination=destination,
        transport=cast("Literal['docker', 'dir', 'oci']", target),
        scoped=bool(call.parsed.get("scoped")),
        append_suffix=call.parsed.get("append-suffix", ""),
    )


def _repository(source: str, given: Given) -> Inputs:
    from fastcopy.formats.skopeo import repository_rule

    try:
        rule = repository_rule(source, given)
    except BadName as error:
        text = f'Cannot obtain a valid image reference for transport "docker" and reference {quote(source)}'
        raise BadName(f"{text}: {error.message}") from None
    return Inputs("docker", (rule,), name=source)


def _directories(source: str, given: Given) -> Inputs:
    from fastcopy.jobs import directory_jobs

    if not Path(source).exists():
        raise FastcopyError(f"Invalid source directory specified: stat {source}: no such file or directory")
    found = image_directories(source)
    if not found:
        raise FastcopyError(f"No images to sync found in {quote(source)}")
    jobs = directory_jobs(
        source, found, given.destination, transport=given.transport, scoped=given.scoped,
        append_suffix=given.append_suffix,
    )  # fmt: skip
    return Inputs("dir", jobs=tuple(jobs), name=source)


def _layout(source: str, given: Given) -> Inputs:
    from fastcopy.jobs import layout_jobs
    from fastcopy.places import layout_names

    path = source.removeprefix("oci:")
    jobs = layout_jobs(
        path, layout_names(path), given.destination, transport=given.transport, scoped=given.scoped,
        append_suffix=given.append_suffix,
    )  # fmt: skip
    if not jobs:
        raise FastcopyError(f"No images to sync found in {quote(source)}")
    return Inputs("oci", jobs=tuple(jobs), name=source)


def image_directories(base: str) -> list[str]:
    """The directories below *base* that hold a manifest.json, relative to it; those inside of one are its own."""
    found: list[str] = []
    for directory, below, files in os.walk(base):
        below.sort()
        if "manifest.json" in files:
            relative = os.path.relpath(directory, base)
            found.append("" if relative == "." else relative)
            below.clear()
    return found


def refuse_existing(jobs: Sequence[Job]) -> None:
    """Raise FastcopyError when a dir: destination exists: skopeo's sync overwrites no directory.

    skopeo finds out when that image's turn comes; here nothing has been copied yet.
    """
    for job in jobs:
        path = job.destination.removeprefix("dir:")
        if path != job.destination and Path(path).exists():
            raise FastcopyError(f"Refusing to overwrite destination directory {quote(path)}", side="us")


def _word(word: str | None, what: str, words: tuple[str, ...]) -> str:
    if not word:
        raise UsageError(f"A {what} transport must be specified")
    if word not in words:
        raise UsageError(f'"{word}" is not a valid {what} transport')
    return word
