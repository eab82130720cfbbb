"""Configuration documents of any shape: understood, or refused with BadConfig, and nothing else."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import BadConfig
from fastcopy.http import policy, registries
from fastcopy.http.authfile import AuthFile

WORDS = st.sampled_from([
    "registry", "mirror", "location", "prefix", "insecure", "blocked", "pull-from-mirror", "registries", "block",
    "credential-helpers", "default", "transports", "docker", "type", "reject", "auths", "auth", "credHelpers",
    "credsStore", "identitytoken", "a.io", "*.a.io", "all", "https://a.io/v1/", "dTpw", "",
])  # fmt: skip
DOCUMENTS = st.dictionaries(
    WORDS,
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS, st.text(max_size=8)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
        max_leaves=12,
    ),
    max_size=4,
)
NAMES = st.sampled_from(["a.io", "a.io/x", "docker.io/library/x", "x.a.io:5000/y", "localhost"])


@given(DOCUMENTS, NAMES)
def test_registries_conf(document: dict[str, object], name: str) -> None:
    """Any TOML tree."""
    with contextlib.suppress(BadConfig):
        table = registries.parse(document, "f")
        conf = registries.RegistriesConf(tuple(table.registries.values()))
        conf.find(name)


@given(DOCUMENTS, NAMES)
def test_policy_json(document: dict[str, object], name: str) -> None:
    """Any JSON object."""
    with contextlib.suppress(BadConfig):
        policy.parse(json.dumps(document), "f").requirements("docker", policy.docker_scopes(name, ":1"))


@given(DOCUMENTS, NAMES)
def test_auth_json(document: dict[str, object], name: str) -> None:
    """Any JSON object."""
    with contextlib.suppress(BadConfig):
        AuthFile.of(document, "f").find(name)


@given(st.text(max_size=60))
def test_text_that_is_no_json(text: str) -> None:
    """Any text."""
    with contextlib.suppress(BadConfig):
        policy.parse(text, "f")
    with contextlib.suppress(BadConfig):
        AuthFile.from_variable(text)
