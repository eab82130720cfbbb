"""The command line: words in, words out.

Owns dispatch, the program's name (``skopeo`` is a disguise it can be called by) and the last line of defence: every
failure becomes one log line and an exit code. Imports nothing heavy; commands are loaded when they are called.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

from fastcopy import __version__
from fastcopy.cli import helptext, parser
from fastcopy.cli.call import Call, WrongArguments, exit_code, fatal_text, leaf
from fastcopy.cli.commandtable import COMMANDS, HELP, Command
from fastcopy.cli.flags import FlagSet, Parsed
from fastcopy.cli.flagtable import GLOBAL, OLD_TLS_VERIFY, VERSION, help_flag
from fastcopy.cli.govalues import quote
from fastcopy.cli.log import Log
from fastcopy.cli.streams import Streams
from fastcopy.errors import Bug, FastcopyError, Interrupted, Unsupported, UsageError

#: The release whose flags and output are the contract (skopeo's own --version is parsed by scripts).
SKOPEO = "1.24.0"
#: Commands that answer wrong arguments with their whole help (skopeo's ErrorShouldDisplayUsage).
_HELP_ON_ERROR = frozenset({"copy", "sync", "list-tags"})


def entry() -> None:
    """The console script."""
    # Imports make a hundred thousand objects that live to the end; looking through them costs a start-up 10 ms.
    gc.set_threshold(50_000, 20, 20)
    code = main(sys.argv)
    _leave_quietly()
    sys.exit(code)


def _leave_quietly() -> None:
    """Ctrl-C while the interpreter takes itself apart ends it, as it would have ended anyway: no traceback."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main(argv: Sequence[str], streams: Streams | None = None) -> int:
    """Run the command line *argv* (the program's name first); returns the exit code."""
    streams = streams or Streams.standard()
    program = "skopeo" if os.path.basename(argv[0] if argv else "") == "skopeo" else "fastcopy"
    log = Log(streams.err, terminal=streams.err_is_terminal, debug="--debug" in argv)
    call = Call(program, HELP, Parsed(), streams, log)
    try:
        return _guarded(list(argv[1:]), call)
    finally:
        streams.finish()


def _guarded(words: list[str], call: Call) -> int:
    try:
        return _dispatch(words, call)
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted"), call)
    except BaseException as error:
        found = leaf(error)
        if isinstance(found, SystemExit):
            raise
        if isinstance(found, KeyboardInterrupt):
            found = Interrupted("interrupted")
        if call.log.debugging:
            _traceback(error, call)
        return _fail(found if isinstance(found, FastcopyError) else _bug(found), call)


def _fail(error: FastcopyError, call: Call) -> int:
    code = exit_code(error, call.command.name, own=call.own_codes)
    if isinstance(error, WrongArguments) and call.command.name in _HELP_ON_ERROR:
        call.streams.err.write(helptext.command_help(call.program, call.command) + "\n")
    text = fatal_text(error, call)
    if call.show is not None:
        call.show.failed(error, text, code)
    call.log.fatal(text)
    return code


def _bug(error: BaseException) -> FastcopyError:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return FastcopyError(f"{place}{error.strerror.lower()}")
    return Bug(f"unexpected {type(error).__name__}: {error}", hint="please report this, with the output of --debug")


def _traceback(error: BaseException, call: Call) -> None:
    import traceback

    call.log.debug("".join(traceback.format_exception(error)))


def _dispatch(words: list[str], call: Call) -> int:
    leading, rest = parser.parse_leading(words, FlagSet((*GLOBAL, OLD_TLS_VERIFY, help_flag(call.program), VERSION)))
    if leading.get("version"):
        return _print(call, version_text(call.program))
    if not rest:
        if leading.get("help"):
            return _print(call, helptext.overview(call.program))
        raise UsageError(f"Missing command '{call.program} COMMAND'\nTry '{call.program} --help' for more information")
    call.command = _command(rest[0], call.program)
    if call.command is HELP:
        return _help(rest[1:], call)
    call.parsed = parser.parse(rest[1:], call.command.flag_set(), into=leading)
    if call.parsed.get("help"):
        return _print(call, helptext.command_help(call.program, call.command))
    return _run(call)


def _run(call: Call) -> int:
    call.log.debugging = bool(call.parsed.get("debug"))
    if call.command.refused:
        raise Unsupported(f"{call.program} {call.command.name} is not supported: {call.command.refused}")
    for flag in call.parsed.flags.values():
        if flag.warning:
            call.log.warning(flag.warning)
    module, _, name = call.command.run.partition(":")
    result = getattr(importlib.import_module(module), name)(call)
    if isinstance(result, int):
        return result
    from fastcopy.cli import supervise

    return supervise.run(result, call)


def _command(word: str, program: str) -> Command:
    if word in COMMANDS:
        return COMMANDS[word]
    near = parser.did_you_mean(word, (name for name, command in COMMANDS.items() if not command.hidden))
    raise UsageError(f"Unrecognized command `{program} {word}`{near}\nTry '{program} --help' for more information")


def _help(words: list[str], call: Call) -> int:
    topic = next((word for word in words if not word.startswith("-")), "")
    if topic and topic not in COMMANDS:
        raise UsageError(f"Unknown help topic {quote(topic)}")
    text = helptext.command_help(call.program, COMMANDS[topic]) if topic else helptext.overview(call.program)
    return _print(call, text)


def _print(call: Call, text: str) -> int:
    call.streams.write(text if text.endswith("\n") else text + "\n")
    return 0


def version_text(program: str) -> str:
    """``fastcopy version X``, or as skopeo with our version behind it."""
    return (
        f"skopeo version {SKOPEO} (fastcopy {__version__})"
        if program == "skopeo"
        else f"fastcopy version {__version__}"
    )
