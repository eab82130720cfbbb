"""docker-daemon: with podman's service, which speaks the Docker API, and beside skopeo over the same socket."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fastcopy import api
from fastcopy.errors import CannotConnect, FastcopyError, PeerError, Unsupported
from fastcopy.events import Event, Retrying
from fastcopy.options import HostOptions, Options
from tests.places import made
from tests.storage import rich

pytestmark = [pytest.mark.real("podman", "skopeo"), pytest.mark.slow]


@dataclass(frozen=True)
class Service:
    """A running podman service and the storage behind it."""

    storage: rich.Storage
    socket: Path

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def options(self) -> HostOptions:
        return HostOptions(daemon_host=self.host)

    def names(self) -> set[str]:
        """The names of the images it has."""
        listed = json.loads(self.storage.podman("images", "--format", "json"))
        return {name for each in listed for name in each.get("Names") or []}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """podman's own implementation of the Docker API, on a storage of its own."""
    base = tmp_path_factory.mktemp("daemon")
    storage = rich.Storage("vfs", base)
    path = base / "docker.sock"
    where = ["--root", str(storage.root), "--runroot", f"{base}/run", "--storage-driver", "vfs"]
    words = ["podman", *where, "system", "service", "--time=0", f"unix://{path}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(path)
            yield Service(storage, path)
        finally:
            process.terminate()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.05)
    raise AssertionError("podman's service does not listen")


@pytest.fixture(scope="module")
def loaded(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The service with the image localhost/rich:v1, which skopeo loaded."""
    layout = made.layout(tmp_path_factory.mktemp("layout"), {"v1": rich.image()})
    rich.skopeo("copy", f"--dest-daemon-host={service.host}", f"oci:{layout}:v1", "docker-daemon:localhost/rich:v1")
    return service


def test_an_image_of_the_daemon_is_the_one_that_skopeo_reads(loaded: Service, tmp_path: Path) -> None:
    """Blobs and config are equal byte for byte; the manifest differs only where skopeo calls plain layers gzip."""
    source = "docker-daemon:localhost/rich:v1"
    rich.skopeo("copy", f"--src-daemon-host={loaded.host}", source, f"dir:{tmp_path}/theirs")
    made.copy(source, f"dir:{tmp_path}/ours", hosts=loaded.options)
    ours, theirs = made.read_dir(tmp_path / "ours"), made.read_dir(tmp_path / "theirs")
    theirs["manifest.json"] = rich.truly_typed(theirs["manifest.json"])
    assert ours == theirs


def test_an_image_is_read_by_its_id(loaded: Service, tmp_path: Path) -> None:
    """`docker-daemon:sha256:ID` is the image whose config has that digest."""
    digest = made.digest_of(rich.image().config)
    made.copy(f"docker-daemon:{digest}", f"dir:{tmp_path}/ours", hosts=loaded.options)
    assert digest.removeprefix("sha256:") in made.read_dir(tmp_path / "ours")


def test_what_is_loaded_is_the_image(service: Service, tmp_path: Path) -> None:
    """podman has it under its name, with the config's digest as its ID, and skopeo reads it back."""
    it = made.image(seed=3)
    layout = made.layout(tmp_path / "layout", {"v1": it})
    made.copy(f"oci:{layout}:v1", "docker-daemon:localhost/loaded:v3", hosts=service.options)
    assert "localhost/loaded:v3" in service.names()
    found = json.loads(service.storage.podman("inspect", "localhost/loaded:v3"))[0]
    assert f"sha256:{found['Id']}" == made.digest_of(it.config)
    assert found["RootFS"]["Layers"] == [made.digest_of(each) for each in it.tars]


def test_inspect_says_what_skopeo_says(loaded: Service) -> None:
    """Name, layers and config of an image in the daemon."""
    options = Options(run=made.HASTY, source=loaded.options)
    found = api.inspect("docker-daemon:localhost/rich:v1", options)
    theirs = json.loads(rich.skopeo("inspect", f"--daemon-host={loaded.host}", "docker-daemon:localhost/rich:v1"))
    assert found.name == theirs["Name"] == "localhost/rich"
    assert [layer.digest for layer in found.manifest.layers] == theirs["Layers"]


def test_an_image_that_the_daemon_has_not_is_one_line(service: Service, tmp_path: Path) -> None:
    """The daemon's own words, and whose they are."""
    with pytest.raises(PeerError) as caught:
        made.copy("docker-daemon:localhost/nope:v1", f"dir:{tmp_path}/d", hosts=service.options)
    assert "loading image from docker engine: Error response from daemon: localhost/nope:v1: image not known" in str(
        caught.value
    )
    assert caught.value.side == "source"


def test_a_copy_that_fails_loads_nothing(service: Service, tmp_path: Path) -> None:
    """A layer with wrong bytes is noticed before the daemon hears of the image; no file stays behind."""
    it = made.image(seed=4)
    layout = made.layout(tmp_path / "layout", {"v1": it})
    victim = max(it.blobs, key=lambda digest: len(it.blobs[digest]))
    (layout / "blobs" / victim.replace(":", "/")).write_bytes(b"\0" * len(it.blobs[victim]))
    spool = tmp_path / "spool"
    spool.mkdir()
    run = replace(made.HASTY, tmpdir=spool, retries=1)
    with pytest.raises(FastcopyError):
        api.copy(f"oci:{layout}:v1", "docker-daemon:localhost/broken:v1", Options(run=run, destination=service.options))
    assert "localhost/broken:v1" not in service.names()
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("name", ["sha256:" + "a" * 64, "x@sha256:" + "a" * 64])
def test_a_destination_has_to_be_a_name_with_a_tag(name: str, tmp_path: Path) -> None:
    """An ID or a digest cannot be given to an image; skopeo's words."""
    made.layout(tmp_path / "l", {"v1": made.image()})
    with pytest.raises(Unsupported, match="a destination must be a name:tag"):
        made.copy(f"oci:{tmp_path}/l:v1", f"docker-daemon:{name}")


def test_a_daemon_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    """No retries: a socket that does not exist stays away."""
    seen: list[Event] = []
    there = HostOptions(daemon_host=f"unix://{tmp_path}/none.sock")
    with pytest.raises(CannotConnect, match="Is it running"):
        api.copy("docker-daemon:x:1", f"dir:{tmp_path}/d", Options(run=made.HASTY, source=there), on_event=seen.append)
    assert not [event for event in seen if isinstance(event, Retrying)]
