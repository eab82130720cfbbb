"""What an answer or a broken link means, and what may be hoped for from another attempt.

Pure. Owns the tables: status and error code to error class, kind of request and failure to the next step, and the
length of a pause. Refuses to know who retries; the scheduler does, and nothing here sleeps.
Texts carry what skopeo's users match on (``manifest unknown``, ``authentication required``, …).
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable
from http import HTTPStatus

from fastcopy import errors
from fastcopy.errors import Again, FastcopyError, PeerError
from fastcopy.http.answer import Answer, read_answer
from fastcopy.http.challenge import parse_challenges, pick
from fastcopy.http.wire import Headers, Response

#: A registry that asks for more is not waited for; its window is hours (protocol reference 5.6).
LONGEST_PAUSE = 600.0
#: Statuses after which the same request may succeed now (protocol reference 5.2).
PASSING = frozenset({408, 425, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})
#: The text of DENIED (distribution specification), which is also what a 401 insufficient_scope means.
DENIED = "requested access to the resource is denied"
#: Statuses that say "not by this version of HTTP" (protocol reference 5.2).
OTHER_HTTP = frozenset({421, 426, 501, 505})


def error_from(response: Response, *, what: str, quote: bool = True, now: float | None = None) -> FastcopyError:
    """The error that *response* to *what* (``reading manifest 1.0 in a/b``) is; its status was not the hoped-for one.

    *quote* False keeps the body out of the text. *now* is the wall clock, for Retry-After. `again` and `retry_after`
    of the error are set.
    """
    answer = read_answer(response) if quote else Answer()
    make = _by_code(answer, response) or _by_status(response.status)
    error = make(f"{what}: {_text(response, answer)}")
    if isinstance(error, PeerError):
        error.status, error.code = response.status, answer.code
    if error.again in (Again.LATER, Again.SAME):
        error.retry_after = parse_retry_after(response.headers, time.time() if now is None else now)
        if (error.retry_after or 0.0) >= LONGEST_PAUSE:
            error.again = Again.NEVER
    if not error.hint:
        error.hint = _hint(response, answer)
    return error


Make = Callable[[str], FastcopyError]


def _again(make: type[PeerError], again: Again) -> Make:
    def build(message: str) -> FastcopyError:
        error = make(message)
        error.again = again
        return error

    return build


#: Error codes (distribution specification, its heritage, Harbor's and ACR's) that say more than the status.
CODES: dict[str, Make] = {
    "MANIFEST_UNKNOWN": errors.ManifestUnknown,
    "NAME_UNKNOWN": errors.NotThere,
    "BLOB_UNKNOWN": errors.NotThere,
    "TAG_INVALID": errors.NotThere,
    "NOT_FOUND": errors.NotThere,
    "BLOB_UPLOAD_UNKNOWN": errors.UploadLost,
    "BLOB_UPLOAD_INVALID": errors.UploadLost,
    "DIGEST_INVALID": errors.DigestMismatch,
    "SIZE_INVALID": errors.SizeMismatch,
    "UNAUTHORIZED": errors.NeedsLogin,
    "DENIED": errors.Denied,
    "FORBIDDEN": errors.Denied,
    "TOOMANYREQUESTS": errors.TooManyRequests,
    "UNAVAILABLE": errors.ServerFault,
    # ECR's validator lags behind its blob store: the same manifest is accepted a moment later (protocol reference 3.4)
    "MANIFEST_BLOB_UNKNOWN": _again(PeerError, Again.SAME),
}
_STATUSES: dict[int, Make] = {
    401: errors.NeedsLogin,
    403: errors.Denied,
    404: errors.NotThere,
    410: errors.NotThere,
    429: errors.TooManyRequests,
    501: _again(PeerError, Again.NEVER),
    505: _again(PeerError, Again.NEVER),
    507: errors.NoSpace,
}
#: Codes that some servers attach to statuses which say more: a 5xx UNKNOWN stays the server's fault.
_CLIENT_FAULT = range(400, 500)


def _by_code(answer: Answer, response: Response) -> Make | None:
    """The class that the body's error code names; none when the status alone must decide."""
    if answer.disk_full or (answer.quota and response.status in _CLIENT_FAULT and response.status != 429):
        return errors.NoSpace
    if response.status == 401:
        return errors.Denied if response.auth == "bearer" else errors.NeedsLogin
    if response.status == 429:
        return errors.TooManyRequests
    if response.status == 503 and "retry-after" in response.headers:
        return errors.TooManyRequests
    if response.status == 400 and answer.code == "BLOB_UNKNOWN":
        return CODES["MANIFEST_BLOB_UNKNOWN"]
    if response.status in _CLIENT_FAULT or answer.code == "TOOMANYREQUESTS":
        return CODES.get(answer.code)
    return None


def _by_status(status: int) -> Make:
    if status in _STATUSES:
        return _STATUSES[status]
    if status in PASSING or status >= 500:
        return _again(errors.ServerFault, Again.SAME)
    if 200 <= status < 400:
        return errors.ProtocolBroken
    return PeerError


def _text(response: Response, answer: Answer) -> str:
    """skopeo's wording: the registry's own message, else the status."""
    if response.status == 401 and _lacks_scope(response):
        return DENIED
    if answer.message:
        return f"too many requests: {answer.message}" if response.status == 429 else answer.message
    if answer.code:
        return answer.code.lower().replace("_", " ")
    if response.status == 401:
        return "authentication required"
    if response.status == 403:
        return DENIED
    if response.status == 429:
        return "too many requests"
    if response.status < 400 or response.status >= 500 or not answer.excerpt:
        return f"received unexpected HTTP status: {_phrase(response.status)}"
    return f'StatusCode: {response.status}, "{answer.excerpt}"'


def _lacks_scope(response: Response) -> bool:
    challenge = pick(parse_challenges(response.headers.all("www-authenticate")), "bearer")
    return challenge is not None and challenge.params.get("error") == "insufficient_scope"


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _hint(response: Response, answer: Answer) -> str:
    if response.status == 412 and answer.code in ("PRECONDITION", ""):
        return "the tag is immutable at this registry"
    if response.status == 413:
        return "the registry or a proxy before it limits the size of a request"
    if response.status == 401 and response.auth == "basic":
        return "invalid username/password"
    if response.status == 401 and response.auth == "bearer":
        return "the account is known but lacks the right"
    if response.status in (401, 403) and response.auth in ("", "anonymous"):
        return "no credentials were sent"
    return ""


def parse_retry_after(headers: Headers, now: float) -> float | None:
    """Seconds that Retry-After asks for (delta or HTTP date, RFC 9110 10.2.3), within 0 and LONGEST_PAUSE.

    A date is read against the answer's own Date where there is one, so that the clocks need not agree. None when
    absent or not understood.
    """
    text = headers.get("retry-after").strip()
    if not text or not text.isascii():
        return None
    if text.isdigit():
        return min(float(text[:9]), LONGEST_PAUSE)
    until = _date(text)
    if until is None:
        return None
    start = _date(headers.get("date"))
    return min(max(until - (now if start is None else start), 0.0), LONGEST_PAUSE)


def _date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def backoff(attempt: int, *, base: float = 0.5, cap: float = 30.0, rng: Callable[[], float] = random.random) -> float:
    """Seconds to wait before further attempt number *attempt* (from 0): full jitter over an exponential."""
    return rng() * min(cap, base * 2.0 ** min(attempt, 60))


def pause(error: FastcopyError, attempt: int, *, base: float = 0.5, rng: Callable[[], float] = random.random) -> float:
    """`backoff`, or Retry-After plus a little jitter, so that not everybody comes back at the same moment."""
    wait = backoff(attempt, base=base, rng=rng)
    return wait if error.retry_after is None else error.retry_after + min(wait, 1.0 + error.retry_after / 10)


class Kind(enum.Enum):
    """Kinds of request that differ in what a failure leaves behind."""

    READ = "GET or HEAD"
    START = "POST of an upload"
    MOUNT = "POST of a mount"
    CHUNK = "PATCH"
    CLOSE = "PUT of a blob"
    MANIFEST = "PUT of a manifest"
    DELETE = "DELETE"
    TOKEN = "request for a token"  # noqa: S105  # a description


class Step(enum.Enum):
    """What to do after a failure."""

    FAIL = "final"
    AGAIN = "send the same request again"
    ASK_STATUS = "ask the upload how far it got, else start the blob anew"
    ASK_BLOB = "HEAD the blob: it may have been committed; else start it anew"
    RESTART = "start the blob anew with a new upload"
    WITHOUT_MOUNT = "start a plain upload instead of a mount"
    RESUME = "continue the body by Range"
    OVER_HTTP1 = "repeat over HTTP/1.1"


#: 416 to an upload: the registry has another offset than we (protocol reference 5.2).
_OUT_OF_STEP = {Kind.CHUNK: Step.ASK_STATUS, Kind.CLOSE: Step.RESTART}
#: What follows a failure that leaves the server in doubt (protocol reference 5.2 and 5.5: PATCH and the closing PUT
#: are not idempotent, everything else is).
_DOUBT = {Kind.CHUNK: Step.ASK_STATUS, Kind.CLOSE: Step.ASK_BLOB}


def next_step(kind: Kind, error: FastcopyError, *, sent: bool = True, body_began: bool = False) -> Step:
    """What to do after *error* in a request of *kind*.

    *sent* False: the server cannot have seen the request (connect failed, REFUSED_STREAM, GOAWAY above the last id).
    *body_began*: the response's body was cut, not its head.
    """
    status = error.status if isinstance(error, PeerError) else 0
    if status in OTHER_HTTP:
        return Step.OVER_HTTP1
    if status == 416 and kind in _OUT_OF_STEP:
        return _OUT_OF_STEP[kind]
    if error.again is Again.NEVER:
        return Step.WITHOUT_MOUNT if kind is Kind.MOUNT and isinstance(error, _MOUNT_REFUSED) else Step.FAIL
    if error.again is Again.FRESH:
        return _fresh(kind, error)
    if not sent:
        return Step.AGAIN
    if kind is Kind.READ and body_began:
        return Step.RESUME
    return _DOUBT.get(kind, Step.AGAIN)


#: A registry may refuse a mount with 400, 401, 403, 404 or 405 and still take the blob (protocol reference 0.5).
_MOUNT_REFUSED = (errors.AuthError, errors.NotThere, PeerError)


_UPLOADING = frozenset({Kind.START, Kind.MOUNT, Kind.CHUNK, Kind.CLOSE})


def _fresh(kind: Kind, error: FastcopyError) -> Step:
    if kind is Kind.READ:
        return Step.AGAIN  # a digest mismatch: once more, from another connection
    if kind is Kind.CLOSE and isinstance(error, errors.UploadLost):
        return Step.ASK_BLOB  # what we lost track of may have been committed
    return Step.RESTART if kind in _UPLOADING else Step.FAIL
