"""A plan in a file: JSON that people can review, one line for each image, and what `sync --plan` makes of it.

Pure: values to text and text to values. Owns the format and its version; the schema is published in docs/schema. There
are no secrets in it: logins come from the command line and the auth files when it is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from fastcopy import platforms
from fastcopy.descriptor import Digest, Platform, is_digest
from fastcopy.errors import BadConfig, FastcopyError
from fastcopy.jobs import Access, Job, Settings
from fastcopy.migrate.costs import counts, volume
from fastcopy.migrate.plan import Ensure, Image
from fastcopy.migrate.planning import Planned
from fastcopy.names import DockerRef, parse
from fastcopy.options import CopyOptions
from fastcopy.tags.pattern import Glob

#: Raised when a reader of the old version would carry out something else than what was planned.
VERSION: Final = 1


class _Blob(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One blob; `from` is the repository it is mounted from. Sizes are bytes, -1 where no manifest states one."""

    digest: str
    size: int
    how: Literal["upload", "mount", "present", "repeated"]
    origin: str = msgspec.field(name="from", default="")


class _Settings(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """How this image differs from the options of the plan."""

    platform: str = ""
    platforms: tuple[str, ...] = ()
    all_platforms: bool | None = None
    referrers: bool | None = None
    referrer_types: tuple[str, ...] = ()
    digest_tags: bool | None = None
    immutable: bool = False


class _Access(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """How a side is reached, as far as that is no secret."""

    anonymous: bool = False
    authfile: str = ""
    tls_verify: bool | None = None
    cert_dir: str = ""
    cert_dir_decided: bool = False


class _Image(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One image: `digest` is what the source's name pointed to, and what will be read."""

    source: str
    destination: str
    digest: str
    action: Literal["copy", "present", "failed"]
    settings: _Settings | None = None
    source_access: _Access | None = None
    destination_access: _Access | None = None
    error: str = ""
    blobs: tuple[_Blob, ...] = ()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A saved plan. `options` are those that could change a byte at the destination; `summary` is for people."""

    version: int = msgspec.field(name="fastcopy-plan")
    created: str
    options: dict[str, Any]
    summary: dict[str, Any]
    images: list[_Image]


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What a file asks for: jobs whose sources are pinned where that is possible, and the options of all of them.

    `digests` says by job key what was planned; `names` what a pinned source was called.
    """

    jobs: tuple[Job, ...]
    copy: CopyOptions
    digests: Mapping[str, Digest] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    found: tuple[tuple[Job, Digest], ...] = ()  #: blobs that were at the destination of the job
    failed: tuple[str, ...] = ()  #: images that could not be planned, in words


def schema() -> dict[str, Any]:
    """The published JSON schema (docs/schema/fastcopy-plan.schema.json)."""
    made = msgspec.json.schema(_File)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fastcopy plan", **made}


def dump(planned: Planned, created: str) -> str:
    """The file's text; *created* is a moment in RFC 3339."""
    head = {
        "fastcopy-plan": VERSION,
        "created": created,
        "options": msgspec.to_builtins(_changed(_resolved(planned.copy))),
        "summary": {"images": counts(planned.plan), **volume(planned.plan)},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    images = [
        msgspec.json.encode(_line(job, image, planned.plan.of(image)), enc_hook=str).decode()
        for job, image in planned.numbered
    ]
    return "{\n" + "\n".join(lines) + '\n"images": [\n' + ",\n".join(images) + "\n]}\n"


def load(text: str, name: str) -> SavedPlan:
    """Read *text*; raises BadConfig, naming the file, for what is no plan or one of another version."""
    try:
        file = msgspec.json.decode(text, type=_File)
    except msgspec.MsgspecError as problem:
        raise BadConfig(f"{name}: not a plan that this version of fastcopy reads: {problem}") from None
    if file.version != VERSION:
        raise BadConfig(f"{name}: plan of version {file.version}, this version of fastcopy reads {VERSION}")
    try:
        return _saved(file)
    except (FastcopyError, msgspec.ValidationError, ValueError) as problem:
        raise BadConfig(f"{name}: {problem}") from None


def has_logins(planned: Planned) -> bool:
    """Whether jobs have credentials of their own, which a file does not keep."""
    return any(job.source_access.credentials or job.destination_access.credentials for job in planned.jobs)


def _resolved(copy: CopyOptions) -> CopyOptions:
    """*copy* with this machine's platform written out: the plan may be carried out on another one."""
    here = platforms.host()
    if copy.multi_arch != "system" or copy.override_arch:
        return replace(copy, override_os=copy.override_os or here.os)
    variant = copy.override_variant or here.variant
    return replace(
        copy, override_os=copy.override_os or here.os, override_arch=here.architecture, override_variant=variant
    )


def _changed(copy: CopyOptions) -> dict[str, Any]:
    default = CopyOptions()
    names = (item.name for item in fields(copy))
    return {name: getattr(copy, name) for name in names if getattr(copy, name) != getattr(default, name)}


def _line(job: Job, image: Image, ensured: tuple[Ensure, ...]) -> _Image:
    return _Image(
        job.source,
        job.destination,
        image.digest,
        image.action,
        _settings(job),
        _access(job.source_access),
        _access(job.destination_access),
        image.error,
        tuple(_Blob(each.what.digest, each.what.size, each.how, each.origin) for each in ensured),
    )


def _settings(job: Job) -> _Settings | None:
    kept = job.settings
    told = _Settings(
        str(kept.platform or ""), tuple(map(str, kept.platforms)), kept.all_platforms, kept.referrers,
        kept.referrer_types, kept.digest_tags, job.immutable,
    )  # fmt: skip
    return told if told != _Settings() else None


def _access(access: Access) -> _Access | None:
    told = _Access(
        access.anonymous, str(access.authfile or ""), access.tls_verify, str(access.cert_dir or ""),
        access.cert_dir_decided,
    )  # fmt: skip
    return told if told != _Access() else None


def _saved(file: _File) -> SavedPlan:
    unknown = file.options.keys() - {item.name for item in fields(CopyOptions)}
    if unknown:
        raise BadConfig(f"options that this version of fastcopy does not know: {', '.join(sorted(unknown))}")
    copy = msgspec.convert(file.options, CopyOptions)
    jobs: list[Job] = []
    digests: dict[str, Digest] = {}
    names: dict[str, str] = {}
    there: list[tuple[Job, Digest]] = []
    for line in file.images:
        if line.action != "failed":
            job = _job(line)
            jobs.append(job)
            there += [(job, Digest(blob.digest)) for blob in line.blobs if blob.how == "present"]
            if is_digest(line.digest):
                digests[job.key], names[job.key] = Digest(line.digest), line.source
    return SavedPlan(tuple(jobs), copy, digests, names, tuple(there), tuple(_failed(file.images)))


def _failed(images: list[_Image]) -> Iterator[str]:
    for line in images:
        if line.action == "failed":
            yield f"{line.source} could not be planned: {line.error}"


def _job(line: _Image) -> Job:
    source, destination = parse(line.source), parse(line.destination)
    pinned = line.source
    if isinstance(source, DockerRef) and line.digest:
        pinned = f"docker://{source.with_digest(Digest(line.digest))}"
    tag = destination.tag if isinstance(destination, DockerRef) else ""
    return Job(
        pinned,
        line.destination,
        _settings_of(line.settings or _Settings(), tag),
        _access_of(line.source_access or _Access()),
        _access_of(line.destination_access or _Access()),
        source.tag if isinstance(source, DockerRef) else "",
    )


def _settings_of(told: _Settings, tag: str) -> Settings:
    """*told* as settings; that a tag never moves is kept as a pattern for this very tag (tags have no wildcards)."""
    return Settings(
        Platform.parse(told.platform) if told.platform else None,
        tuple(map(Platform.parse, told.platforms)),
        told.all_platforms,
        told.referrers,
        told.referrer_types,
        told.digest_tags,
        (Glob(tag),) if told.immutable and tag else (),
    )


def _access_of(told: _Access) -> Access:
    return Access(
        anonymous=told.anonymous,
        authfile=Path(told.authfile) if told.authfile else None,
        tls_verify=told.tls_verify,
        cert_dir=Path(told.cert_dir) if told.cert_dir else None,
        cert_dir_decided=told.cert_dir_decided,
    )


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
