"""Copies from registries that end connections or allow few: what `--http auto` does, seen by the registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastcopy import api
from fastcopy.events import CopyReport
from fastcopy.options import HttpVersion, Options, RunOptions
from fastcopy.serve import Behaviour
from tests import faults as broken
from tests.cli.support import run
from tests.copy.conftest import _no_files_of_the_user  # noqa: F401 - a fixture for every test here
from tests.copy.world import Made, access, assert_complete, content, flags, fresh, image
from tests.registries import Registry, embedded_registry

COUNT, SIZE = 24, 400_000


@contextmanager
def _world(
    base: Path, behaviour: Behaviour, faults: broken.Faults | None = None
) -> Iterator[tuple[Registry, Made, Registry]]:
    """A TLS source that behaves so, an image of many bodies in it, and a destination."""
    with (
        embedded_registry(base / "a", "tls", behaviour=behaviour, middleware=faults) as source,
        embedded_registry(base / "b", "tls") as destination,
    ):
        made = image(source, fresh("choice/r"), layers=[content(SIZE, n) for n in range(COUNT)])
        source.server.log.clear()
        yield source, made, destination


def _copy(source: Registry, made: Made, destination: Registry, http: HttpVersion) -> CopyReport:
    options = Options(source=access(source, http=http), destination=access(destination), run=RunOptions(stall=20.0))
    return api.copy(source.ref(made.repo, made.tag), destination.ref(made.repo, made.tag), options)


def _versions(source: Registry) -> Counter[str]:
    """Over which HTTP the bodies went."""
    source.settle()
    return Counter(each.http for each in list(source.server.log) if each.method == "GET" and "/blobs/" in each.target)


def test_a_server_that_keeps_connections_stays_on_http_1_1(tmp_path: Path) -> None:
    """The default of everyday: no body goes over HTTP/2."""
    with _world(tmp_path, Behaviour()) as (source, made, destination):
        _copy(source, made, destination, "auto")

        assert _versions(source).keys() == {"1.1"}


def test_without_keep_alive_the_bodies_move_to_http_2(tmp_path: Path) -> None:
    """A handshake per body is noticed after a few of them; the rest goes over connections that last."""
    with _world(tmp_path, Behaviour(keep_alive=False)) as (source, made, destination):
        _copy(source, made, destination, "auto")
        versions = _versions(source)

        assert_complete(destination, made.repo, made)
        assert versions["2"] > versions["1.1"]


def test_two_connections_per_client_are_enough(tmp_path: Path) -> None:
    """What the source refuses is not asked for again and again: the bodies share a connection."""
    with _world(tmp_path, Behaviour(connections=2)) as (source, made, destination):
        _copy(source, made, destination, "auto")

        assert_complete(destination, made.repo, made)
        assert _versions(source)["2"] > COUNT / 2
        assert source.server.turned_away < COUNT


def test_a_shared_body_that_breaks_continues_where_it_broke(tmp_path: Path) -> None:
    """A stream that is reset on the shared connection is asked for again by range, into the same upload."""
    faults = broken.Faults()
    with _world(tmp_path, Behaviour(connections=2), faults) as (source, made, destination):
        log = broken.RangeLog()
        rule = faults.add(broken.drop_download(300_000), method="GET", path="/blobs/", skip=COUNT // 2, times=3)
        faults.add(log, method="GET", path="/blobs/")
        _copy(source, made, destination, "2")

        assert_complete(destination, made.repo, made)
        assert rule.hits == 3
        assert sum(first > 0 for first, _ in log.ranges) == 3


def test_the_next_run_knows_the_road(tmp_path: Path) -> None:
    """What was learnt of a host is in the cache beside the journal: no body over HTTP/1.1 in the second run."""
    with (
        _world(tmp_path, Behaviour(keep_alive=False)) as (source, made, destination),
        embedded_registry(tmp_path / "c", "tls") as other,
    ):
        for to in (destination, other):
            source.server.log.clear()
            names = [made.ref.removeprefix("docker://"), to.ref("there", "1").removeprefix("docker://")]
            (tmp_path / "list.txt").write_text("=".join(names) + "\n")
            where = [f"--journal={tmp_path / 'journal'}", "--list", str(tmp_path / "list.txt")]
            ran = run("sync", *flags(source, to), *where)
            assert ran.code == 0, ran.err

        assert _versions(source).keys() == {"2"}


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_few_connections_fail_nothing_whatever_was_asked_for(tmp_path: Path, http: HttpVersion) -> None:
    """`--http 1.1` makes do with the connections it gets, `--http 2` shares one."""
    with _world(tmp_path, Behaviour(connections=2)) as (source, made, destination):
        _copy(source, made, destination, http)

        assert_complete(destination, made.repo, made)
        assert _versions(source).keys() == {http}
