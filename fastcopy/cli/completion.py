"""``completion``: scripts for bash, zsh and fish, written from the tables; nothing is asked at completion time.

Words that are no flag and no command are completed as file names after ``dir:``, ``oci:`` and the like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastcopy.cli.call import Call
from fastcopy.cli.commandtable import COMMANDS, Command
from fastcopy.cli.flags import Flag
from fastcopy.cli.flagtable import GLOBAL, VERSION, help_flag
from fastcopy.cli.govalues import OneOf
from fastcopy.errors import Unsupported, UsageError

_TRANSPORTS = ("containers-storage:", "dir:", "docker://", "docker-archive:", "docker-daemon:", "oci:", "oci-archive:")
_WORDS = {"sync": ("docker", "dir", "yaml", "oci"), "completion": ("bash", "zsh", "fish")}


def run(call: Call) -> int:
    """Print the script for the shell that was named."""
    (shell,) = call.arguments(1, "Exactly one argument expected: bash, zsh or fish")
    if shell == "powershell":
        raise Unsupported("completion for powershell is not supported; bash, zsh and fish are")
    if shell not in _SCRIPTS:
        raise UsageError(f"unknown shell {shell!r}: bash, zsh or fish expected")
    call.streams.write(_SCRIPTS[shell](call.program))
    return 0


def _visible() -> list[Command]:
    return [command for command in COMMANDS.values() if not command.hidden]


def _flags(command: Command | None) -> list[Flag]:
    flags = [*GLOBAL, *(command.flags if command else (VERSION,)), help_flag(command.name if command else "fastcopy")]
    return [flag for flag in flags if not flag.hidden and not flag.refused]


def _choices(flag: Flag) -> tuple[str, ...]:
    return flag.kind.read.words if isinstance(flag.kind.read, OneOf) else ()


def _words_of(command: Command) -> tuple[str, ...]:
    if command.name == "help":
        return tuple(each.name for each in _visible())
    if command.name in _WORDS:
        return _WORDS[command.name]
    return _TRANSPORTS if "IMAGE" in command.usage else ()


def bash(program: str) -> str:
    """For bash, without bash-completion; a word is cut at colons where COMP_WORDBREAKS has them, as bash does."""
    cases = "\n".join(_bash_case(command) for command in _visible())
    return f"""\
# bash completion for {program}
_{program}() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="" each words=""
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$each" in {"|".join(command.name for command in _visible())}) command="$each"; break ;; esac
    done
    case "$before" in
{_bash_values()}
    esac
    case "$command" in
        "") words="{_joined(_visible_names())} {_joined(_bash_flags(None))}" ;;
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [[ ${{#COMPREPLY[@]}} -eq 0 ]]; then COMPREPLY=($(compgen -f -- "$word")); fi
    if [[ ${{#COMPREPLY[@]}} -eq 1 && "${{COMPREPLY[0]}}" == *: ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -o default -F _{program} {program}
"""


def _bash_case(command: Command) -> str:
    return f'        {command.name}) words="{_joined(_words_of(command))} {_joined(_bash_flags(command))}" ;;'


def _bash_values() -> str:
    chosen = {flag.name: _choices(flag) for command in _visible() for flag in _flags(command) if _choices(flag)}
    rows = [f'        --{name}) COMPREPLY=($(compgen -W "{_joined(words)}" -- "$word")); return ;;'
            for name, words in sorted(chosen.items())]  # fmt: skip
    return "\n".join(rows)


def _bash_flags(command: Command | None) -> list[str]:
    return [f"--{flag.name}" for flag in _flags(command)]


def _visible_names() -> list[str]:
    return [command.name for command in _visible()]


def _joined(words: Iterable[str]) -> str:
    return " ".join(words)


def zsh(program: str) -> str:
    """For zsh's completion system; save it as ``_fastcopy`` in a directory of $fpath."""
    commands = "\n".join(f"        {_single(f'{c.name}:{c.summary}')}" for c in _visible())
    cases = "\n".join(_zsh_case(command) for command in _visible())
    return f"""\
#compdef {program}
_{program}() {{
    local context state line
    local -a commands
    commands=(
{commands}
    )
    _arguments -C {" ".join(_zsh_flag(flag) for flag in _flags(None))} '1: :->command' '*:: :->words'
    case $state in
        command) _describe command commands ;;
        words) case $words[1] in
{cases}
        esac ;;
    esac
}}
compdef _{program} {program}
"""


def _zsh_case(command: Command) -> str:
    flags = " ".join(_zsh_flag(flag) for flag in _flags(command))
    return f"            {command.name}) _arguments {flags} {_single(_zsh_words(_words_of(command)))} ;;"


def _zsh_words(words: tuple[str, ...]) -> str:
    if not words:
        return "*: :_files"
    listed = _joined(word.replace(":", r"\:") for word in words)
    return f"*: : _alternative 'words:word:({listed})' 'files:file:_files'"


def _zsh_flag(flag: Flag) -> str:
    about = flag.help.replace("[", "(").replace("]", ")").replace(":", r"\:")
    if flag.kind.alone:
        return _single(f"--{flag.name}[{about}]")
    choices = _choices(flag)
    action = f"({_joined(choices)})" if choices else "_files"
    return _single(f"--{flag.name}=[{about}]:value:{action}")


def fish(program: str) -> str:
    """For fish."""
    lines = [f"# fish completion for {program}"]
    lines += [
        _fish_line(program, "__fish_use_subcommand", f"-f -a {c.name} -d {_single(c.summary)}") for c in _visible()
    ]
    lines += [_fish_flag(program, "__fish_use_subcommand", flag) for flag in _flags(None)]
    for command in _visible():
        here = f"__fish_seen_subcommand_from {command.name}"
        lines += [_fish_line(program, here, f"-a {_single(_joined(words))}") for words in [_words_of(command)] if words]
        lines += [_fish_flag(program, here, flag) for flag in _flags(command)]
    return "\n".join(lines) + "\n"


def _fish_flag(program: str, here: str, flag: Flag) -> str:
    letter = f" -s {flag.short}" if flag.short else ""
    choices = _choices(flag)
    value = "" if flag.kind.alone else f" -x -a {_single(_joined(choices))}" if choices else " -r"
    return _fish_line(program, here, f"-l {flag.name}{letter}{value} -d {_single(flag.help)}")


def _fish_line(program: str, here: str, what: str) -> str:
    return f"complete -c {program} -n {_single(here)} {what}"


def _single(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"


_SCRIPTS: dict[str, Callable[[str], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
