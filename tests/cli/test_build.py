"""From flags to Options: the rules that tie several flags together."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastcopy import __version__
from fastcopy.cli import parser
from fastcopy.cli.build import options_of
from fastcopy.cli.commandtable import COMMANDS
from fastcopy.descriptor import Platform
from fastcopy.errors import UsageError
from fastcopy.options import Credentials, Options


def _options(command: str, *words: str) -> Options:
    return options_of(parser.parse(list(words), COMMANDS[command].flag_set()))


def test_no_flags_leave_the_defaults() -> None:
    """An empty command line is Options()."""
    assert _options("copy") == Options()
    assert _options("inspect") == Options()


def test_each_side_has_its_own_credentials() -> None:
    """--src-creds and --dest-username with --dest-password do not mix."""
    made = _options("copy", "--src-creds=a:b:c", "--dest-username=d", "--dest-password=e")
    assert made.source.credentials == Credentials("a", "b:c")
    assert made.destination.credentials == Credentials("d", "e")


def test_hidden_aliases_mean_the_same() -> None:
    """--screds and --dcreds of old scripts."""
    made = _options("copy", "--screds=a:b", "--dcreds=c")
    assert made.source.credentials == Credentials("a", "b")
    assert made.destination.credentials == Credentials("c", "")


def test_a_registry_token_is_sent_as_it_is() -> None:
    """--registry-token needs no user."""
    assert _options("inspect", "--registry-token=tok").source.credentials == Credentials(registry_token="tok")


def test_the_authfile_of_a_side_wins() -> None:
    """--authfile is for both sides, --dest-authfile for one."""
    made = _options("copy", "--authfile=/a", "--dest-authfile=/b")
    assert (made.source.authfile, made.destination.authfile) == (Path("/a"), Path("/b"))


def test_the_deprecated_tls_verify_is_for_both_sides_and_yields() -> None:
    """A side's own flag wins over the deprecated one."""
    made = _options("copy", "--tls-verify=false", "--dest-tls-verify")
    assert (made.source.tls_verify, made.destination.tls_verify) == (False, True)
    assert _options("copy").source.tls_verify is None


def test_http_versions_may_differ_by_side() -> None:
    """--http is for both, --src-http for one."""
    made = _options("copy", "--http=1.1", "--src-http=2")
    assert (made.source.http, made.destination.http) == ("2", "1.1")


def test_run_options_come_from_their_flags() -> None:
    """Retries, delay, parallel copies, memory."""
    run = _options("copy", "--retry-times=0", "--retry-delay=2s", "--image-parallel-copies=4", "--memory=64MiB").run
    assert (run.retries, run.retry_delay, run.parallel, run.memory) == (0, 2.0, 4, 64 << 20)
    assert _options("copy").run.retries == 3


def test_the_user_agent_gets_its_prefix() -> None:
    """--user-agent-prefix stands before our own."""
    assert _options("copy", "--user-agent-prefix=ci").destination.user_agent == f"ci fastcopy/{__version__}"


@pytest.mark.parametrize(("words", "mode", "platforms"), [
    ((), "system", ()),
    (("--all",), "all", ()),
    (("-a",), "all", ()),
    (("--all=false", ), "system", ()),
    (("--multi-arch=index-only",), "index-only", ()),
    (("--multi-arch=linux/amd64,linux/arm64",), "all", (Platform("linux", "amd64"), Platform("linux", "arm64"))),
])  # fmt: skip
def test_lists_are_copied_as_asked(words: tuple[str, ...], mode: str, platforms: tuple[Platform, ...]) -> None:
    """--all, --multi-arch and its platforms."""
    made = _options("copy", *words).copy
    assert (made.multi_arch, made.platforms) == (mode, platforms)


_UNKNOWN = (
    "Choose one of the supported options: 'system', 'all', 'index-only', "
    "or a comma-separated platform list like 'linux/amd64,linux/arm64'"
)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--src-creds=a", "--src-no-creds"], "creds and no-creds cannot be specified at the same time"),
        (["--src-username=a", "--src-no-creds"], "username and no-creds cannot be specified at the same time"),
        (["--src-username=a", "--src-creds=b"], "creds and username cannot be specified at the same time"),
        (["--src-username=a"], "password must be specified when username is specified"),
        (["--dest-password=a"], "username must be specified when password is specified"),
        (["--src-creds="], "credentials can't be empty"),
        (["--src-creds=:x"], "username can't be empty"),
        (["--all", "--multi-arch=all"], "Cannot use --all and --multi-arch flags together"),
        (["--multi-arch=foo"], f'unknown multi-arch option "foo". {_UNKNOWN}'),
        (["--multi-arch="], f'unknown multi-arch option "". {_UNKNOWN}'),
        (["--multi-arch=linux/arm/v7"], f'unknown multi-arch option "linux/arm/v7". {_UNKNOWN}'),
        (["--format=x"], "unknown format \"x\". Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'"),
        (["--dest-compress-format=nope"], 'cannot find compressor for "nope"'),
        (["--dest-compress", "--dest-decompress"], "Cannot compress and decompress at the same time"),
        (["--additional-tag=foo"], "additional-tag 'foo' must be a tagged reference"),
        (["--additional-tag=foo@sha256:1"], "error parsing additional-tag 'foo@sha256:1': invalid reference format"),
    ],
)
def test_contradictions_are_refused_in_skopeos_words(words: list[str], text: str) -> None:
    """Each rule, with the text that scripts know."""
    with pytest.raises(UsageError) as caught:
        _options("copy", *words)
    assert caught.value.message == text


def test_inspect_has_a_format_of_its_own() -> None:
    """A template is not a manifest type."""
    assert _options("inspect", "--format={{.Name}}").copy.format == ""


def test_no_secret_shows_in_the_representation_of_options() -> None:
    """Options may be printed."""
    made = _options("copy", "--src-creds=user:hunter2", "--dest-registry-token=hunter2")
    assert "hunter2" not in repr(made)
