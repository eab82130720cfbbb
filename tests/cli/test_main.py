"""The program as a whole: dispatch, help, versions, texts of failures, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

import fastcopy
from fastcopy import api
from fastcopy.cli import SKOPEO
from fastcopy.cli.commandtable import COMMANDS
from fastcopy.errors import (
    Bug,
    CannotConnect,
    DigestMismatch,
    FastcopyError,
    ManifestUnknown,
    NeedsLogin,
    NotThere,
)
from fastcopy.events import BlobDone, BlobStarted, CopyDone, CopyReport, CopyStarted, ImageStarted, ManifestWritten
from tests.cli.support import run

A, M = f"sha256:{'a' * 64}", f"sha256:{'1' * 64}"
_TRY = "Try 'fastcopy --help' for more information"
PAIR = ("docker://r.example/x:1", "docker://s.example/y:1")


@pytest.mark.parametrize(
    ("words", "fatal"),
    [
        ([], r'''level=fatal msg="Missing command 'fastcopy COMMAND'\nTry 'fastcopy --help' for more information"'''),
        (["foo"], rf'level=fatal msg="Unrecognized command `fastcopy foo`\n{_TRY}"'),
        (["copi"], rf'level=fatal msg="Unrecognized command `fastcopy copi`\n\nDid you mean this?\n\tcopy\n\n{_TRY}"'),
        (["--nope"], 'level=fatal msg="unknown flag: --nope"'),
        (["copy", "a", "b"], r'level=fatal msg="Invalid source name a: Invalid image name \"a\", '
         'expected colon-separated transport:reference"'),
        (["copy", "dir:/x", "foo:y"], r'level=fatal msg="Invalid destination name foo:y: Invalid image name \"foo:y\", '
         r'unknown transport \"foo\""'),
        (["inspect"], 'level=fatal msg="Exactly one argument expected"'),
        (["inspect", "a"], r'level=fatal msg="Error parsing image name \"a\": Invalid image name \"a\", '
         'expected colon-separated transport:reference"'),
        (["inspect", "--raw", "--format=x", "dir:/x"], 'level=fatal msg="raw output does not support format option"'),
        (["delete"], 'level=fatal msg="Usage: delete imageReference"'),
        (["list-tags", "foo"], r'level=fatal msg="Invalid \"foo\": does not specify a transport"'),
        (["list-tags", "dir:/x"], "level=fatal msg=\"Unsupported transport 'dir' for tag listing. "
         'Only supported: docker, docker-archive"'),
        (["list-tags", "docker://a/b:c"], 'level=fatal msg="No tag or digest allowed in reference"'),
        (["manifest-digest"], 'level=fatal msg="Usage: fastcopy manifest-digest manifest"'),
        (["manifest-digest", "/nope"], 'level=fatal msg="Error reading manifest from /nope: open /nope: '
         'no such file or directory"'),
        (["login"], 'level=fatal msg="please provide a registry to log in to"'),
        (["login", "a", "b"], 'level=fatal msg="login accepts only one registry to log in to"'),
        (["logout"], 'level=fatal msg="please provide a registry to log out from"'),
        (["sync", "--src=docker", "a", "b"], 'level=fatal msg="A destination transport must be specified"'),
        (["sync", "--src=x", "a", "b"], r'level=fatal msg="\"x\" is not a valid source transport"'),
        (["standalone-sign"], 'level=fatal msg="Usage: fastcopy standalone-sign manifest docker-reference '
         'key-fingerprint -o signature"'),
        (["completion", "powershell"], 'level=fatal msg="completion for powershell is not supported; '
         'bash, zsh and fish are"'),
        (["help", "nope"], r'level=fatal msg="Unknown help topic \"nope\""'),
    ],
)  # fmt: skip
def test_wrong_command_lines_are_refused_in_one_line_with_exit_code_1(words: list[str], fatal: str) -> None:
    """skopeo's texts on stderr, nothing on stdout."""
    ran = run(*words)
    assert (ran.code, ran.out, ran.fatal) == (1, "", fatal)


def test_our_own_commands_have_finer_exit_codes() -> None:
    """serve is not skopeo's: wrong usage is 64 (docs/errors.md)."""
    ran = run("serve", "--tls-cert=x")
    assert (ran.code, ran.fatal) == (64, 'level=fatal msg="--tls-cert and --tls-key must be given together"')


@pytest.mark.parametrize("command", ["copy", "sync", "list-tags"])
def test_wrong_counts_of_arguments_are_answered_with_the_help_on_stderr(command: str) -> None:
    """Only by the commands that do so in skopeo."""
    ran = run(command)
    assert ran.code == 1
    assert ran.out == ""
    assert f"Usage:\nfastcopy {COMMANDS[command].usage}" in ran.err
    assert "argument" in ran.fatal


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_its_flags(name: str) -> None:
    """On stdout, with exit code 0, by --help and by help."""
    ran = run(name, "--help") if name != "help" else run("help")
    assert (ran.code, ran.err) == (0, "")
    assert run("help", name).out == ran.out or name == "help"
    for flag in COMMANDS[name].flags:
        assert (f"--{flag.name} " in ran.out) == (not flag.hidden and not flag.refused) or f"--{flag.name}," in ran.out


@pytest.mark.parametrize("name", sorted(name for name, command in COMMANDS.items() if not command.hidden))
def test_every_command_people_see_has_examples(name: str) -> None:
    """Help teaches; the overview lists the command."""
    assert f"  {name} " in run("--help").out
    if COMMANDS[name].run not in ("", "fastcopy.cli.inspection:manifest_digest"):
        assert "Examples:" in run(name, "--help").out


def test_the_version_is_ours_unless_we_are_called_as_skopeo() -> None:
    """Scripts parse `skopeo version X`."""
    assert run("--version").out == f"fastcopy version {fastcopy.__version__}\n"
    ran = run("-v", program="/usr/local/bin/skopeo")
    assert (ran.code, ran.out) == (0, f"skopeo version {SKOPEO} (fastcopy {fastcopy.__version__})\n")


def test_called_as_skopeo_texts_name_skopeo() -> None:
    """The disguise is complete."""
    assert "Missing command 'skopeo COMMAND'" in run(program="skopeo").err
    assert "skopeo copy [command options]" in run("copy", "--help", program="skopeo").out


def test_deprecated_flags_warn_by_where_they_stand() -> None:
    """Before the command and behind it the texts differ."""
    before = run("--tls-verify=false", "copy", "a", "b").err
    assert "'--tls-verify' is deprecated, please set this on the specific subcommand" in before
    behind = run("copy", "--tls-verify=false", "a", "b").err
    assert "'--tls-verify' is deprecated, instead use: --src-tls-verify, --dest-tls-verify" in behind
    assert "deprecated" not in run("inspect", "--tls-verify=false", "a").err


def test_a_warning_for_compression_that_only_dir_can_have() -> None:
    """--dest-compress to a registry is a mistake worth a line."""
    ran = run("copy", "--dest-compress", "dir:/nope", "docker://r.example/x")
    assert "--dest-compress can only be used if the destination transport is 'dir'" in ran.err


def _copying(
    monkeypatch: pytest.MonkeyPatch, outcome: BaseException | CopyReport, events: tuple[Any, ...] = ()
) -> None:
    async def copy_async(source: str, destination: str, options: Any, *, on_event: Any, **_: Any) -> CopyReport:
        for event in events:
            on_event(event)
        await trio.lowlevel.checkpoint()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(api, "copy_async", copy_async)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            ManifestUnknown("reading manifest 1 in x: manifest unknown", side="source"),
            2,
            "initializing source docker://r.example/x:1: reading manifest 1 in x: manifest unknown",
        ),
        (
            NotThere("no such repository", side="source"),
            1,
            "initializing source docker://r.example/x:1: no such repository",
        ),
        (
            NeedsLogin("authentication required", side="destination", hint="try login"),
            1,
            "initializing destination docker://s.example/y:1: authentication required (try login)",
        ),
        (FastcopyError("docker://r.example/x:1 is odd", side="source"), 1, "docker://r.example/x:1 is odd"),
        (CannotConnect("nobody there"), 1, "nobody there"),
        (
            ExceptionGroup("g", [ValueError("v"), ExceptionGroup("h", [DigestMismatch("wrong bytes", side="source")])]),
            1,
            "initializing source docker://r.example/x:1: wrong bytes",
        ),
        (OSError(28, "No space left on device", "/tmp/x"), 1, "/tmp/x: no space left on device"),
        (
            KeyError("oops"),
            1,
            "unexpected KeyError: 'oops' (please report this, with the output of --debug)",
        ),
    ],
)
def test_failures_are_one_line_that_names_the_side_and_the_right_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    """Never a traceback; 2 only for a manifest the registry does not know."""
    _copying(monkeypatch, error)
    ran = run("copy", *PAIR)
    assert ran.code == code
    assert ran.fatal == f"level=fatal msg={json.dumps(text)}"
    assert "Traceback" not in ran.err


def test_a_manifest_unknown_anywhere_in_the_chain_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a later error wraps it."""
    error = FastcopyError("copying image 1/2")
    error.__cause__ = ManifestUnknown("manifest unknown")
    _copying(monkeypatch, error)
    assert run("copy", *PAIR).code == 2


def test_once_an_image_has_begun_the_failure_is_not_about_initializing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phase is told by the events."""
    _copying(monkeypatch, CannotConnect("gone", side="source"), (CopyStarted(*PAIR), ImageStarted(M)))
    assert run("copy", *PAIR).fatal == 'level=fatal msg="source docker://r.example/x:1: gone"'


def test_debug_shows_the_traceback_of_a_bug_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """--debug is for us."""
    _copying(monkeypatch, Bug("assumption"))
    assert "Traceback" in run("--debug", "copy", *PAIR).err
    assert "Traceback" not in run("copy", *PAIR).err


_EVENTS = (
    CopyStarted(*PAIR),
    ImageStarted(M),
    BlobStarted(A, 5),
    BlobDone(A, 5),
    ManifestWritten(M),
    CopyDone(CopyReport(M, bytes_copied=5, blobs_copied=1, seconds=1.0)),
)


def test_copy_writes_digest_and_report_where_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The digest has no newline behind it, the report is JSON."""
    _copying(monkeypatch, CopyReport(M, blobs_copied=1, digest_map={A: M}), _EVENTS)
    ran = run("copy", *PAIR, f"--digestfile={tmp_path}/digest", f"--report={tmp_path}/report")
    assert ran.code == 0
    assert (tmp_path / "digest").read_bytes() == M.encode()
    report = json.loads((tmp_path / "report").read_text())
    assert (report["digest"], report["digest_map"]) == (M, {A: M})
    assert ran.out == (f"Getting image source signatures\nCopying blob {A}\nWriting manifest to image destination\n")
    assert ran.err == "Copied 1 blob, 5B, 5 B/s, in 1.0s\n"


def test_a_digest_file_that_cannot_be_written_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the copy, in skopeo's words."""
    _copying(monkeypatch, CopyReport(M))
    ran = run("copy", *PAIR, "--digestfile=/nope/x")
    assert ran.code == 1
    assert ran.fatal == (
        r'level=fatal msg="Failed to write digest to file \"/nope/x\": open /nope/x: no such file or directory"'
    )


def test_quiet_leaves_errors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing at all when all is well."""
    _copying(monkeypatch, CopyReport(M), _EVENTS)
    ran = run("copy", "-q", *PAIR)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    _copying(monkeypatch, FastcopyError("bad"), _EVENTS)
    assert "level=fatal msg=bad" in run("copy", "-q", *PAIR).err


def test_json_progress_ends_with_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """stdout is JSON lines only, and the last one is the outcome."""
    _copying(monkeypatch, CopyReport(M), _EVENTS)
    ran = run("copy", "--progress=json", *PAIR)
    assert [json.loads(line)["event"] for line in ran.out.splitlines()][-1] == "copy-done"
    _copying(monkeypatch, ManifestUnknown("gone", side="source"), _EVENTS[:1])
    last = json.loads(run("copy", "--progress=json", *PAIR).out.splitlines()[-1])
    assert (last["event"], last["slug"], last["exit_code"]) == ("failed", "manifest-unknown", 2)


def test_dregsys_words_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """dregsy puts global flags first, side flags between, and --all or --override-… behind the positionals."""
    seen: list[Any] = []

    async def copy_async(source: str, destination: str, options: Any, **_: Any) -> CopyReport:
        seen.append((source, destination, options))
        return CopyReport(M)

    monkeypatch.setattr(api, "copy_async", copy_async)
    sides = ["--src-tls-verify=false", "--src-cert-dir=/nope/r", "--dest-cert-dir=/nope/s", "--src-creds=u:p"]
    platform = ["--override-os=linux", "--override-arch=arm64", "--override-variant=v8"]
    ran = run("--insecure-policy", "copy", *sides, *PAIR, *platform, program="skopeo")
    assert ran.code == 0, ran.err
    source, destination, options = seen[0]
    assert (source, destination) == PAIR
    assert (options.copy.override_arch, options.copy.override_variant) == ("arm64", "v8")
    assert (options.source.tls_verify, options.destination.tls_verify) == (False, None)
    assert options.source.credentials.password == "p"


def test_a_timeout_is_told_in_gos_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts look for `context deadline exceeded`."""

    async def copy_async(*_: Any, **__: Any) -> CopyReport:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(api, "copy_async", copy_async)
    ran = run("--command-timeout=20ms", "copy", *PAIR)
    assert ran.code == 1
    assert "context deadline exceeded" in ran.fatal


def test_manifest_digest_reads_any_file(tmp_path: Path) -> None:
    """Signatures of schema 1 are left aside, everything else is hashed as it is."""
    file = tmp_path / "manifest"
    file.write_bytes(b"garbage")
    expected = "sha256:795b6904e54f82411df4b0e27a373a55eea3f9d66dac5a9bce1dd92f7b401da5\n"
    assert run("manifest-digest", str(file)).out == expected
    file.write_bytes(b'{"schemaVersion":1,"signatures":[{"protected":"zz"}]}')
    assert "Error computing digest: " in run("manifest-digest", str(file)).fatal
