"""Lists of referrers as values: what is read, what is added, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy import media
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest
from fastcopy.manifest import MAX_ENTRIES
from fastcopy.transports._referrers import fallback_tag, index_of, merged

SUBJECT = Digest.of(b"subject")
DIGESTS = st.lists(st.integers(0, 30).map(lambda n: Digest.of(b"%d" % n)), max_size=12)


def _entries(digests: list[Digest]) -> list[Descriptor]:
    return [Descriptor(each, 7, media.OCI_MANIFEST, artifact_type="a/b", annotations={"k": "v"}) for each in digests]


@given(st.lists(DIGESTS, max_size=5))
def test_whoever_writes_after_whom_all_are_listed_once(batches: list[list[Digest]]) -> None:
    """Merging keeps order, adds what is new at the end, and says so when nothing is."""
    raw: bytes | None = None
    expected: dict[Digest, None] = {}
    for batch in batches:
        new = merged(raw, _entries(batch), SUBJECT)
        assert (new is None) == (set(batch) <= set(expected))
        raw = new or raw
        expected |= dict.fromkeys(batch)
    if raw is not None:
        assert [each.digest for each in index_of(raw, SUBJECT).children] == list(expected)


def test_what_is_not_understood_stays() -> None:
    """Fields of the index and of its entries that nobody knows."""
    entry = {"mediaType": "m/t", "digest": str(SUBJECT), "size": 1, "data": "Zm9v", "y": [2]}
    there = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "x": 1, "annotations": {"a": "b"}, "manifests": [entry]}
    made = merged(json.dumps(there).encode(), _entries([Digest.of(b"1")]), SUBJECT)
    assert made is not None
    document = json.loads(made)
    assert document["manifests"].pop()["artifactType"] == "a/b"
    assert document == there


@pytest.mark.parametrize(
    "raw",
    [
        b"{}x",
        b"[]",
        json.dumps({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": {"digest": SUBJECT, "size": 1}}),
        json.dumps({"schemaVersion": 2, "manifests": [{"digest": "sha256:short"}]}),
        json.dumps({"schemaVersion": 2, "manifests": {}}),
    ],
)
def test_what_is_no_list_is_neither_read_nor_written(raw: str | bytes) -> None:
    """The specification wants a failure, not a fresh list."""
    data = raw if isinstance(raw, bytes) else raw.encode()
    with pytest.raises(BadManifest):
        index_of(data, SUBJECT)
    with pytest.raises(BadManifest):
        merged(data, _entries([SUBJECT]), SUBJECT)


def test_an_empty_list_may_forget_its_media_type() -> None:
    """Some registries answer with the bare minimum."""
    assert index_of(b'{"schemaVersion": 2, "manifests": []}', SUBJECT).children == ()


def test_a_list_that_no_index_can_hold_is_refused() -> None:
    """Nobody would read it again."""
    many = _entries([Digest.of(b"%d" % number) for number in range(MAX_ENTRIES + 1)])
    with pytest.raises(BadManifest, match="more than"):
        merged(None, many, SUBJECT)


def test_the_tag_of_a_digest_fits_into_a_tag() -> None:
    """sha512 is cut at 64 hex digits (referrers tag schema)."""
    assert fallback_tag(SUBJECT) == f"sha256-{SUBJECT.hex}"
    long = Digest.of(b"subject", "sha512")
    assert fallback_tag(long) == f"sha512-{long.hex[:64]}"
