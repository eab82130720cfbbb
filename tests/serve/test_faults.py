"""Each fault does what it says, to those requests it was made for, as often as it was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import faults as make
from tests.faults import Faults, redirecting_registry
from tests.registries import Registry, embedded_registry
from tests.serve.helpers import BIG, OCTETS, Wire, closing, sha, start

Ground = tuple[Registry, Faults, str]


@pytest.fixture(params=["plain", "tls"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """A registry that holds BIG in repository a, its faults, and the blob's path."""
    faults = Faults()
    with embedded_registry(tmp_path, request.param, middleware=faults) as registry:
        with registry.client() as client:
            client.push_blob("a", BIG)
        yield registry, faults, f"/v2/a/blobs/{sha(BIG)}"


def test_a_storm_of_errors_passes(ground: Ground) -> None:
    """Two times 429 with Retry-After, then the truth; other requests are untouched."""
    registry, faults, blob = ground
    rule = faults.add(make.respond(429, "TOOMANYREQUESTS", retry_after=7), method="GET", path="/blobs/", times=2)
    with registry.client() as client:
        answers = [client.request("GET", blob) for _ in range(3)]
        assert client.request("HEAD", blob).status == 200
    assert [answer.status for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert rule.hits == 2


def test_a_rule_may_let_some_pass_first(ground: Ground) -> None:
    """skip=1: the second request is hit."""
    registry, faults, blob = ground
    faults.add(make.respond(503, html=True), path="/blobs/", skip=1, times=1)
    with registry.client() as client:
        assert [client.request("GET", blob).status for _ in range(3)] == [200, 503, 200]


@pytest.mark.parametrize("at", [0, 1, 300_000])
def test_a_download_breaks_off_at_a_byte(ground: Ground, at: int) -> None:
    """The length promised the whole."""
    registry, faults, blob = ground
    faults.add(make.drop_download(at), method="GET", times=1)
    with Wire(registry) as wire:
        wire.say(f"GET {blob} HTTP/1.1")
        with pytest.raises((EOFError, ConnectionError)):
            wire.answer()
    with registry.client() as client:
        assert client.request("GET", blob).body == BIG


def test_a_byte_is_wrong(ground: Ground) -> None:
    """Same length, another digest."""
    registry, faults, blob = ground
    faults.add(make.corrupt(1000), method="GET", times=1)
    with registry.client() as client:
        body = client.request("GET", blob).body
    assert len(body) == len(BIG)
    assert [at for at in range(len(BIG)) if body[at] != BIG[at]] == [1000]


@pytest.mark.parametrize("by", [-5, 5])
def test_a_body_has_another_size(ground: Ground, by: int) -> None:
    """Announced as it is sent."""
    registry, faults, blob = ground
    faults.add(make.resized(by), method="GET", times=1)
    with registry.client() as client:
        assert len(client.request("GET", blob).body) == len(BIG) + by


def test_a_range_is_ignored(ground: Ground) -> None:
    """200 and everything."""
    registry, faults, blob = ground
    faults.add(make.ignore_range(), method="GET")
    with registry.client() as client:
        got = client.request("GET", blob, headers={"Range": "bytes=1-2"})
    assert (got.status, got.body) == (200, BIG)


def test_an_upload_breaks_off_and_can_be_resumed(ground: Ground) -> None:
    """The registry holds exactly what came before."""
    registry, faults, _ = ground
    faults.add(make.drop_upload(400_000), method="PUT|PATCH", path="/blobs/uploads/", times=1)
    with registry.client() as client:
        location = start(client, "b")
        with Wire(registry) as wire:
            wire.say(f"PATCH {location} HTTP/1.1", f"Content-Length: {len(BIG)}")
            with pytest.raises((EOFError, ConnectionError)):
                wire.sock.sendall(BIG)
                wire.answer()
        status = client.request("GET", location)
        assert status.headers["range"] == "0-399999"
        rest = {**OCTETS, "Content-Range": f"400000-{len(BIG) - 1}"}
        assert client.request("PUT", closing(location, BIG), BIG[400_000:], rest).status == 201


def test_storage_is_full_in_the_middle(ground: Ground) -> None:
    """An early answer to an upload."""
    registry, faults, _ = ground
    faults.add(make.storage_full(after=100_000), method="PUT", times=1)
    with registry.client() as client:
        location = start(client, "b")
        assert client.request("PUT", closing(location, BIG), BIG, OCTETS).status == 507


def test_the_answer_is_lost_after_the_work_was_done(ground: Ground) -> None:
    """What every retry must survive."""
    registry, faults, _ = ground
    faults.add(make.answer_lost(), method="PUT", times=1)
    with registry.client() as client:
        location = start(client, "b")
        with Wire(registry) as wire:
            wire.say(f"PUT {closing(location, b'abc')} HTTP/1.1", "Content-Length: 3", body=b"abc")
            assert wire.ended()
        assert client.request("HEAD", f"/v2/b/blobs/{sha(b'abc')}").status == 200


def test_a_rate_limit_holds(ground: Ground) -> None:
    """The third request within the second is one too many."""
    registry, faults, blob = ground
    faults.add(make.RateLimit(2))
    with registry.client() as client:
        assert [client.request("HEAD", blob).status for _ in range(3)] == [200, 200, 429]


def test_a_header_lies(ground: Ground) -> None:
    """A wrong Docker-Content-Digest."""
    registry, faults, blob = ground
    faults.add(make.with_header("Docker-Content-Digest", sha(b"other")), method="HEAD")
    with registry.client() as client:
        assert client.request("HEAD", blob).headers["docker-content-digest"] == sha(b"other")


@pytest.mark.parametrize("flavour", ["plain", "tls", "token"])
def test_blobs_are_redirected_to_a_signed_origin(tmp_path: Path, flavour: str) -> None:
    """307 to another port; the URL works as often as it may, with ranges, and not with Authorization."""
    with redirecting_registry(tmp_path, flavour, uses=2) as (registry, _, origin):  # type: ignore[arg-type]
        with registry.client() as client:
            digest = client.push_blob("a", BIG)["digest"]
            answer = client.request("GET", f"/v2/a/blobs/{digest}")
            assert (answer.status, answer.body) == (307, b"")
            assert client.request("GET", f"/v2/a/blobs/{sha(b'none')}").status == 404
        elsewhere = Registry("embedded", "tls" if registry.tls else "plain", origin.host, registry.certificates)
        location = answer.headers["location"]
        with elsewhere.client() as client:
            assert client.request("GET", location, headers={"Authorization": "Bearer x"}).status == 400
            assert client.request("GET", location, headers={"Range": "bytes=1-3"}).body == BIG[1:4]
            assert client.request("GET", location).body == BIG
            assert client.request("GET", location).status == 403
    assert origin.leaked == ["Bearer x"]
