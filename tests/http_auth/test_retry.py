"""What an answer means, and what comes next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy import errors
from fastcopy.errors import Again, FastcopyError, PeerError
from fastcopy.http.answer import clean
from fastcopy.http.retry import (
    LONGEST_PAUSE,
    Kind,
    Step,
    backoff,
    error_from,
    next_step,
    parse_retry_after,
    pause,
)
from fastcopy.http.wire import Headers, Response
from tests.http_auth.world import answer


def coded(status: int, code: str, message: str = "", detail: object = None) -> Response:
    """A refusal in the specification's form."""
    return answer(status, body={"errors": [{"code": code, "message": message, "detail": detail}]})


@pytest.mark.parametrize(
    ("response", "kind", "again", "text"),
    [
        (coded(404, "MANIFEST_UNKNOWN", "manifest unknown"), errors.ManifestUnknown, Again.NEVER, "manifest unknown"),
        (coded(404, "MANIFEST_UNKNOWN"), errors.ManifestUnknown, Again.NEVER, "manifest unknown"),
        (
            coded(404, "NAME_UNKNOWN", "repository name not known to registry"),
            errors.NotThere,
            Again.NEVER,
            "not known",
        ),
        (coded(404, "BLOB_UNKNOWN", "blob unknown to registry"), errors.NotThere, Again.NEVER, "blob unknown"),
        (coded(404, "BLOB_UPLOAD_UNKNOWN"), errors.UploadLost, Again.FRESH, "blob upload unknown"),
        (coded(404, "BLOB_UPLOAD_INVALID"), errors.UploadLost, Again.FRESH, "blob upload invalid"),
        (coded(400, "DIGEST_INVALID"), errors.DigestMismatch, Again.FRESH, "digest invalid"),
        (coded(400, "SIZE_INVALID"), errors.SizeMismatch, Again.FRESH, "size invalid"),
        (coded(400, "MANIFEST_BLOB_UNKNOWN"), PeerError, Again.SAME, "manifest blob unknown"),
        (coded(400, "BLOB_UNKNOWN"), PeerError, Again.SAME, "blob unknown"),
        (coded(400, "MANIFEST_INVALID", "manifest invalid"), PeerError, Again.NEVER, "manifest invalid"),
        (
            coded(401, "UNAUTHORIZED", "authentication required"),
            errors.NeedsLogin,
            Again.NEVER,
            "authentication required",
        ),
        (answer(401), errors.NeedsLogin, Again.NEVER, "authentication required"),
        (coded(403, "DENIED"), errors.Denied, Again.NEVER, "denied"),
        (answer(403), errors.Denied, Again.NEVER, "requested access to the resource is denied"),
        (coded(429, "TOOMANYREQUESTS", "slow"), errors.TooManyRequests, Again.LATER, "too many requests: slow"),
        (coded(400, "TOOMANYREQUESTS", "Rate exceeded"), errors.TooManyRequests, Again.LATER, "Rate exceeded"),
        (
            answer(429, body=b"<html><title>429 Calm down</title>"),
            errors.TooManyRequests,
            Again.LATER,
            "too many requests",
        ),
        (answer(503, ("Retry-After", "3")), errors.TooManyRequests, Again.LATER, "503 Service Unavailable"),
        (answer(503), errors.ServerFault, Again.SAME, "unexpected HTTP status: 503 Service Unavailable"),
        (coded(500, "UNKNOWN", "unknown error"), errors.ServerFault, Again.SAME, "unknown error"),
        (coded(500, "MANIFEST_UNKNOWN", "odd"), errors.ServerFault, Again.SAME, "odd"),
        (answer(500), errors.ServerFault, Again.SAME, "received unexpected HTTP status: 500 Internal Server Error"),
        (answer(522), errors.ServerFault, Again.SAME, "522"),
        (answer(408), errors.ServerFault, Again.SAME, "408"),
        (answer(501), PeerError, Again.NEVER, "501 Not Implemented"),
        (answer(507), errors.NoSpace, Again.NEVER, "507"),
        (coded(403, "DENIED", "Quota exceeded when processing"), errors.NoSpace, Again.NEVER, "Quota exceeded"),
        (
            coded(500, "UNKNOWN", "unknown error", "write x: no space left on device"),
            errors.NoSpace,
            Again.NEVER,
            "write x",
        ),
        (coded(500, "UNKNOWN", "quota service is down"), errors.ServerFault, Again.SAME, "quota service"),
        (coded(412, "PRECONDITION", "tag is immutable"), PeerError, Again.NEVER, "immutable"),
        (answer(413), PeerError, Again.NEVER, "limits the size"),
        (
            answer(404, body=b"<!DOCTYPE html><h1>Not &amp; here</h1>"),
            errors.NotThere,
            Again.NEVER,
            '404, "Not & here"',
        ),
        (
            answer(404, body=b"404 page not found\n"),
            errors.NotThere,
            Again.NEVER,
            'StatusCode: 404, "404 page not found"',
        ),
        (answer(200), errors.ProtocolBroken, Again.NEVER, "200 OK"),
        (answer(302), errors.ProtocolBroken, Again.NEVER, "302 Found"),
        (answer(299), errors.ProtocolBroken, Again.NEVER, "299"),
        (answer(418, body={"code": "TEAPOT", "message": "short and stout"}), PeerError, Again.NEVER, "short and stout"),
        (answer(403, body={"errors": {"detail": 1}}), errors.Denied, Again.NEVER, "denied"),
    ],
)
def test_answers_become_errors(response: Response, kind: type[FastcopyError], again: Again, text: str) -> None:
    """Status and code decide the class, the class what may be hoped for, and the text is what skopeo's users know."""
    error = error_from(response, what="reading manifest 1 in a/b")
    assert (type(error), error.again) == (kind, again)
    assert str(error).startswith("reading manifest 1 in a/b: ")
    assert text in str(error)
    if isinstance(error, PeerError):
        assert error.status == response.status


def test_a_401_for_missing_scope_reads_as_denied() -> None:
    """insufficient_scope is worded as skopeo words it."""
    challenge = ("WWW-Authenticate", 'Bearer realm="https://a/t",error="insufficient_scope"')
    response = answer(401, challenge, body={"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
    assert "requested access to the resource is denied" in error_from(response, what="x").message


def test_the_missing_blob_is_named() -> None:
    """MANIFEST_BLOB_UNKNOWN carries the digest in its detail."""
    digest = "sha256:" + "a" * 64
    response = coded(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", {"Digest": digest})
    assert digest in str(error_from(response, what="x"))


def test_an_unquoted_answer_stays_out_of_the_text() -> None:
    """Token servers may echo what we sent."""
    response = coded(500, "UNKNOWN", "your password hunter2")
    assert "hunter2" not in str(error_from(response, what="x", quote=False))


@pytest.mark.parametrize(
    ("text", "date", "expected"),
    [
        ("120", "", 120.0),
        ("0", "", 0.0),
        (" 7 ", "", 7.0),
        ("99999999999999999999", "", LONGEST_PAUSE),
        ("-5", "", None),
        ("1.5", "", None),
        ("\u0663", "", None),
        ("soon", "", None),
        ("", "", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:29:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", "", LONGEST_PAUSE),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "", 10.0),
        ("Wed, 99 Oct 2015 07:28:30 GMT", "", None),
    ],
)
def test_retry_after_is_read_defensively(text: str, date: str, expected: float | None) -> None:
    """Seconds or a date against the server's own clock, clamped; nonsense is as good as nothing."""
    headers = Headers([("Retry-After", text)] + ([("Date", date)] if date else []))
    assert parse_retry_after(headers, 1445412500.0) == expected


def test_the_pause_is_known_to_the_error() -> None:
    """429 carries Retry-After in seconds."""
    assert error_from(answer(429, ("Retry-After", "30")), what="x").retry_after == 30
    assert error_from(answer(429), what="x").retry_after is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_retry_after_breaks_the_reader(text: str, date: str) -> None:
    """The result is None or within its bounds."""
    wait = parse_retry_after(Headers([("Retry-After", text), ("Date", date)]), 0.0)
    assert wait is None or 0 <= wait <= LONGEST_PAUSE


@given(st.integers(100, 999), st.binary(max_size=300), st.sampled_from(["", "anonymous", "basic", "bearer"]))
def test_every_answer_becomes_one_line(status: int, body: bytes, auth: str) -> None:
    """Whatever the body, the text is one printable line."""
    error = error_from(Response(status, Headers(), body, auth=auth), what="x")
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\tand \x1b[31mcolour", "two lines and [31mcolour"),
        ("see https://s3.example/x?X-Amz-Signature=abc now", "see https://s3.example/x?REDACTED now"),
        ("sent Bearer abcdefgh.ijkl", "sent Bearer REDACTED"),
        ("\u202eabc\u200b", "abc"),
    ],
)
def test_strangers_words_are_made_harmless(text: str, expected: str) -> None:
    """No control or bidirectional characters, no query strings, no tokens."""
    assert clean(text) == expected
    assert len(clean(text * 500)) <= 300


LOST = errors.LinkLost("gone")
BUSY = errors.TooManyRequests("slow")
FAULT = errors.ServerFault("500", status=500)
FINAL = PeerError("405", status=405)
OFFSET = PeerError("416", status=416)
OLD = PeerError("421", status=421)


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        (Kind.READ, LOST, Step.AGAIN),
        (Kind.START, LOST, Step.AGAIN),
        (Kind.CHUNK, LOST, Step.ASK_STATUS),
        (Kind.CLOSE, LOST, Step.ASK_BLOB),
        (Kind.CLOSE, errors.Stalled("15 minutes"), Step.ASK_BLOB),
        (Kind.MANIFEST, LOST, Step.AGAIN),
        (Kind.TOKEN, LOST, Step.AGAIN),
        (Kind.DELETE, LOST, Step.AGAIN),
        (Kind.READ, FAULT, Step.AGAIN),
        (Kind.CHUNK, FAULT, Step.ASK_STATUS),
        (Kind.CLOSE, FAULT, Step.ASK_BLOB),
        (Kind.MANIFEST, FAULT, Step.AGAIN),
        (Kind.READ, BUSY, Step.AGAIN),
        (Kind.CHUNK, BUSY, Step.ASK_STATUS),
        (Kind.CLOSE, BUSY, Step.ASK_BLOB),
        (Kind.READ, FINAL, Step.FAIL),
        (Kind.MANIFEST, errors.Denied("no"), Step.FAIL),
        (Kind.MOUNT, FINAL, Step.WITHOUT_MOUNT),
        (Kind.MOUNT, errors.Denied("no"), Step.WITHOUT_MOUNT),
        (Kind.MOUNT, errors.NotThere("no"), Step.WITHOUT_MOUNT),
        (Kind.MOUNT, errors.NoSpace("full"), Step.FAIL),
        (Kind.CHUNK, errors.UploadLost("gone"), Step.RESTART),
        (Kind.CLOSE, errors.UploadLost("gone"), Step.ASK_BLOB),
        (Kind.CLOSE, errors.DigestMismatch("bad"), Step.RESTART),
        (Kind.READ, errors.DigestMismatch("bad"), Step.AGAIN),
        (Kind.MANIFEST, errors.DigestMismatch("bad"), Step.FAIL),
        (Kind.CHUNK, OFFSET, Step.ASK_STATUS),
        (Kind.CLOSE, OFFSET, Step.RESTART),
        (Kind.READ, OFFSET, Step.FAIL),
        (Kind.READ, OLD, Step.OVER_HTTP1),
        (Kind.CLOSE, errors.NoSpace("full"), Step.FAIL),
        (Kind.CLOSE, errors.TlsRefused("cert"), Step.FAIL),
    ],
)
def test_the_table_of_steps(kind: Kind, error: FastcopyError, expected: Step) -> None:
    """Protocol reference 5.2: only what may be repeated is repeated, the rest is asked about first."""
    assert next_step(kind, error) is expected


@pytest.mark.parametrize("kind", Kind)
def test_what_the_server_never_saw_is_sent_again(kind: Kind) -> None:
    """A failed connect or a refused stream leaves nothing behind, whatever the request was."""
    assert next_step(kind, errors.CannotConnect("refused"), sent=False) is Step.AGAIN


def test_a_cut_body_is_continued() -> None:
    """A download that broke in its body goes on by Range."""
    assert next_step(Kind.READ, LOST, body_began=True) is Step.RESUME


@given(st.integers(0, 2000), st.floats(0, 1))
def test_backoff_grows_within_its_cap(attempt: int, luck: float) -> None:
    """Full jitter: anything from nothing to the exponential, never above the cap."""
    assert 0 <= backoff(attempt, base=0.5, cap=30, rng=lambda: luck) <= min(30, 0.5 * 2 ** min(attempt, 10))


def test_a_pause_is_never_shorter_than_asked_for() -> None:
    """Retry-After is the lower bound; jitter comes on top, and little of it."""
    error = errors.TooManyRequests("x", retry_after=10)
    assert pause(error, 8, rng=lambda: 0.0) == 10
    assert pause(error, 8, rng=lambda: 1.0) == 12
    assert pause(errors.LinkLost("x"), 0, rng=lambda: 1.0) == 0.5
