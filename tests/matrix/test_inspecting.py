"""inspect, list-tags and delete on every place, beside skopeo: the same bytes on stdout, the same exit code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import run
from tests.matrix.world import SOURCES, World
from tests.places import made
from tests.storage import rich

pytestmark = [pytest.mark.real("podman", "skopeo"), pytest.mark.slow]

#: skopeo prints it since 1.10.
_LAYERS_DATA = re.compile(r'    "LayersData": \[.*?\n    \],\n', re.DOTALL)
#: Others have tests of their own: docker:// with registries that delete, oci: which skopeo 1.9 does not delete. Of
#: tarball: skopeo deletes the user's files; fastcopy refuses.
DELETED = ("dir", "oci-archive", "docker-archive", "docker-daemon", "overlay", "vfs")
_TIME = re.compile(r'time="[^"]*" ')


def _theirs(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["skopeo", "--insecure-policy", *words], capture_output=True, text=True, timeout=100, check=False
    )


def _typed(text: str) -> str:
    """Uncompressed layers under their true type, as fastcopy names them."""
    return rich.truly_typed(text.encode()).decode()


@pytest.mark.parametrize(
    "flags",
    [["--no-tags"], ["--raw"], ["--config"], ["--config", "--raw"], ["--format", "{{.Name}} {{.Layers}} {{.Os}}"]],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", SOURCES)
def test_inspect_prints_what_skopeo_prints(
    kind: str, flags: list[str], world: World, start: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifest, config and skopeo's own document, of an image in every place."""
    monkeypatch.setenv("TZ", "UTC")
    place = start(kind)
    words = ["inspect", "--tls-verify=false", f"--daemon-host={world.daemon}", *flags, place]
    ours, theirs = run("--insecure-policy", *words), _theirs(*words)
    assert (ours.code, theirs.returncode) == (0, 0), ours.err + theirs.stderr
    mine, other = _LAYERS_DATA.sub("", ours.out), _LAYERS_DATA.sub("", theirs.stdout)
    if kind in ("docker-archive", "docker-daemon", "tarball"):  # whose manifest is made by the reader
        mine, other = _typed(mine), _typed(other)
        if '"Digest"' in mine:
            mine, other = (re.sub(r'"Digest": "[^"]*"', "", each) for each in (mine, other))
    assert mine == other


@pytest.mark.parametrize("kind", SOURCES)
def test_list_tags_is_for_the_places_that_skopeo_lists(kind: str, world: World, start: Callable[[str], str]) -> None:
    """The same list, or the same refusal."""
    place = start(kind)
    if kind in ("docker", "docker-archive"):
        place = place.rpartition(":")[0]
    if kind == "docker-archive":
        place = place.rpartition(":")[0]
    words = ["list-tags", "--tls-verify=false", place]
    ours, theirs = run(*words), _theirs(*words)
    assert (ours.code, ours.out) == (theirs.returncode, theirs.stdout)
    if ours.code:
        assert ours.fatal == _TIME.sub("", theirs.stderr).rstrip("\n").rpartition("\n")[2]


@pytest.mark.parametrize("kind", DELETED)
def test_delete_does_what_skopeo_does(kind: str, world: World, tmp_path: Path) -> None:
    """One after the other deletes the image of a place: the same code, the same silence, and it is gone or stays."""
    made.directory(tmp_path / "own", made.image(7))  # a storage deletes an image with all its names
    flags = ["--tls-verify=false", f"--daemon-host={world.daemon}"]

    def deleted(delete: Callable[..., tuple[int, str]]) -> tuple[int, str, bool]:
        place = world.place(kind)
        world.skopeo(f"dir:{tmp_path}/own", place)
        return *delete("delete", *flags, place), _theirs("inspect", "--raw", *flags, place).returncode == 0

    ours, theirs = deleted(_our_end), deleted(_their_end)
    assert ours == theirs
    assert ours[2] == (ours[0] != 0)


def _our_end(*words: str) -> tuple[int, str]:
    ran = run("--insecure-policy", *words)
    return ran.code, ran.out


def _their_end(*words: str) -> tuple[int, str]:
    ran = _theirs(*words)
    return ran.returncode, ran.stdout


def test_the_digest_of_a_manifest_is_skopeos(tmp_path: Path) -> None:
    """manifest-digest of OCI and Docker manifests in files."""
    for n, raw in enumerate((made.image().raw, rich.image().raw)):
        path = tmp_path / f"{n}.json"
        path.write_bytes(raw)
        assert run("manifest-digest", str(path)).out == _theirs("manifest-digest", str(path)).stdout
