"""policy.json: what may be copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastcopy.errors import BadConfig, PolicyRefused
from fastcopy.http import policy
from fastcopy.http.policy import Policy, docker_scopes, path_scopes

ACCEPT, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}
SIGNED = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}
DOCUMENT = {
    "default": [REJECT],
    "transports": {
        "docker": {
            "quay.io": [ACCEPT],
            "quay.io/secret": [REJECT],
            "quay.io/secret/but:this": [ACCEPT],
            "*.corp.example": [ACCEPT],
            "signed.example": [SIGNED],
            "both.example": [ACCEPT, REJECT],
        },
        "dir": {"": [ACCEPT]},
        "oci": {"/srv/images": [ACCEPT]},
    },
}


def allowed(transport: str, scopes: list[str]) -> bool:
    """Whether the document lets it pass."""
    try:
        policy.parse(json.dumps(DOCUMENT), "policy.json").check(transport, scopes, "docker://x")
    except PolicyRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "reference", "expected"),
    [
        ("quay.io/a/b", ":1", True),
        ("quay.io/secret/x", ":1", False),
        ("quay.io/secret/but", ":this", True),
        ("quay.io/secret/but", ":that", False),
        ("other.io/a", ":1", False),
        ("x.y.corp.example:5000/a", ":1", True),
        ("corp.example/a", ":1", False),
        ("signed.example/a", ":1", False),
        ("both.example/a", ":1", False),
    ],
)
def test_the_most_specific_scope_decides(name: str, reference: str, expected: bool) -> None:
    """Reference, repository, namespaces, host, wildcards, transport, default; all its requirements must hold."""
    assert allowed("docker", docker_scopes(name, reference)) is expected


def test_paths_have_their_parents_as_scopes() -> None:
    """oci and dir: the path with the image, the path, what it is in; a transport's "" covers the rest."""
    assert path_scopes("/srv/images/a", "v1") == ["/srv/images/a:v1", "/srv/images/a", "/srv/images", "/srv"]
    assert allowed("oci", [*path_scopes("/srv/images/a", "v1")])
    assert not allowed("oci", [*path_scopes("/srv/other")])
    assert allowed("dir", [*path_scopes("/anywhere")])


def test_scopes_of_a_docker_reference() -> None:
    """The order of containers-policy.json(5); a port does not count for wildcards."""
    assert docker_scopes("a.b.c:5000/x/y", "@sha256:0") == [
        "a.b.c:5000/x/y@sha256:0",
        "a.b.c:5000/x/y",
        "a.b.c:5000/x",
        "a.b.c:5000",
        "*.b.c",
        "*.c",
    ]


def test_a_rejection_has_skopeos_words() -> None:
    """Source image rejected: Running image … is rejected by policy."""
    with pytest.raises(
        PolicyRefused, match=r"^Source image rejected: Running image docker://x is rejected by policy\.$"
    ):
        Policy(default=("reject",)).check("docker", [], "docker://x")


@pytest.mark.parametrize("kind", ["signedBy", "sigstoreSigned"])
def test_signatures_are_demanded_in_vain_but_not_ignored(kind: str) -> None:
    """What is not implemented stops the copy and says so."""
    with pytest.raises(PolicyRefused, match=f"demands {kind} .* not implemented yet"):
        policy.parse(json.dumps({"default": [{"type": kind}]}), "p").check("docker", [], "docker://x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1, column 2"),
        ("[]", "not a JSON object"),
        ("{}", "Default policy is missing"),
        ('{"default": []}', "must not be empty"),
        ('{"default": {}}', "must not be empty"),
        ('{"default": [{}]}', "Unknown policy requirement type None"),
        ('{"default": [{"type": "hope"}]}', "Unknown policy requirement type 'hope'"),
        ('{"default": [{"type": "reject", "x": 1}]}', "Unknown key 'x'"),
        ('{"default": [{"type": "reject"}], "extra": 1}', "Unknown key 'extra'"),
        (
            '{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}',
            "duplicate key 'default'",
        ),
        ('{"default": [{"type": "reject"}], "transports": []}', "transports: not an object"),
        ('{"default": [{"type": "reject"}], "transports": {"docker": {"a": []}}}', r"transports\.docker\.a: List"),
    ],
)
def test_a_policy_that_is_not_understood_stops_everything(tmp_path: Path, text: str, message: str) -> None:
    """Unknown and repeated keys included: a policy half understood is none."""
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(BadConfig, match=message) as caught:
        policy.load(path)
    assert str(caught.value).startswith(f"Error loading trust policy: invalid policy in {path}")


def test_the_first_file_found_is_used(tmp_path: Path) -> None:
    """--policy, then $CONTAINERS_POLICY_JSON, then the user's; a named one must exist."""
    user = tmp_path / ".config/containers/policy.json"
    user.parent.mkdir(parents=True)
    user.write_text(json.dumps({"default": [REJECT]}))
    assert policy.load(environ={}, home=tmp_path).default == ("reject",)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"default": [ACCEPT]}))
    assert policy.load(environ={"CONTAINERS_POLICY_JSON": str(other)}, home=tmp_path).default == (ACCEPT["type"],)
    with pytest.raises(BadConfig, match=r"Error loading trust policy: open .*: no such file or directory"):
        policy.load(tmp_path / "none")


def test_without_any_file_everything_is_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with --insecure-policy (design decision 13)."""
    monkeypatch.setattr(policy, "places", lambda _environ, _home: iter([tmp_path / "none"]))
    policy.load(environ={}).check("docker", docker_scopes("a.io/b", ":1"), "docker://a.io/b:1")
