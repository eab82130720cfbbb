"""Blobs that live elsewhere: signed URLs at another origin, with no credentials there; and what is not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastcopy.errors import ProtocolBroken
from fastcopy.serve.message import Body, Handler, Head, Middleware, Reply
from tests.copy.world import Pair, assert_complete, copy, fresh, image, named, uploads
from tests.faults import drop_download, redirecting_registry
from tests.registries import Flavour, Registry


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("flavour", ["plain", "tls", "basic", "token"])
def test_no_authorization_follows_a_redirect_to_another_origin(
    pair: Pair, tmp_path: Path, flavour: Flavour, status: int
) -> None:
    """The storage saw no Authorization header, and the blobs arrived."""
    with redirecting_registry(tmp_path, flavour, status=status) as (registry, _, origin):
        made, repo = image(registry), fresh("copy/to")
        outcome = copy(made, pair.destination, repo)
        assert outcome.error is None
        assert origin.leaked == []
        assert_complete(pair.destination, repo, made)


def test_an_expired_url_is_replaced_through_the_registry(pair: Pair, tmp_path: Path) -> None:
    """403 from the storage: the registry is asked for a fresh URL, and the same upload goes on."""
    with redirecting_registry(tmp_path, uses=1) as (registry, faults, origin):
        made, repo = image(registry, sizes=(3_000_000,)), fresh("copy/to")
        spent = faults.add(_expiring(origin), method="GET", path="/blobs/", times=2)
        outcome = copy(made, pair.destination, repo)
        assert outcome.error is None
        assert spent.hits == 2
        assert_complete(pair.destination, repo, made)


def _expiring(origin):  # type: ignore[no-untyped-def]
    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        origin.expire()
        return reply

    return fault


def test_https_is_never_left_for_http(tls_pair: Pair, pair: Pair) -> None:
    """A redirect from https to plain http is refused, as the source's fault."""
    made, repo = tls_pair.image(), fresh("copy/to")
    tls_pair.at_source.add(_to(f"http://{pair.source.host}/"), method="GET", path=made.layer)
    outcome = tls_pair.copy(made, repo)
    assert isinstance(outcome.error, ProtocolBroken)
    assert outcome.error.side == "source"
    assert named(tls_pair.destination, repo) == ""


def test_redirects_without_end_are_ended(pair: Pair) -> None:
    """A circle is left after a few rounds."""
    made, repo = pair.image(), fresh("copy/to")
    rule = pair.at_source.add(_to(f"/v2/{made.repo}/blobs/{made.layer}"), method="GET", path=made.layer)
    outcome = pair.copy(made, repo)
    assert isinstance(outcome.error, ProtocolBroken)
    assert outcome.error.side == "source"
    assert rule.hits <= 8


def _to(location: str) -> Middleware:
    async def fault(_head: Head, _body: Body, _proceed: Handler) -> Reply:
        return Reply(307, [("Location", location)])

    return fault


@pytest.mark.parametrize("form", ["absolute", "relative", "query", "downgraded"])
def test_upload_locations_of_every_form_are_used_as_they_come(tls_pair: Pair, form: str) -> None:
    """Absolute, relative, with a query of its own, or http:// from behind a TLS proxy: the upload goes there."""
    made, repo = tls_pair.image(), fresh("copy/to")
    tls_pair.at_destination.add(_located(form, tls_pair.destination), method="POST", path="/blobs/uploads/")
    tls_pair.arrives(made, repo=repo)
    assert uploads(tls_pair.destination, repo) == len(made.blobs)
    if form == "query":
        puts = [target for method, target, _ in tls_pair.destination.requests() if method == "PUT" and repo in target]
        assert all("state=a%2Bb" in target for target in puts if "/uploads/" in target)


def _located(form: str, registry: Registry) -> Middleware:
    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        reply = await proceed(head, body)
        path = reply.get("Location").partition(registry.host)[2] or reply.get("Location")
        location = {
            "absolute": f"https://{registry.host}{path}",
            "relative": path,
            "query": f"{path}?state=a%2Bb",
            "downgraded": f"http://{registry.host}{path}",
        }[form]
        kept = [each for each in reply.headers if each[0].lower() != "location"]
        return Reply(reply.status, [*kept, ("Location", location)], reply.body)

    return fault


def test_a_break_at_the_storage_continues_through_the_registry(pair: Pair, tmp_path: Path) -> None:
    """A redirected download that breaks is resumed: another redirect, a Range, the same upload."""
    with redirecting_registry(tmp_path) as (registry, faults, _origin):
        made, repo = image(registry, sizes=(3_000_000,)), fresh("copy/to")
        faults.clear()  # served directly at first, and broken
        faults.add(drop_download(1_000_000), method="GET", path=made.layer, times=1)
        assert copy(made, pair.destination, repo).error is None
        assert uploads(pair.destination, repo) == len(made.blobs)
        assert_complete(pair.destination, repo, made)
