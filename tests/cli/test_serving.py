"""serve: flags to configuration, and a server that ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fastcopy.cli import parser
from fastcopy.cli.call import Call
from fastcopy.cli.commandtable import COMMANDS
from fastcopy.cli.log import Log
from fastcopy.cli.serving import config_of
from fastcopy.errors import UsageError
from tests.cli.support import streams


def _config(*words: str) -> Any:
    made = streams()
    parsed = parser.parse(list(words), COMMANDS["serve"].flag_set())
    return config_of(Call("fastcopy", COMMANDS["serve"], parsed, made, Log(made.err, terminal=False)))


def test_the_flags_describe_the_registry() -> None:
    """Each flag is one field of ServeConfig."""
    made = _config("--listen=0.0.0.0:5001", "--auth=me:a:b", "--read-only", "--tls", "--name=app", "/srv/images")
    assert (made.listen, made.read_only, made.tls, made.name) == ("0.0.0.0:5001", True, True, "app")
    assert made.directory == Path("/srv/images")
    assert [(each.user, each.password) for each in made.accounts] == [("me", "a:b")]


def test_without_a_directory_it_serves_from_memory_on_loopback() -> None:
    """Nobody else reaches it unless asked for."""
    made = _config()
    assert (made.directory, made.listen, made.accounts) == (None, "127.0.0.1:5000", ())


@pytest.mark.parametrize("words", [["--tls-key=x"], ["--auth="], ["--auth=:x"]])
def test_half_a_statement_is_refused(words: list[str]) -> None:
    """A key without its certificate, a password without its user."""
    with pytest.raises(UsageError):
        _config(*words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_until_it_is_told_to_end_which_is_no_failure(number: signal.Signals) -> None:
    """One line on stderr says where; exit code 0 and no further word."""
    words = [sys.executable, "-m", "fastcopy", "serve", "--listen=127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        url = next(word for word in line.split() if word.startswith("http://"))
        with urllib.request.urlopen(f"{url}/v2/", timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
