"""Nothing moves twice: mounts within a registry, second copies, refused mounts; and Harbor's manners."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fastcopy.errors import Denied
from fastcopy.serve import HARBOR, Account, Behaviour
from tests.copy.world import Pair, assert_clear, assert_complete, cli, copy, fresh, image, named, seen, uploads
from tests.faults import respond
from tests.registries import PASSWORD, USER, Registry, embedded_registry


@pytest.mark.real
@pytest.mark.parametrize("flavour", ["plain", "tls", "basic", "token"])
def test_a_copy_within_a_registry_moves_no_byte(request: pytest.FixtureRequest, flavour: str) -> None:
    """Every blob is mounted: no GET of a blob, no PUT of one, by the registry's own log; skopeo reads the result."""
    registry: Registry = request.getfixturevalue(f"docker_{flavour}")
    made, repo = image(registry), fresh("copy/to")
    outcome = copy(made, registry, repo)
    assert outcome.error is None
    assert outcome.report is not None
    assert outcome.report.blobs_mounted == len(made.blobs)
    assert seen(registry, made.repo, "GET", "blobs") == []
    assert seen(registry, repo, "PUT", "blobs/uploads") == []
    assert_complete(registry, repo, made)
    shown = subprocess.run(
        ["skopeo", "inspect", *registry.skopeo_flags(), "--format", "{{.Digest}}", registry.ref(repo, "1")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert shown.stdout.strip() == made.digest


def test_a_second_copy_moves_nothing(pair: Pair) -> None:
    """The tag is there already: a HEAD and the source's manifest, no blob is even asked for."""
    made, repo = pair.image(), fresh("copy/to")
    pair.arrives(made, repo=repo)
    before = len(pair.destination.requests())
    pair.arrives(made, repo=repo)
    asked = [each for each in pair.destination.requests()[before:] if each[0] not in ("GET",)]
    assert [method for method, _, _ in asked] == ["HEAD"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_refused_mount_becomes_an_upload(pair: Pair, status: int) -> None:
    """A registry that mounts nothing, whatever its words, still gets the blobs."""
    made, repo = pair.image(), fresh("copy/to")
    rule = pair.at_source.add(respond(status, "UNSUPPORTED"), method="POST", path="mount=")
    assert copy(made, pair.source, repo).error is None
    assert rule.hits == len(made.blobs)
    assert_complete(pair.source, repo, made)


def test_a_mount_answered_with_an_upload_uses_it(tmp_path: Path) -> None:
    """202 to a mount: that very upload takes the blob, no second POST."""
    with embedded_registry(tmp_path, behaviour=Behaviour(mounts=False)) as registry:
        made, repo = image(registry), fresh("copy/to")
        assert copy(made, registry, repo).error is None
        assert uploads(registry, repo) == len(made.blobs)
        assert_complete(registry, repo, made)


@pytest.fixture
def harbor(tmp_path: Path):  # type: ignore[no-untyped-def]
    """TLS, tokens, projects, an immutable tag, and an account that may push into one project only."""
    from dataclasses import replace

    everything = frozenset({"pull", "push", "delete"})
    accounts = (Account(USER, PASSWORD, (("library/", everything), ("", frozenset({"pull"})))),)
    behaviour = replace(HARBOR, immutable_tags=frozenset({"library/app:1"}), projects=frozenset({"library", "secret"}))
    with embedded_registry(tmp_path, "token", behaviour=behaviour, accounts=accounts) as registry:
        yield registry


def test_a_right_that_lacks_at_harbor_is_denied_and_the_password_stays(pair: Pair, harbor: Registry) -> None:
    """401 Basic to a valid token: Denied, and no request carried Basic but those to the token server."""
    made = pair.image()
    outcome = copy(made, harbor, "secret/app")
    assert isinstance(outcome.error, Denied)
    assert outcome.error.side == "destination"


def test_harbors_412_names_the_immutable_tag(pair: Pair, harbor: Registry) -> None:
    """The first push is taken, the second refused with a hint."""
    first, second = pair.image(), pair.image()
    assert copy(first, harbor, "library/app").error is None
    ran = cli(second, harbor, "library/app")
    assert_clear(ran, second, harbor.ref("library/app", "1"), "immutable", side="destination", code=1)
    assert named(harbor, "library/app") == first.digest


def test_a_missing_project_is_the_destinations_word(pair: Pair, harbor: Registry) -> None:
    """NOT_FOUND for the project: said once, no retries."""
    made = pair.image()
    ran = cli(made, harbor, "nowhere/app")
    assert ran.code == 1
    assert f"destination {harbor.ref('nowhere/app', '1')}" in ran.err


@pytest.mark.slow
def test_tokens_of_two_seconds_last_through_a_copy(pair: Pair, tmp_path: Path) -> None:
    """Expired under way: fetched anew, the copy goes on."""
    short = Behaviour(auth="token", token_seconds=2)
    with embedded_registry(tmp_path, "token", behaviour=short) as registry:
        from tests.faults import slow

        made, repo = pair.image(sizes=(300_000, 400_000, 500_000)), fresh("copy/to")
        pair.at_source.add(slow(2.5), method="GET", path="/blobs/")
        assert copy(made, registry, repo).error is None
        assert_complete(registry, repo, made)
