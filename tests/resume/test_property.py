"""Any sequence of parts, breaks, answers and restarts leaves the blob, and sends nothing twice that was confirmed."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcopy.serve.message import Middleware
from tests.copy.world import HASTY, Made, Pair, assert_complete, fresh, image
from tests.faults import answer_lost, drop_download, drop_upload, hang_up, respond, with_header
from tests.registries import Registry
from tests.resume.conftest import PART
from tests.resume.world import ONCE, Lasting, again, body_bytes

pytestmark = pytest.mark.usefixtures("_in_miniature")
SIZE = 4 * PART + 12_345


@dataclass(frozen=True)
class Event:
    """Something that goes wrong, once, at the registry's (or the source's) *skip*-th request of its kind."""

    what: str
    method: str
    fault: Middleware
    skip: int
    granted: bool  #: whether the registry still grants what it confirmed

    def __repr__(self) -> str:
        return f"{self.what} after {self.skip}"


def _event(what: str, method: str, fault: Middleware, *, granted: bool = True) -> st.SearchStrategy[Event]:
    return st.integers(0, 5).map(lambda skip: Event(what, method, fault, skip, granted))


#: From two bytes on: 0-1 is the first answer that cannot mean nothing.
BREAKS = st.integers(2, PART - 1).flatmap(lambda at: _event(f"cut at {at}", "PATCH", drop_upload(at)))
HONEST = st.one_of(
    BREAKS,
    BREAKS,
    _event("answer lost", "PATCH", answer_lost()),
    _event("500", "PATCH", respond(500)),
    _event("503 to a status", "GET", respond(503)),
    _event("connection closed", "GET", hang_up()),
    _event("503 to the closing", "PUT", respond(503, retry_after=0)),
    st.integers(1, SIZE - 1).flatmap(lambda at: _event(f"source cut at {at}", "source", drop_download(at))),
)
LIES = st.one_of(
    HONEST,
    st.integers(0, SIZE + 9).flatmap(
        lambda at: _event(f"says 0-{at}", "GET", with_header("Range", f"0-{at}"), granted=False)
    ),
    _event("says nothing", "GET", with_header("Range", None), granted=False),
    _event("upload lost", "GET|PATCH|PUT", respond(404, "BLOB_UPLOAD_UNKNOWN"), granted=False),
    _event("416", "PATCH", respond(416, "RANGE_INVALID"), granted=False),
)


@pytest.fixture(scope="module")
def made(_plain_pair: Pair) -> Made:
    """One image for all."""
    return image(_plain_pair.source, sizes=(SIZE,))


def _carried(made: Made, pair: Pair, repo: str, events: list[Event], restarts: bool) -> bool:
    """Copy under *events* until it ends; with *restarts* each attempt is another process. Whether it ended."""
    pair.at_source.clear()
    pair.at_destination.clear()
    notes = Lasting()
    for event in events:
        end, path = (pair.at_source, made.layer) if event.method == "source" else (pair.at_destination, "/uploads/")
        method = "GET" if event.method == "source" else event.method
        # the first PATCH and GET find out how the registry behaves, the config's PUT is not what this is about
        skip = event.skip + 1 if method == "PATCH" else event.skip
        end.add(event.fault, method=method, path=path.partition("sha256:")[2] or path, times=1, skip=skip)
    for _ in range(len(events) * 3 + 3):
        if again(made, pair.destination, repo, notes, run_options=ONCE if restarts else HASTY).error is None:
            return True
    return False


def _layer_bytes(destination: Registry, repo: str, made: Made) -> int:
    small = sum(len(data) for digest, data in made.blobs.items() if digest != made.layer)
    return body_bytes(destination, repo) - small


several = functools.partial(
    settings, max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@several()
@given(events=st.lists(HONEST, max_size=5), restarts=st.booleans())
def test_what_was_confirmed_is_never_sent_twice(pair: Pair, made: Made, events: list[Event], restarts: bool) -> None:
    """At a registry that grants what it confirmed every byte is received once, however often it all breaks."""
    repo = fresh("resume/property")
    assert _carried(made, pair, repo, events, restarts)
    assert_complete(pair.destination, repo, made)
    refused = sum(event.what == "500" for event in events)  # a body that was refused unread has not arrived
    assert SIZE <= _layer_bytes(pair.destination, repo, made) <= SIZE + refused * PART


@several()
@given(events=st.lists(LIES, max_size=5), restarts=st.booleans())
def test_whatever_a_registry_answers_the_blob_is_right(
    pair: Pair, made: Made, events: list[Event], restarts: bool
) -> None:
    """Lies, losses and refusals cost bytes; the copy ends, and what is stored is the blob."""
    repo = fresh("resume/property")
    assert _carried(made, pair, repo, events, restarts)
    assert_complete(pair.destination, repo, made)
