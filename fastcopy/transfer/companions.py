"""What travels with an image: the referrers of each of its manifests, and the tags named after their digests.

Owns which of them are copied, in which order, and when there are too many. Referrers go verbatim, by digest, after
the image; their own referrers after them (distribution-spec 1.1, referrers; cosign's SIGNATURE_SPEC for digest tags).
Refuses to know how a place lists them. An image whose companion fails has failed, but it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

import trio

from fastcopy import media
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, FastcopyError, Unsupported
from fastcopy.events import Message
from fastcopy.manifest import Manifest
from fastcopy.options import CopyOptions
from fastcopy.transfer.image import Copied, ImageCopy
from fastcopy.transfer.reading import MAX_DEPTH, Reader
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transfer.together import gather
from fastcopy.transports.base import Destination

T = TypeVar("T")

#: Manifests beside one image. Real ones have a handful per platform; more is a list that somebody made to hurt.
MOST: Final = 10_000
#: Companions are copied whole and as they are: a changed one would be another one.
VERBATIM: Final = CopyOptions(multi_arch="all", preserve_digests=True)


def refuse_alone(image: ImageCopy) -> None:
    """Before anything moves: a destination that can hold nothing beside an image has failed; raises for a source."""
    if image.source.alone:
        raise Unsupported(f"{image.source.name} {image.source.alone}", side="source")
    for target in image.aboard:
        if target.alone:
            image.results[target] = Unsupported(f"{target.name} {target.alone}", side="destination")


async def accompany(image: ImageCopy) -> None:
    """Copy what belongs to *image* to every destination that has it; failures become that destination's result."""
    targets = [target for target, result in image.results.items() if isinstance(result, Copied)]
    if not targets or image.grouped:
        return
    walk = Companions(image, replace(image.run, copy=VERBATIM), targets)
    try:
        subjects = await walk.subjects()
    except FastcopyError as error:
        walk.fail(targets, error, "what refers to it cannot be told")
    else:
        await gather(*(partial(walk.follow, subject) for subject in subjects))
    for target in targets:
        image.results[target] = walk.result(target)


@dataclass(frozen=True, slots=True)
class Brought:
    """A referrer that was copied: the destinations where it arrived, and whether they listed it without being told."""

    what: Descriptor
    arrived: dict[Destination, bool]


@dataclass
class Companions:
    """The walk from one image's manifests to everything beside them, at the *targets* that have the image."""

    image: ImageCopy
    run: Run
    targets: list[Destination]
    seen: set[Digest] = field(default_factory=set)
    failures: dict[Destination, FastcopyError] = field(default_factory=dict)
    copied: Counter[Destination] = field(default_factory=Counter)

    @property
    def asked(self) -> CopyOptions:
        """What the user asked for."""
        return self.image.run.copy

    @property
    def aboard(self) -> list[Destination]:
        """The destinations where nothing has failed."""
        return [target for target in self.targets if target not in self.failures]

    def fail(self, targets: Iterable[Destination], error: FastcopyError, what: str) -> None:
        """The first failure of a destination becomes its result; the others are likely the same."""
        said = f"the image is copied, but {what}: {error.message}"
        if said.count("the image is copied") == 1:
            error.message = said
        for target in targets:
            self.failures.setdefault(target, error)

    def result(self, target: Destination) -> Copied | FastcopyError:
        """What became of the image and all that belongs to it."""
        image = self.image.results[target]
        if target in self.failures or not isinstance(image, Copied):
            return self.failures.get(target, image)
        count = self.copied[target]
        return replace(image, present=image.present and not count, companions=count)

    async def subjects(self) -> list[Digest]:
        """The source's manifests that are now at the destinations. An index that nobody has read is read for them."""
        image = self.image
        if image.handled:
            return list(dict.fromkeys(image.handled))
        found: dict[Digest, None] = {}
        for target in self.targets:
            result = image.results[target]
            if isinstance(result, Copied) and result.digest not in found:
                await self._collect(Descriptor(result.digest, media_type=result.media_type), found)
        return list(found)

    async def _collect(self, what: Descriptor, found: dict[Digest, None], depth: int = 0) -> None:
        found[what.digest] = None
        if what.media_type not in media.INDEXES or depth > MAX_DEPTH:
            return
        top = self.image.top
        index = top if top and top.digest == what.digest else await self._reader.manifest(what.digest)
        for child in index.children:
            await self._collect(child, found, depth + 1)

    @property
    def _reader(self) -> Reader:
        return Reader(self.run, self.image.source)

    async def follow(self, subject: Digest, depth: int = 0) -> None:
        """Copy what belongs to *subject*, then what belongs to that. Never raises."""
        if subject in self.seen or not self.aboard:
            return
        self.seen.add(subject)
        try:
            self._refuse_excess(subject, depth)
            found = await self._referrers(subject) if self.asked.referrers else []
            found += await self._digest_tags(subject) if self.asked.digest_tags else []
        except FastcopyError as error:
            self.fail(self.aboard, error, f"what refers to {subject} cannot be read")
            return
        await gather(*(partial(self.follow, each, depth + 1) for each in found))

    def _refuse_excess(self, subject: Digest, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise BadManifest(f"referrers are nested more than {MAX_DEPTH} deep", side="source")
        if len(self.seen) > MOST:
            raise BadManifest(f"more than {MOST} manifests belong to it, {subject} among them", side="source")

    def _was_changed(self, subject: Digest, count: int, what: str) -> bool:
        """Whether what points at *subject* would point at nothing; says so."""
        new = self.image.digest_map.get(subject)
        if new:
            text = f"{self.image.source.name}: {subject} became {new} on its way, so its {count} {what} are not copied"
            self.run.emit(Message(f"{text}: they hold for the unchanged image (see --preserve-digests)", "warning"))
        return bool(new)

    async def _ask(self, what: str, asked: Callable[[], Awaitable[T]]) -> T:
        source = self.image.source
        step = Step(what, lambda: blamed("source", asked()), source=source.host)
        return await self.run.perform(step)

    async def _tell(self, target: Destination, what: str, told: Callable[[], Awaitable[T]]) -> T:
        step = Step(what, lambda: blamed("destination", told()), destinations=(target.host,), due=True)
        return await self.run.perform(step)

    # -- referrers ----------------------------------------------------------------------------------------------------

    async def _referrers(self, subject: Digest) -> list[Digest]:
        entries = await self._listed(subject)
        if not entries or self._was_changed(subject, len(entries), "referrers"):
            return []
        async with self._alone_with(subject):
            lacking = await gather(*(partial(self._lacking, target, subject, entries) for target in self.aboard))
            wanted: dict[Digest, list[Destination]] = {}
            for target, digests in lacking:
                for digest in digests:
                    wanted.setdefault(digest, []).append(target)
            brought = await gather(*(partial(self._bring, subject, digest, wanted[digest]) for digest in wanted))
            await gather(*(partial(self._enter, target, subject, brought) for target, _ in lacking))
        return [entry.digest for entry in entries]

    async def _listed(self, subject: Digest) -> tuple[Descriptor, ...]:
        """The source's referrers of *subject*, those of the types that were asked for. Asked once in a run."""
        source, types = self.image.source, self.asked.referrer_types
        key = (source.host, source.place, subject, *types)
        async with self.run.beside.lock("list", *key):
            if key not in self.run.beside.lists:
                only = types[0] if len(types) == 1 else ""
                found = await self._ask(f"listing referrers of {subject}", partial(source.referrers, subject, only))
                entries = {each.digest: each for each in found.entries if not types or each.artifact_type in types}
                self.run.beside.lists[key] = tuple(entries.values())
        return self.run.beside.lists[key]

    @asynccontextmanager
    async def _alone_with(self, subject: Digest) -> AsyncIterator[None]:
        """Nobody else of this run changes the lists of *subject* at the destinations; locks are taken in one order."""
        async with AsyncExitStack() as stack:
            for host, place in sorted({(target.host, target.place) for target in self.targets}):
                await stack.enter_async_context(self.run.beside.lock("there", host, place, subject))
            yield

    def _there(self, target: Destination, subject: Digest) -> set[Digest]:
        return self.run.beside.there.setdefault((target.host, target.place, subject), set())

    async def _lacking(
        self, target: Destination, subject: Digest, entries: Sequence[Descriptor]
    ) -> tuple[Destination, list[Digest]]:
        """The referrers that *target* does not list, or lists although they are gone."""
        known = self._there(target, subject)
        if any(entry.digest not in known for entry in entries):
            try:
                known |= await self._present(target, subject, entries)
            except FastcopyError as error:
                self.fail([target], error, f"what refers to {subject} there cannot be read")
                return target, []
        return target, [entry.digest for entry in entries if entry.digest not in known]

    async def _present(self, target: Destination, subject: Digest, entries: Sequence[Descriptor]) -> set[Digest]:
        listed = await self._tell(target, f"listing referrers of {subject}", partial(target.referrers, subject))
        there = {each.digest for each in listed.entries} & {each.digest for each in entries}
        if listed.kept:
            return there  # the registry lists what it has
        looked = await gather(*(partial(self._is_there, target, digest) for digest in there))
        return {digest for digest in looked if digest}

    async def _is_there(self, target: Destination, digest: Digest) -> Digest | None:
        found = await self._tell(target, f"looking for {digest}", partial(target.has_manifest, digest))
        return digest if found else None

    async def _bring(self, subject: Digest, digest: Digest, targets: list[Destination]) -> Brought:
        """Copy one referrer to *targets*. Never raises."""
        try:
            manifest = await self._reader.manifest(digest)
            if manifest.subject is None or manifest.subject.digest != subject:
                raise BadManifest("it is listed as a referrer of what it does not refer to", side="source")
            return Brought(manifest.referrer, await self._copy(manifest, targets))
        except FastcopyError as error:
            self.fail(targets, error, f"its referrer {digest} is not")
            return Brought(Descriptor(digest), {})

    async def _copy(self, manifest: Manifest, targets: list[Destination]) -> dict[Destination, bool]:
        places = {target.companion(manifest.digest): target for target in targets}
        # Whoever does not list it is not asked whether it is there: being put again, it gets listed.
        unknown = dict[Destination, Digest | None].fromkeys(places)
        async with _closing(places):
            copy = ImageCopy(self.run, self.image.source, list(places), top=manifest, currents=unknown)
            results = await copy.go()
        for place, result in results.items():
            if isinstance(result, FastcopyError):
                self.fail([places[place]], result, f"its referrer {manifest.digest} is not")
        return {places[one]: one.lists_subjects for one, result in results.items() if isinstance(result, Copied)}

    async def _enter(self, target: Destination, subject: Digest, brought: Sequence[Brought]) -> None:
        """Have *target* list what it did not list by itself. Never raises."""
        mine = [each for each in brought if target in each.arrived]
        unlisted = [each.what for each in mine if not each.arrived[target]]
        try:
            if unlisted:
                put = partial(target.list_referrers, subject, unlisted)
                await self._tell(target, f"listing {len(unlisted)} referrers of {subject}", put)
        except FastcopyError as error:
            self.fail([target], error, f"the list of what refers to {subject} is not")
            return
        self._there(target, subject).update(each.what.digest for each in mine)
        self.copied[target] += len(mine)

    # -- digest tags --------------------------------------------------------------------------------------------------

    async def _digest_tags(self, subject: Digest) -> list[Digest]:
        stem = f"{subject.algorithm}-{subject.hex}."
        tags = [name for name in await self._tags() if _tag(name).startswith(stem)]
        if not tags or self._was_changed(subject, len(tags), "digest tags"):
            return []
        found = await gather(*(partial(self._tagged, tag) for tag in tags))
        return [digest for digests in found for digest in digests]

    async def _tags(self) -> tuple[str, ...]:
        """The digest tags of the source. A repository is listed once in a run."""
        source = self.image.source
        key = (source.host, source.place)
        async with self.run.beside.lock("tags", *key):
            if key not in self.run.beside.tags:
                names = await self._ask(f"listing tags of {source.name}", source.names)
                self.run.beside.tags[key] = tuple(name for name in names if _is_digest_tag(name))
        return self.run.beside.tags[key]

    async def _tagged(self, name: str) -> set[Digest]:
        """Copy one digest tag; what it names. Asks both sides by HEAD, as for any tag."""
        tag = _tag(name)
        places = {target.companion(tag): target for target in self.aboard}
        async with _closing(places):
            results = await ImageCopy(self.run, self.image.source.companion(name), list(places), heads_first=True).go()
        found: set[Digest] = set()
        for place, result in results.items():
            if isinstance(result, FastcopyError):
                self.fail([places[place]], result, f"its tag {tag} is not")
            else:
                found.add(result.digest)
                self.copied[places[place]] += not result.present
        return found


def _tag(name: str) -> str:
    """A layout may name images ``repository:tag``."""
    return name.rpartition(":")[2]


def _is_digest_tag(name: str) -> bool:
    algorithm, _, rest = _tag(name).partition("-")
    return algorithm in ("sha256", "sha512") and "." in rest


@asynccontextmanager
async def _closing(places: Iterable[Destination]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            for place in places:
                await place.close()
