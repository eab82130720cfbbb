"""Credentials never reach any output, whatever goes wrong."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.cli.support import run
from tests.copy.world import Pair, fresh
from tests.faults import redirecting_registry, respond
from tests.registries import PASSWORD, USER, Registry

WRONG = "not-the-word-5f3a"


@pytest.mark.parametrize("progress", ["json", "plain"])
@pytest.mark.parametrize("password", [PASSWORD, WRONG], ids=["good", "bad"])
@pytest.mark.parametrize("flavour", ["basic", "token"])
def test_no_output_shows_a_secret(
    request: pytest.FixtureRequest, pair: Pair, flavour: str, password: str, progress: str
) -> None:
    """--debug with good and bad passwords: no password, no Basic value, no token, no query string but harmless ones."""
    registry: Registry = request.getfixturevalue(f"embedded_{flavour}")
    made = pair.image()
    words = [*pair.source.skopeo_flags("src-"), f"--dest-cert-dir={registry.certificates.directory}"]  # type: ignore[union-attr]
    words += [f"--dest-creds={USER}:{password}", f"--progress={progress}", "--debug"]
    ran = run("copy", *words, made.ref, registry.ref(fresh("copy/to"), "1"))
    assert ran.code == (0 if password == PASSWORD else 1)
    text = ran.out + ran.err
    basic = base64.b64encode(f"{USER}:{password}".encode()).decode()
    for secret in (password, basic, "Authorization", "eyJ", "_state="):
        assert secret not in text, secret


def test_a_signed_url_is_a_secret_too(pair: Pair, tmp_path: Path) -> None:
    """The query string of a redirect's target is not shown, not even when the storage refuses it."""
    with redirecting_registry(tmp_path) as (registry, _faults, origin):
        from tests.copy.world import image

        made = image(registry)
        ran = run("copy", "--debug", *registry.skopeo_flags("src-"), *pair.destination.skopeo_flags("dest-"),
                  made.ref, pair.destination.ref(fresh("copy/to"), "1"))  # fmt: skip
        assert ran.code == 0, ran.err
        assert origin.leaked == []
        assert origin._signed
        assert not any(signature in ran.out + ran.err for signature in origin._signed)


def test_a_registry_that_echoes_our_token_is_not_quoted(pair: Pair) -> None:
    """Words of a stranger are cleaned before they are shown."""
    made = pair.image()

    async def echo(head, body, proceed):  # type: ignore[no-untyped-def]
        from fastcopy.serve.message import Refusal

        return Refusal(403, "DENIED", "bad header Bearer abcdefghijklmnop at http://x/y?sig=zzz").reply()

    pair.at_destination.add(echo, method="POST")
    pair.at_destination.add(respond(404), method="HEAD")
    ran = pair.cli(made, fresh("copy/to"))
    assert ran.code == 1
    assert "abcdefghijklmnop" not in ran.err
    assert "zzz" not in ran.err
