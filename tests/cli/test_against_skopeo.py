"""Side by side with skopeo: the same words, the same output, the same exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.registries import Registry

pytestmark = pytest.mark.real

_TIME = re.compile(r'time="[^"]*" ')
#: The newest one at hand may be named in the environment ("chroot DIR skopeo").
_SKOPEO = shlex.split(os.environ.get("FASTCOPY_SKOPEO", "skopeo"))
_OCI = "application/vnd.oci.image."


@dataclass(frozen=True)
class Pushed:
    """An image and a list of it in a docker-registry."""

    registry: Registry
    digest: str
    list_digest: str

    def name(self, reference: str = "1") -> str:
        return self.registry.ref("cli/app", reference)


@pytest.fixture(scope="module")
def pushed(docker_plain: Registry) -> Pushed:
    """Two layers, a config with everything inspect shows, and an index around it."""
    config = {
        "created": "2024-01-02T03:04:05.123456789Z", "architecture": "amd64", "os": "linux",
        "config": {"Env": ["A=b<c", "PATH=/bin"], "Labels": {"x": "y&z", "a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{n:064x}" for n in range(2)]},
        "history": [{"created_by": "x"}],
    }  # fmt: skip
    with docker_plain.client() as client:
        layers = [client.push_blob("cli/app", os.urandom(size)) for size in (3000, 200_000)]
        pointed = client.push_blob("cli/app", json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2, "mediaType": f"{_OCI}manifest.v1+json",
            "config": {**pointed, "mediaType": f"{_OCI}config.v1+json"},
            "layers": [{**layer, "mediaType": f"{_OCI}layer.v1.tar+gzip"} for layer in layers],
        }  # fmt: skip
        digest = client.push_manifest("cli/app", "1", manifest, manifest["mediaType"])
        size = len(json.dumps(manifest))
        entry = {"mediaType": manifest["mediaType"], "digest": digest, "size": size,
                 "platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}index.v1+json", "manifests": [entry]}
        return Pushed(docker_plain, digest, client.push_manifest("cli/app", "list", index, index["mediaType"]))


Run = Callable[..., "Both"]


@dataclass(frozen=True)
class Both:
    """What the two programs did."""

    ours: subprocess.CompletedProcess[str]
    theirs: subprocess.CompletedProcess[str]

    def fatal(self) -> tuple[str, str]:
        """The last lines of stderr, without time and program name."""
        lines = [_TIME.sub("", each.stderr).rstrip("\n").rpartition("\n")[2] for each in (self.ours, self.theirs)]
        return lines[0].replace("fastcopy", "skopeo"), lines[1]


@cache
def release() -> tuple[int, ...]:
    """skopeo's version."""
    said = subprocess.run([*_SKOPEO, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[:3])


def _older(document: str) -> str:
    """Our inspect document as releases before 1.10 printed it: without LayersData."""
    if release() >= (1, 10):
        return document
    return re.sub(r'    "LayersData": \[.*?\n    \],\n', "", document, flags=re.DOTALL)


@pytest.fixture
def both(tmp_path: Path) -> Run:
    """Runs the same words in both programs, in an empty directory and home."""
    environ = {**os.environ, "HOME": str(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    (tmp_path / "auth.json").write_text("{}")
    environ["PYTHONPATH"] = str(Path(__file__).parents[2])

    def run(*words: str) -> Both:
        programs = ([sys.executable, "-m", "fastcopy"], [*_SKOPEO, "--insecure-policy"])
        return Both(*(
            subprocess.run([*program, *words], capture_output=True, text=True, cwd=tmp_path, env=environ, check=False,
                           stdin=subprocess.DEVNULL)
            for program in programs
        ))  # fmt: skip

    return run


@pytest.mark.parametrize(
    "words",
    [
        [], ["--raw"], ["--config"], ["--config", "--raw"], ["--no-tags"], ["-n"],
        ["--format", "{{.Name}} {{.Digest}}"], ["--format", "{{json .Env}}"],
        ["--format", "{{range .Layers}}{{.}},{{end}}"], ["--config", "--format", "{{.Architecture}}"],
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("reference", ["1", "list"])
def test_inspect_prints_what_skopeo_prints(both: Run, pushed: Pushed, words: list[str], reference: str) -> None:
    """Byte for byte, of an image and of a list."""
    ran = both("inspect", "--tls-verify=false", *words, pushed.name(reference))
    assert ran.ours.returncode == 0, ran.ours.stderr
    if words[-1:] == ["{{json .Env}}"] and release() < (1, 10):  # skopeo had no json function then
        assert ran.ours.stdout == '["A=b<c","PATH=/bin"]\n'
    else:
        assert _older(ran.ours.stdout) == ran.theirs.stdout


def test_list_tags_prints_what_skopeo_prints(both: Run, pushed: Pushed) -> None:
    """Byte for byte."""
    ran = both("list-tags", "--tls-verify=false", pushed.name().rpartition(":")[0])
    assert ran.ours.returncode == 0, ran.ours.stderr
    assert ran.ours.stdout == ran.theirs.stdout


_COUNTED = r"Copying \1 images generated from \2 images in list"


@pytest.mark.parametrize("words", [[], ["--all"], ["-q"]], ids=" ".join)
def test_copy_prints_what_skopeo_prints(both: Run, pushed: Pushed, words: list[str]) -> None:
    """The same lines, blobs in any order; lists are counted in the words of newer releases."""
    target = pushed.registry.ref("cli/copy" + "".join(words), "x")
    name = pushed.name("list" if words == ["--all"] else "1")
    ran = both("copy", "--src-tls-verify=false", "--dest-tls-verify=false", *words, name, target)
    assert ran.ours.returncode == ran.theirs.returncode == 0, ran.ours.stderr
    theirs = re.sub(r"Copying (\d+) of (\d+) images in list", _COUNTED, ran.theirs.stdout)
    lines = [line for line in theirs.splitlines() if line != "Storing signatures"]
    assert sorted(ran.ours.stdout.splitlines()) == sorted(lines)


def test_the_digest_file_is_the_same(both: Run, pushed: Pushed, tmp_path: Path) -> None:
    """No newline behind the digest."""
    target = pushed.registry.ref("cli/digest", "x")
    file = tmp_path / "digest"
    both("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--digestfile", str(file), pushed.name(), target)
    assert file.read_text() == pushed.digest


@pytest.mark.parametrize(
    "words",
    [
        [], ["foo"], ["copi"], ["--nope"], ["copy", "--nope", "a", "b"], ["copy", "-z", "a", "b"], ["copy", "-aqz"],
        ["copy", "--=x"], ["copy", "--src-creds"], ["copy", "-f"], ["copy", "--src-tls-verify=zz", "a", "b"],
        ["copy", "--quiet=2", "a", "b"], ["copy", "--retry-times=x", "a", "b"], ["--command-timeout=5x", "copy"],
        ["--command-timeout=5", "copy"], ["--command-timeout=", "copy"], ["copy", "a", "b"],
        ["copy", "docker://A/b", "dir:x"], ["copy", "docker:a", "dir:x"], ["copy", "dir:x", "foo:y"],
        ["copy", "--src-creds=", "docker://127.0.0.1:1/a", "docker://127.0.0.1:1/b"],
        ["copy", "--all", "--multi-arch=all", "docker://127.0.0.1:1/a", "docker://127.0.0.1:1/b"],
        ["inspect"], ["inspect", "a", "b"], ["inspect", "a"], ["inspect", "--format"],
        ["inspect", "--raw", "--format", "x", "docker://127.0.0.1:1/a"], ["inspect", "docker://127.0.0.1:1/a:b:c"],
        ["list-tags", "foo"], ["list-tags", "dir:x"], ["list-tags", "docker://a/b:c"], ["list-tags", "docker://a/B"],
        ["list-tags", "docker:a"], ["delete"], ["delete", "a", "b"], ["delete", "a"], ["manifest-digest"],
        ["manifest-digest", "/nope"], ["manifest-digest", "/tmp"], ["sync", "a", "b"],
        ["sync", "--src", "docker", "a", "b"], ["standalone-sign"], ["standalone-verify"],
        ["logout", "nobody.example"], ["login", "--get-login", "nobody.example"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_command_lines_have_skopeos_text_and_exit_code(both: Run, words: list[str]) -> None:
    """The fatal line is the same, the program's name aside."""
    ran = both(*words)
    assert ran.ours.returncode == ran.theirs.returncode == 1
    ours, theirs = ran.fatal()
    assert ours == theirs


@pytest.mark.parametrize(
    ("command", "reference", "code"),
    [("inspect", "nope", 2), ("copy", "nope", 2), ("delete", "nope", 1), ("list-tags", "", 1)],
)
def test_what_is_not_there_has_skopeos_exit_code(
    both: Run, pushed: Pushed, command: str, reference: str, code: int
) -> None:
    """2 for a manifest the registry does not know (since 1.16), else 1."""
    name = pushed.name(reference) if reference else f"docker://{pushed.registry.host}/cli/none"
    side = ["--src-tls-verify=false", "--dest-tls-verify=false"] if command == "copy" else ["--tls-verify=false"]
    target = [pushed.registry.ref("cli/x")] if command == "copy" else []
    ran = both(command, *side, name, *target)
    assert ran.ours.returncode == code
    assert ran.theirs.returncode == (code if release() >= (1, 16) else 1)


_SHARED = ("copy", "sync", "inspect", "list-tags", "delete", "login", "logout", "manifest-digest")


@pytest.mark.parametrize("command", _SHARED)
def test_help_names_every_flag_that_skopeos_help_names(both: Run, command: str) -> None:
    """As a flag with the same letter and kind of value, or among those that are refused."""
    ran = both(command, "--help")
    assert ran.ours.returncode == 0
    rows = re.findall(r"^  (?:(-\w), |    )--([\w.-]+)", ran.theirs.stdout, re.MULTILINE)
    assert rows
    refused = ran.ours.stdout.partition("Known, but refused with the reason: ")[2].split()
    for letter, name in rows:
        row = f"  {letter + ', ' if letter else '    '}--{name}"
        assert row in ran.ours.stdout or f"--{name}" in {word.rstrip(",") for word in refused}, name
