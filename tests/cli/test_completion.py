"""Completion scripts, in the shells themselves where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fastcopy.cli.commandtable import COMMANDS
from tests.cli.support import run


def _bash(tmp_path: Path, words: list[str]) -> list[str]:
    script = tmp_path / "completion.bash"
    script.write_text(run("completion", "bash").out)
    quoted = " ".join(f"'{word}'" for word in words)
    command = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _fastcopy; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "--norc", "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fastcopy", "ins"], {"inspect"}),
        (["fastcopy", "copy", "--dest-compr"], {"--dest-compress", "--dest-compress-format", "--dest-compress-level"}),
        (["fastcopy", "copy", "--progress", ""], {"auto", "tty", "plain", "json", "none"}),
        (["fastcopy", "copy", "docker-"], {"docker-archive:", "docker-daemon:"}),
        (["fastcopy", "--debug", "list-tags", "--no-"], {"--no-creds"}),
        (["fastcopy", "completion", "z"], {"zsh"}),
        (["fastcopy", "copy", "--sign-b"], set()),
    ],
)
def test_bash_completes_commands_flags_and_values(tmp_path: Path, words: list[str], expected: set[str]) -> None:
    """What the table says, and no refused flag."""
    assert set(_bash(tmp_path, words)) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_takes_the_script_and_completes(tmp_path: Path) -> None:
    """Loaded by fish itself."""
    script = tmp_path / "fastcopy.fish"
    script.write_text(run("completion", "fish").out)
    done = subprocess.run(
        ["fish", "-c", f"source {script}; complete -C 'fastcopy copy --dest-compr'"],
        capture_output=True, text=True, check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    expected = ["--dest-compress", "--dest-compress-format", "--dest-compress-level"]
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_script(tmp_path: Path) -> None:
    """No syntax error, and the completion system accepts it."""
    script = tmp_path / "_fastcopy"
    script.write_text(run("completion", "zsh").out)
    command = f"autoload -U compinit; compinit -u -D; source {script}; print -r -- $_comps[fastcopy]"
    done = subprocess.run(["zsh", "-f", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "_fastcopy"


@pytest.mark.parametrize(("shell", "entry"), [("bash", "        {}) "), ("zsh", "        '{}:"), ("fish", "-f -a {} ")])
def test_every_visible_command_is_in_every_script(shell: str, entry: str) -> None:
    """And no hidden one."""
    script = run("completion", shell).out
    for name, command in COMMANDS.items():
        assert (entry.format(name) in script) == (not command.hidden), name
