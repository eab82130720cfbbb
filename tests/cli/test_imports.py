"""What starting costs: heavy modules are imported only by those who need them."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = ("rich", "h2", "yaml", "sqlite3", "cryptography", "trio", "h11", "msgspec")


def _imported(*words: str) -> set[str]:
    script = (
        "import sys\n"
        "from fastcopy.cli import main\n"
        "main(['fastcopy', *sys.argv[1:]])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["copy", "--help"], ["nope"], ["copy", "a"], ["completion", "bash"]]
)
def test_what_needs_no_network_imports_nothing_heavy(words: list[str]) -> None:
    """Help, versions, usage errors and completion start as quickly as Python does."""
    assert not _imported(*words) & set(_HEAVY)


def test_a_copy_imports_neither_renderer_nor_http2_nor_yaml() -> None:
    """Up to the moment a connection is tried (and refused), over HTTP/1.1 and without a terminal."""
    found = _imported("copy", "docker://127.0.0.1:1/a", "docker://127.0.0.1:1/b", "--retry-times=0")
    assert "trio" in found
    assert not found & {"rich", "h2", "yaml", "sqlite3", "cryptography"}


def test_importing_the_package_does_nothing_a_library_must_not_do() -> None:
    """No signal handler, no logging configuration, no heavy module."""
    script = """
import signal, sys
before = signal.getsignal(signal.SIGINT)
import fastcopy, fastcopy.cli
assert signal.getsignal(signal.SIGINT) is before
assert "trio" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
