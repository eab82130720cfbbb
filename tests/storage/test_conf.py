"""Where a storage is looked for, what may be written, and how long a lock is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from fastcopy.errors import BadConfig, Stalled, Unsupported
from fastcopy.names import StorageRef, parse
from fastcopy.transports.storage import conf, locks

NAME = "containers-storage:localhost/x:1"


def ref(text: str = NAME) -> StorageRef:
    """A parsed name."""
    found = parse(text)
    assert isinstance(found, StorageRef)
    return found


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ordinary user with an empty home."""
    for name in ("CONTAINERS_STORAGE_CONF", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "STORAGE_DRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "1000")
    monkeypatch.setattr(conf, "_SYSTEM", (tmp_path / "etc/storage.conf",))
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_user_has_a_storage_of_its_own(user: Path) -> None:
    """Below the home directory, whatever the system's file says of roots."""
    _write(user / "etc/storage.conf", '[storage]\ndriver = "vfs"\ngraphroot = "/system"\nrunroot = "/run/system"\n')
    place = conf.locate(ref())
    assert (place.root, place.driver) == (f"{user}/.local/share/containers/storage", "vfs")
    assert place.run_root != "/run/system"


def test_a_users_own_file_counts_first(user: Path) -> None:
    """~/.config/containers/storage.conf, with $HOME in it."""
    _write(user / "etc/storage.conf", '[storage]\ndriver = "btrfs"\n')
    _write(user / ".config/containers/storage.conf", '[storage]\ndriver = "overlay2"\ngraphroot = "$HOME/mine"\n')
    assert (conf.locate(ref()).root, conf.locate(ref()).driver) == (f"{user}/mine", "overlay")


def test_root_has_the_systems_storage(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented default without any file, and what the file says with one."""
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "0")
    assert conf.locate(ref()).root == "/var/lib/containers/storage"
    _write(
        user / "etc/storage.conf",
        '[storage]\ndriver = "vfs"\ngraphroot = "/system"\n[storage.options]\nadditionalimagestores = ["/more"]\n',
    )
    assert (conf.locate(ref()).root, conf.locate(ref()).additional) == ("/system", ("/more",))


def test_the_environment_names_a_file(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONTAINERS_STORAGE_CONF before all others, STORAGE_DRIVER before the file's driver."""
    _write(user / "own.conf", '[storage]\ndriver = "overlay"\ngraphroot = "/own"\n')
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(user / "own.conf"))
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    assert (conf.locate(ref()).root, conf.locate(ref()).driver) == ("/own", "vfs")


def test_a_name_brings_its_own_storage(user: Path) -> None:
    """Brackets before any file; an option names a further store."""
    place = conf.locate(ref("containers-storage:[vfs@/g+/r:vfs.imagestore=/more,x=y]localhost/x:1"))
    assert (place.root, place.run_root, place.driver, place.additional) == ("/g", "/r", "vfs", ("/more",))
    assert str(place) == "[vfs@/g+/r:vfs.imagestore=/more,x=y]"


def test_a_storage_without_a_driver_is_asked(tmp_path: Path, user: Path) -> None:
    """The directory says which driver has images in it."""
    (tmp_path / "g/vfs-images").mkdir(parents=True)
    assert conf.locate(ref(f"containers-storage:[{tmp_path}/g]localhost/x:1")).driver == "vfs"
    assert conf.locate(ref(f"containers-storage:[{tmp_path}/none]localhost/x:1")).driver == "overlay"


def test_other_drivers_are_refused(user: Path) -> None:
    """By name."""
    with pytest.raises(Unsupported, match="'btrfs'"):
        conf.locate(ref("containers-storage:[btrfs@/g+/r]localhost/x:1"))


@pytest.mark.parametrize("text", ["[storage", 'storage = "x"', '[storage]\noptions = "x"', "[storage]\ndriver = 7"])
def test_a_file_that_cannot_be_used_is_named(text: str, user: Path) -> None:
    """One line with its path."""
    _write(user / "etc/storage.conf", text)
    with pytest.raises(BadConfig, match=r"storage\.conf") as caught:
        conf.locate(ref())
    assert "\n" not in str(caught.value)


def test_scopes_of_the_trust_policy_are_skopeos(user: Path) -> None:
    """Most specific first: the image, its repository and what is above, the storage, its root."""
    text = f"containers-storage:[vfs@/g+/r]localhost/a/b:1@{'c' * 64}"
    assert conf.policy_scopes(ref(text)) == [
        f"[vfs@/g]localhost/a/b:1@{'c' * 64}",
        "[vfs@/g]localhost/a/b:1",
        "[vfs@/g]localhost/a/b",
        "[vfs@/g]localhost/a",
        "[vfs@/g]localhost",
        "[vfs@/g]",
        "[/g]",
    ]


async def test_a_lock_of_another_process_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the limit says; then it is ours, and our mark is 64 bytes of a new write."""
    path = tmp_path / "layers.lock"
    code = "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True); input()"
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with monkeypatch.context() as patched:
            patched.setattr(locks, "PATIENCE", 0.1)
            with pytest.raises(Stalled, match=r"layers\.lock is locked by another process"):
                async with locks.locked(str(path)):
                    raise AssertionError("it is not ours")
        holder.communicate(b"\n")
    async with locks.locked(str(path)) as held:
        held.record_write()
        first = path.read_bytes()
        held.record_write()
    assert len(first) == len(path.read_bytes()) == 64
    assert first != path.read_bytes()


async def test_two_tasks_of_one_process_take_turns(tmp_path: Path) -> None:
    """POSIX locks do not keep a process from itself."""
    inside = 0

    async def enter() -> None:
        nonlocal inside
        async with locks.locked(str(tmp_path / "images.lock")):
            inside += 1
            assert inside == 1
            await trio.sleep(0.01)
            inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(enter)
    assert os.path.getsize(tmp_path / "images.lock") == 0
