"""What registries and networks refuse: one clear line, the side at fault, the exit code, and no name given."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastcopy.errors import NoSpace, TooManyRequests
from fastcopy.events import Waiting
from fastcopy.options import RunOptions
from fastcopy.serve import Account, Behaviour
from tests.cli.support import run
from tests.copy.world import (
    HASTY,
    Made,
    Pair,
    assert_clear,
    assert_complete,
    cli,
    copy,
    fresh,
    image,
    named,
    seen,
    uploads,
)
from tests.faults import respond, storage_full
from tests.registries import Registry, embedded_registry

SIDES = ("source", "destination")


def _elsewhere(made: Made, pair: Pair, side: str, host: str) -> tuple[Made, Registry, str]:
    """*made* and the destination with the *side* moved to *host*, and a repository."""
    repo = fresh("copy/to")
    if side == "source":
        return replace(made, registry=replace(pair.source, host=host)), pair.destination, repo
    return made, replace(pair.destination, host=host), repo


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is bound, so that nobody else takes it, and refuses connections."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.mark.parametrize("side", SIDES)
def test_an_unknown_host_is_named(pair: Pair, side: str) -> None:
    """No such host: final, at once."""
    made, destination, repo = _elsewhere(pair.image(), pair, side, "registry.invalid:5000")
    ran = cli(made, destination, repo)
    assert_clear(ran, made, destination.ref(repo, "1"), "no such host", side=side, code=1)


@pytest.mark.parametrize("side", SIDES)
def test_a_refused_connection_is_named(pair: Pair, side: str, closed_port: int) -> None:
    """Nobody listens: tried again, then said."""
    made, destination, repo = _elsewhere(pair.image(), pair, side, f"127.0.0.1:{closed_port}")
    ran = cli(made, destination, repo)
    assert_clear(ran, made, destination.ref(repo, "1"), "connection refused", side=side, code=1)


@pytest.mark.parametrize("side", SIDES)
def test_a_certificate_nobody_vouches_for_is_refused(tls_pair: Pair, tmp_path: Path, side: str) -> None:
    """An unknown authority ends the copy before any credential or byte was sent."""
    made, repo = tls_pair.image(), fresh("copy/to")
    destination = tls_pair.destination
    flags = made.registry.skopeo_flags("src-") + destination.skopeo_flags("dest-")
    blind = [flag for flag in flags if not flag.startswith("--src-" if side == "source" else "--dest-")]
    ran = run("copy", *blind, "--retry-delay=10ms", made.ref, destination.ref(repo, "1"))
    assert_clear(ran, made, destination.ref(repo, "1"), "certificate", side=side, code=1)
    assert named(destination, repo) == ""
    if side == "destination":
        assert seen(destination, repo, "POST") == []


@pytest.mark.parametrize("side", SIDES)
def test_a_certificate_for_another_name_is_refused(tls_pair: Pair, side: str) -> None:
    """The name in the certificate counts, not only who signed it: 127.0.0.2 is not in ours."""
    port = (tls_pair.source if side == "source" else tls_pair.destination).host.rpartition(":")[2]
    made, destination, repo = _elsewhere(tls_pair.image(), tls_pair, side, f"127.0.0.2:{port}")
    with embedded_registry(made.registry.certificates.ca.parent.parent.parent, "tls", listen="127.0.0.2:0") as other:
        host = f"127.0.0.2:{other.host.rpartition(':')[2]}"
        made, destination, repo = _elsewhere(tls_pair.image(), tls_pair, side, host)
        ran = cli(made, destination, repo)
    assert_clear(ran, made, destination.ref(repo, "1"), "certificate", side=side, code=1)


@pytest.mark.parametrize("side", SIDES)
def test_plain_http_on_an_https_port_is_told_apart(pair: Pair, side: str) -> None:
    """skopeo's words for a registry that speaks plain HTTP where HTTPS was asked for."""
    made, repo = pair.image(), fresh("copy/to")
    other = "--dest-tls-verify=false" if side == "source" else "--src-tls-verify=false"
    ran = run("copy", other, "--retry-delay=10ms", made.ref, pair.destination.ref(repo, "1"))
    words = "server gave HTTP response to HTTPS client"
    assert_clear(ran, made, pair.destination.ref(repo, "1"), words, side=side, code=1)


def test_a_registry_that_wants_a_login_says_so(pair: Pair, embedded_basic: Registry) -> None:
    """401 without credentials, at either side."""
    made, repo = pair.image(), fresh("copy/to")
    flags = [*made.registry.skopeo_flags("src-"), f"--dest-cert-dir={embedded_basic.certificates.directory}"]  # type: ignore[union-attr]
    ran = run("copy", *flags, made.ref, embedded_basic.ref(repo, "1"))
    assert_clear(ran, made, embedded_basic.ref(repo, "1"), "authentication required", side="destination", code=1)
    theirs = image(embedded_basic)
    flags = [f"--src-cert-dir={embedded_basic.certificates.directory}", "--dest-tls-verify=false"]  # type: ignore[union-attr]
    ran = run("copy", *flags, theirs.ref, pair.destination.ref(repo, "1"))
    assert_clear(ran, theirs, pair.destination.ref(repo, "1"), "authentication required", side="source", code=1)


@pytest.mark.parametrize("flavour", ["basic", "token"])
def test_a_wrong_password_is_asked_for_once(request: pytest.FixtureRequest, pair: Pair, flavour: str) -> None:
    """Wrong credentials are final: never repeated (accounts get locked), and said to be the destination's."""
    registry: Registry = request.getfixturevalue(f"embedded_{flavour}")
    made, repo = pair.image(), fresh("copy/to")
    before = len(registry.requests())
    flags = [*made.registry.skopeo_flags("src-"), f"--dest-cert-dir={registry.certificates.directory}"]  # type: ignore[union-attr]
    ran = run("copy", *flags, "--dest-creds=flora:wrong", made.ref, registry.ref(repo, "1"))
    assert_clear(ran, made, registry.ref(repo, "1"), side="destination", code=1)
    assert any(word in ran.err for word in ("invalid username/password", "authentication required"))
    asked = registry.requests()[before:]
    assert sum(status == 401 for _, _, status in asked) <= 6, asked


def test_a_missing_right_is_a_refusal_not_a_login(pair: Pair, tmp_path: Path) -> None:
    """A valid account without the right to push: denied, with both words."""
    accounts = (Account("flora", "open sesame: 1", (("", frozenset({"pull"})),)),)
    for auth in ("basic", "token"):
        settings = {"accounts": accounts, "behaviour": Behaviour(auth=auth)}  # type: ignore[arg-type]
        with embedded_registry(tmp_path / auth, auth, **settings) as registry:  # type: ignore[arg-type]
            made, repo = pair.image(), fresh("copy/to")
            ran = cli(made, registry, repo)
            assert_clear(ran, made, registry.ref(repo, "1"), "denied", side="destination", code=1)
            assert uploads(registry, repo) == 0


def test_a_missing_image_exits_with_2(pair: Pair) -> None:
    """404 MANIFEST_UNKNOWN is skopeo's exit code 2."""
    pair.fails(replace(pair.image(), tag="nope"), "manifest unknown", side="source", code=2)


def test_a_missing_repository_exits_with_2_too(pair: Pair) -> None:
    """A registry that has no such repository says so; the words are the registry's."""
    ran = pair.fails(replace(pair.image(), repo="copy/nowhere"), side="source", code=2)
    assert "unknown" in ran.err


@pytest.mark.parametrize(
    ("status", "code", "words"), [(403, "DENIED", "made to fail"), (404, "NAME_UNKNOWN", "made to fail")]
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_refused_push_is_the_destinations(pair: Pair, method: str, status: int, code: str, words: str) -> None:
    """403 and 404 at the start of an upload, or for the manifest."""
    pair.at_destination.add(
        respond(status, code), method=method, path="/blobs/uploads/$" if method == "POST" else "/manifests/"
    )
    ran = pair.fails(pair.image(), words, side="destination")
    assert ran.code == 1


def test_a_blob_that_the_source_denies_ends_the_copy(pair: Pair) -> None:
    """403 for a layer: the source's fault, and the destination's name stays what it was."""
    older, made, repo = pair.image(), pair.image(), fresh("copy/to")
    assert pair.copy(older, repo).error is None
    pair.at_source.add(respond(403, "DENIED"), method="GET", path=made.layer)
    pair.fails(made, "made to fail", side="source", repo=repo)
    assert_complete(pair.destination, repo, older)


def test_a_blob_that_the_source_lost_ends_the_copy(pair: Pair) -> None:
    """404 for a layer that the manifest promises: not exit code 2, the manifest is there."""
    made = pair.image()
    pair.at_source.add(respond(404, "BLOB_UNKNOWN"), method="GET", path=made.layer)
    pair.fails(made, made.layer, side="source", code=1)


# -- too many requests -------------------------------------------------------------------------------------------------

_LIMITED = [
    ("source", "GET", "/manifests/"),
    ("source", "GET", "/blobs/"),
    ("destination", "HEAD", "/blobs/"),
    ("destination", "POST", "/blobs/uploads/"),
    ("destination", "PUT", "/blobs/uploads/"),
    ("destination", "PUT", "/manifests/"),
]


@pytest.mark.parametrize(("side", "method", "path"), _LIMITED)
def test_a_rate_limit_is_waited_for(pair: Pair, side: str, method: str, path: str) -> None:
    """429 with Retry-After at every kind of request: the copy waits and succeeds, and says for whom it waits."""
    faults = pair.at_source if side == "source" else pair.at_destination
    rule = faults.add(respond(429, "TOOMANYREQUESTS", retry_after=0), method=method, path=path, times=2)
    outcome = pair.arrives(pair.image())
    assert rule.hits == 2
    assert {event.side for event in outcome.of(Waiting)} == {side}


@pytest.mark.parametrize("status", [401, 403, 405, 429, 500])
def test_a_destination_that_will_not_say_what_it_has_is_copied_to(pair: Pair, status: int) -> None:
    """The HEAD of the destination's tag may only save work; without its answer the copy goes the long way."""
    rule = pair.at_destination.add(respond(status), method="HEAD", path="/manifests/")
    pair.arrives(pair.image())
    assert rule.hits == 1


@pytest.mark.slow
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(pair: Pair, form: str) -> None:
    """Seconds or an HTTP date (two seconds ahead of the answer's own): nothing is asked in between."""
    import email.utils
    import time

    after = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    rule = pair.at_destination.add(respond(429, retry_after=after), method="POST", path="uploads/", times=1)
    outcome = pair.arrives(pair.image(sizes=(400_000,)))
    assert rule.hits == 1
    waits = outcome.of(Waiting)
    assert waits
    assert min(event.seconds for event in waits) >= 0.5


def test_a_limit_of_hours_is_not_waited_for(pair: Pair) -> None:
    """A registry that asks for more patience than the budget has ends the copy with its own words."""
    pair.at_source.add(respond(429, "TOOMANYREQUESTS", retry_after=6 * 3600), method="GET", path="/manifests/", times=1)
    outcome = copy(pair.image(), pair.destination, fresh("copy/to"), run_options=HASTY)
    assert isinstance(outcome.error, TooManyRequests)
    assert outcome.error.side == "source"


# -- storms ------------------------------------------------------------------------------------------------------------

_STORMS = [(500, False), (502, True), (503, False), (504, True), (522, True)]


@pytest.mark.parametrize(("status", "html"), _STORMS)
@pytest.mark.parametrize("side", SIDES)
def test_a_storm_that_passes_is_survived(pair: Pair, side: str, status: int, html: bool) -> None:
    """Two answers 5xx to every kind of request, with JSON or a proxy's page: the copy succeeds."""
    faults = pair.at_source if side == "source" else pair.at_destination
    rules = [
        faults.add(respond(status, html=html), method=method, path=path, times=2)
        for where, method, path in _LIMITED
        if where == side
    ]
    pair.arrives(pair.image(sizes=(5_000, 400_000)))
    assert [rule.hits for rule in rules] == [2] * len(rules)


@pytest.mark.parametrize(("side", "method", "path"), _LIMITED)
def test_a_storm_that_stays_is_reported(pair: Pair, side: str, method: str, path: str) -> None:
    """503 for ever: a bounded number of attempts, then one line."""
    faults = pair.at_source if side == "source" else pair.at_destination
    rule = faults.add(respond(502, html=True), method=method, path=path)
    made, repo = pair.image(sizes=(400_000,)), fresh("copy/to")
    ran = cli(made, pair.destination, repo)
    assert_clear(ran, made, pair.destination.ref(repo, "1"), "502 Bad Gateway", side=side, code=1)
    assert named(pair.destination, repo) == ""
    assert 4 <= rule.hits <= 9


def test_the_same_storm_is_not_survived_without_retries(pair: Pair) -> None:
    """--retry-times 0 takes the registry's first word."""
    pair.at_source.add(respond(500), method="GET", path="/manifests/", times=1)
    made, repo = pair.image(), fresh("copy/to")
    ran = cli(made, pair.destination, repo, "1", "--retry-times=0")
    assert ran.code == 1
    assert named(pair.destination, repo) == ""


# -- no room -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [507, 500])
@pytest.mark.parametrize("after", [0, 300_000])
def test_a_full_destination_is_final(pair: Pair, status: int, after: int) -> None:
    """507, or 500 with the disk's words, before or in the middle of a body: no second attempt."""
    made = pair.image(sizes=(900_000,))
    rule = pair.at_destination.add(storage_full(after, status), method="PUT", path=_upload_of(made))
    ran = pair.fails(made, "no space left", side="destination")
    assert rule.hits == 1, ran.err


def _upload_of(made: Made) -> str:
    return f"uploads/.*{made.layer.partition(':')[2]}"


def test_a_full_destination_has_a_class_of_its_own(pair: Pair) -> None:
    """NoSpace: programs can tell it from other refusals."""
    made = pair.image(sizes=(900_000,))
    pair.at_destination.add(storage_full(100_000), method="PUT", path=_upload_of(made))
    outcome = pair.copy(made, fresh("copy/to"))
    assert isinstance(outcome.error, NoSpace)
    assert outcome.error.side == "destination"


def test_the_engine_retries_are_the_only_ones(pair: Pair) -> None:
    """With retries 2 a request that always fails is sent three times, not nine."""
    rule = pair.at_source.add(respond(500), method="GET", path="/manifests/")
    hasty = RunOptions(retries=2, retry_delay=0.01)
    assert copy(pair.image(), pair.destination, fresh("copy/to"), run_options=hasty).error is not None
    assert rule.hits == 3
