"""Uploads that break, resume, compete and are forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastcopy.serve.uploads
from tests.registries import Flavour, Probe, Registry, embedded_registry
from tests.serve.helpers import BIG, OCTETS, Wire, closing, fresh_repo, sha, start


@pytest.fixture(params=["plain", "tls"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """Ours, plain and over TLS."""
    found: Registry = request.getfixturevalue(f"embedded_{request.param}")
    return found


@pytest.fixture
def client(registry: Registry) -> Iterator[Probe]:
    """A probe of it."""
    with registry.client() as probe:
        yield probe


def offset(client: Probe, location: str) -> int:
    """Where an upload stands, by its own word."""
    answer = client.request("GET", location)
    assert answer.status == 204
    return int(answer.headers["range"].removeprefix("0-")) + 1


def wait_until_gone(registry: Registry, location: str) -> None:
    """Until the server has noticed that a request to this upload was cut off."""
    while not any(record.status == 0 and location in record.target for record in list(registry.server.log)):
        time.sleep(0.002)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("cut", [1000, 300_000, len(BIG) - 1])
def test_bytes_before_a_drop_stay(registry: Registry, client: Probe, method: str, cut: int) -> None:
    """A connection lost in mid-body leaves an upload that tells its offset and takes the rest."""
    location = start(client, repo := fresh_repo())
    target = closing(location, BIG) if method == "PUT" else location
    with Wire(registry) as wire:
        wire.say(f"{method} {target} HTTP/1.1", f"Content-Length: {len(BIG)}", body=BIG[:cut])
    wait_until_gone(registry, location)
    held = offset(client, location)
    assert held == cut if not registry.tls else 0 < held <= cut
    rest = BIG[held:]
    headers = {**OCTETS, "Content-Range": f"{held}-{len(BIG) - 1}"}
    done = client.request("PUT", closing(location, BIG), rest, headers)
    assert done.status == 201
    assert client.request("GET", f"/v2/{repo}/blobs/{sha(BIG)}").body == BIG


def test_a_chunk_out_of_order_is_416_and_changes_nothing(client: Probe) -> None:
    """The answer tells where the upload stands."""
    location = start(client, fresh_repo())
    assert client.request("PATCH", location, b"abc", {**OCTETS, "Content-Range": "0-2"}).status == 202
    refused = client.request("PATCH", location, b"xyz", {**OCTETS, "Content-Range": "9-11"})
    assert (refused.status, refused.headers["range"], refused.headers["location"]) == (416, "0-2", location)
    assert client.request("PUT", closing(location, b"abc")).status == 201


def test_a_closing_put_out_of_order_is_416_and_keeps_the_upload(client: Probe) -> None:
    """Unlike docker-registry, which would append."""
    location = start(client, fresh_repo())
    client.request("PATCH", location, b"abc", OCTETS)
    again = client.request("PUT", closing(location, b"abcdef"), b"abcdef", {**OCTETS, "Content-Range": "0-5"})
    assert again.status == 416
    last = client.request("PUT", closing(location, b"abcdef"), b"def", {**OCTETS, "Content-Range": "3-5"})
    assert last.status == 201


def test_a_wrong_digest_ends_the_upload(client: Probe) -> None:
    """As in docker-registry: there is nothing to resume."""
    location = start(client, fresh_repo())
    assert client.request("PUT", closing(location, b"other"), b"mine", OCTETS).status == 400
    assert client.request("GET", location).status == 404


def test_sha512_is_verified_too(client: Probe) -> None:
    """In one PUT, and when the digest is only known at the end."""
    repo = fresh_repo()
    whole = closing(start(client, repo), BIG, "sha512")
    assert client.request("PUT", whole, BIG, OCTETS).status == 201
    location = start(client, repo)
    client.request("PATCH", location, BIG[:-1], OCTETS)
    assert client.request("PUT", closing(location, BIG[:-1], "sha512")).status == 201
    assert client.request("GET", f"/v2/{repo}/blobs/{sha(BIG[:-1], 'sha512')}").body == BIG[:-1]


def test_two_requests_never_write_to_one_upload(
    registry: Registry, client: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits, and is refused with 409 when the first goes on and on."""
    monkeypatch.setattr(fastcopy.serve.uploads, "_PATIENCE", 0.05)
    location = start(client, fresh_repo())
    with Wire(registry) as wire:
        wire.say(f"PATCH {location} HTTP/1.1", f"Content-Length: {len(BIG)}", "Expect: 100-continue")
        assert wire.answer()[0] == 100  # it holds the upload now
        refused = client.request("PATCH", location, b"abc", OCTETS)
        assert (refused.status, refused.code) == (409, "BLOB_UPLOAD_INVALID")
        wire.sock.sendall(BIG)
        assert wire.answer()[0] == 202
    assert client.request("PUT", closing(location, BIG)).status == 201


def test_an_upload_belongs_to_its_repository(client: Probe) -> None:
    """Under another name it is unknown."""
    location = start(client, "serve/mine")
    stolen = location.replace("serve/mine", "serve/theirs")
    assert client.request("PUT", closing(stolen, b"x"), b"x", OCTETS).status == 404


def test_the_same_blob_from_many_sides_at_once(registry: Registry) -> None:
    """Every uploader gets 201."""
    repo, statuses = fresh_repo(), []

    def push() -> None:
        with registry.client() as mine:
            statuses.append(mine.request("PUT", closing(start(mine, repo), BIG), BIG, OCTETS).status)

    threads = [threading.Thread(target=push) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 8


@pytest.mark.parametrize("flavour", ["plain", "tls"])
def test_an_untouched_upload_is_forgotten(flavour: Flavour, tmp_path: Path) -> None:
    """When the next one starts after its time."""
    with embedded_registry(tmp_path, flavour, upload_hours=0.0) as registry, registry.client() as client:
        old = start(client, "a")
        start(client, "a")
        assert client.request("GET", old).status == 404
