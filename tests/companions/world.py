"""Artifacts that refer to images, made by hand, and eyes of our own for who lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.cli.support import Ran
from tests.copy.world import (
    ACCEPT,
    OCI,
    OCI_CONFIG,
    OCI_INDEX,
    Made,
    assert_blobs,
    cli,
    digest_of,
    fresh,
    image,
)
from tests.registries import Registry

SIGNATURE, SBOM = "application/vnd.example.signature", "application/vnd.example.sbom"
EMPTY = b"{}"


def fallback(digest: str) -> str:
    """The tag that lists the referrers of *digest* where there is no API."""
    return digest.replace(":", "-")


def has_api(registry: Registry) -> bool:
    """Whether it lists referrers by itself."""
    return registry.kind == "embedded"


def artifact(registry: Registry, subject: Made, kind: str, content: str = "", *, tag: str = "") -> Made:
    """Push an artifact of *kind* that refers to *subject*, and list it as a good client does."""
    repo, payload = subject.repo, f"{kind} of {subject.digest}: {content}".encode()
    with registry.client() as probe:
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", **probe.push_blob(repo, EMPTY)},
            "layers": [{"mediaType": kind, **probe.push_blob(repo, payload)}],
            "subject": subject.entry,
            "annotations": {"org.example.content": content},
        }
        raw = json.dumps(manifest).encode()
        probe.push_manifest(repo, tag, raw, OCI)
    made = Made(registry, repo, tag, raw, OCI, {digest_of(EMPTY): EMPTY, digest_of(payload): payload})
    if not has_api(registry):
        listed = listing(registry, repo, subject.digest)
        entry = made.entry | {"artifactType": kind, "annotations": manifest["annotations"]}
        put_listing(registry, repo, subject.digest, [*listed, entry])
    return made


def listing(registry: Registry, repo: str, digest: str) -> list[dict[str, Any]]:
    """The descriptors that *registry* lists for *digest*: by its API, or under the tag."""
    with registry.client() as probe:
        if has_api(registry):
            return list(probe.request("GET", f"/v2/{repo}/referrers/{digest}").json()["manifests"])
        found = probe.request("GET", f"/v2/{repo}/manifests/{fallback(digest)}", headers={"Accept": ACCEPT})
    return list(found.json()["manifests"]) if found.status == 200 else []


def put_listing(registry: Registry, repo: str, digest: str, entries: list[dict[str, Any]]) -> None:
    """Replace what the tag lists."""
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    with registry.client() as probe:
        probe.push_manifest(repo, fallback(digest), index, OCI_INDEX)


def listed(registry: Registry, repo: str, digest: str) -> list[str]:
    """Their digests, in order."""
    return sorted(entry["digest"] for entry in listing(registry, repo, digest))


def assert_there(registry: Registry, repo: str, *made: Made) -> None:
    """Each manifest is there by its digest, byte for byte, with its blobs."""
    for each in made:
        with registry.client() as probe:
            found = probe.request("GET", f"/v2/{repo}/manifests/{each.digest}", headers={"Accept": ACCEPT})
        assert (found.status, found.body) == (200, each.raw), each.digest
        assert_blobs(registry, repo, each)


def digests(made: Iterable[Made]) -> list[str]:
    """As `listed` has them."""
    return sorted(each.digest for each in made)


def digest_tag(registry: Registry, subject: Made, suffix: str, content: str = "") -> Made:
    """Push what cosign pushes: an image manifest under ``sha256-….suffix``, its layer of a type of its own."""
    repo, payload = subject.repo, f"{suffix} of {subject.digest} {content}".encode()
    tag = f"{fallback(subject.digest)}.{suffix}"
    with registry.client() as probe:
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": OCI_CONFIG, **probe.push_blob(repo, EMPTY)},
            "layers": [
                {
                    "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                    **probe.push_blob(repo, payload),
                    "annotations": {"dev.cosignproject.cosign/signature": "bm8="},
                }
            ],
        }
        raw = json.dumps(manifest).encode()
        probe.push_manifest(repo, tag, raw, OCI)
    return Made(registry, repo, tag, raw, OCI, {digest_of(EMPTY): EMPTY, digest_of(payload): payload})


def asked(registry: Registry, repo: str, since: int) -> list[tuple[str, str]]:
    """(method, what stands behind the repository) of the requests after the first *since*."""
    return [
        (method, target.partition(f"/v2/{repo}/")[2])
        for method, target, _ in registry.requests()[since:]
        if target.startswith(f"/v2/{repo}/")
    ]


@dataclass(frozen=True)
class Ends:
    """A source and a destination."""

    source: Registry
    destination: Registry

    def image(self, **more: Any) -> Made:
        """A small image at the source."""
        more.setdefault("sizes", (1_000,))
        return image(self.source, fresh("with/r"), **more)

    def copy(self, made: Made, repo: str, *words: str, tag: str = "1") -> Ran:
        """By the command line."""
        return cli(made, self.destination, repo, tag, *words)

    def counts(self) -> tuple[int, int]:
        """Requests so far."""
        return len(self.source.requests()), len(self.destination.requests())
