"""``standalone-sign`` and ``standalone-verify``: simple signing of a manifest, by the ``gpg`` program.

Owns the payload (containers-signature(5)) and what of it must be true; gpg owns keys and cryptography. Every check of
the verification is here: a signature is worth nothing when its payload is about something else.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastcopy import __version__
from fastcopy.cli.build import refuse
from fastcopy.cli.call import Call
from fastcopy.cli.govalues import quote
from fastcopy.errors import BadName, FastcopyError, UsageError

TYPE = "atomic container signature"
#: Somebody may have to type a passphrase; nobody takes longer than this.
_PATIENCE = 300.0
#: A simple signature is about 700 bytes; anything near this is not one.
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Verified:
    """What a valid signature says."""

    fingerprint: str
    digest: str


def sign(call: Call) -> int:
    """Write a signature of a manifest."""
    usage = f"Usage: {call.program} standalone-sign manifest docker-reference key-fingerprint -o signature"
    path, reference, key = call.arguments(3, usage)
    output = call.parsed.get("output")
    if not output:
        raise UsageError(usage)
    refuse(call.parsed)
    payload = payload_of(_digest_of(_read(path)), reference, int(time.time()))
    secret = _passphrase(call.parsed.get("passphrase-file"))
    signature = _gpg(["--local-user", key, "--sign"], payload, "Error creating signature", secret=secret)
    _write(output, signature)
    return 0


def verify(call: Call) -> int:
    """Check a signature of a manifest, and print who made it."""
    usage = f"Usage: {call.program} standalone-verify manifest docker-reference key-fingerprint signature"
    path, reference, keys, signature = call.arguments(4, usage)
    refuse(call.parsed)
    key_file = call.parsed.get("public-key-file")
    if keys == "any" and not key_file:
        raise UsageError("Cannot use any fingerprint without a public key file")
    found = _verified(_read(path), reference, keys, _read(signature), key_file)
    call.streams.print(f"Signature verified using fingerprint {found.fingerprint}, digest {found.digest}")
    return 0


def payload_of(digest: str, reference: str, now: int) -> bytes:
    """The JSON that is signed (keys in alphabetical order, as Go writes maps)."""
    critical = {"identity": {"docker-reference": reference}, "image": {"docker-manifest-digest": digest}, "type": TYPE}
    document = {"critical": critical, "optional": {"creator": f"fastcopy {__version__}", "timestamp": now}}
    return json.dumps(document, separators=(",", ":")).encode()


def _verified(manifest: bytes, reference: str, keys: str, signature: bytes, key_file: str | None) -> Verified:
    failure = "Error verifying signature"
    with tempfile.TemporaryDirectory(prefix="fastcopy-gpg-") as home:
        place = []
        if key_file:
            place = ["--homedir", home, "--no-autostart"]
            _gpg([*place, "--import"], _read(key_file), f"Error importing keys from {key_file}")
        status = Path(home, "status")
        payload = _gpg([*place, "--status-file", str(status), "--decrypt"], signature, failure)
        lines = status.read_text(errors="replace").splitlines()
    fingerprints = _fingerprints(lines)
    if not fingerprints:
        raise FastcopyError(f"{failure}: Invalid GPG signature: no valid signature by a known key")
    if keys != "any" and not set(fingerprints) & {key.strip().upper() for key in keys.split(",")}:
        raise FastcopyError(f"{failure}: Signature by key {fingerprints[0]} is not accepted")
    digest = check_payload(payload, reference, manifest, failure)
    return Verified(fingerprints[0], digest)


def _fingerprints(lines: list[str]) -> list[str]:
    """The signing key's fingerprint, then its primary key's, of the one valid signature (gpg's doc/DETAILS)."""
    valid = [line.split()[2:] for line in lines if line.startswith("[GNUPG:] VALIDSIG ")]
    bad = any(line.startswith(("[GNUPG:] BADSIG", "[GNUPG:] ERRSIG", "[GNUPG:] EXPKEYSIG", "[GNUPG:] REVKEYSIG",
                               "[GNUPG:] EXPSIG")) for line in lines)  # fmt: skip
    if bad or len(valid) != 1:
        return []
    return [valid[0][0].upper(), valid[0][-1].upper()]


def check_payload(payload: bytes, reference: str, manifest: bytes, failure: str) -> str:
    """Whether the signed document is about this manifest under this name; returns the digest it names."""
    try:
        critical = json.loads(payload)["critical"]
        kind, digest = critical["type"], critical["image"]["docker-manifest-digest"]
        signed = critical["identity"]["docker-reference"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FastcopyError(f"{failure}: Invalid signature: the payload is not a simple signature") from None
    if kind != TYPE:
        raise FastcopyError(f"{failure}: Unrecognized signature type {quote(str(kind))}")
    if _normal(signed) != _normal(reference):
        raise FastcopyError(f"{failure}: Docker reference {quote(str(signed))} does not match {quote(reference)}")
    if digest != _digest_of(manifest):
        raise FastcopyError(f"{failure}: Signature for docker digest {quote(str(digest))} does not match")
    return str(digest)


def _normal(reference: Any) -> str:
    from fastcopy.names import parse_docker

    try:
        return str(parse_docker(str(reference)))
    except BadName as error:
        raise FastcopyError(f"Invalid docker reference {quote(str(reference))}: {error.message}") from None


def _digest_of(manifest: bytes) -> str:
    from fastcopy.cli.inspection import digest_of

    return digest_of(manifest)


def _gpg(words: list[str], data: bytes, failure: str, *, secret: bytes = b"") -> bytes:
    command = ["gpg", "--batch", "--quiet", "--yes"]
    with tempfile.TemporaryFile() as passphrase:
        descriptors: tuple[int, ...] = ()
        if secret:
            passphrase.write(secret)
            passphrase.seek(0)
            descriptors = (passphrase.fileno(),)
            command += ["--pinentry-mode", "loopback", "--passphrase-fd", str(passphrase.fileno())]
        return _started([*command, *words], data, failure, descriptors)


def _started(command: list[str], data: bytes, failure: str, descriptors: tuple[int, ...]) -> bytes:
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=_PATIENCE, pass_fds=descriptors, check=False
        )
    except FileNotFoundError:
        raise FastcopyError(f"{failure}: the program gpg is not installed") from None
    except subprocess.TimeoutExpired:
        raise FastcopyError(f"{failure}: gpg did not answer for {_PATIENCE:.0f} seconds") from None
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise FastcopyError(f"{failure}: {told[-1] if told else f'gpg exited with {done.returncode}'}")
    return done.stdout


def _passphrase(path: str | None) -> bytes:
    return _read(path).split(b"\n")[0] if path else b""


def _read(path: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FastcopyError(f"Error reading {path}: open {path}: {(error.strerror or '').lower()}") from None
    if len(data) > 4 * _LIMIT:
        raise FastcopyError(f"Error reading {path}: it is too large")
    return data


def _write(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise FastcopyError(f"Error writing signature to {path}: {(error.strerror or '').lower()}") from None
