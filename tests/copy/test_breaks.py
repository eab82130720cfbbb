"""Connections that break, stall, end early, or answer a Range with something else; on either side of a copy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastcopy.errors import DigestMismatch, LinkLost, Stalled
from fastcopy.events import Retrying
from fastcopy.options import RunOptions
from fastcopy.serve.message import Body, Handler, Head, Middleware, Reply
from tests.copy.relay import relay_to
from tests.copy.world import (
    HASTY,
    Made,
    Pair,
    assert_complete,
    bytes_received,
    copy,
    fresh,
    image,
    named,
    seen,
    uploads,
)
from tests.faults import (
    answer_lost,
    drop_download,
    drop_upload,
    edited,
    hang_up,
    ignore_range,
    respond,
    slow,
    stall_download,
    stall_upload,
    with_header,
)
from tests.registries import Registry

IMPATIENT = RunOptions(retry_delay=0.01, stall=0.5)
BIG = 6_000_000


def _hex(made: Made) -> str:
    return made.layer.partition(":")[2]


# -- the source breaks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 70_000, 1_500_000, BIG - 1])
def test_a_download_that_breaks_continues_by_range_in_the_same_upload(pair: Pair, at: int) -> None:
    """The rest is asked for by Range, hashed on, and goes into the upload that is open: one POST, no byte twice."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    rule = pair.at_source.add(drop_download(at), method="GET", path=_hex(made), times=1)
    outcome = pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert outcome.of(Retrying)
    assert outcome.of(Retrying)[0].side == "source"
    assert uploads(pair.destination, repo) == len(made.blobs)
    assert bytes_received(pair.destination, repo) == sum(map(len, made.blobs.values()))
    assert [each.status for each in seen(pair.source, made.repo, "GET", "blobs") if _hex(made) in each.rest][-1] == 206


@pytest.mark.parametrize("flavour", ["plain", "tls"])
def test_a_reset_in_mid_body_continues_too(
    request: pytest.FixtureRequest, embedded_plain: Registry, flavour: str
) -> None:
    """A real TCP reset, three times over, below TLS as well: one upload, and the wire carries the blob about once."""
    source: Registry = request.getfixturevalue(f"embedded_{flavour}")
    made, repo = image(source, sizes=(24 << 20,)), fresh("copy/to")
    with relay_to(source.host) as relay:
        relay.cuts = [("down", 5 << 20), ("down", 6 << 20), ("down", 3 << 20)]
        through = replace(made, registry=replace(source, host=relay.host))
        outcome = copy(through, embedded_plain, repo, run_options=HASTY)
        assert outcome.error is None
        assert relay.broken == 3
        assert relay.down < 1.6 * (24 << 20)
    assert_complete(embedded_plain, repo, made)
    assert uploads(embedded_plain, repo) == len(made.blobs)


def test_a_source_that_breaks_without_end_is_given_up(pair: Pair) -> None:
    """No progress between breaks: a bounded number of attempts, then the source's fault in one line."""
    made = pair.image(sizes=(BIG,))
    rule = pair.at_source.add(drop_download(0), method="GET", path=_hex(made))
    repo = fresh("copy/to")
    outcome = pair.copy(made, repo, run_options=RunOptions(retries=0))
    assert isinstance(outcome.error, LinkLost)
    assert outcome.error.side == "source"
    assert rule.hits <= 10
    assert named(pair.destination, repo) == ""


def test_a_body_shorter_than_it_says_is_never_taken_for_whole(pair: Pair) -> None:
    """A small blob whose connection ends early: again, and then complete."""
    made = pair.image(sizes=(100_000,))
    rule = pair.at_source.add(drop_download(50_000), method="GET", path=_hex(made), times=2)
    pair.arrives(made)
    assert rule.hits == 2


def test_a_range_that_is_ignored_costs_bytes_not_the_copy(pair: Pair) -> None:
    """200 to a Range: what is known already is thrown away, the upload goes on."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    pair.at_source.add(drop_download(2_000_000), method="GET", path=_hex(made), times=1)
    pair.at_source.add(ignore_range(), method="GET", path=_hex(made))
    pair.arrives(made, repo=repo)
    assert uploads(pair.destination, repo) == len(made.blobs)


@pytest.mark.parametrize(
    "fault",
    [respond(416, "RANGE_INVALID"), with_header("Content-Range", "bytes 0-9/10"), with_header("Content-Range", None)],
    ids=["416", "wrong-range", "no-range"],
)
def test_a_range_answered_with_nonsense_is_asked_for_whole(pair: Pair, fault: Middleware) -> None:
    """416, or 206 with another range than asked for: the whole blob is read instead, its beginning thrown away."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    pair.at_source.add(drop_download(2_000_000), method="GET", path=_hex(made), times=1)
    pair.at_source.add(_only_ranges(fault), method="GET", path=_hex(made))
    pair.arrives(made, repo=repo)
    assert uploads(pair.destination, repo) == len(made.blobs)


@pytest.mark.slow
def test_a_large_blob_whose_first_range_is_refused_comes_whole(pair: Pair) -> None:
    """Above 64 MiB the first request is a Range already."""
    made = pair.image(sizes=((64 << 20) + 5,))
    rule = pair.at_source.add(_only_ranges(respond(416, "RANGE_INVALID")), method="GET", path=_hex(made))
    pair.arrives(made)
    assert rule.hits >= 2


def _only_ranges(fault: Middleware) -> Middleware:
    async def chosen(head: Head, body: Body, proceed: Handler) -> Reply:
        return await (fault(head, body, proceed) if head.headers.get("range") else proceed(head, body))

    return chosen


@pytest.mark.slow
def test_a_stalled_source_is_left_and_the_rest_read_anew(pair: Pair) -> None:
    """No byte for the stated time: another connection continues where the first one stood still."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    pair.at_source.add(stall_download(2_000_000), method="GET", path=_hex(made), times=1)
    outcome = pair.arrives(made, repo=repo, run_options=IMPATIENT)
    assert any("no byte for" in event.error for event in outcome.of(Retrying))
    assert uploads(pair.destination, repo) == len(made.blobs)


@pytest.mark.slow
def test_a_source_that_stalls_for_good_is_named(pair: Pair) -> None:
    """Stalled, at the source."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    pair.at_source.add(stall_download(0), method="GET", path=_hex(made))
    outcome = pair.copy(made, repo, run_options=RunOptions(retries=0, stall=0.2))
    assert isinstance(outcome.error, Stalled)
    assert outcome.error.side == "source"
    assert named(pair.destination, repo) == ""


# -- the destination breaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 100_000, 3_000_000])
def test_an_upload_that_breaks_is_begun_anew(pair: Pair, at: int) -> None:
    """A new upload from the beginning; the tag comes after it."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    rule = pair.at_destination.add(drop_upload(at), method="PUT", path=_hex(made), times=1)
    outcome = pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert outcome.of(Retrying)
    assert outcome.of(Retrying)[0].side == "destination"
    assert uploads(pair.destination, repo) == len(made.blobs) + 1


def test_a_reset_in_mid_upload_is_begun_anew(embedded_plain: Registry, embedded_tls: Registry) -> None:
    """The same by a TCP reset below TLS."""
    made, repo = image(embedded_plain, sizes=(16 << 20,)), fresh("copy/to")
    with relay_to(embedded_tls.host) as relay:
        relay.cuts = [("up", 4 << 20)]
        outcome = copy(made, replace(embedded_tls, host=relay.host), repo, run_options=HASTY)
    assert outcome.error is None
    assert relay.broken == 1
    assert_complete(embedded_tls, repo, made)


@pytest.mark.parametrize("size", [50_000, BIG], ids=["small", "large"])
def test_a_lost_answer_to_the_closing_put_is_no_second_upload(pair: Pair, size: int) -> None:
    """The blob is there, a HEAD finds it: nothing is sent twice."""
    made, repo = pair.image(sizes=(size,)), fresh("copy/to")
    rule = pair.at_destination.add(answer_lost(), method="PUT", path=_hex(made), times=1)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert uploads(pair.destination, repo) == len(made.blobs)


def test_a_lost_answer_to_the_manifest_is_asked_again(pair: Pair) -> None:
    """PUT of a manifest is idempotent."""
    rule = pair.at_destination.add(answer_lost(), method="PUT", path="/manifests/", times=1)
    pair.arrives(pair.image())
    assert rule.hits == 1


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_a_connection_closed_instead_of_an_answer_is_tried_again(pair: Pair, method: str) -> None:
    """Before anything was sent."""
    rule = pair.at_destination.add(hang_up(), method=method, path="/blobs/", times=3)
    pair.arrives(pair.image(sizes=(400_000,)))
    assert rule.hits == 3


@pytest.mark.slow
def test_a_stalled_destination_gets_a_new_upload(pair: Pair) -> None:
    """The destination stops reading: given up after the stated time, then begun anew."""
    made, repo = pair.image(sizes=(40 << 20,)), fresh("copy/to")
    pair.at_destination.add(stall_upload(1_000_000), method="PUT", path=_hex(made), times=1)
    outcome = pair.arrives(made, repo=repo, run_options=IMPATIENT)
    assert any("no byte accepted" in event.error for event in outcome.of(Retrying))


@pytest.mark.slow
def test_a_destination_that_stalls_for_good_is_named(pair: Pair) -> None:
    """Stalled, at the destination; the source is not blamed for what waited on it."""
    made, repo = pair.image(sizes=(40 << 20,)), fresh("copy/to")
    pair.at_destination.add(stall_upload(1_000_000), method="PUT", path=_hex(made))
    outcome = pair.copy(made, repo, run_options=RunOptions(retries=0, stall=0.5))
    assert isinstance(outcome.error, Stalled)
    assert outcome.error.side == "destination"
    assert named(pair.destination, repo) == ""


@pytest.mark.slow
def test_the_answer_to_the_closing_put_may_take_its_time(pair: Pair) -> None:
    """A registry that hashes and moves a large blob is not stalled."""
    made, repo = pair.image(sizes=(BIG,)), fresh("copy/to")
    pair.at_destination.add(_late(), method="PUT", path=_hex(made))
    pair.arrives(made, repo=repo, run_options=IMPATIENT)
    assert uploads(pair.destination, repo) == len(made.blobs)


def _late() -> Middleware:
    """Take the body, do it, and answer after a second."""
    pause = slow(1.2)

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)

        async def done(_head: Head, _body: Body) -> Reply:
            return reply

        return await pause(head, body, done)

    return fault


# -- uploads that are refused half-way ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"])
@pytest.mark.parametrize("size", [50_000, BIG], ids=["small", "large"])
def test_a_lost_upload_session_is_begun_anew(pair: Pair, code: str, size: int) -> None:
    """404: the registry has forgotten the upload (a restart, a load balancer); a new POST, and it succeeds."""
    made, repo = pair.image(sizes=(size,)), fresh("copy/to")
    rule = pair.at_destination.add(respond(404, code), method="PUT", path=_hex(made), times=1)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert uploads(pair.destination, repo) == len(made.blobs) + 1


@pytest.mark.parametrize("status", [413, 405, 416, 501])
@pytest.mark.parametrize("size", [50_000, BIG], ids=["small", "large"])
def test_a_refused_put_is_followed_by_another_way_of_uploading(pair: Pair, status: int, size: int) -> None:
    """An early 413 and the like: PATCH, where PUT with a body is not wanted; remembered for the run."""
    made, repo = pair.image(sizes=(size, size + 1)), fresh("copy/to")
    pair.at_destination.add(_bodies_refused(status), method="PUT", path="/blobs/uploads/")
    pair.arrives(made, repo=repo)
    assert seen(pair.destination, repo, "PATCH", "blobs/uploads", 202)


def _bodies_refused(status: int) -> Middleware:
    refuse = respond(status, "SIZE_INVALID" if status == 413 else "UNSUPPORTED")

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        return await (refuse(head, body, proceed) if body.length else proceed(head, body))

    return fault


def test_a_registry_that_denies_a_blob_it_has_is_asked_again(pair: Pair) -> None:
    """MANIFEST_BLOB_UNKNOWN at first (stored, not yet seen): the manifest is accepted a moment later."""
    rule = pair.at_destination.add(respond(400, "MANIFEST_BLOB_UNKNOWN"), method="PUT", path="/manifests/", times=2)
    pair.arrives(pair.image())
    assert rule.hits == 2


def test_a_registry_that_denies_it_for_ever_gets_no_tag(pair: Pair) -> None:
    """... and one that never accepts it ends the copy."""
    rule = pair.at_destination.add(respond(400, "MANIFEST_BLOB_UNKNOWN"), method="PUT", path="/manifests/")
    pair.fails(pair.image(), side="destination")
    assert rule.hits <= 16


@pytest.mark.parametrize("road", [50_000, BIG], ids=["small", "large"])
def test_a_registry_that_stored_something_else_is_not_believed(pair: Pair, road: int) -> None:
    """201 with another Docker-Content-Digest: tried anew, then refused as the destination's fault."""
    made, repo = pair.image(sizes=(road,)), fresh("copy/to")
    wrong = "sha256:" + "0" * 64
    pair.at_destination.add(edited(_digest(wrong)), method="PUT", path=_hex(made))
    pair.at_destination.add(respond(404), method="HEAD", path=_hex(made))
    outcome = pair.copy(made, repo)
    assert isinstance(outcome.error, DigestMismatch)
    assert outcome.error.side == "destination"
    assert named(pair.destination, repo) == ""


def _digest(value: str):  # type: ignore[no-untyped-def]
    def edit(reply: Reply) -> Reply:
        kept = [pair for pair in reply.headers if pair[0].lower() != "docker-content-digest"]
        return Reply(reply.status, [*kept, ("Docker-Content-Digest", value)], reply.body)

    return edit
