"""From flags to Options: the rules that tie several flags together, with skopeo's texts.

Pure. Owns every check of the command line that needs no image name and no network.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

from fastcopy import __version__
from fastcopy.cli.flags import Parsed
from fastcopy.cli.govalues import quote
from fastcopy.descriptor import Platform
from fastcopy.errors import Unsupported, UsageError
from fastcopy.options import CopyOptions, Credentials, HostOptions, Options, RunOptions

_FORMATS = ("oci", "v2s1", "v2s2")
_COMPRESSIONS = ("gzip", "zstd", "zstd:chunked", "bzip2", "Xz")
_MULTI_ARCH = ("system", "all", "index-only")
#: The prefixes a side's flags may carry: with --src-/--dest- in copy and sync, without in the other commands.
_PREFIXES = {"source": ("src-", ""), "destination": ("dest-",)}
_ALIASED = {"source": ("src-",), "destination": ("dest-",)}  #: --screds, --dcreds
_CREDENTIALS = ("creds", "username", "password", "registry-token")


def options_of(parsed: Parsed) -> Options:
    """Options as the command line asks; raises UsageError, or Unsupported for a refused flag."""
    slices = _plain_fields(parsed)
    for side in ("source", "destination"):
        slices[side] |= _host_fields(parsed, side)
    slices["copy"] |= _copy_fields(parsed)
    slices["run"] |= {"retries": max(0, parsed.get("retry-times"))} if parsed.given("retry-times") else {}
    refuse(parsed)
    return Options(
        copy=CopyOptions(**slices["copy"]),
        run=RunOptions(**slices["run"]),
        source=HostOptions(**slices["source"]),
        destination=HostOptions(**slices["destination"]),
    )


def refuse(parsed: Parsed) -> None:
    """Raise Unsupported for the first flag that fastcopy knows but does not implement."""
    for flag in parsed.flags.values():
        if flag.refused:
            raise Unsupported(f"--{flag.name} is not supported: {flag.refused}")


def _plain_fields(parsed: Parsed) -> dict[str, dict[str, Any]]:
    slices: dict[str, dict[str, Any]] = {"copy": {}, "run": {}, "source": {}, "destination": {}}
    for name, flag in parsed.flags.items():
        for path in filter(None, flag.to.split(",")):
            if not path.startswith("<"):
                owner, _, attribute = path.partition(".")
                slices[owner][attribute] = parsed.values[name]
    return slices


def _host_fields(parsed: Parsed, side: str) -> dict[str, Any]:
    prefixes = _PREFIXES[side]
    found: dict[str, Any] = {}
    found["credentials"] = _credentials(parsed, side)
    found["authfile"] = _first(parsed, *(f"{prefix}authfile" for prefix in prefixes), "authfile")
    found["tls_verify"] = _first(parsed, *(f"{prefix}tls-verify" for prefix in prefixes), "tls-verify")
    found["http"] = _first(parsed, *(f"{prefix}http" for prefix in prefixes if prefix), "http") or "auto"
    if prefix := parsed.get("user-agent-prefix"):
        found["user_agent"] = f"{prefix} fastcopy/{__version__}"
    return found


def _first(parsed: Parsed, *names: str) -> Any:
    return next((parsed.values[name] for name in names if name in parsed.values), None)


def _credentials(parsed: Parsed, side: str) -> Credentials | None:
    creds, user, password, token = (_of_credentials(parsed, side, name) for name in _CREDENTIALS)
    anonymous = bool(_first(parsed, *(f"{prefix}no-creds" for prefix in _PREFIXES[side])))
    _check_credentials(creds, user, password, anonymous)
    if creds is not None:
        user, password = split_credentials(creds)
    if user is None and not token:
        return None
    return Credentials(username=user or "", password=password or "", registry_token=token or "")


def _of_credentials(parsed: Parsed, side: str, name: str) -> str | None:
    """One part of a side's credentials; login has flags of the same names that mean something else."""
    wanted = f"<{side}.credentials>"
    names = [f"{prefix}{name}" for prefix in _PREFIXES[side]] + [f"{prefix[0]}{name}" for prefix in _ALIASED[side]]
    mine = (each for each in names if each in parsed.flags and wanted in parsed.flags[each].to)
    return cast("str | None", _first(parsed, *mine))


def _check_credentials(creds: str | None, user: str | None, password: str | None, anonymous: bool) -> None:
    if anonymous and creds is not None:
        raise UsageError("creds and no-creds cannot be specified at the same time")
    if anonymous and user is not None:
        raise UsageError("username and no-creds cannot be specified at the same time")
    if creds is not None and user is not None:
        raise UsageError("creds and username cannot be specified at the same time")
    if user is not None and password is None:
        raise UsageError("password must be specified when username is specified")
    if password is not None and user is None:
        raise UsageError("username must be specified when password is specified")


def split_credentials(text: str) -> tuple[str, str]:
    """``USER[:PASSWORD]``; raises UsageError."""
    if not text:
        raise UsageError("credentials can't be empty")
    user, _, password = text.partition(":")
    if not user:
        raise UsageError("username can't be empty")
    return user, password


def _copy_fields(parsed: Parsed) -> dict[str, Any]:
    found: dict[str, Any] = _multi_arch(parsed)
    if parsed.get("dest-compress") and parsed.get("dest-decompress"):
        raise UsageError("Cannot compress and decompress at the same time")
    if parsed.get("dest-compress") or parsed.get("dest-decompress"):
        found["compress"] = bool(parsed.get("dest-compress"))
    if "copy.compression_format" in _targets(parsed):
        check_compression(parsed.get("dest-compress-format"))
    if parsed.get("dest-force-compress-format") and not parsed.get("dest-compress-format"):
        raise UsageError("cannot use ForceCompressionFormat with undefined default compression format")
    if parsed.given("format") and parsed.flags["format"].to:
        found["format"] = _manifest_format(parsed.get("format"))
    if parsed.given("additional-tag"):
        found["additional_tags"] = tuple(_additional_tag(tag) for tag in parsed.get("additional-tag"))
    if parsed.given("referrer-type"):
        found["referrers"] = bool(parsed.get("referrers", True))
        found["referrer_types"] = tuple(parsed.get("referrer-type"))
    return found


def _targets(parsed: Parsed) -> set[str]:
    return {path for flag in parsed.flags.values() for path in flag.to.split(",")}


def check_compression(name: str) -> None:
    """Raise UsageError for a name that is no compression."""
    if name not in _COMPRESSIONS:
        raise UsageError(f"cannot find compressor for {quote(name)}")


def _manifest_format(text: str) -> str:
    if text not in _FORMATS:
        raise UsageError(f"unknown format {quote(text)}. Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'")
    return text


def _multi_arch(parsed: Parsed) -> dict[str, Any]:
    if parsed.get("all") and parsed.given("multi-arch"):
        raise UsageError("Cannot use --all and --multi-arch flags together")
    if parsed.get("all") and parsed.flags["all"].to:  # logout has an --all of its own
        return {"multi_arch": "all"}
    if not parsed.given("multi-arch"):
        return {}
    text = cast("str", parsed.get("multi-arch"))
    if text in _MULTI_ARCH:
        return {"multi_arch": text}
    return {"multi_arch": "all", "platforms": tuple(_platform(part, text) for part in text.split(","))}


def _platform(part: str, whole: str) -> Platform:
    names = part.strip().split("/")
    if len(names) != 2 or not all(names):
        raise UsageError(
            f"unknown multi-arch option {quote(whole)}. Choose one of the supported options: 'system', 'all', "
            "'index-only', or a comma-separated platform list like 'linux/amd64,linux/arm64'"
        )
    return Platform(*names)


def _additional_tag(text: str) -> str:
    from fastcopy.errors import BadName
    from fastcopy.names import parse_docker

    try:
        reference = parse_docker(text)
    except BadName as error:
        raise UsageError(f"error parsing additional-tag '{text}': {error.message}") from None
    if not reference.tag:
        raise UsageError(f"additional-tag '{text}' must be a tagged reference")
    return str(reference)


def single_sided(options: Options) -> Options:
    """Options for a command with one image: both sides are that side."""
    return replace(options, destination=options.source)


def known_fields() -> set[str]:
    """Every dotted field that a flag's `to` may name."""
    owners = {"copy": CopyOptions, "run": RunOptions, "source": HostOptions, "destination": HostOptions}
    return {f"{owner}.{item.name}" for owner, kind in owners.items() for item in fields(kind)}
