"""Harbor's manners over real TLS: what a client's token handling is tested against."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcopy.serve import HARBOR, Account
from tests.registries import PASSWORD, USER, Registry, embedded_registry
from tests.serve.helpers import OCI, image

WEAK = Account("weak", "pull only", rights=(("", frozenset({"pull"})),))


@pytest.fixture
def harbor(tmp_path: Path) -> Iterator[Registry]:
    """One project, one immutable tag, a strong and a weak account."""
    behaviour = dataclasses.replace(HARBOR, immutable_tags=frozenset({"library/app:release"}))
    accounts = (Account(USER, PASSWORD), WEAK)
    with embedded_registry(tmp_path, "token", behaviour=behaviour, accounts=accounts) as registry:
        yield registry


def test_nothing_is_anonymous(harbor: Registry) -> None:
    """401 Bearer with Harbor's realm and service, for public things too."""
    with harbor.client() as client:
        for target in ("/v2/", "/v2/library/app/manifests/v1"):
            answer = client.request("GET", target, auth=False)
            assert answer.status == 401
            challenge = answer.headers["www-authenticate"]
            assert f'realm="https://{harbor.host}/service/token",service="harbor-registry"' in challenge


def test_an_image_is_pushed_with_absolute_locations(harbor: Registry) -> None:
    """As its bundled nginx writes them."""
    with harbor.client() as client:
        started = client.request("POST", "/v2/library/app/blobs/uploads/")
        assert started.headers["location"].startswith(f"https://{harbor.host}/v2/library/app/blobs/uploads/")
        image(client, "library/app")


def test_a_valid_token_without_the_right_is_401_basic(harbor: Registry) -> None:
    """Not 403: a second challenge that must not be obeyed."""
    with harbor.client() as client:
        scope = "repository:library/app:pull,push,delete"
        query = f"/service/token?service=harbor-registry&scope={scope}"
        basic = base64.b64encode(b"weak:pull only").decode()
        token = client.request("GET", query, headers={"Authorization": f"Basic {basic}"}, auth=False).json()["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        refused = client.request("POST", "/v2/library/app/blobs/uploads/", headers=bearer, auth=False)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="harbor"')
    assert refused.code == "UNAUTHORIZED"


def test_an_immutable_tag_is_412_precondition(harbor: Registry) -> None:
    """The same digest again is fine, another is not."""
    with harbor.client() as client:
        digest = image(client, "library/app", "release")
        raw = client.request("GET", f"/v2/library/app/manifests/{digest}").body
        target = "/v2/library/app/manifests/release"
        assert client.request("PUT", target, raw, {"Content-Type": OCI}).status == 201
        refused = client.request("PUT", target, raw + b" ", {"Content-Type": OCI})
        assert (refused.status, refused.code) == (412, "PRECONDITION")


def test_a_project_that_does_not_exist(harbor: Registry) -> None:
    """404 for pull and for push; 401 for nobody in particular."""
    with harbor.client() as client:
        pull = client.request("GET", "/v2/nope/app/manifests/v1")
        push = client.request("POST", "/v2/nope/app/blobs/uploads/")
        assert (pull.status, pull.code) == (404, "NAME_UNKNOWN")
        assert (push.status, push.code) == (404, "NOT_FOUND")
        assert client.request("GET", "/v2/nope/app/manifests/v1", auth=False).status == 401


@pytest.mark.parametrize("seconds", [5, 300])
def test_the_lifetime_is_announced(tmp_path: Path, seconds: int) -> None:
    """expires_in and issued_at."""
    behaviour = dataclasses.replace(HARBOR, token_seconds=seconds)
    with embedded_registry(tmp_path, "token", behaviour=behaviour) as registry, registry.client() as client:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        answer = client.request("GET", "/service/token", headers={"Authorization": f"Basic {basic}"}, auth=False)
        assert json.loads(answer.body)["expires_in"] == seconds
        assert "issued_at" in json.loads(answer.body)
