"""Registries that take a whole blob in one POST get it so; a refusal costs only that request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastcopy import api
from fastcopy.options import HostOptions, Options
from fastcopy.transports import _manners, _upload
from tests.registries import Registry

LOCAL = Options(source=HostOptions(tls_verify=False), destination=HostOptions(tls_verify=False))


@pytest.mark.parametrize(
    "kind", ["embedded_plain", pytest.param("docker_plain", marks=pytest.mark.real("docker-registry"))]
)
def test_small_blobs_go_in_one_post(
    kind: str, embedded_plain: Registry, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded registry answers 201 to it, docker-registry 202 with an upload that is then used."""
    whole = replace(_manners.Manners(), single_post=True)
    monkeypatch.setattr(_upload, "manners_of", lambda name: whole)
    destination = request.getfixturevalue(kind)
    with embedded_plain.client() as client:
        config = {**client.push_blob("single", b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"}
        manifest = {"schemaVersion": 2, "config": config, "layers": []}
        digest = client.push_manifest("single", "1", manifest, "application/vnd.oci.image.manifest.v1+json")
    report = api.copy(embedded_plain.ref("single", "1"), destination.ref("single-there", "1"), LOCAL)

    assert report.digest == digest
    with destination.client() as client:
        assert client.request("GET", f"/v2/single-there/blobs/{config['digest']}").body == b"{}"
