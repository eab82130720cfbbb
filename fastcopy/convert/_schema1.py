"""Docker schema 1, both ways: its history made into a config, and a config taken apart into history.

Owns the v1 IDs (what Docker derived them from, though nobody checks them any more), the empty layer that schema 1
needs for entries without files, and the throw-away signature without which registries refuse schema 1.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fastcopy import gojson, gostruct, imageconfig, schema1
from fastcopy.descriptor import Digest
from fastcopy.errors import BadManifest, Unsupported
from fastcopy.gostruct import Field, StructType

#: A gzipped tar of nothing: the blob of entries that changed the configuration only. Its digest is known everywhere.
EMPTY_LAYER: Final = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")
EMPTY_DIGEST: Final = Digest("sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4")


def schema2_config(v1: schema1.Schema1, diff_ids: Sequence[str]) -> bytes:
    """The Docker config that containers/image makes of a schema 1 history and the non-empty layers' diff IDs."""
    top, raw = gostruct.decode(imageconfig.DOCKER_V1_IMAGE, v1.top.compat), v1.top.raw
    if top["DockerVersion"] and _version(top["DockerVersion"]) < (1, 8, 3):
        # Before 1.8.3 the string lacks fields that readers expect, so the whole object is written anew.
        raw = gojson.dumps(gostruct.encode(top))
    kept = gojson.members(raw)
    for dropped in ("id", "parent", "parent_id", "layer_id", "throwaway", "Size"):
        kept.pop(dropped, None)
    rootfs = {"type": "layers"} | ({"diff_ids": [str(each) for each in diff_ids]} if diff_ids else {})
    kept["rootfs"] = gojson.dumps(rootfs)
    kept["history"] = gojson.dumps([_history(layer) for layer in v1.layers])
    return gojson.join_members(kept).encode()


_COMPAT: Final = StructType(
    "manifest.Schema1V1Compatibility",
    (
        Field("Comment", "comment", "string"),
        Field("Created", "created", "time"),
        Field(
            "ContainerConfig",
            "container_config",
            StructType("manifest.schema1V1CompatibilityContainerConfig", (Field("Cmd", "Cmd", "[]string"),)),
        ),
        Field("Author", "author", "string"),
    ),
)


def _history(layer: schema1.V1Layer) -> dict[str, Any]:
    compat = gostruct.decode(_COMPAT, layer.compat)
    optional = {
        "author": compat["Author"],
        "created_by": " ".join(compat["ContainerConfig"]["Cmd"] or ()),
        "comment": compat["Comment"],
        "empty_layer": layer.empty,
    }
    return {"created": compat["Created"]} | {key: value for key, value in optional.items() if value}


def _version(text: str) -> tuple[int, ...]:
    """Docker's version comparison: numbers between dots, everything else counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))


def from_config(config: bytes, layers: Sequence[Digest], name: str, tag: str) -> bytes:
    """An unsigned schema 1 manifest of an image's *config* and its layers, base first. Raises BadManifest."""
    image = imageconfig.read_docker(config)
    history = image["History"] or []
    if not history:
        raise Unsupported("Cannot convert an image with 0 history entries to schema 1")
    full = iter(layers)
    entries: list[tuple[Digest, str]] = []
    below = identity = ""
    for item in history:
        blob = EMPTY_DIGEST if item["EmptyLayer"] else next(full, None)
        if blob is None:
            raise BadManifest(f"Invalid image configuration, needs more than the {len(layers)} distributed layers")
        below, identity = identity, _v1_id(blob, identity)
        entries.append((blob, gojson.dumps(_compat(item, identity, below))))
    blob = entries[-1][0]
    identity = _v1_id(blob, below, config.decode())
    entries[-1] = blob, _top(config.decode(), identity, below, history[-1]["EmptyLayer"])
    return _document(name, tag, image["Architecture"], entries)


def renamed(v1: schema1.Schema1, layers: Sequence[Digest], name: str, tag: str) -> bytes:
    """The unsigned manifest *v1* under another name, its layers replaced; base first."""
    raws = [layer.raw for layer in v1.layers]
    return _document(name or v1.name, tag or v1.tag, v1.architecture, list(zip(layers, raws, strict=True)))


def sign(unsigned: bytes) -> bytes:
    """Wrap in a JWS signature (prettyjws) by a key made for the purpose and thrown away."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    key = ec.generate_private_key(ec.SECP256R1())
    body = unsigned[:-1]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    header = gojson.dumps({"formatLength": len(body), "formatTail": _base64url(b"}"), "time": now})
    protected = _base64url(header.encode())
    r, s = decode_dss_signature(key.sign(f"{protected}.{_base64url(unsigned)}".encode(), ec.ECDSA(hashes.SHA256())))
    signature = {
        "header": {"jwk": _jwk(key.public_key()), "alg": "ES256"},
        "signature": _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big")),
        "protected": protected,
    }
    return body + f',"signatures":[{gojson.dumps(signature)}]}}'.encode()


def _document(name: str, tag: str, architecture: str, entries: list[tuple[Digest, str]]) -> bytes:
    """Schema 1 lists the top first."""
    downwards = entries[::-1]
    return gojson.dumps(
        {
            "name": name,
            "tag": tag,
            "architecture": architecture,
            "fsLayers": [{"blobSum": str(blob)} for blob, _ in downwards],
            "history": [{"v1Compatibility": raw} for _, raw in downwards],
            "schemaVersion": 1,
        }
    ).encode()


def _compat(item: gostruct.Struct, identity: str, below: str) -> dict[str, Any]:
    """A v1Compatibility entry below the top: nothing but where it came from."""
    found: dict[str, Any] = {
        "id": identity,
        "parent": below,
        "comment": item["Comment"],
        "created": item["Created"],
        "container_config": {"Cmd": [item["CreatedBy"]]},
        "author": item["Author"],
        "throwaway": item["EmptyLayer"],
    }
    return {key: value for key, value in found.items() if value}


def _top(config: str, identity: str, below: str, empty: bool) -> str:
    """The top entry: the whole config but for what schema 1 says elsewhere."""
    kept = gojson.members(config)
    for dropped in ("rootfs", "history"):
        kept.pop(dropped, None)
    kept["id"] = gojson.dumps(identity)
    if below:
        kept["parent"] = gojson.dumps(below)
    if empty:
        kept["throwaway"] = "true"
    return gojson.join_members(kept)


def _v1_id(blob: Digest, *others: str) -> str:
    return hashlib.sha256(" ".join((blob.hex, *others)).encode()).hexdigest()


def _jwk(public: Any) -> dict[str, str]:
    """The public key with libtrust's key ID: base32 of 240 bits of its DER digest, in groups of four."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    numbers = public.public_numbers()
    return {
        "crv": "P-256",
        "kid": ":".join(text[at : at + 4] for at in range(0, len(text), 4)),
        "kty": "EC",
        "x": _base64url(numbers.x.to_bytes(32, "big")),
        "y": _base64url(numbers.y.to_bytes(32, "big")),
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
