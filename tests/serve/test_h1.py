"""HTTP/1.1 at its edges: what a strange, broken or hostile client meets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcopy.serve import Behaviour
from tests.registries import Registry, embedded_registry
from tests.serve.helpers import BIG, CONFIG, OCI, Wire, closing, fresh_repo, image, sha, start


@pytest.fixture(params=["plain", "tls"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """Ours, plain and over TLS."""
    found: Registry = request.getfixturevalue(f"embedded_{request.param}")
    return found


@pytest.fixture
def wire(registry: Registry) -> Iterator[Wire]:
    """A raw connection to it."""
    with Wire(registry) as opened:
        yield opened


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    """Three heads in one packet, three answers."""
    one = "GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n"
    wire.sock.sendall("".join(one.format(path) for path in ("", "a/tags/list", "")).encode())
    assert [wire.answer()[0] for _ in range(3)] == [200, 404, 200]


def test_a_request_pipelined_behind_a_large_download_waits_its_turn(registry: Registry, wire: Wire) -> None:
    """Bytes that come while a body goes out are not lost."""
    with registry.client() as client:
        digest = client.push_blob("h1/pipeline", BIG)["digest"]
    wire.say(f"GET /v2/h1/pipeline/blobs/{digest} HTTP/1.1")
    wire.say("GET /v2/ HTTP/1.1")
    assert wire.answer()[2] == BIG
    assert wire.answer()[0] == 200


def test_a_body_and_the_next_head_in_one_packet(registry: Registry, wire: Wire) -> None:
    """The body ends where Content-Length says."""
    with registry.client() as client:
        location = start(client, fresh_repo())
    wire.say(f"PATCH {location} HTTP/1.1", "Content-Length: 3", body=b"abcGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers, _ = wire.answer()
    assert (status, headers["range"]) == (202, "0-2")
    assert wire.answer()[0] == 200


def test_a_chunked_body_is_decoded(registry: Registry, wire: Wire) -> None:
    """Docker's streamed PATCH; the connection goes on behind it."""
    with registry.client() as client:
        location = start(client, repo := fresh_repo())
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b"abc", b"x" * 70_000, b"end"))
    wire.say(f"PATCH {location} HTTP/1.1", "Transfer-Encoding: chunked", body=chunks + b"0\r\n\r\n")
    assert wire.answer()[1]["range"] == f"0-{70_006 - 1}"
    blob = b"abc" + b"x" * 70_000 + b"end"
    wire.say(f"PUT {closing(location, blob)} HTTP/1.1", "Content-Length: 0")
    assert wire.answer()[0] == 201
    wire.say(f"GET /v2/{repo}/blobs/{sha(blob)} HTTP/1.1")
    assert wire.answer()[2] == blob


def test_expect_100_continue_is_answered_before_the_body(registry: Registry, wire: Wire) -> None:
    """And not at all when the answer is known without it."""
    with registry.client() as client:
        location = start(client, fresh_repo())
    wire.say(f"PUT {closing(location, BIG)} HTTP/1.1", f"Content-Length: {len(BIG)}", "Expect: 100-continue")
    assert wire.answer()[0] == 100
    wire.sock.sendall(BIG)
    assert wire.answer()[0] == 201
    wire.say(f"PUT {closing(location, BIG)} HTTP/1.1", f"Content-Length: {len(BIG)}", "Expect: 100-continue")
    assert wire.answer()[0] == 404


def test_head_has_headers_and_no_body(registry: Registry, wire: Wire) -> None:
    """Blob, manifest and error alike; the connection stays in step."""
    with registry.client() as client:
        digest = client.push_blob("h1/head", BIG)["digest"]
    for target, status in [(f"/v2/h1/head/blobs/{digest}", 200), ("/v2/h1/head/manifests/nope", 404)]:
        wire.say(f"HEAD {target} HTTP/1.1")
        answered, headers, _ = wire.answer(head_only=True)
        assert answered == status
        assert int(headers["content-length"]) > 0
    wire.say("GET /v2/ HTTP/1.1")
    assert wire.answer()[2] == b"{}"


def test_a_small_unwanted_body_does_not_cost_the_connection(wire: Wire) -> None:
    """It is swallowed."""
    wire.say("PUT /v2/a/manifests/_ok?tag=x HTTP/1.1", "Content-Length: 10", body=b"0123456789")
    assert wire.answer()[0] == 400
    wire.say("POST /v2/a/tags/list HTTP/1.1", "Content-Length: 10", body=b"0123456789")
    assert wire.answer()[0] == 405
    wire.say("GET /v2/ HTTP/1.1")
    assert wire.answer()[0] == 200


def test_an_early_answer_arrives_although_the_body_goes_on(tmp_path: Path, registry: Registry) -> None:
    """413 before the body is read; the client may finish sending and still read it."""
    flavour = registry.flavour
    with embedded_registry(tmp_path, flavour, behaviour=Behaviour(blob_limit=1000)) as small:
        with small.client() as client:
            location = start(client, "a")
        with Wire(small) as wire:
            wire.say(f"PUT {closing(location, BIG)} HTTP/1.1", f"Content-Length: {len(BIG)}", body=BIG)
            status, headers, _ = wire.answer()
            assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_not_http_is_400_and_the_end(wire: Wire, head: bytes) -> None:
    """One plain answer, then the connection is closed."""
    wire.sock.sendall(head)
    assert wire.answer()[0] == 400
    assert wire.ended()


def test_connection_close_is_honoured(wire: Wire) -> None:
    """And HTTP/1.0 means it too."""
    wire.say("GET /v2/ HTTP/1.1", "Connection: close")
    assert wire.answer()[1]["connection"] == "close"
    assert wire.ended()


def test_http_1_0_is_answered_and_closed(wire: Wire) -> None:
    """With a length, as ever."""
    wire.say("GET /v2/ HTTP/1.0")
    assert wire.answer()[2] == b"{}"
    assert wire.ended()


def test_a_digest_may_be_percent_encoded_in_the_path(registry: Registry, wire: Wire) -> None:
    """sha256%3A…, as some clients write."""
    with registry.client() as client:
        digest = client.push_blob("h1/encoded", b"x")["digest"]
    wire.say(f"GET /v2/h1/encoded/blobs/{digest.replace(':', '%3A')} HTTP/1.1")
    assert wire.answer()[2] == b"x"


@pytest.mark.parametrize("path", ["/", "/v2", "/v3/", "/v2/../etc/passwd", "/v2/a/blobs/..%2f..%2fx", "/v2//tags/list"])
def test_strange_paths_are_errors_in_json(wire: Wire, path: str) -> None:
    """Never a traversal, never a crash."""
    wire.say(f"GET {path} HTTP/1.1")
    status, headers, body = wire.answer()
    assert status in ((200,) if path == "/v2" else (400, 404))
    assert headers["content-type"] == "application/json"
    assert body.startswith(b"{")


def test_a_media_type_cannot_smuggle_headers(registry: Registry, wire: Wire) -> None:
    """What was pushed as a type comes back as one header, whatever it contains."""
    odd = 'application/vnd.odd; a="b\tc"'
    with registry.client() as client:
        config = {"mediaType": CONFIG, **client.push_blob("h1/odd", b"{}")}
        raw = str({"schemaVersion": 2, "config": config, "layers": []}).replace("'", '"').encode()
        client.request("PUT", "/v2/h1/odd/manifests/v1", raw, {"Content-Type": odd})
    wire.say("GET /v2/h1/odd/manifests/v1 HTTP/1.1")
    assert wire.answer()[1]["content-type"] == "application/vnd.odd"


def test_a_silent_client_is_dropped(tmp_path: Path, registry: Registry) -> None:
    """In mid-head and in mid-body, after `stall` seconds."""
    with embedded_registry(tmp_path, registry.flavour, stall=0.1, idle=0.1) as hasty:
        with hasty.client() as client:
            location = start(client, "a")
        with Wire(hasty) as wire:
            wire.sock.sendall(b"GET /v2/ HT")
            assert wire.ended()
        with Wire(hasty) as wire:
            wire.say(f"PATCH {location} HTTP/1.1", f"Content-Length: {len(BIG)}", body=BIG[:400_000])
            assert wire.ended()
        with Wire(hasty) as wire:
            assert wire.ended()


def test_a_client_that_never_reads_is_dropped(tmp_path: Path, registry: Registry) -> None:
    """A download nobody takes ends after `stall` seconds, and the log says how far it came."""
    huge = bytes(16 << 20)
    with embedded_registry(tmp_path, registry.flavour, stall=0.2) as hasty:
        with hasty.client() as client:
            digest = client.push_blob("a", huge)["digest"]
        with Wire(hasty) as wire:
            wire.say(f"GET /v2/a/blobs/{digest} HTTP/1.1")
            while not any(record.method == "GET" for record in list(hasty.server.log)):
                time.sleep(0.01)
        (record,) = [record for record in hasty.server.log if record.method == "GET"]
        assert record.bytes_out < len(huge)


def test_images_of_several_connections_do_not_mix(registry: Registry) -> None:
    """Two clients alternate on their own connections."""
    with registry.client() as one, registry.client() as two:
        assert image(one, "h1/one", "v1", b"1") != image(two, "h1/two", "v1", b"2")
        for client, repo in ((one, "h1/one"), (two, "h1/two")):
            body = client.request("GET", f"/v2/{repo}/manifests/v1", headers={"Accept": OCI}).body
            assert sha(b"1" if repo == "h1/one" else b"2") in body.decode()
