"""SIGKILL at random moments of a real `fastcopy sync`, each followed by the same command: it ends complete.

FASTCOPY_KILLS and FASTCOPY_KILL_MIB make it as long and as large as wanted; the numbers are printed (pytest -s).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.copy.relay import Relay, relay_to
from tests.copy.world import Made, assert_complete, digest_of, flags, fresh, image
from tests.registries import Registry, docker_registry, embedded_registry

KILLS = int(os.environ.get("FASTCOPY_KILLS", "8"))
MIB = int(os.environ.get("FASTCOPY_KILL_MIB", "300"))
#: Layers of one image, as shares of the whole; each is of 64 MiB and more, and the first is in every image.
SHARES = (0.28, 0.24, 0.24, 0.24)
#: What a kill may cost of bytes that were under way: buffers of two sockets on each side of the relay, for each body.
BUFFERS = 16 << 20
#: ... and what may have to be read again, to be hashed: a part for each body in flight.
PART = 64 << 20


@dataclass
class Migration:
    """One command, again and again."""

    made: list[Made]
    source: Registry
    destination: Registry  #: as the command names it
    files: Path
    base: str
    to: str

    def start(self) -> subprocess.Popen[str]:
        """The command, in a process of its own."""
        ends = ["--from", f"{self.source.host}/{self.base}", "--to", f"{self.destination.host}/{self.to}"]
        words = ["--list", str(self.files / "images"), "--journal", str(self.files / "journal"), *ends]
        command = [sys.executable, "-m", "fastcopy", "sync", *words, *flags(self.source, self.destination)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def killed(self, relay: Relay, after: float) -> bool:
        """Start it and kill it *after* so many further bytes have passed *relay*; False: it was faster."""
        process, until = self.start(), relay.up + after
        while relay.up < until and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def finish(self) -> None:
        """Let it come to its end."""
        process = self.start()
        told = process.communicate(timeout=600)[1]
        assert process.returncode == 0, told


def _blobs(made: list[Made]) -> dict[str, bytes]:
    return {digest: data for each in made for digest, data in each.blobs.items()}


def _images(source: Registry, base: str) -> list[Made]:
    sizes = [int(share * MIB) << 20 for share in SHARES]
    shared, *others = (os.urandom(max(size, PART)) for size in sizes)
    return [image(source, f"{base}/i{n}", "1", layers=[shared, layer]) for n, layer in enumerate(others)]


def _killed(stack: ExitStack, files: Path, destination: Registry) -> tuple[Migration, Relay, Relay, int]:
    """A migration that was killed as often as asked for, and then finished; what passed on both sides."""
    migration, up, down = _prepared(stack, files, destination)
    size = sum(map(len, _blobs(migration.made).values()))
    dice = random.Random(os.environ.get("FASTCOPY_KILL_SEED", "7"))
    kills = 0
    for _ in range(KILLS):
        kills += migration.killed(up, dice.uniform(0, 1.5) * size / KILLS)
    migration.finish()
    return migration, up, down, kills


def _prepared(stack: ExitStack, files: Path, destination: Registry) -> tuple[Migration, Relay, Relay]:
    """Images at a source, a list of them, and relays that count on both sides."""
    source = stack.enter_context(embedded_registry(files / "source"))
    up, down = stack.enter_context(relay_to(destination.host)), stack.enter_context(relay_to(source.host))
    base, to = fresh("kills/from"), fresh("kills/to")
    made = _images(source, base)
    (files / "images").write_text("".join(f"i{n}:1\n" for n in range(len(made))))
    source_as, destination_as = _by(source, down), _by(destination, up)
    return Migration(made, source_as, destination_as, files, base, to), up, down


def _by(registry: Registry, relay: Relay) -> Registry:
    from dataclasses import replace

    return replace(registry, host=relay.host)


def _told(name: str, migration: Migration, up: Relay, down: Relay, kills: int) -> tuple[int, int]:
    """Bytes beyond the unique ones: sent to the destination, read from the source."""
    size = sum(map(len, _blobs(migration.made).values()))
    sent, read = up.up - size, down.down - size
    print(
        f"\n{name}: {kills} kills of {KILLS}, {size / 1e6:.0f} MB unique, "
        f"sent again {sent / 1e6:.2f} MB, read again {read / 1e6:.2f} MB"
    )
    return sent, read


def _assert_arrived(migration: Migration, destination: Registry) -> None:
    for number, made in enumerate(migration.made):
        assert_complete(destination, f"{migration.to}/i{number}", made)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedded", pytest.param("distribution", marks=pytest.mark.real("go"))])
def test_kills_cost_what_was_in_flight(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Where uploads are resumed no byte that a registry has is sent to it again, and little is read again."""
    with ExitStack() as stack:
        if kind == "embedded":
            destination = stack.enter_context(embedded_registry(tmp_path / "to"))
        else:
            program: str = request.getfixturevalue("distribution_program")
            destination = stack.enter_context(docker_registry(tmp_path / "to", program=program))
        migration, up, down, kills = _killed(stack, tmp_path, destination)
        sent, read = _told(kind, migration, up, down, kills)
        assert kills >= KILLS // 2
        _assert_arrived(migration, destination)
        assert sent <= (kills + 1) * BUFFERS
        assert read <= (kills + 1) * (len(SHARES) * PART + BUFFERS)


@pytest.mark.slow
def test_ctrl_c_leaves_at_once_and_costs_as_little(tmp_path: Path) -> None:
    """130 within a second or so, the upload stays open at the registry, and the same command goes on with it."""
    with ExitStack() as stack:
        destination = stack.enter_context(embedded_registry(tmp_path / "to"))
        migration, up, down = _prepared(stack, tmp_path, destination)
        process, until = migration.start(), up.up + (40 << 20)
        while up.up < until:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        at = time.monotonic()
        told = process.communicate(timeout=30)[1]
        took = time.monotonic() - at
        assert process.returncode == 130, told
        assert took < 5, f"{took:.2f} s"
        assert len(destination.server.registry.pushing.uploads) > 0
        migration.finish()
        sent, _ = _told("Ctrl-C", migration, up, down, 1)
        _assert_arrived(migration, destination)
        assert sent <= BUFFERS


@pytest.mark.slow
@pytest.mark.real("docker-registry")
def test_kills_cost_the_blobs_in_flight_where_uploads_are_not_resumed(tmp_path: Path) -> None:
    """docker-registry 2.8: a blob that was finished moves no more, the others begin anew."""
    with ExitStack() as stack:
        destination = stack.enter_context(docker_registry(tmp_path / "to"))
        migration, up, down, kills = _killed(stack, tmp_path, destination)
        sent, _ = _told("docker-registry 2.8", migration, up, down, kills)
        assert kills >= KILLS // 2
        _assert_arrived(migration, destination)
        stored = [target for method, target, status in destination.requests() if (method, status) == ("PUT", 201)]
        for digest, data in _blobs(migration.made).items():
            assert digest == digest_of(data)
            assert sum(digest.partition(":")[2] in target for target in stored if "/uploads/" in target) == 1
        assert sent <= kills * sum(len(data) for data in _blobs(migration.made).values())
