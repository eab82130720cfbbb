"""The job model: what every list and configuration format is read into, and what a run is made of. Pure values.

A `Rule` says "of this source, these references, to those targets"; `expand` turns a rule and a repository's tag list
into `Job`s, one copy each; `check` refuses a set of jobs in which two sources meet at one destination. This file
knows no file format, no registry and no clock: where tags or repositories must be listed, the rule says so
(`needs_tags`, `needs_catalog`) and the caller brings them.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fastcopy import naming
from fastcopy.descriptor import Platform
from fastcopy.errors import BadConfig, BadName, Collision, UsageError
from fastcopy.names import DockerRef, Ref, is_tag, parse, parse_docker, with_default_tag
from fastcopy.options import Credentials, HostOptions
from fastcopy.tags.pattern import Glob, Pattern
from fastcopy.tags.selection import Name, Selection

#: How many conflicts one message lists; a wrong template makes thousands.
_SHOWN: Final = 10
_NOTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class Access:
    """What a rule says of reaching one side; None and False leave the command line's choice alone.

    `secret_from` remembers by which reference the credentials were given (``env:VAR``, ``file:PATH``), so that a
    configuration can be written back without them.
    """

    credentials: Credentials | None = None
    secret_from: Mapping[str, str] = field(default_factory=dict, compare=False)
    anonymous: bool = False
    authfile: Path | None = None
    tls_verify: bool | None = None
    cert_dir: Path | None = None
    cert_dir_decided: bool = False  #: None means the default search, not the command line's choice (skopeo's YAML)

    def over(self, base: HostOptions) -> HostOptions:
        """*base* with everything this object decides put on top."""
        chosen = base
        if self.credentials or self.anonymous:
            chosen = replace(chosen, credentials=self.credentials, anonymous=self.anonymous)
        if self.authfile:
            chosen = replace(chosen, authfile=self.authfile)
        if self.tls_verify is not None:
            chosen = replace(chosen, tls_verify=self.tls_verify)
        if self.cert_dir or self.cert_dir_decided:
            chosen = replace(chosen, cert_dir=self.cert_dir)
        return chosen


@dataclass(frozen=True, slots=True)
class Settings:
    """How a rule's images are copied; None leaves the command line's choice alone."""

    platform: Platform | None = None  #: copy this one instance of an index, as a single image
    platforms: tuple[Platform, ...] = ()  #: copy these instances of an index, and the index
    all_platforms: bool | None = None
    referrers: bool | None = None  #: follow the OCI 1.1 referrers of each image, recursively
    referrer_types: tuple[str, ...] = ()  #: only these artifact types; () means all
    digest_tags: bool | None = None  #: take ``sha256-….sig`` and the like along
    immutable: tuple[Pattern, ...] = ()  #: tags that never move: present at the destination means done
    prune: bool = False  #: consent to delete destination tags that no job makes

    def is_immutable(self, tag: str) -> bool:
        """Whether *tag* is declared never to move."""
        return bool(tag) and any(one.matches(tag) for one in self.immutable)


@dataclass(frozen=True, slots=True)
class Target:
    """One destination of a rule: a template (see `naming`), or *references* that name each copy one by one."""

    template: str
    renames: tuple[naming.Rename, ...] = ()
    references: Mapping[str, str] | None = field(default=None, hash=False)  #: source reference -> destination tag
    access: Access = Access()

    def name(self, source: DockerRef, name: Name, base: str) -> str:
        """The destination of *name* of *source*; raises UsageError."""
        known = naming.values(source, name, base=base, renames=self.renames)
        if self.references is not None:
            known |= _pointing_at(self.references.get(str(name), ""))
        return naming.render(self.template, known)


def _pointing_at(reference: str) -> dict[str, str]:
    """Placeholder values for an explicit destination tag; nothing for none."""
    return {"tag": reference, "reference": f":{reference}"} if reference else {}


@dataclass(frozen=True, slots=True)
class Rule:
    """Copy what *select* picks of *source* to every target.

    *source* is a skopeo image name: a repository (``docker://host/repo``, no tag: `select` names them), a whole
    registry or prefix (``docker://host[/prefix]``, with *repositories* set), or a local place (``oci:/p:t``).
    *base* is the ``host/prefix`` that {path} is relative to.
    """

    source: str
    select: Selection = _NOTHING
    targets: tuple[Target, ...] = ()
    base: str = ""
    repositories: Selection | None = None  #: which of the registry's repositories; its patterns see full paths
    settings: Settings = Settings()
    access: Access = Access()
    where: str = field(default="", compare=False)  #: ``file:line:column``

    @property
    def ref(self) -> Ref | None:
        """The parsed source; None while the repositories are still to be listed."""
        if self.needs_catalog:
            return None
        text = self.source.removeprefix("docker://")
        return parse_docker(text) if text != self.source else parse(self.source)

    @property
    def registry(self) -> str:
        """Host and port of a registry source, else the empty string."""
        bare = self.source.removeprefix("docker://")
        return bare.partition("/")[0] if bare != self.source else ""

    @property
    def needs_catalog(self) -> bool:
        """Whether the source registry's repositories must be listed first (see `expand_catalog`)."""
        return self.repositories is not None

    @property
    def needs_tags(self) -> bool:
        """Whether `expand` needs the repository's tag list."""
        return self.select.needs_tags


@dataclass(frozen=True, slots=True)
class Job:
    """One copy: *source* to *destination*, both complete image names in canonical spelling."""

    source: str
    destination: str
    settings: Settings = Settings()
    source_access: Access = field(default=Access(), compare=False)
    destination_access: Access = field(default=Access(), compare=False)
    source_tag: str = field(default="", compare=False)  #: the tag this came from, also where the digest is copied
    where: str = field(default="", compare=False)

    @property
    def source_ref(self) -> Ref:
        """The parsed source."""
        return parse(self.source)

    @property
    def destination_ref(self) -> Ref:
        """The parsed destination."""
        return parse(self.destination)

    @property
    def source_reference(self) -> str:
        """Tag or digest at the source; empty for local places."""
        return _reference(self.source_ref)

    @property
    def destination_reference(self) -> str:
        """Tag or digest at the destination; empty for local places."""
        return _reference(self.destination_ref)

    @property
    def immutable(self) -> bool:
        """Whether the destination's tag never moves: present there means skip, without asking the source."""
        ref = self.destination_ref
        return isinstance(ref, DockerRef) and self.settings.is_immutable(ref.tag)

    @property
    def key(self) -> str:
        """A stable identity for the journal: what is copied where, and how; not from which line or as whom."""
        kept = self.settings
        text = "\0".join(
            [
                "1",
                self.source,
                self.destination,
                f"{kept.platform or ''} {','.join(map(str, kept.platforms))}",
                f"{kept.all_platforms} {kept.referrers} {kept.digest_tags}",
                ",".join(kept.referrer_types),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _reference(ref: Ref) -> str:
    return ref.reference if isinstance(ref, DockerRef) else ""


def expand(rule: Rule, tags: Iterable[str] = ()) -> list[Job]:
    """The jobs of *rule*, given its repository's *tags* (ignored unless `rule.needs_tags`), in selection order.

    Raises BadConfig, with the rule's place, for a name that its targets cannot make.
    """
    if rule.needs_catalog:
        raise ValueError("list the repositories first: expand_catalog()")
    if not rule.targets:
        raise BadConfig(f"{rule.where}: no destination is given for {rule.source}", hint="name one with --to")
    try:
        source = rule.ref
        if isinstance(source, DockerRef):
            return _of_repository(rule, source, tags)
        return [_of_place(rule, target, canonical(rule.source)) for target in rule.targets]
    except (UsageError, BadName) as problem:
        raise BadConfig(f"{rule.where}: {problem}") from None


def _of_repository(rule: Rule, source: DockerRef, tags: Iterable[str]) -> list[Job]:
    return [
        _job(rule, target, _pointed(source, name), target.name(source, name, rule.base), name)
        for name in rule.select.pick(tags)
        for target in rule.targets
    ]


def _of_place(rule: Rule, target: Target, source: str) -> Job:
    """A local image: the target's placeholders know its reference name, if that is a tag, and its file name."""
    ref = parse(source)
    inner = getattr(ref, "name", "")
    tag = inner if isinstance(inner, str) and is_tag(inner) else ""
    known = dict.fromkeys(naming.PLACEHOLDERS, "")
    known |= {"name": posixpath.basename(getattr(ref, "path", "")), **_pointing_at(tag)}
    return _job(rule, target, source, naming.render(target.template, known), Name(tag))


def _pointed(source: DockerRef, name: Name) -> str:
    """The source's full name: by digest where one is pinned."""
    return f"docker://{source.name}" + (f"@{name.digest}" if name.digest else f":{name.tag}")


def _job(rule: Rule, target: Target, source: str, destination: str, name: Name) -> Job:
    bare = destination.removeprefix("docker://")
    if bare != destination and not naming.names_registry(bare):
        # Docker would read mirror.lan:1 as an image of Docker Hub: never where a registry was left out by mistake.
        raise UsageError(f'destination "{bare}" names no registry and repository')
    return Job(
        source=source,
        destination=canonical(destination),
        settings=rule.settings,
        source_access=rule.access,
        destination_access=target.access,
        source_tag=name.tag,
        where=rule.where,
    )


def canonical(name: str) -> str:
    """*name* checked by its transport's grammar, docker names in full (``docker://docker.io/library/busybox:latest``).

    Raises BadName.
    """
    try:
        ref = parse(name)
    except BadName as problem:
        raise BadName(f'destination "{name}": {problem.message}') from None
    return f"docker://{with_default_tag(ref)}" if isinstance(ref, DockerRef) else str(ref)


def directory_jobs(
    base: str, found: Iterable[str], place: str, *, transport: str, scoped: bool = False, append_suffix: str = ""
) -> list[Job]:
    """`sync --src dir`: *found* are the image directories below *base* (``""``: *base* is itself an image).

    Raises BadConfig for a directory whose name makes no destination.
    """
    made: list[Job] = []
    for path in found:
        directory = posixpath.normpath(posixpath.join(base, path))
        suffix = path or posixpath.basename(directory)
        try:
            name = naming.sync_destination(
                suffix, place, transport=transport, scoped=scoped, append_suffix=append_suffix
            )
            made.append(Job(f"dir:{directory}", canonical(name), where=directory))
        except (UsageError, BadName) as problem:
            raise BadConfig(f"{directory}: {problem}") from None
    return made


def layout_jobs(
    base: str, references: Iterable[str], place: str, *, transport: str, scoped: bool = False, append_suffix: str = ""
) -> list[Job]:
    """`sync --src oci`: the *references* of the layout at *base*; a bare tag is one of an image named like *base*.

    Signatures and lists of referrers are no images: they go with what they are named after.
    Raises BadConfig for a reference that makes no destination.
    """
    made: list[Job] = []
    for reference in references:
        if _DIGEST_TAG.matches(reference.rpartition(":")[2]):
            continue
        whole = reference if ":" in reference else f"{posixpath.basename(posixpath.normpath(base))}:{reference}"
        where = f"oci:{base}:{reference}"
        try:
            name = naming.sync_destination(
                whole, place, transport=transport, scoped=scoped, append_suffix=append_suffix
            )
            made.append(Job(canonical(where), canonical(name), where=where))
        except (UsageError, BadName) as problem:
            raise BadConfig(f"{where}: {problem}") from None
    return made


def expand_catalog(rule: Rule, repositories: Iterable[str]) -> list[Rule]:
    """One rule per repository that the registry lists and *rule* selects, in the registry's order."""
    if rule.repositories is None:
        return [rule]
    prefix = rule.source.removeprefix("docker://").partition("/")[2]
    inside = [path for path in dict.fromkeys(repositories) if not prefix or path.startswith(f"{prefix}/")]
    chosen = [path for path in inside if rule.repositories.admits(path)]
    named = [str(name.tag) for name in rule.repositories.names]
    return [
        replace(rule, source=f"docker://{rule.registry}/{path}", repositories=None)
        for path in dict.fromkeys([*named, *chosen])
    ]


def check(jobs: Iterable[Job]) -> list[Job]:
    """*jobs* without exact repetitions; raises Collision when two different copies would write one destination.

    skopeo lets the later one overwrite the earlier silently. The message names both sources and their places.
    """
    kept: dict[str, Job] = {}
    clashes: list[str] = []
    for job in jobs:
        first = kept.setdefault(job.destination, job)
        if first != job:
            clashes.append(clash(first, job))
    if clashes:
        more = f"\n… and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
        raise Collision("\n".join(clashes[:_SHOWN]) + more)
    return list(kept.values())


def clash(first: Job, second: Job) -> str:
    """What is wrong with *second*, which would be written where *first* goes."""
    where = f"{second.where}: " if second.where else ""
    at = f" ({first.where})" if first.where else ""
    if first.source == second.source:
        return f"{where}{second.source} is copied to {second.destination} a second time, with other settings{at}"
    return f"{where}two sources for one destination {second.destination}: {first.source}{at} and {second.source}"


def to_prune(jobs: Sequence[Job]) -> dict[str, frozenset[str]]:
    """Destination repositories whose rules all consent to pruning -> the tags that *jobs* put there.

    Only meaningful for a complete run: the caller MUST leave out a repository one of whose rules failed to expand.
    """
    kept: dict[str, set[str]] = {}
    refused: set[str] = set()
    for job in jobs:
        ref = job.destination_ref
        if isinstance(ref, DockerRef):
            kept.setdefault(ref.name, set()).add(ref.tag)
            if not job.settings.prune:
                refused.add(ref.name)
    return {name: frozenset(tags) for name, tags in kept.items() if name not in refused}


def left_over(tags: Iterable[str], kept: frozenset[str], immutable: Sequence[Pattern] = ()) -> list[str]:
    """The destination's *tags* that may be deleted: in no job, not immutable, and no digest tag (``sha256-….sig``)."""
    spared = (*immutable, _DIGEST_TAG)
    return [tag for tag in tags if tag not in kept and not any(one.matches(tag) for one in spared)]


def without_lists(tags: Iterable[str]) -> list[str]:
    """*tags* without those that list referrers: whoever follows referrers makes the destination's list himself."""
    return [tag for tag in tags if not _LIST_TAG.matches(tag)]


#: cosign and the referrers fallback name their tags after a digest; they go with their subject, not by themselves.
_DIGEST_TAG: Final = Glob("sha256-" + "[0-9a-f]" * 64 + "*")
_LIST_TAG: Final = Glob("sha256-" + "[0-9a-f]" * 64)
