"""A blob's road widens on evidence, keeps order whatever breaks, and stays narrow where widening does not help."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from fastcopy import api, media
from fastcopy.events import CopyReport
from fastcopy.options import HostOptions, HttpVersion, Options, RunOptions
from fastcopy.transfer import ranges
from tests import faults as broken
from tests.registries import Registry, embedded_registry

KIB = 1024
SIZE = 3000 * KIB + 17
LOCAL = HostOptions(tls_verify=False)
World = tuple[Registry, broken.Faults, Registry]


@pytest.fixture(params=["1.1", "2"], autouse=True)
def http(request: pytest.FixtureRequest) -> HttpVersion:
    """Everything here holds over both versions of HTTP at the source."""
    version: HttpVersion = request.param
    return version


@pytest.fixture
def options(http: HttpVersion) -> Options:
    """Plain registries, the source over the version of the test; impatient between attempts."""
    source = replace(LOCAL, http=http)
    return Options(source=source, destination=LOCAL, run=RunOptions(retry_delay=0.01))


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
        "BEHIND_SECONDS": 0.3,
    }.items():
        monkeypatch.setattr(ranges, name, value)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
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


def _copy(source: Registry, destination: Registry, options: Options) -> CopyReport:
    _push(source)
    return api.copy(source.ref("app", "1"), destination.ref("app", "1"), options)


def _stored(destination: Registry) -> bytes:
    digest = "sha256:" + hashlib.sha256(_data()).hexdigest()
    with destination.client() as client:
        return client.request("GET", f"/v2/app/blobs/{digest}").body


def _gets(source: Registry) -> list[tuple[str, str, int]]:
    digest = hashlib.sha256(_data()).hexdigest()
    return [record for record in source.requests() if record[0] == "GET" and digest in record[1]]


def test_a_slow_source_is_read_by_several_ranges(world: World, options: Options) -> None:
    """Every byte arrives once and in order, by more than one request."""
    source, _, destination = world
    _copy(source, destination, options)

    gets = _gets(source)
    assert len(gets) > 4
    assert {status for _, _, status in gets} == {206}
    assert _stored(destination) == _data()


def test_a_fast_source_keeps_one_connection(world: World, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first piece was not slow the rest comes in one request."""
    monkeypatch.setattr(ranges, "FAST_ENOUGH", 0.0)
    source, _, destination = world
    _copy(source, destination, options)

    assert len(_gets(source)) == 2
    assert _stored(destination) == _data()


def test_without_memory_for_a_ring_one_connection_does(world: World, options: Options) -> None:
    """A slow source widens the road only within two thirds of --memory; the copy is complete all the same."""
    source, _, destination = world
    _push(source)
    options = replace(options, run=RunOptions(memory=ranges.PIECE * 2))
    api.copy(source.ref("app", "1"), destination.ref("app", "1"), options)

    assert len(_gets(source)) == 2
    assert _stored(destination) == _data()


def test_a_source_that_ignores_ranges_is_read_whole(world: World, options: Options) -> None:
    """200 to the first range: the whole blob comes, once, and is taken."""
    source, faults, destination = world
    faults.add(broken.ignore_range(), method="GET", path="/blobs/")
    _copy(source, destination, options)

    assert len(_gets(source)) == 1
    assert _stored(destination) == _data()


def test_a_broken_range_is_asked_for_alone(world: World, options: Options) -> None:
    """Ranges cut in the middle leave holes; only what is missing is asked for again."""
    source, faults, destination = world
    rule = faults.add(broken.drop_download(10 * KIB), method="GET", path="/blobs/", skip=3, times=5)
    _copy(source, destination, options)

    assert rule.hits == 5
    assert _stored(destination) == _data()


def test_a_refused_range_ends_the_ramp_not_the_copy(world: World, options: Options) -> None:
    """429 to the third connection and later ones: the copy goes on with fewer."""
    source, faults, destination = world
    rule = faults.add(broken.respond(429, "TOOMANYREQUESTS"), method="GET", path="/blobs/", skip=4, times=2)
    _copy(source, destination, options)

    assert rule.hits >= 1
    assert _stored(destination) == _data()


def test_a_stalled_range_is_cut(world: World, options: Options) -> None:
    """A range that stops in mid-body holds up the ring only until it is cut and asked for anew."""
    source, faults, destination = world
    rule = faults.add(broken.stall_download(8 * KIB), method="GET", path="/blobs/", skip=3, times=1)
    _copy(source, destination, options)

    assert rule.hits == 1
    assert _stored(destination) == _data()


def test_wrong_bytes_in_one_range_reach_no_destination(world: World, options: Options) -> None:
    """The digest is of the whole: one wrong byte in one range fails the blob, and its tag does not appear."""
    from fastcopy.errors import DigestMismatch

    source, faults, destination = world
    faults.add(broken.corrupt(100), method="GET", path="/blobs/", skip=3)
    with pytest.raises(DigestMismatch) as caught:
        _copy(source, destination, options)

    assert caught.value.side == "source"
    with destination.client() as client:
        assert client.request("GET", "/v2/app/manifests/1").status == 404


async def test_cancellation_leaves_no_thread(world: World, options: Options) -> None:
    """Cancelling while fillers wait for a stalled source returns at once."""
    source, faults, destination = world
    _push(source)
    faults.add(broken.stall_download(8 * KIB), method="GET", path="/blobs/", skip=3)
    with trio.move_on_after(1.0) as scope, trio.fail_after(20):
        await api.copy_async(source.ref("app", "1"), destination.ref("app", "1"), options)

    assert scope.cancelled_caught


def test_a_slow_range_is_hedged_alone(world: World, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """One range trickles while its brothers come and go: its rest is asked for again, what came twice is counted."""
    monkeypatch.setattr(ranges, "CUT_AFTER", 60.0)
    runs = _spied(monkeypatch)
    source, faults, destination = world
    log = broken.RangeLog()
    rule = faults.add(broken.trickle_download(8 * KIB, 0.05), method="GET", path="/blobs/", skip=6, times=1)
    faults.add(log, method="GET", path="/blobs/")
    _copy(source, destination, options)

    asked = Counter(last for _, last in log.ranges)
    assert rule.hits == 1
    assert max(asked.values()) == 2
    assert sum(asked.values()) - len(asked) <= 3  # noise may hedge another one
    assert _stored(destination) == _data()
    assert 0 <= runs[0].meters.extras.get(("hedge", "source"), 0) < ranges.PIECE


def test_a_source_that_allows_four_at_once_gets_four(
    world: World, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 above four concurrent GETs ends the ramp: few refusals, a complete copy."""
    monkeypatch.setattr(ranges, "NOTHING", 0.0)
    source, faults, destination = world
    limit = broken.ConcurrencyLimit(4)
    faults.add(limit, method="GET", path="/blobs/")
    faults.add(broken.slow(0.02), method="GET", path="/blobs/")
    _copy(source, destination, options)

    assert _stored(destination) == _data()
    assert limit.most <= 4
    assert limit.refused <= 2 * ranges.MOST


def test_connections_that_bring_nothing_are_given_back(
    world: World, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that serves one after the other: the ramp goes back to two, which hide the round trip."""
    monkeypatch.setattr(ranges, "RAMP_EVERY", 0.1)
    widest: list[int] = []
    plain = ranges.Widening._judge

    def judge(self: Any, rate: float, in_vain: int) -> int:
        after = plain(self, rate, in_vain)
        widest.append(self.wanted)
        return after

    monkeypatch.setattr(ranges.Widening, "_judge", judge)
    source, faults, destination = world
    faults.add(broken.OneAtATime(0.03), method="GET", path="/blobs/")
    _copy(source, destination, options)

    assert _stored(destination) == _data()
    assert widest[-1] == ranges.LEAST


def test_a_changed_etag_is_no_reason_to_stop(world: World, options: Options) -> None:
    """Two storages behind one name call the same bytes differently: the digest decides."""
    source, faults, destination = world
    for number in range(40):
        faults.add(broken.with_header("ETag", f'"{number}"'), method="GET", path="/blobs/", skip=number, times=1)
    _copy(source, destination, options)

    assert len(_gets(source)) > 4
    assert _stored(destination) == _data()


def test_a_refused_range_of_nothing_is_survived(world: World, options: Options) -> None:
    """416 to some ranges in the middle (a storage that lags behind): they are asked for again."""
    source, faults, destination = world
    rule = faults.add(broken.respond(416, "RANGE_INVALID"), method="GET", path="/blobs/", skip=5, times=2)
    _copy(source, destination, options)

    assert rule.hits == 2
    assert _stored(destination) == _data()


def test_a_whole_body_for_a_range_is_not_taken_for_it(world: World, options: Options) -> None:
    """200 where a range in the middle was asked for: skipped up to it, or asked for again; never wrong bytes."""
    source, faults, destination = world
    rule = faults.add(broken.ignore_range(), method="GET", path="/blobs/", skip=5, times=2)
    _copy(source, destination, options)

    assert rule.hits == 2
    assert _stored(destination) == _data()


def test_ranges_go_to_where_the_registry_sent_the_first(tmp_path: Path, options: Options) -> None:
    """One redirect serves all ranges of a blob: the registry is asked once, the storage for the pieces."""
    with (
        broken.redirecting_registry(tmp_path / "a") as (source, _, origin),
        embedded_registry(tmp_path / "b", "plain") as destination,
    ):
        _copy(source, destination, options)

        assert len(_gets(source)) == 1
        assert origin.served > 4
        assert origin.leaked == []
        assert _stored(destination) == _data()


def test_an_expired_target_is_resolved_anew(tmp_path: Path, options: Options) -> None:
    """URLs that are good for three requests each: the registry gives fresh ones, and nothing else fails."""
    with (
        broken.redirecting_registry(tmp_path / "a", uses=3) as (source, _, origin),
        embedded_registry(tmp_path / "b", "plain") as destination,
    ):
        _copy(source, destination, options)

        assert 4 < len(_gets(source)) < origin.served
        assert _stored(destination) == _data()


def _spied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every Run made from now on."""
    from fastcopy.transfer.run import Run as plain

    made: list[Any] = []

    def spy(*given: Any, **named: Any) -> Any:
        made.append(plain(*given, **named))
        return made[-1]

    monkeypatch.setattr("fastcopy.engine.Run", spy)
    return made
