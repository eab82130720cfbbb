"""A blob's road widens on evidence, keeps order whatever breaks, and stays narrow where widening does not help."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fastcopy import api, media
from fastcopy.events import CopyReport
from fastcopy.options import HostOptions, Options, RunOptions
from fastcopy.transfer import ranges
from tests import faults as broken
from tests.registries import Registry, embedded_registry

KIB = 1024
SIZE = 3000 * KIB + 17
LOCAL = HostOptions(tls_verify=False)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same road in miniature: blobs of 3 MB, pieces of 64 KiB; a loopback counts as slow."""
    for name, value in {
        "RANGED_MIN": 512 * KIB,
        "FIRST_PIECE": 128 * KIB,
        "PIECE": 64 * KIB,
        "SLAB": 16 * KIB,
        "FAST_ENOUGH": float("inf"),
        "STARVED": -1.0,
        "RAMP_EVERY": 0.02,
        "CUT_AFTER": 0.5,
    }.items():
        monkeypatch.setattr(ranges, name, value)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Registry, broken.Faults, Registry]]:
    """A source that can be broken and a destination."""
    faults = broken.Faults()
    with (
        embedded_registry(tmp_path / "a", "plain", middleware=faults) as source,
        embedded_registry(tmp_path / "b", "plain") as destination,
    ):
        yield source, faults, destination


def _data() -> bytes:
    return b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(SIZE // 32 + 1))[:SIZE]


def _push(source: Registry) -> None:
    with source.client() as client:
        layer = client.push_blob("app", _data())
        config = client.push_blob("app", b"{}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {**config, "mediaType": media.OCI_CONFIG},
            "layers": [{**layer, "mediaType": media.OCI_LAYER}],
        }
        client.push_manifest("app", "1", manifest, media.OCI_MANIFEST)


def _copy(source: Registry, destination: Registry) -> CopyReport:
    _push(source)
    options = Options(source=LOCAL, destination=LOCAL)
    return api.copy(source.ref("app", "1"), destination.ref("app", "1"), options)


def _stored(destination: Registry) -> bytes:
    digest = "sha256:" + hashlib.sha256(_data()).hexdigest()
    with destination.client() as client:
        return client.request("GET", f"/v2/app/blobs/{digest}").body


def _gets(source: Registry) -> list[tuple[str, str, int]]:
    digest = hashlib.sha256(_data()).hexdigest()
    return [record for record in source.requests() if record[0] == "GET" and digest in record[1]]


def test_a_slow_source_is_read_by_several_ranges(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """Every byte arrives once and in order, by more than one request."""
    source, _, destination = world
    _copy(source, destination)

    gets = _gets(source)
    assert len(gets) > 4
    assert {status for _, _, status in gets} == {206}
    assert _stored(destination) == _data()


def test_a_fast_source_keeps_one_connection(
    world: tuple[Registry, broken.Faults, Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the first piece was not slow the rest comes in one request."""
    monkeypatch.setattr(ranges, "FAST_ENOUGH", 0.0)
    source, _, destination = world
    _copy(source, destination)

    assert len(_gets(source)) == 2
    assert _stored(destination) == _data()


def test_without_memory_for_a_ring_one_connection_does(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """A slow source widens the road only within two thirds of --memory; the copy is complete all the same."""
    source, _, destination = world
    _push(source)
    options = Options(source=LOCAL, destination=LOCAL, run=RunOptions(memory=ranges.PIECE * 2))
    api.copy(source.ref("app", "1"), destination.ref("app", "1"), options)

    assert len(_gets(source)) == 2
    assert _stored(destination) == _data()


def test_a_source_that_ignores_ranges_is_read_whole(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """200 to the first range: the whole blob comes, once, and is taken."""
    source, faults, destination = world
    faults.add(broken.ignore_range(), method="GET", path="/blobs/")
    _copy(source, destination)

    assert len(_gets(source)) == 1
    assert _stored(destination) == _data()


def test_a_broken_range_is_asked_for_alone(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """Ranges cut in the middle leave holes; only what is missing is asked for again."""
    source, faults, destination = world
    rule = faults.add(broken.drop_download(10 * KIB), method="GET", path="/blobs/", skip=3, times=5)
    _copy(source, destination)

    assert rule.hits == 5
    assert _stored(destination) == _data()


def test_a_refused_range_ends_the_ramp_not_the_copy(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """429 to the third connection and later ones: the copy goes on with fewer."""
    source, faults, destination = world
    rule = faults.add(broken.respond(429, "TOOMANYREQUESTS"), method="GET", path="/blobs/", skip=4, times=2)
    _copy(source, destination)

    assert rule.hits >= 1
    assert _stored(destination) == _data()


def test_a_stalled_range_is_cut(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """A range that stops in mid-body holds up the ring only until it is cut and asked for anew."""
    source, faults, destination = world
    rule = faults.add(broken.stall_download(8 * KIB), method="GET", path="/blobs/", skip=3, times=1)
    _copy(source, destination)

    assert rule.hits == 1
    assert _stored(destination) == _data()


def test_wrong_bytes_in_one_range_reach_no_destination(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """The digest is of the whole: one wrong byte in one range fails the blob, and its tag does not appear."""
    from fastcopy.errors import DigestMismatch

    source, faults, destination = world
    faults.add(broken.corrupt(100), method="GET", path="/blobs/", skip=3)
    with pytest.raises(DigestMismatch) as caught:
        _copy(source, destination)

    assert caught.value.side == "source"
    with destination.client() as client:
        assert client.request("GET", "/v2/app/manifests/1").status == 404


async def test_cancellation_leaves_no_thread(world: tuple[Registry, broken.Faults, Registry]) -> None:
    """Cancelling while fillers wait for a stalled source returns at once."""
    source, faults, destination = world
    _push(source)
    faults.add(broken.stall_download(8 * KIB), method="GET", path="/blobs/", skip=3)
    options = Options(source=LOCAL, destination=LOCAL)
    with trio.move_on_after(1.0) as scope, trio.fail_after(20):
        await api.copy_async(source.ref("app", "1"), destination.ref("app", "1"), options)

    assert scope.cancelled_caught
