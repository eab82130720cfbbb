"""Help texts, made from the tables.

Owns layout (that of pflag and cobra, so that programs which read skopeo's help read ours). Pure: tables in, text out.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcopy.cli.commandtable import COMMANDS, Command
from fastcopy.cli.flags import Flag
from fastcopy.cli.flagtable import GLOBAL, VERSION, help_flag

_OVERVIEW = """\
Copies container images between registries and local places: skopeo's commands, verified while streaming, fast"""


def overview(program: str) -> str:
    """``fastcopy --help``."""
    width = max(len(name) for name in COMMANDS)
    listed = "\n".join(f"  {c.name:<{width}}  {c.summary}" for c in COMMANDS.values() if not c.hidden)
    return f"""\
{_OVERVIEW}

Usage:
  {program} [flags]
  {program} [command]

Examples:
  {program} copy docker://docker.io/library/alpine docker://registry.example.com/alpine
  {program} inspect docker://docker.io/library/alpine
  {program} serve

Available Commands:
{listed}

Flags:
{_flag_lines([*GLOBAL, help_flag(program), VERSION])}

Use "{program} [command] --help" for more information about a command.
"""


def command_help(program: str, command: Command) -> str:
    """``fastcopy COMMAND --help``."""
    flags = [*command.flags, help_flag(command.name)]
    sections = [
        f"{command.long or command.summary}\n\nUsage:\n{program} {command.usage}",
        _examples(program, command),
        "Flags:\n" + _flag_lines(flag for flag in flags if not flag.ours),
        _titled(f"Flags of {program}'s own:" if program != "skopeo" else "Flags of fastcopy:", flags, command),
        "Global Flags (before or after the command):\n" + _flag_lines(GLOBAL),
        _refusals([*flags, *GLOBAL]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _examples(program: str, command: Command) -> str:
    if not command.examples:
        return ""
    lines = [f"  # {what}\n  {program} {words}" if what else f"  {program} {words}" for what, words in command.examples]
    return "Examples:\n" + "\n".join(lines)


def _titled(title: str, flags: Iterable[Flag], command: Command) -> str:
    ours = [flag for flag in flags if flag.ours]
    return f"{title}\n{_flag_lines(ours)}" if ours else ""


def _refusals(flags: Iterable[Flag]) -> str:
    refused = sorted({flag.name for flag in flags if flag.refused})
    return "Known, but refused with the reason: " + ", ".join(f"--{name}" for name in refused) if refused else ""


def _flag_lines(flags: Iterable[Flag]) -> str:
    shown = sorted((flag for flag in flags if not flag.hidden and not flag.refused), key=lambda flag: flag.name)
    heads = [_head(flag) for flag in shown]
    width = max(map(len, heads), default=0)
    return "\n".join(f"{head:<{width}}   {flag.help}{_note(flag)}" for head, flag in zip(heads, shown, strict=True))


def _head(flag: Flag) -> str:
    letter = f"-{flag.short}, " if flag.short else "    "
    return f"  {letter}--{flag.name} {flag.placeholder}".rstrip()


def _note(flag: Flag) -> str:
    return f" (accepted, changes nothing: {flag.no_effect})" if flag.no_effect else ""
