"""Plain text lists: one image a line (`list`), and ``src=dst`` lines alone (`mapping`, oc-mirror's mapping.txt).

How a line maps, in full (docs/formats.md says it with examples):

1. Blank lines and everything from ``#`` at the start of a line or behind a space are ignored.
2. ``src=dst`` is split at the first ``=``. Both sides are image names; ``docker://`` may stand in front.
3. With --from P, *src* means ``P/src``; one that names a registry must lie below P, or the line is refused.
   Without --from, *src* is a docker name as Docker reads it (``busybox:1`` is on Docker Hub).
4. *src* must end in a tag, a digest or both (copied by digest, named by tag); a tag with ``*``, ``?`` or ``[`` is a
   glob over the repository's tags. A name without any is refused: Docker would mean ``latest``, skopeo every tag.
5. Without *dst*, the image goes to ``Q/`` (--to) plus its path below P, or its whole repository path without --from,
   under the same tag; --rename changes the path, or is the template of what follows ``Q/``.
6. A *dst* that names no registry means ``Q/dst``; one that does must lie below Q if --to is given. A *dst* without a
   tag keeps the source's. --rename leaves it alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fastcopy.errors import BadConfig, FastcopyError, UsageError
from fastcopy.formats.base import Format, Given, Loaded, local_transport, registry_prefix
from fastcopy.jobs import Job, Rule, Target
from fastcopy.names import DockerRef, parse_docker
from fastcopy.naming import Rename, completed, literal, names_registry, tokens
from fastcopy.tags.pattern import Glob, is_glob
from fastcopy.tags.selection import Name, Selection

_COMMENT = re.compile(r"(?:^|\s)#.*")
_EMPTY: Final = Selection()


@dataclass(frozen=True, slots=True)
class _Prefixes:
    """--from, --to and --rename, checked once."""

    source: str
    targets: tuple[Target, ...]
    destination: str


def parse(text: str, name: str, given: Given, *, pairs_only: bool = False) -> Loaded:
    """Read a list (`mapping` with *pairs_only*); raises BadConfig with the place of the first bad line."""
    prefixes = _prefixes(given)
    rules: list[Rule] = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = _COMMENT.sub("", line).rstrip()
        entry = bare.lstrip()
        if not entry:
            continue
        where = f"{name}:{number}:{len(bare) - len(entry) + 1}"
        try:
            rules.append(_rule(entry, where, prefixes, pairs_only=pairs_only))
        except FastcopyError as problem:
            raise BadConfig(f"{where}: {problem}") from None
    kind: Format = "mapping" if pairs_only else "list"
    return Loaded(tuple(rules), kind, name)


def dump_pairs(jobs: Iterable[Job], remarks: Mapping[str, str] | None = None) -> str:
    """*jobs* as ``src=dst`` lines that `parse` reads back; *remarks* by job key stand above them as comments.

    Sources, destinations and nothing else: settings and logins are not in this format.
    """
    lines: list[str] = []
    for job in jobs:
        lines += [f"# {line}" for line in (remarks or {}).get(job.key, "").splitlines()]
        pair = f"{job.source}={job.destination}"
        plain = "=" not in job.source and not re.search(r"\s", pair)
        lines.append(pair if plain else f"# not writable as a pair: {pair!r}")
    return "".join(f"{line}\n" for line in lines)


def _prefixes(given: Given) -> _Prefixes:
    source = registry_prefix(given.source, "--from") if given.source else ""
    if not given.destination:
        if given.rename:
            raise UsageError("--rename needs --to")
        return _Prefixes(source, (), "")
    if "{" in given.destination or local_transport(given.destination):
        return _Prefixes(source, (_whole_template(given),), "")
    prefix = registry_prefix(given.destination, "--to")
    rename = _substitution(given.rename)
    if rename or not given.rename:
        return _Prefixes(source, (Target(f"docker://{prefix}/{{path}}", (rename,) if rename else ()),), prefix)
    return _Prefixes(source, (Target(f"docker://{prefix}/{_template(given.rename)}"),), prefix)


def _whole_template(given: Given) -> Target:
    """--to as a complete template, of any transport."""
    if given.rename:
        raise UsageError("--rename and a template in --to exclude each other")
    to = given.destination
    if to.startswith("oci:") and "{" not in to and ":" not in to.removeprefix("oci:"):
        to = f"{literal(to)}:{{path}}{{reference}}"  # a layout for all: the names of the images become references
    return Target(to if local_transport(to) or to.startswith("docker://") else f"docker://{to}")


def _template(text: str) -> str:
    tokens(text)
    if "{" not in text:
        raise UsageError(f"--rename {text}: every image would get the same name", hint="use {name}, {path} or s#re#to#")
    return completed(f"docker://x/{text}").removeprefix("docker://x/")


def _substitution(text: str) -> Rename | None:
    """``s#match#replacement#`` with any sign in place of ``#``; None for a template."""
    if len(text) < 2 or text[0] != "s" or text[1].isalnum() or text[1] in " {_":
        return None
    parts = text[2:].split(text[1])
    if len(parts) != 3 or parts[2] not in ("", "g"):
        raise UsageError(f"--rename {text}: expected s{text[1]}match{text[1]}replacement{text[1]}")
    return Rename("path", parts[0], parts[1])


def _rule(entry: str, where: str, prefixes: _Prefixes, *, pairs_only: bool) -> Rule:
    left, equals, right = (part.strip() for part in entry.partition("="))
    if not equals and pairs_only:
        raise UsageError("expected source=destination")
    if re.search(r"\s", f"{left}{right}") or not left or (equals and not right):
        raise UsageError("expected one image, or source=destination without spaces inside")
    targets = (_target(right, prefixes),) if equals else prefixes.targets
    if local_transport(left):
        return Rule(left, _EMPTY, targets, where=where)
    ref, selection = _source(left, prefixes.source)
    return Rule(f"docker://{ref.name}", selection, targets, base=prefixes.source, where=where)


def _source(text: str, prefix: str) -> tuple[DockerRef, Selection]:
    """The repository and what is taken of it."""
    bare = text.removeprefix("docker://")
    if prefix and not bare.startswith(f"{prefix}/"):
        if names_registry(bare):
            raise UsageError(f"{bare} does not lie below --from {prefix}")
        bare = f"{prefix}/{bare}"
    head, slash, last = bare.rpartition("/")
    stem, colon, tag = last.partition(":")
    if colon and is_glob(tag):
        return parse_docker(f"{head}{slash}{stem}"), Selection(include=(Glob(tag),))
    ref = parse_docker(bare)
    if not ref.reference:
        raise UsageError(f"{text} has neither tag nor digest", hint="append :latest, or :* for every tag")
    return ref, Selection(names=(Name(ref.tag, ref.digest or ""),))


def _target(text: str, prefixes: _Prefixes) -> Target:
    """An explicit destination."""
    if local_transport(text):
        return Target(literal(text))
    bare = text.removeprefix("docker://").rstrip("/")
    prefix = prefixes.destination
    if not names_registry(bare):
        if not prefix:
            raise UsageError(f"destination {text} names no registry", hint="name it, or give --to")
        bare = f"{prefix}/{bare}"
    elif prefix and not bare.startswith(f"{prefix}/"):
        raise UsageError(f"destination {text} does not lie below --to {prefix}")
    parse_docker(bare)
    return Target(literal(f"docker://{bare}"))
