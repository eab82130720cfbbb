"""The fixtures themselves: every flavour of every registry takes and gives, and skopeo agrees."""

from __future__ import annotations

import subprocess

import pytest

from tests.registries import Registry

OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.mark.real("skopeo")
def test_a_registry_takes_an_image_and_skopeo_sees_it(registry: Registry) -> None:
    """A blob and a manifest pushed by the probe are listed by skopeo with the flags that the fixture hands out."""
    with registry.client() as client:
        config = client.push_blob("fixtures/one", b"{}")
        config["mediaType"] = "application/vnd.oci.image.config.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": []}
        client.push_manifest("fixtures/one", "v1", manifest, OCI)
        got = client.request("GET", f"/v2/fixtures/one/blobs/{config['digest']}")
        assert (got.status, got.body) == (200, b"{}")
        if registry.credentials:
            assert client.request("GET", "/v2/", auth=False).status == 401
    command = ["skopeo", "list-tags", *registry.skopeo_flags(), f"docker://{registry.host}/fixtures/one"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0, listed.stderr
    assert '"v1"' in listed.stdout
    assert ("PUT", "/v2/fixtures/one/manifests/v1", 201) in registry.requests()
