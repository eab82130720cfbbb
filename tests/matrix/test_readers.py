"""What is written here, read by the programs that work with it: podman and umoci; and what they write, read here."""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from fastcopy import api
from fastcopy.options import Options
from tests.matrix.world import World
from tests.places import made
from tests.registries import BUILT
from tests.storage import rich

pytestmark = pytest.mark.slow


def program(text: bytes) -> bytes:
    """A static program for x86_64 Linux that writes *text* and ends: write(1, text, n); exit(0)."""
    behind = b"\xba" + struct.pack("<I", len(text)) + b"\x0f\x05\xb8\x3c\0\0\0\x31\xff\x0f\x05"
    code = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x8d\x35" + struct.pack("<i", len(behind)) + behind + text
    base, head = 0x400000, 64 + 56
    size = head + len(code)
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


def _umoci(*words: str) -> bytes:
    return subprocess.run(
        [shutil.which("umoci") or BUILT / "umoci", *words], check=True, capture_output=True, timeout=100
    ).stdout


@pytest.mark.real("podman")
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_podman_loads_an_archive(kind: str, world: World, tmp_path: Path) -> None:
    """`podman load` of what was written, under its name, with the config's digest as its ID."""
    it = rich.image(command=("/loaded", kind))  # another one than the pairs have left in the storage
    name = "localhost/loaded" if kind == "docker-archive" else "loaded"
    made.layout(tmp_path / "o", {"v1": it})
    made.copy(f"oci:{tmp_path}/o:v1", f"{kind}:{tmp_path}/a.tar:{name}:v1")
    world.vfs.podman("load", "-i", f"{tmp_path}/a.tar")
    images = json.loads(world.vfs.podman("images", "--no-trunc", "--format", "json"))
    found = [each for each in images if any("loaded:v1" in known for known in each.get("Names") or [])]
    assert [each["Id"] for each in found] == [made.digest_of(it.config).removeprefix("sha256:")]
    world.vfs.podman("rmi", *(name for each in found for name in each["Names"]))


@pytest.mark.real("podman")
def test_what_podman_saves_is_the_image(world: World, tmp_path: Path) -> None:
    """Into containers-storage: here, `podman save` in both formats, and back: config and layers are the first ones."""
    it = rich.image()
    made.layout(tmp_path / "o", {"v1": it})
    made.copy(f"oci:{tmp_path}/o:v1", world.overlay.ref("localhost/saved:v1"))
    for kind in ("docker-archive", "oci-archive"):
        path = tmp_path / f"{kind}.tar"
        world.overlay.podman("save", "--format", kind, "-o", str(path), "localhost/saved:v1")
        found = api.inspect(f"{kind}:{path}", Options(run=made.HASTY))
        assert found.config == it.config
        made.copy(f"{kind}:{path}", f"docker-archive:{tmp_path}/{kind}-out.tar:it:1")
        ids = json.loads(api.inspect(f"docker-archive:{tmp_path}/{kind}-out.tar", Options(run=made.HASTY)).config)
        assert ids["rootfs"]["diff_ids"] == [made.digest_of(each) for each in it.tars]


@pytest.mark.real("podman")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86_64")
def test_a_program_of_the_image_runs_from_podmans_mount(world: World, tmp_path: Path) -> None:
    """A static program, in a layer of its own, below the root that podman mounts."""
    it = rich.image([("bin/", rich.DIRECTORY, b"", {"mode": 0o755})],
                    [("bin/hello", rich.FILE, program(b"hello\n"), {"mode": 0o755})])  # fmt: skip
    made.layout(tmp_path / "o", {"v1": it})
    made.copy(f"oci:{tmp_path}/o:v1", world.overlay.ref("localhost/hello:v1"))
    root = world.overlay.podman("image", "mount", "localhost/hello:v1").strip()
    try:
        said = subprocess.run(["/bin/hello"], check=True, capture_output=True, preexec_fn=lambda: os.chroot(root))
    finally:
        world.overlay.podman("image", "unmount", "localhost/hello:v1")
    assert said.stdout == b"hello\n"


@pytest.mark.real("umoci")
def test_umoci_reads_a_layout(tmp_path: Path) -> None:
    """References, statistics, and every layer unpacked."""
    it = rich.image([("etc/hello", rich.FILE, b"hello\n", {"mode": 0o644})], [("etc/more", rich.FILE, b"more", {})])
    made.layout(tmp_path / "a", {"v1": it})
    made.copy(f"oci:{tmp_path}/a:v1", f"oci:{tmp_path}/o:one")
    made.copy(f"oci:{tmp_path}/a:v1", f"oci:{tmp_path}/o:two")
    assert _umoci("ls", "--layout", f"{tmp_path}/o").split() == [b"one", b"two"]
    stat = json.loads(_umoci("stat", "--json", "--image", f"{tmp_path}/o:one"))
    assert [each["diff_id"] for each in stat["history"]] == [made.digest_of(each) for each in it.tars]
    _umoci("unpack", "--rootless", "--image", f"{tmp_path}/o:two", f"{tmp_path}/bundle")
    assert (tmp_path / "bundle/rootfs/etc/hello").read_text() == "hello\n"
    assert (tmp_path / "bundle/rootfs/etc/more").read_text() == "more"


@pytest.mark.real("umoci")
def test_what_umoci_writes_is_read(tmp_path: Path) -> None:
    """An image that umoci changed goes through an archive and back into the layout where umoci finds it."""
    made.layout(tmp_path / "o", {"v1": rich.image()})
    _umoci("config", "--image", f"{tmp_path}/o:v1", "--tag", "v2", "--config.env", "COLOUR=blue")
    made.copy(f"oci:{tmp_path}/o:v2", f"oci-archive:{tmp_path}/a.tar:v2")
    made.copy(f"oci-archive:{tmp_path}/a.tar:v2", f"oci:{tmp_path}/p:v2")
    assert made.read_index(tmp_path / "p")["v2"] == made.read_index(tmp_path / "o")["v2"]
    stat = json.loads(_umoci("stat", "--json", "--image", f"{tmp_path}/p:v2"))
    assert "COLOUR=blue" in stat["config"]["blob"]["config"]["Env"]
