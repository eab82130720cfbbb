"""A registry over an OCI image layout: what stays, what others see, who may write at once."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from fastcopy.errors import BadConfig
from fastcopy.serve import ServeConfig, start_in_thread
from fastcopy.serve.indexfile import REF_NAME
from tests.registries import Registry, embedded_registry
from tests.serve.helpers import BIG, OCI, OCTETS, Wire, closing, descriptor, image, push_index, sha, start


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A directory that does not exist yet."""
    return tmp_path / "layout"


def serving(layout: Path, **settings: Any) -> Any:
    """Ours over this directory."""
    return embedded_registry(layout.parent / "server", directory=layout, **settings)


def names(layout: Path) -> dict[str, str]:
    """ref.name -> digest of index.json."""
    items = json.loads((layout / "index.json").read_bytes())["manifests"]
    return {item.get("annotations", {}).get(REF_NAME, ""): item["digest"] for item in items}


def tag(registry: Registry, repo: str, reference: str) -> str | None:
    """The digest behind a reference, or None."""
    with registry.client() as client:
        answer = client.request("HEAD", f"/v2/{repo}/manifests/{reference}")
        return answer.headers["docker-content-digest"] if answer.status == 200 else None


def test_what_was_pushed_is_there_after_a_restart(layout: Path) -> None:
    """Tags, manifests by digest, blobs, referrers and the catalogue."""
    with serving(layout) as registry, registry.client() as client:
        first = image(client, "team/app", "v1", BIG)
        second = image(client, "team/app", "", b"untagged")
        both = push_index(client, "team/app", "all", first, second)
        signature = image(client, "team/app", "", b"signature", subject=descriptor(client, "team/app", first))
    with serving(layout) as registry, registry.client() as client:
        assert tag(registry, "team/app", "v1") == first
        assert tag(registry, "team/app", "all") == both
        assert tag(registry, "team/app", second) == second
        assert client.request("GET", f"/v2/team/app/blobs/{sha(BIG)}").body == BIG
        found = client.request("GET", f"/v2/team/app/referrers/{first}").json()["manifests"]
        assert [item["digest"] for item in found] == [signature]
        assert client.request("GET", "/v2/_catalog").json() == {"repositories": ["team/app"]}


def test_the_index_names_repository_and_tag(layout: Path) -> None:
    """What other tools read: team/app:v1, and manifests without a tag under their digest."""
    with serving(layout) as registry, registry.client() as client:
        first, second = image(client, "team/app", "v1"), image(client, "team/app", "", b"2")
    assert names(layout) == {"team/app:v1": first, f"team/app@{second}": second}
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_moved_tag_keeps_the_old_manifest_under_its_digest(layout: Path) -> None:
    """And a second tag on it makes that entry superfluous."""
    with serving(layout) as registry, registry.client() as client:
        first = image(client, "app", "v1", b"1")
        second = image(client, "app", "v1", b"2")
        assert names(layout) == {"app:v1": second, f"app@{first}": first}
        image(client, "app", "old", b"1")
        assert names(layout) == {"app:v1": second, "app:old": first}


def test_deletes_last(layout: Path) -> None:
    """A removed tag leaves the manifest, a removed manifest takes everything, and a restart agrees."""
    with serving(layout) as registry, registry.client() as client:
        first, second = image(client, "app", "v1", b"1"), image(client, "app", "v2", b"2")
        assert client.request("DELETE", "/v2/app/manifests/v1").status == 202
        assert client.request("DELETE", f"/v2/app/manifests/{second}").status == 202
        assert client.request("DELETE", f"/v2/app/blobs/{sha(b'2')}").status == 202
    assert names(layout) == {f"app@{first}": first}
    assert not (layout / "blobs" / "sha256" / sha(b"2")[7:]).exists()
    with serving(layout) as registry:
        assert (tag(registry, "app", "v1"), tag(registry, "app", first)) == (None, first)
        assert tag(registry, "app", second) is None


def test_an_acknowledged_blob_survives_without_a_manifest(layout: Path) -> None:
    """A client may push the manifest after the restart."""
    with serving(layout) as registry, registry.client() as client:
        client.push_blob("app", BIG)
    with serving(layout) as registry, registry.client() as client:
        assert client.request("HEAD", f"/v2/app/blobs/{sha(BIG)}").status == 200
        image(client, "app", "v1", BIG)


def test_a_blob_of_another_repository_is_not_seen_after_a_restart(layout: Path) -> None:
    """Links are those of the manifests."""
    with serving(layout) as registry, registry.client() as client:
        image(client, "app", "v1", BIG)
    with serving(layout) as registry, registry.client() as client:
        assert client.request("HEAD", f"/v2/other/blobs/{sha(BIG)}").status == 404
        mounted = client.request("POST", f"/v2/other/blobs/uploads/?mount={sha(BIG)}&from=app")
        assert mounted.status == 201


def test_two_servers_on_one_directory_lose_nothing(layout: Path) -> None:
    """Forty tags from two processes' worth of writers, all of them in the index and seen by both."""
    with serving(layout) as one, embedded_registry(layout.parent / "second", directory=layout) as two:

        def push(registry: Registry, letter: str) -> None:
            with registry.client() as client:
                for number in range(10):
                    image(client, f"app/{letter}", f"v{number}", f"{letter}{number}".encode())

        work = [(one, "a"), (two, "b"), (one, "c"), (two, "d")]
        threads = [threading.Thread(target=push, args=pair) for pair in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wanted = {f"app/{letter}:v{number}" for letter in "abcd" for number in range(10)}
        assert wanted <= set(names(layout))
        for registry in (one, two):
            with registry.client() as client:
                for letter in "abcd":
                    listed = client.request("GET", f"/v2/app/{letter}/tags/list").json()["tags"]
                    assert len(listed) == 10


def test_a_change_by_somebody_else_is_seen_at_once(layout: Path) -> None:
    """index.json is looked at before every request."""
    with serving(layout) as registry, registry.client() as client:
        digest = image(client, "app", "v1")
        index = json.loads((layout / "index.json").read_bytes())
        index["manifests"].append({**index["manifests"][0], "annotations": {REF_NAME: "app:copied"}})
        (layout / "new").write_text(json.dumps(index))
        (layout / "new").replace(layout / "index.json")
        assert tag(registry, "app", "copied") == digest


def test_foreign_entries_are_kept(layout: Path) -> None:
    """What we do not understand in index.json is not ours to remove."""
    with serving(layout) as registry, registry.client() as client:
        image(client, "app", "v1")
    index = json.loads((layout / "index.json").read_bytes())
    odd = {"mediaType": "x/y", "digest": "blake3:zz", "size": 1, "annotations": {"a": "b"}}
    index |= {"manifests": [odd, *index["manifests"]], "annotations": {"kept": "yes"}}
    (layout / "index.json").write_text(json.dumps(index))
    with serving(layout) as registry, registry.client() as client:
        image(client, "app", "v2", b"2")
    after = json.loads((layout / "index.json").read_bytes())
    assert after["manifests"][0] == odd
    assert after["annotations"] == {"kept": "yes"}


@pytest.mark.parametrize("flavour", ["plain", "tls"])
def test_nothing_is_left_behind(layout: Path, flavour: Any) -> None:
    """Not by an abandoned upload, not by one in mid-body when the server ends."""
    with embedded_registry(layout.parent / "server", flavour, directory=layout) as registry:
        with registry.client() as client:
            start(client, "app")
            location = start(client, "app")
        wire = Wire(registry)
        wire.say(f"PATCH {location} HTTP/1.1", f"Content-Length: {len(BIG)}", body=BIG[:-1])
    wire.sock.close()
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert list((layout / "blobs" / "sha256").iterdir()) == []


def test_leftovers_of_a_killed_server_are_swept(layout: Path) -> None:
    """But not those of one that lives."""
    dead, alive = layout / ".uploads-dead", layout / ".uploads-alive"
    for path in (dead, alive):
        path.mkdir(parents=True)
        (path / "half").write_bytes(b"x")
    lock = os.open(alive, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with serving(layout):
        assert not dead.exists()
        assert (alive / "half").exists()
    os.close(lock)


def test_a_read_only_server_writes_nothing(layout: Path) -> None:
    """It serves a directory that it could not write to, and refuses every change with 405."""
    with serving(layout) as registry, registry.client() as client:
        digest = image(client, "app", "v1", BIG)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in layout.rglob("*"))
    with serving(layout, read_only=True) as registry, registry.client() as client:
        assert tag(registry, "app", "v1") == digest
        assert client.request("GET", f"/v2/app/blobs/{sha(BIG)}").body == BIG
        for method, target in [
            ("POST", "/v2/app/blobs/uploads/"),
            ("PUT", "/v2/app/manifests/v2"),
            ("DELETE", f"/v2/app/manifests/{digest}"),
            ("DELETE", f"/v2/app/blobs/{sha(BIG)}"),
        ]:
            assert client.request(method, target).status == 405
    assert sorted((str(path), path.stat().st_mtime_ns) for path in layout.rglob("*")) == before


def test_a_damaged_index_is_one_clear_error(layout: Path) -> None:
    """BadConfig with the file's name, and no thread left waiting."""
    layout.mkdir()
    (layout / "index.json").write_text("{")
    with pytest.raises(BadConfig, match=r"index\.json"):
        start_in_thread(ServeConfig(directory=layout, listen="127.0.0.1:0"))


def test_a_read_only_server_needs_a_layout(layout: Path) -> None:
    """An empty directory is not one."""
    layout.mkdir()
    with pytest.raises(BadConfig, match="not an OCI image layout"):
        start_in_thread(ServeConfig(directory=layout, listen="127.0.0.1:0", read_only=True))


def test_a_manifest_whose_bytes_are_gone_is_not_served(layout: Path) -> None:
    """The rest of a damaged layout is."""
    with serving(layout) as registry, registry.client() as client:
        good, bad = image(client, "app", "good", b"1"), image(client, "app", "bad", b"2")
    (layout / "blobs" / "sha256" / bad[7:]).unlink()
    with serving(layout) as registry:
        assert (tag(registry, "app", "good"), tag(registry, "app", "bad")) == (good, None)


@pytest.mark.real("skopeo")
def test_skopeo_reads_the_layout_we_wrote(layout: Path, tmp_path: Path) -> None:
    """oci:DIR:repository:tag, digest for digest."""
    with serving(layout) as registry, registry.client() as client:
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha(BIG)]}}
        raw = json.dumps(config).encode()
        blob = {"mediaType": "application/vnd.oci.image.config.v1+json", **client.push_blob("app", raw)}
        layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", **client.push_blob("app", BIG)}
        manifest = {"schemaVersion": 2, "mediaType": OCI, "config": blob, "layers": [layer]}
        digest = client.push_manifest("app", "v1", manifest, OCI)
    command = ["skopeo", "copy", "--insecure-policy", f"oci:{layout}:app:v1", f"dir:{tmp_path / 'out'}"]
    copied = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert copied.returncode == 0, copied.stderr
    assert sha((tmp_path / "out" / "manifest.json").read_bytes()) == digest


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("name", ["", "carried/away"])
def test_a_layout_of_skopeo_is_served_as_it_is(tmp_path: Path, name: str) -> None:
    """Bare tags belong to the directory's name, or to the name given; children of an index come along."""
    with embedded_registry(tmp_path / "origin") as registry:
        with registry.client() as client:
            push_index(client, "app", "all", image(client, "app", "", b"1"), image(client, "app", "", b"2"))
        command = ["skopeo", "copy", "--all", "--insecure-policy", *registry.skopeo_flags("src-")]
        command += [registry.ref("app", "all"), f"oci:{tmp_path / 'My Layout'}:v1"]
        copied = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert copied.returncode == 0, copied.stderr
    blobs = tmp_path / "My Layout" / "blobs" / "sha256"
    digest = names(tmp_path / "My Layout")["v1"]
    children = [child["digest"] for child in json.loads((blobs / digest[7:]).read_bytes())["manifests"]]
    with embedded_registry(tmp_path / "server", directory=tmp_path / "My Layout", name=name) as registry:
        repo = name or "my-layout"
        assert tag(registry, repo, "v1") == digest
        assert [tag(registry, repo, child) for child in children] == children
        with registry.client() as client:
            layer = json.loads((blobs / children[0][7:]).read_bytes())["layers"][0]["digest"]
            assert sha(client.request("GET", f"/v2/{repo}/blobs/{layer}").body) == layer


def test_a_full_disk_is_507_and_the_server_lives(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload is gone; the next one works once there is room."""
    import errno

    real = os.pwrite

    def full(fd: int, data: Any, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(layout) as registry, registry.client() as client:
        location = start(client, "app")
        monkeypatch.setattr(os, "pwrite", full)
        refused = client.request("PUT", closing(location, b"abc"), b"abc", OCTETS)
        assert refused.status == 507
        monkeypatch.setattr(os, "pwrite", real)
        assert client.request("GET", location).status == 404
        assert client.push_blob("app", b"abc")["size"] == 3
