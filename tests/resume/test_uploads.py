"""An upload that broke off goes on where the registry says it stands: in the same run, and in another process."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from fastcopy._native import Hasher
from fastcopy.descriptor import Digest
from fastcopy.errors import DigestMismatch, FastcopyError, LinkLost, PeerError
from fastcopy.events import Retrying
from fastcopy.options import RunOptions
from fastcopy.serve.message import Middleware, Reply
from fastcopy.transfer import resume
from fastcopy.transfer.notes import Notes
from tests.copy.relay import relay_to
from tests.copy.world import HASTY, Made, Pair, assert_complete, copy, fresh, image, options, seen, uploads
from tests.faults import (
    answer_lost,
    corrupt,
    drop_download,
    drop_upload,
    edited,
    hang_up,
    respond,
    stall_upload,
    with_header,
)
from tests.registries import Registry
from tests.resume.conftest import PART
from tests.resume.world import ONCE, Lasting, again, body_bytes, both, open_uploads

pytestmark = pytest.mark.usefixtures("_in_miniature")
SIZE = 5 * PART + 4_321
#: What may be in flight when a connection breaks: buffers of sockets and relay, far below a part of a real upload.
BUFFERS = 12 << 20


def _layer(made: Made) -> str:
    return made.layer.partition(":")[2]


def _small(made: Made) -> int:
    """Bytes of the blobs that are not the layer."""
    return sum(len(data) for digest, data in made.blobs.items() if digest != made.layer)


# -- the same run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [2, PART - 1, PART // 2])
@pytest.mark.parametrize("part", [0, 2, 5])
def test_an_upload_that_breaks_goes_on_where_it_stands(pair: Pair, part: int, at: int) -> None:
    """In the same upload, and no byte that the registry has is sent to it again."""
    at = min(at, 4_000) if part == 5 else at
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(drop_upload(at), method="PATCH", path="/uploads/", times=1, skip=part + 1)
    outcome = pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert outcome.of(Retrying)[0].side == "destination"
    assert uploads(pair.destination, repo) == len(made.blobs)
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


@pytest.mark.parametrize("seed", range(3))
def test_resets_at_any_byte_cost_what_was_in_flight(resuming: Registry, embedded_plain: Registry, seed: int) -> None:
    """Real TCP resets, three in a row, below TLS too and at another registry than ours: one upload, one blob."""
    size = 24 << 20
    made, repo = image(embedded_plain, sizes=(size,)), fresh("resume/to")
    cuts = [random.Random(seed * 10 + n).randrange(1 << 20, 7 << 20) for n in range(3)]
    with relay_to(resuming.host) as relay:
        relay.cuts = [("up", at) for at in cuts]
        outcome = copy(made, replace(resuming, host=relay.host), repo, run_options=HASTY)
        assert outcome.error is None
        assert relay.broken == 3
        assert relay.up < size + 3 * BUFFERS
    assert_complete(resuming, repo, made)


def test_breaks_do_not_count_while_the_upload_comes_further(pair: Pair) -> None:
    """Every part breaks, and one further attempt is allowed: it ends complete, for each attempt confirmed something."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(drop_upload(PART // 2), method="PATCH", path="/uploads/", skip=1)
    pair.arrives(made, repo=repo, run_options=replace(HASTY, retries=1))
    assert rule.hits >= 5
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


def test_breaks_that_gain_nothing_count(pair: Pair) -> None:
    """... and a registry that takes nothing more is given up."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(drop_upload(0), method="PATCH", path="/uploads/", skip=3)
    outcome = pair.copy(made, repo, run_options=replace(HASTY, retries=2))
    assert isinstance(outcome.error, LinkLost)
    assert rule.hits == 3


def test_a_part_whose_answer_is_lost_is_not_sent_again(pair: Pair) -> None:
    """The registry confirmed it, we did not hear it: its status tells."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(answer_lost(), method="PATCH", path="/uploads/", times=1, skip=3)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


def test_a_lost_answer_to_the_closing_is_no_second_upload(pair: Pair) -> None:
    """The blob is there, a HEAD finds it."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(answer_lost(), method="PUT", path=_layer(made), times=1)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


@pytest.mark.parametrize(
    "fault", [respond(500), respond(503, retry_after=0), respond(401, "UNAUTHORIZED"), hang_up()],
    ids=["500", "503", "401", "hang-up"],
)  # fmt: skip
def test_a_refused_part_does_not_cost_the_others(pair: Pair, fault: Middleware) -> None:
    """An answer that may pass, a token that aged: what was confirmed stays."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(fault, method="PATCH", path="/uploads/", times=1, skip=4)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert uploads(pair.destination, repo) == len(made.blobs)
    assert body_bytes(pair.destination, repo) <= SIZE + _small(made) + PART


@pytest.mark.parametrize("status", [404, 400, 405])
def test_an_upload_that_the_registry_lost_is_begun_anew(pair: Pair, status: int) -> None:
    """Its status is not known any more: a new upload, from the beginning."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    pair.at_destination.add(drop_upload(1000), method="PATCH", path="/uploads/", times=1, skip=3)
    rule = pair.at_destination.add(respond(status, "BLOB_UPLOAD_UNKNOWN"), method="GET", path="/uploads/", skip=1)
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert uploads(pair.destination, repo) == len(made.blobs) + 1


def test_a_lost_session_in_the_middle_is_begun_anew(pair: Pair) -> None:
    """404 to a part."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    rule = pair.at_destination.add(
        respond(404, "BLOB_UPLOAD_UNKNOWN"), method="PATCH", path="/uploads/", times=1, skip=3
    )
    pair.arrives(made, repo=repo)
    assert rule.hits == 1
    assert uploads(pair.destination, repo) == len(made.blobs) + 1


@pytest.mark.parametrize("status", [405, 413, 416, 501])
def test_parts_that_are_refused_are_followed_by_one_body(pair: Pair, status: int) -> None:
    """A proxy that limits requests, a registry that only seemed to count: another way, for the whole run."""
    made, repo = pair.image(sizes=(SIZE, SIZE + 1)), fresh("resume/to")
    pair.at_destination.add(respond(status, "UNSUPPORTED"), method="PATCH", path="/uploads/", skip=2)
    pair.arrives(made, repo=repo)
    assert len(seen(pair.destination, repo, "PUT", "blobs/uploads", 201)) == len(made.blobs)


def test_a_source_that_breaks_within_a_part_goes_on(pair: Pair) -> None:
    """The source's fault is the source's: the part that is open takes the rest, the next one begins at its end."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    pair.at_source.add(drop_download(3 * PART + 77), method="GET", path=_layer(made), times=1)
    pair.arrives(made, repo=repo)
    assert uploads(pair.destination, repo) == len(made.blobs)
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


# -- another process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0.1, 0.55, 0.97])
def test_another_process_goes_on_from_the_notes(resuming: Registry, embedded_plain: Registry, where: float) -> None:
    """Neither what the registry has is sent again, nor what was hashed before the last note read again."""
    size = 24 << 20
    made, repo, notes = image(embedded_plain, sizes=(size,)), fresh("resume/to"), Lasting()
    with relay_to(resuming.host) as relay:
        relay.cuts = [("up", int(where * size))]
        destination = replace(resuming, host=relay.host)
        first = again(made, destination, repo, notes)
        assert first.error is not None
        assert notes.open_upload(relay.host, repo, _digest(made)) is not None
        second = again(made, destination, repo, notes)
        assert second.error is None
        assert relay.up < size + BUFFERS
    assert_complete(resuming, repo, made)
    assert notes.open_upload(relay.host, repo, _digest(made)) is None


def _digest(made: Made) -> Digest:
    return Digest(made.layer)


def test_only_the_missing_rest_is_read_from_the_source(pair: Pair) -> None:
    """The source is asked for a Range that begins at the last note; nothing before it is read or hashed again."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_destination.add(drop_upload(100_000), method="PATCH", path="/uploads/", times=1, skip=4)
    assert again(made, pair.destination, repo, notes).error is not None
    note = notes.open_upload(pair.destination.host, repo, _digest(made))
    assert note is not None
    assert note.offset == 3 * PART
    before = len(pair.source.requests())
    assert again(made, pair.destination, repo, notes).error is None
    (get,) = [each for each in pair.source.requests()[before:] if _layer(made) in each[1] and each[0] == "GET"]
    assert get[2] == 206
    sent = [each.bytes_out for each in list(pair.source.server.log)[before:] if _layer(made) in each.target]
    assert 0 <= sum(sent) - (SIZE - 3 * PART) < 1_000  # heads are counted too
    assert_complete(pair.destination, repo, made)
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


def test_an_upload_that_only_lacks_its_closing_is_closed(pair: Pair) -> None:
    """Everything was sent and confirmed: no body goes again."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_destination.add(respond(503, retry_after=0), method="PUT", path=_layer(made), times=1)
    pair.at_destination.add(respond(404), method="HEAD", path=_layer(made))
    first = again(made, pair.destination, repo, notes, run_options=replace(ONCE, retries=0))
    if first.error is not None:
        assert again(made, pair.destination, repo, notes).error is None
    assert_complete(pair.destination, repo, made)
    assert body_bytes(pair.destination, repo) == SIZE + _small(made)


def test_an_upload_at_the_end_of_its_last_note_is_closed_without_reading(pair: Pair) -> None:
    """The digest of the whole was noted: nothing is read, the registry gets its closing PUT."""
    made, repo, notes = pair.image(sizes=(2 * PART,)), fresh("resume/to"), Lasting()
    rule = pair.at_destination.add(hang_up(), method="PUT", path=_layer(made))
    pair.at_destination.add(respond(404), method="HEAD", path=_layer(made))
    assert again(made, pair.destination, repo, notes).error is not None
    note = notes.open_upload(pair.destination.host, repo, _digest(made))
    assert note is not None
    assert (rule.hits, note.offset) == (1, 2 * PART)
    pair.at_destination.clear()
    before = len(pair.source.requests())
    assert again(made, pair.destination, repo, notes).error is None
    assert not [each for each in pair.source.requests()[before:] if _layer(made) in each[1] and each[0] == "GET"]
    assert_complete(pair.destination, repo, made)


def test_another_leader_finishes_what_is_open_elsewhere(pair: Pair) -> None:
    """The upload is open in one repository, the blob is wanted in another: finished there, mounted here, sent once."""
    made, first, second, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), fresh("resume/to"), Lasting()
    pair.at_destination.add(drop_upload(100_000), method="PATCH", path="/uploads/", times=1, skip=4)
    assert again(made, pair.destination, first, notes).error is not None
    assert again(made, pair.destination, second, notes).error is None
    assert_complete(pair.destination, second, made)
    assert body_bytes(pair.destination, second) == _small(made)
    assert body_bytes(pair.destination, first) == SIZE + _small(made)
    assert notes.open_upload(pair.destination.host, first, _digest(made)) is None


def test_what_is_open_elsewhere_and_lost_is_not_begun_there(pair: Pair) -> None:
    """Nobody asked for the blob in the other repository: where its upload is gone, the blob goes where it is wanted."""
    made, first, second, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), fresh("resume/to"), Lasting()
    pair.at_destination.add(drop_upload(100_000), method="PATCH", path="/uploads/", times=1, skip=4)
    assert again(made, pair.destination, first, notes).error is not None
    pair.at_destination.add(respond(404, "BLOB_UPLOAD_UNKNOWN"), method="GET", path=f"/{first}/blobs/uploads/")
    before = uploads(pair.destination, first)
    assert again(made, pair.destination, second, notes).error is None
    assert_complete(pair.destination, second, made)
    assert uploads(pair.destination, first) == before


@pytest.mark.parametrize("part", [1, 4])
def test_over_http2_uploads_go_on_too(tls_pair: Pair, part: int) -> None:
    """Each part is a stream of its own."""
    made, repo, notes = tls_pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    chosen = options(tls_pair.source, tls_pair.destination, run_options=HASTY)
    chosen = replace(chosen, destination=replace(chosen.destination, http="2"))
    rule = tls_pair.at_destination.add(drop_upload(9_000), method="PATCH", path="/uploads/", times=1, skip=part + 1)
    assert again(made, tls_pair.destination, repo, notes, chosen=chosen).error is None
    assert rule.hits == 1
    assert_complete(tls_pair.destination, repo, made)
    assert {each.http for each in list(tls_pair.destination.server.log) if each.method == "PATCH"} >= {"2"}
    assert uploads(tls_pair.destination, repo) == len(made.blobs)


# -- a registry that does not resume -----------------------------------------------------------------------------------


@pytest.mark.real("docker-registry")
def test_a_registry_that_only_appends_is_found_out_without_harm(docker_plain: Registry, pair: Pair) -> None:
    """docker-registry 2.8: one empty PATCH, and the blob goes as ever, in the upload that was asked; no status."""
    made, repo = pair.image(sizes=(SIZE, SIZE + 1)), fresh("resume/to")
    outcome = copy(made, docker_plain, repo)
    assert outcome.error is None
    assert_complete(docker_plain, repo, made)
    assert uploads(docker_plain, repo) == len(made.blobs)
    assert 1 <= len(seen(docker_plain, repo, "PATCH", "blobs/uploads", 202)) <= 2
    assert not seen(docker_plain, repo, "GET", "blobs/uploads")


@pytest.mark.real("docker-registry")
def test_there_a_broken_blob_begins_anew_in_a_new_upload(docker_plain: Registry, embedded_plain: Registry) -> None:
    """docker-registry 2.8: nothing is noted, and the old upload is given up."""
    size = 24 << 20
    made, repo, notes = image(embedded_plain, sizes=(size,)), fresh("resume/to"), Lasting()
    with relay_to(docker_plain.host) as relay:
        relay.cuts = [("up", size // 2)]
        destination = replace(docker_plain, host=relay.host)
        assert again(made, destination, repo, notes).error is not None
        assert notes.open_upload(relay.host, repo, _digest(made)) is None
        assert again(made, destination, repo, notes).error is None
    assert_complete(docker_plain, repo, made)


# -- lies --------------------------------------------------------------------------------------------------------------

LIES: dict[str, str | None] = {
    "more": f"0-{4 * PART}",
    "all": f"0-{SIZE - 1}",
    "beyond": f"0-{SIZE * 9}",
    "less": f"0-{PART // 3}",
    "nothing": "0-0",
    "garbage": "bytes=1-2-3",
    "huge": "0-" + "9" * 40,
    "none": None,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_registry_that_lies_about_its_range_gets_the_right_blob_or_none(pair: Pair, lie: str) -> None:
    """Whatever a status claims: what is stored under the digest has the digest, and the copy ends."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_destination.add(drop_upload(100_000), method="PATCH", path="/uploads/", times=1, skip=3)
    assert again(made, pair.destination, repo, notes).error is not None
    pair.at_destination.add(with_header("Range", LIES[lie]), method="GET", path="/uploads/")
    for _ in range(3):
        outcome = again(made, pair.destination, repo, notes, run_options=HASTY)
        if outcome.error is None:
            break
    assert outcome.error is None
    assert_complete(pair.destination, repo, made)


def test_a_range_that_grows_with_every_question_ends_too(pair: Pair) -> None:
    """A registry that claims a little more each time it is asked is asked a bounded number of times."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    claims = iter(range(PART + 10, SIZE, 1000))
    pair.at_destination.add(drop_upload(1), method="PATCH", path="/uploads/", skip=2)
    pair.at_destination.add(edited(_claim(claims)), method="GET", path="/uploads/", skip=1)
    outcome = again(made, pair.destination, repo, notes, run_options=replace(HASTY, retries=4))
    assert isinstance(outcome.error, FastcopyError)
    assert len(seen(pair.destination, repo, "GET", "blobs/uploads")) <= 8


def _claim(claims: Iterator[int]) -> Callable[[Reply], Reply]:
    def edit(reply: Reply) -> Reply:
        kept = [each for each in reply.headers if each[0].lower() != "range"]
        return replace(reply, headers=[*kept, ("Range", f"0-{next(claims)}")])

    return edit


# -- notes that are wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "nothing"])
def test_a_note_that_is_wrong_costs_time_not_bytes(pair: Pair, damage: str) -> None:
    """A digest's state that is damaged, another blob's, or lost: hashed again, or begun anew."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_destination.add(drop_upload(100_000), method="PATCH", path="/uploads/", times=1, skip=4)
    assert again(made, pair.destination, repo, notes).error is not None
    note = notes.open_upload(pair.destination.host, repo, _digest(made))
    assert note is not None
    other = Hasher()
    other.update(os.urandom(note.offset))
    states = {
        "cut": note.state[:-5],
        "flipped": bytes([note.state[0] ^ 1]) + note.state[1:],
        "other": resume.packed([other.export()]),
        "nothing": b"",
    }
    notes.checkpoint(replace(note, state=states[damage]))
    outcome = again(made, pair.destination, repo, notes, run_options=HASTY)
    assert outcome.error is None
    assert_complete(pair.destination, repo, made)


def test_a_source_that_changed_in_between_is_noticed(pair: Pair) -> None:
    """The second half is of other bytes: the digest of the whole is compared before the last of them leave."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_destination.add(drop_upload(100_000), method="PATCH", path="/uploads/", times=1, skip=4)
    assert again(made, pair.destination, repo, notes).error is not None
    pair.at_source.add(corrupt(PART), method="GET", path=_layer(made))
    outcome = again(made, pair.destination, repo, notes)
    assert isinstance(outcome.error, DigestMismatch)
    assert outcome.error.side == "source"
    assert notes.open_upload(pair.destination.host, repo, _digest(made)) is None
    pair.at_source.clear()
    assert again(made, pair.destination, repo, notes).error is None
    assert_complete(pair.destination, repo, made)


# -- interruptions -----------------------------------------------------------------------------------------------------


def test_an_interrupted_upload_stays_open_when_it_is_noted_for_good(pair: Pair) -> None:
    """Ctrl-C: what is confirmed is noted, the upload is left as it is, and the next run goes on with it."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    before = open_uploads(pair.destination)
    pair.at_destination.add(stall_upload(1000, 1.5), method="PATCH", path="/uploads/", times=1, skip=4)
    assert again(made, pair.destination, repo, notes, seconds=1.0).report is None
    assert not seen(pair.destination, repo, "DELETE")
    assert open_uploads(pair.destination) == before + 1
    note = notes.open_upload(pair.destination.host, repo, _digest(made))
    assert note is not None
    assert note.offset == 3 * PART
    assert again(made, pair.destination, repo, notes).error is None
    assert_complete(pair.destination, repo, made)
    assert body_bytes(pair.destination, repo) <= SIZE + _small(made)


@pytest.mark.parametrize("large", [True, False], ids=["parts", "one body"])
def test_an_interrupted_upload_that_nobody_goes_on_with_is_given_up(pair: Pair, large: bool) -> None:
    """Without notes that last, the registry is told to forget it."""
    made, repo = pair.image(sizes=(SIZE if large else PART - 1,)), fresh("resume/to")
    before = open_uploads(pair.destination)
    method, skip = ("PATCH", 4) if large else ("PUT", 0)
    path = "/uploads/" if large else _layer(made)
    pair.at_destination.add(stall_upload(1000, 1.5), method=method, path=path, times=1, skip=skip)
    outcome = again(made, pair.destination, repo, Notes(), seconds=1.0)
    assert (outcome.report, outcome.error) == (None, None)
    deadline = time.monotonic() + 10
    while open_uploads(pair.destination) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_uploads(pair.destination) == before


# -- company -----------------------------------------------------------------------------------------------------------


def test_two_destinations_each_go_on_from_their_own_offset(pair: Pair, embedded_plain: Registry) -> None:
    """One download for both: it begins at the smaller offset, and each gets only what it lacks."""
    outcome = _company(pair, embedded_plain, [2, 4])
    assert outcome == [0, 0]


def _company(pair: Pair, other: Registry, parts: list[int]) -> list[int]:
    """Break an upload at each of two destinations, then copy to both at once; bytes sent to each beyond the blob."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    with relay_to(pair.destination.host) as one, relay_to(other.host) as two:
        ends = [replace(pair.destination, host=one.host), replace(other, host=two.host)]
        for end, relay, part in zip(ends, (one, two), parts, strict=True):
            relay.cuts = [("up", part * PART + 50_000)]
            assert again(made, end, repo, notes).error is not None
        both(made, ends, repo, notes)
    for end in (pair.destination, other):
        assert_complete(end, repo, made)
    return [body_bytes(end, repo) - SIZE - _small(made) for end in (pair.destination, other)]


@pytest.mark.real("docker-registry")
def test_beside_a_registry_that_takes_one_body_everything_comes_in_one(pair: Pair, docker_plain: Registry) -> None:
    """An upload in one piece cannot wait for the parts of another: both come whole, and right."""
    made, repo = pair.image(sizes=(SIZE,)), fresh("resume/to")
    both(made, [pair.destination, docker_plain], repo, Notes())
    for end in (pair.destination, docker_plain):
        assert_complete(end, repo, made)
        assert uploads(end, repo) == len(made.blobs)
    gets = seen(made.registry, made.repo, "GET", "blobs")
    assert len([each for each in gets if _layer(made) in each.rest]) == 1


# -- texts -------------------------------------------------------------------------------------------------------------


def test_no_text_shows_where_an_upload_goes_on(pair: Pair) -> None:
    """A Location is a capability: errors and notes of a broken upload keep it to themselves."""
    made, repo, notes = pair.image(sizes=(SIZE,)), fresh("resume/to"), Lasting()
    pair.at_destination.add(_with_state(), method="POST|PATCH|GET", path="/uploads/")
    pair.at_destination.add(respond(400, "UNSUPPORTED"), method="PATCH", path="/uploads/", times=9, skip=4)
    outcome = again(made, pair.destination, repo, notes, run_options=RunOptions(retries=1, retry_delay=0.01))
    assert isinstance(outcome.error, PeerError)
    assert "s3cret" not in str(outcome.error) + repr(outcome.events)
    note = notes.open_upload(pair.destination.host, repo, _digest(made))
    assert note is not None
    assert "s3cret" in note.location
    assert "s3cret" not in repr(note)


def _with_state() -> Middleware:
    def edit(reply: Reply) -> Reply:
        changed = [(name, f"{value}?_state=s3cret" if name == "Location" else value) for name, value in reply.headers]
        return replace(reply, headers=changed)

    return edited(edit)
