"""standalone-sign and standalone-verify: gpg's cryptography, and our judgement of the payload."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcopy.cli.signing import TYPE, check_payload, payload_of
from fastcopy.errors import FastcopyError
from tests.cli.support import run

NAME = "registry.example.com/app:1"
MANIFEST = b'{"schemaVersion":2}'
DIGEST = "sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f"
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A key in a keyring of its own: its fingerprint, and its exported public half."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "tester@example.com", "ed25519", "sign", "never"], check=True)
    listed = subprocess.run([*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    public = home / "public.gpg"
    public.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNUPGHOME", str(home))
        yield fingerprint, public
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A manifest, and where its signature goes."""
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(MANIFEST)
    return manifest, tmp_path / "signature"


@needs_gpg
def test_what_was_signed_verifies_and_names_digest_and_key(key: tuple[str, Path], files: tuple[Path, Path]) -> None:
    """By the local keyring, and with a public key file and any key of it."""
    manifest, signature = files
    fingerprint, public = key
    assert run("standalone-sign", str(manifest), NAME, fingerprint, "-o", str(signature)).code == 0
    expected = f"Signature verified using fingerprint {fingerprint}, digest {DIGEST}\n"
    words = ("standalone-verify", str(manifest), NAME)
    assert run(*words, fingerprint, str(signature)).out == expected
    assert run(*words, "any", str(signature), f"--public-key-file={public}").out == expected
    assert run(*words, f"{'0' * 40},{fingerprint}", str(signature)).out == expected


@needs_gpg
def test_nothing_but_the_signed_thing_verifies(key: tuple[str, Path], files: tuple[Path, Path]) -> None:
    """Not another manifest, name or key, nor a changed signature."""
    manifest, signature = files
    fingerprint, _ = key
    run("standalone-sign", str(manifest), NAME, fingerprint, "-o", str(signature))
    good = signature.read_bytes()
    other = manifest.with_name("other.json")
    other.write_bytes(MANIFEST + b" ")
    words = ("standalone-verify", str(manifest))
    assert "does not match" in run("standalone-verify", str(other), NAME, fingerprint, str(signature)).fatal
    assert "does not match" in run(*words, NAME + "2", fingerprint, str(signature)).fatal
    assert "is not accepted" in run(*words, NAME, "0" * 40, str(signature)).fatal
    signature.write_bytes(good[:-10] + bytes([good[-10] ^ 1]) + good[-9:])
    assert "Error verifying signature" in run(*words, NAME, fingerprint, str(signature)).fatal
    signature.write_bytes(json.dumps({"critical": {}}).encode())
    assert "Error verifying signature" in run(*words, NAME, fingerprint, str(signature)).fatal


@needs_gpg
@pytest.mark.real("skopeo")
def test_skopeo_verifies_our_signature_and_we_verify_its(key: tuple[str, Path], files: tuple[Path, Path]) -> None:
    """Both ways."""
    manifest, signature = files
    fingerprint, _ = key
    run("standalone-sign", str(manifest), NAME, fingerprint, "-o", str(signature))
    words = [str(manifest), NAME, fingerprint]
    theirs = subprocess.run(
        ["skopeo", "standalone-verify", *words, str(signature)], capture_output=True, text=True, check=True
    )
    assert theirs.stdout.strip().endswith(DIGEST)
    subprocess.run(["skopeo", "standalone-sign", *words, "-o", str(signature)], check=True, capture_output=True)
    assert run("standalone-verify", *words, str(signature)).out.strip().endswith(DIGEST)


def test_any_key_needs_a_file_of_keys(files: tuple[Path, Path]) -> None:
    """A whole keyring is not a statement of trust."""
    ran = run("standalone-verify", str(files[0]), NAME, "any", str(files[0]))
    assert (ran.code, ran.fatal) == (1, 'level=fatal msg="Cannot use any fingerprint without a public key file"')


def test_the_payload_is_the_documented_json() -> None:
    """containers-signature(5): critical and optional, nothing else."""
    document = json.loads(payload_of(DIGEST, NAME, 7))
    assert document["critical"] == {
        "identity": {"docker-reference": NAME}, "image": {"docker-manifest-digest": DIGEST}, "type": TYPE,
    }  # fmt: skip
    assert document["optional"]["timestamp"] == 7
    assert set(document) == {"critical", "optional"}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[]", b"{}", b'{"critical": []}', b'{"critical": {"type": "x"}}', b"\xff", b"[" * 100_000,
        json.dumps({"critical": {"type": "x", "image": {"docker-manifest-digest": DIGEST},
                                 "identity": {"docker-reference": NAME}}}).encode(),
    ],
)  # fmt: skip
def test_other_payloads_are_no_signatures(payload: bytes) -> None:
    """Whatever a valid key may have signed."""
    with pytest.raises(FastcopyError, match=r"Invalid signature|Unrecognized signature type"):
        check_payload(payload, NAME, MANIFEST, "Error verifying signature")


def test_names_are_compared_after_normalising() -> None:
    """busybox:1 is docker.io/library/busybox:1."""
    payload = payload_of(DIGEST, "docker.io/library/busybox:1", 7)
    assert check_payload(payload, "busybox:1", MANIFEST, "x") == DIGEST
