"""The table of flags against skopeo's: nothing missing, nothing accepted and ignored."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import fastcopy
from fastcopy.cli import flagtable, parser
from fastcopy.cli.build import known_fields, options_of
from fastcopy.cli.commandtable import COMMANDS, Command
from fastcopy.cli.flags import Flag, FlagSet
from fastcopy.options import Options
from tests.cli.support import run

_TABLE = tomllib.loads(Path(__file__).with_name("skopeo_flags.toml").read_text())
_PRODUCT = Path(fastcopy.__file__).parent
_ALL = [(command, spelled) for command, flags in _TABLE["commands"].items() for spelled in flags]
_OURS = [(command.name, flag) for command in COMMANDS.values() for flag in command.flag_set().by_name.values()]

#: A value that differs from every default, by the type of value.
_SAMPLES = {
    "": "true", "string": "sample", "int": "7", "uint": "7", "duration": "7s", "strings": "a:1", "ints": "1",
    "SIZE": "7MiB", "RATE": "7MiB/s", "auto|1.1|2": "2", "auto|tty|plain|json|none": "none",
}  # fmt: skip
_SPECIAL = {"format": "oci", "multi-arch": "all", "additional-tag": "a:1", "dest-compress-format": "zstd",
            "retry-times": "9", "listen": "127.0.0.1:0"}  # fmt: skip
#: Fields that no code reads because there is nothing to decide yet: doing nothing is what they ask for.
_VACUOUS = {
    "copy.preserve_digests": "manifests are never changed",
    "copy.remove_signatures": "signatures are never copied",
    "copy.compress": "dir: is not a destination",
    "copy.accept_uncompressed": "oci: is not a destination",
    "copy.additional_tags": "docker-archive: is not a destination",
    "source.shared_blob_dir": "oci: is not a transport",
    "destination.shared_blob_dir": "oci: is not a transport",
    "run.tmpdir": "nothing is written to disk",
}


def _sample(flag: Flag) -> str:
    return _SPECIAL.get(flag.name, _SAMPLES[flag.kind.shown])


def _words(command: Command, flag: Flag) -> list[str]:
    together = {"username": ["password"], "password": ["username"]}
    prefix, _, name = flag.name.rpartition("-")
    others = [f"--{prefix}{'-' if prefix else ''}{other}=x" for other in together.get(name, [])]
    return [f"--{flag.name}={_sample(flag)}", *(others if command.name not in ("login",) else [])]


def _changed(command: Command, words: list[str]) -> set[str]:
    made = options_of(parser.parse(words, command.flag_set()))
    plain = Options()
    return {
        f"{part}.{item.name}"
        for part in ("copy", "run", "source", "destination")
        for item in fields(getattr(made, part))
        if getattr(getattr(made, part), item.name) != getattr(getattr(plain, part), item.name)
    }


@pytest.mark.parametrize(("command", "spelled"), _ALL, ids=[f"{c} {f}" for c, f in _ALL])
def test_every_flag_of_skopeo_is_known_to_its_command(command: str, spelled: str) -> None:
    """A flag of skopeo's is in the table of that command, with its letter, or the whole command is refused."""
    name, _, letter = spelled.partition("/")
    if COMMANDS[command].refused and name == "sockfd":
        return
    flag = COMMANDS[command].flag_set().by_name[name]
    assert flag.short == letter


def test_global_flags_are_valid_before_and_behind_every_command() -> None:
    """Each persistent flag of skopeo's is in every command's set and in the leading one."""
    names = {flag.name for flag in flagtable.GLOBAL}
    assert set(_TABLE["global"]) == names
    assert all(names <= set(command.flag_set().by_name) for command in COMMANDS.values())


@pytest.mark.parametrize(("name", "flag"), _OURS, ids=[f"{c} {f.name}" for c, f in _OURS])
def test_every_flag_is_implemented_or_refused_or_says_why_it_changes_nothing(name: str, flag: Flag) -> None:
    """A flag fills the fields its row names, is read by its command, gives a reason, or is refused by name."""
    command = COMMANDS[name]
    if flag.refused:
        outcome = _refusal(command, flag)
        assert f"--{flag.name} is not supported: " in outcome
    elif flag.to:
        assert {path.strip("<>") for path in flag.to.split(",")} <= _changed(command, _words(command, flag))
    elif not flag.no_effect and not command.refused:
        assert _is_read(flag.name), f"--{flag.name} is accepted and ignored"


def _refusal(command: Command, flag: Flag) -> str:
    from fastcopy.errors import Unsupported

    with pytest.raises(Unsupported) as caught:
        options_of(parser.parse(_words(command, flag), FlagSet(command.flag_set().by_name.values())))
    return caught.value.message


def _is_read(name: str) -> bool:
    sources = [path.read_text() for path in (_PRODUCT / "cli").glob("*.py") if "table" not in path.name]
    return any(re.search(rf"""(get|given)\(\s*"{re.escape(name)}\"""", source) for source in sources)


def _engine_reads(path: str) -> bool:
    pattern = re.compile(rf"\.{path.partition('.')[2]}\b")
    return any(
        pattern.search(source.read_text())
        for source in _PRODUCT.rglob("*.py")
        if "cli" not in source.parts and "serve" not in source.parts and source.name != "options.py"
    )


@pytest.mark.parametrize("path", sorted(known_fields()))
def test_no_option_is_filled_and_then_read_by_nobody(path: str) -> None:
    """A field that flags fill is read below the command line, or its flags are refused, or nothing is what it asks."""
    filling = [flag for _, flag in _OURS if path in [each.strip("<>") for each in flag.to.split(",")]]
    live = [flag.name for flag in filling if not flag.refused]
    if filling and not live:
        assert not _engine_reads(path), f"{path} is read now: {filling[0].name} need not be refused any more"
    elif live:
        assert _engine_reads(path) or path in _VACUOUS, f"--{live[0]} fills {path}, which nobody reads"


def test_table_rows_name_fields_that_exist() -> None:
    """No row of the table points at a field that Options does not have."""
    named = {path.strip("<>") for _, flag in _OURS for path in flag.to.split(",") if path}
    assert named <= known_fields()


@pytest.mark.parametrize("name", sorted(n for n, c in COMMANDS.items() if c.refused))
def test_refused_commands_say_why(name: str) -> None:
    """A command of skopeo's that is not implemented exits with 1 and one line."""
    ran = run(name)
    assert ran.code == 1
    assert f"fastcopy {name} is not supported: {COMMANDS[name].refused}" in ran.err.replace('\\"', '"')
    assert ran.err.count("\n") == 1


def test_flag_names_and_letters_are_unique_within_a_command() -> None:
    """Two rows of one command never claim the same name or letter."""
    for command in COMMANDS.values():
        own: list[Any] = [*command.flags, flagtable.help_flag(command.name)]
        names = [flag.name for flag in own]
        letters = [flag.short for flag in own if flag.short]
        assert len(names) == len(set(names)), command.name
        assert len(letters) == len(set(letters)), command.name
