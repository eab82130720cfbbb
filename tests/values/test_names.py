"""Image names are parsed as skopeo parses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.descriptor import Digest
from fastcopy.errors import BadName, Unsupported
from fastcopy.names import (
    REFUSED,
    ArchiveRef,
    DaemonRef,
    DirRef,
    DockerRef,
    OciRef,
    StorageRef,
    TarballRef,
    image_name,
    is_tag,
    parse,
    parse_docker,
)
from tests.values.support import skopeo

D = Digest("sha256:" + "a" * 64)
SPELLINGS = {
    "busybox": "docker.io/library/busybox:latest",
    "busybox:1": "docker.io/library/busybox:1",
    "a/b": "docker.io/a/b:latest",
    "localhost/b": "localhost/b:latest",
    "localhost:5000/b/c__d/e-f:X_1.2-3": "localhost:5000/b/c__d/e-f:X_1.2-3",
    "index.docker.io/x": "docker.io/library/x:latest",
    "docker.io/x": "docker.io/library/x:latest",
    "quay.io/x/y@" + D: "quay.io/x/y@" + D,
    "UPPER.example:1/x": "UPPER.example:1/x:latest",
    "[::1]:5000/x": "[::1]:5000/x:latest",
    "[2001:db8::1]/x/y:t": "[2001:db8::1]/x/y:t",
    "10.0.0.1:80/x": "10.0.0.1:80/x:latest",
}


@pytest.mark.parametrize(("text", "canonical"), SPELLINGS.items())
def test_a_docker_name_is_normalised(text: str, canonical: str) -> None:
    """A name gets its domain, library/ and latest as Docker gives them, and remembers its spelling."""
    ref = parse("docker://" + text)
    assert isinstance(ref, DockerRef)
    assert (str(ref), ref.original) == (canonical, text)


@pytest.mark.parametrize(
    ("text", "short"),
    [("busybox", "busybox:latest"), ("a/b:c", "a/b:c"), ("quay.io/library/x", "quay.io/library/x:latest")],
)
def test_messages_spell_names_as_docker_users_do(text: str, short: str) -> None:
    """The familiar form is skopeo's in messages."""
    assert image_name(parse("docker://" + text)) == "docker://" + short


def test_a_reference_points_by_digest_or_tag() -> None:
    """with_tag and with_digest replace what a reference points with, and nothing else."""
    ref = parse_docker("quay.io/x/y:t")
    assert (ref.registry, ref.repository, ref.reference) == ("quay.io", "x/y", "t")
    assert str(ref.with_digest(D)) == f"quay.io/x/y@{D}"
    assert ref.with_digest(D).reference == D
    assert str(ref.with_digest(D).with_tag("u")) == "quay.io/x/y:u"
    with pytest.raises(BadName, match="invalid tag format"):
        ref.with_tag("a/b")


def test_both_tag_and_digest_are_understood_but_not_as_an_image() -> None:
    """`parse_docker` reads name:tag@digest (containers-storage has such names), docker:// refuses it."""
    assert str(parse_docker(f"x:t@{D}")) == f"docker.io/library/x:t@{D}"
    with pytest.raises(BadName, match="Docker references with both a tag and digest are currently not supported"):
        parse(f"docker://x:t@{D}")


def test_an_unknown_digest_is_a_destination_without_a_tag() -> None:
    """`@@unknown-digest@@` means: push by digest, under no tag."""
    ref = parse("docker://quay.io/x@@unknown-digest@@")
    assert isinstance(ref, DockerRef)
    assert (ref.unknown_digest, ref.tag, ref.digest) == (True, "", None)
    assert image_name(ref) == "docker://quay.io/x@@unknown-digest@@"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("dir:a/b:c", DirRef("a/b:c", "a/b:c")),
        ("oci:p", OciRef("p", original="p")),
        ("oci:p:n/m:1", OciRef("p", "n/m:1", original="p:n/m:1")),
        ("oci:p:@3", OciRef("p", index=3, original="p:@3")),
        (f"oci:p@{D}", OciRef("p", digest=D, original=f"p@{D}")),
        ("oci-archive:p.tar:v1", ArchiveRef("oci-archive", "p.tar", "v1", original="p.tar:v1")),
        ("docker-archive:p.tar", ArchiveRef("docker-archive", "p.tar", original="p.tar")),
        ("docker-archive:p:x", ArchiveRef("docker-archive", "p", "docker.io/library/x:latest", original="p:x")),
        ("docker-archive:p:@0", ArchiveRef("docker-archive", "p", index=0, original="p:@0")),
        (f"docker-daemon:{D}", DaemonRef(image_id=D, original=D)),
        ("tarball:a:-", TarballRef(("a", "-"), "a:-")),
    ],
)
def test_local_places_have_paths_names_and_indices(text: str, ref: object) -> None:
    """Each transport's own grammar."""
    assert parse(text) == ref
    assert parse(str(parse(text))) == parse(text) or isinstance(ref, ArchiveRef)


def test_a_storage_name_may_bring_its_storage() -> None:
    """`[driver@root+run:options]name@id` is taken apart."""
    ref = parse(f"containers-storage:[overlay@/g+/r:a=1,b=2]quay.io/x:t@{'b' * 64}")
    assert isinstance(ref, StorageRef)
    assert (ref.driver, ref.graph_root, ref.run_root, ref.options) == ("overlay", "/g", "/r", ("a=1", "b=2"))
    assert (str(ref.named), ref.image_id) == ("quay.io/x:t", "b" * 64)
    bare = parse("containers-storage:@" + "b" * 64)
    assert isinstance(bare, StorageRef)
    assert (bare.named, bare.image_id) == (None, "b" * 64)


REFUSALS = {
    "nothing": 'Invalid image name "nothing", expected colon-separated transport:reference',
    "foo:x": 'Invalid image name "foo:x", unknown transport "foo"',
    "docker:x": "docker: image reference x does not start with //",
    "docker://": "invalid reference format",
    "docker://Foo": "invalid reference format: repository name must be lowercase",
    "docker://A/b": "invalid reference format: repository name must be lowercase",
    "docker://a/B": "invalid reference format: repository name must be lowercase",
    "docker://a//b": "invalid reference format",
    "docker://a:" + "t" * 129: "invalid reference format",
    "docker://" + "a" * 64: f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
    "docker://localhost/" + "a" * 300: "repository name must not be more than 255 characters",
    "docker://x@sha256:" + "a" * 40: "invalid checksum digest length",
    "docker://x@sha256:A" + "a" * 63: "invalid checksum digest format",
    "docker://x@foo:" + "a" * 40: "unsupported digest algorithm",
    "oci:p:bad/../x": "Invalid image bad/../x",
    "oci:p:@-1": "Invalid source index @-1: must not be negative",
    "docker-archive:": "docker-archive reference  isn't of the form <path>[:<reference>]",
    "docker-archive:p:": "docker-archive parsing reference: invalid reference format",
    f"docker-archive:p:x@{D}": f"reference does not include a tag: docker.io/library/x@{D}",
    "docker-daemon:x": "docker-daemon: reference x has neither a tag nor a digest",
    "containers-storage:": '"" is an empty reference: invalid reference',
    "containers-storage:[x]y": "path name is not absolute",
    "containers-storage:a@": 'empty trailing digest or ID in "a@": invalid reference',
}


@pytest.mark.parametrize(("text", "message"), REFUSALS.items())
def test_a_bad_name_is_refused_in_skopeos_words(text: str, message: str) -> None:
    """Scripts match on these texts."""
    with pytest.raises(BadName) as caught:
        parse(text)
    assert caught.value.message == message


#: Of REFUSALS, those whose text every packaged skopeo shares and that need no storage.
_SHARED = [text for text in REFUSALS if not text.startswith(("containers-storage:", "oci:p:@", "docker-daemon:"))]


@pytest.mark.real("skopeo")
@pytest.mark.parametrize("text", _SHARED)
def test_skopeo_refuses_the_same_names_in_the_same_words(text: str) -> None:
    """The table above is skopeo's."""
    assert skopeo("inspect", "--raw", text).endswith(REFUSALS[text])


@pytest.mark.parametrize("transport", REFUSED)
def test_a_refused_transport_says_what_to_use(transport: str) -> None:
    """sif, atomic and ostree are known, and refused with a way out."""
    with pytest.raises(Unsupported, match=r"use|convert"):
        parse(f"{transport}:x")


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_a_bad_name(text: str) -> None:
    """Parsing fails in one way only, and what parses keeps its meaning when written out."""
    for prefix in ("", "docker://", "oci:", "docker-archive:", "docker-daemon:", "containers-storage:"):
        try:
            ref = parse(prefix + text)
        except (BadName, Unsupported):
            continue
        if isinstance(ref, DockerRef):
            assert str(parse("docker://" + str(ref))) == str(ref)


@given(st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?", fullmatch=True))
def test_every_word_of_the_grammar_is_a_name(text: str) -> None:
    """The grammar's own words parse, and their parts follow it."""
    if len(text) > 230 or (len(text) == 64 and all(c in "0123456789abcdef" for c in text)):
        return
    ref = parse("docker://" + text)
    assert isinstance(ref, DockerRef)
    assert is_tag(ref.tag)
