"""One image from a source to its destinations: manifests read, blobs ensured, children before their index, name last.

Manifests travel verbatim unless a destination or the options want another form (`reshape`); then the manifest at the
destination is a function of the descriptors that its parts got there. A reference is resolved to bytes once; everything
after that goes by digest.
A destination that fails leaves with its error and the others go on; the source's faults end the copy for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from fastcopy import media, platforms
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import BadManifest, FastcopyError, PeerError, Unsupported
from fastcopy.events import BlobKind, ImageDone, ImageStarted, ListStarted, ManifestKind, ManifestWritten
from fastcopy.manifest import Manifest
from fastcopy.options import CopyOptions
from fastcopy.transfer import reshape
from fastcopy.transfer.ensure import ensure_blob, look
from fastcopy.transfer.reading import MAX_DEPTH, Reader, wanted_platforms
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transfer.together import gather
from fastcopy.transfer.wants import Crawling
from fastcopy.transports.base import Accepts, Destination, Source

#: A registry that stores blobs eventually may deny for a moment that it has them (ECR, protocol reference 3.4).
BLOB_DENIALS = 3


@dataclass(frozen=True, slots=True)
class Copied:
    """What is now at one destination; `present`: nothing had to be done."""

    digest: Digest
    media_type: str
    present: bool = False
    source_digest: str = ""  #: what the source's name pointed to, when that is another manifest
    digest_map: dict[str, str] = field(default_factory=dict)
    companions: int = 0  #: referrers and digest tags that were copied with it


Result = Copied | FastcopyError


@dataclass(frozen=True, slots=True)
class Instance:
    """A manifest on its way: whether it gets the destination's name, and which instance of a list it is."""

    manifest: Manifest
    top: bool
    platform: str = ""
    number: int = 1
    count: int = 1


@dataclass
class ImageCopy:
    """The copy of one name to one or several others; `heads_first` asks whether anything changed before it reads."""

    run: Run
    source: Source
    targets: list[Destination]
    heads_first: bool = False
    begun: Crawling | None = None  #: since when others may wait for what this image wants; None: since `go`
    results: dict[Destination, Result] = field(default_factory=dict)
    top: Manifest | None = None  #: what the source's name points to, once it is read
    currents: dict[Destination, Digest | None] = field(default_factory=dict)  #: what is learnt of names, once
    handled: list[Digest] = field(default_factory=list)  #: the source's manifests that were copied, index and instances
    digest_map: dict[str, str] = field(default_factory=dict)  #: manifests that changed: source to destination
    grouped: bool = False  #: the work was done by one copy for each form
    _crawling: Crawling = field(init=False)

    async def go(self) -> dict[Destination, Result]:
        """Copy; a destination's name points to the result, or to what it did before and the error is its result."""
        self._crawling = self.begun or self.run.wants.begin(target.host for target in self.targets)
        try:
            await self._go()
        except FastcopyError as error:
            for target in self.targets:
                self.results.setdefault(target, error)
        finally:
            self.run.wants.ended(self._crawling)
        await self._rejected()
        if self.run.copy.companions:
            from fastcopy.transfer.companions import accompany

            await accompany(self)
        return self.results

    async def _rejected(self) -> None:
        """Try the other formats where a registry has everything but does not take the manifest."""
        from fastcopy.transfer.rejected import in_other_formats, is_rejection

        for target, result in list(self.results.items()):
            if isinstance(result, FastcopyError) and is_rejection(result):
                self.results[target] = await in_other_formats(self, target, result)

    async def again(self, target: Destination, options: CopyOptions) -> Result:
        """The copy to *target* alone once more, with other *options*."""
        again = ImageCopy(replace(self.run, copy=options), self.source, [target])
        result = (await again.go())[target]
        self.digest_map |= again.digest_map
        return result

    @property
    def aboard(self) -> list[Destination]:
        """The destinations that still want something."""
        return [target for target in self.targets if target not in self.results]

    async def _go(self) -> None:
        if self.run.copy.companions:
            from fastcopy.transfer.companions import refuse_alone

            refuse_alone(self)
        if not (groups := by_form(self.aboard)):
            return
        if len(groups) > 1:
            self._crawling.one_less()
            self.grouped = True
            for targets in groups:
                self.results |= await self._apart(targets).go()
            return
        alters = reshape.alters(self.run.copy)
        if self.heads_first and not alters and await self._all_unchanged():
            return
        top, current = await self._heads()
        wanted = self._wanted(top)
        for target in self.aboard:
            if wanted and not alters and current.get(target) == wanted.digest:
                self._present(target, wanted.digest, wanted.media_type)
        if self.aboard:
            there = await self._copy(top, wanted)
            copied = Copied(there.digest, there.media_type, source_digest=top.digest, digest_map=self.digest_map)
            for target in self.aboard:
                await self._at(target, target.commit())
            self.results |= dict.fromkeys(self.aboard, copied)

    def _apart(self, targets: list[Destination]) -> ImageCopy:
        """The copy for *targets* alone, which take other forms than the rest."""
        return ImageCopy(self.run, self.source, targets, self.heads_first)

    def _present(self, target: Destination, digest: Digest, media_type: str = "") -> None:
        self.run.emit(ImageDone(digest, present=True))
        self.results[target] = Copied(digest, media_type, present=True)

    async def _all_unchanged(self) -> bool:
        """By HEAD alone, which may conclude this and nothing else. An index counts only if all of it was asked for."""
        (named, media_type), *currents = await gather(
            self._source_head, *(partial(self._current_of, each) for each in self.aboard)
        )
        if named is None or not self._whole(media_type):
            return False
        for target, (current, _) in zip(self.aboard, currents, strict=True):
            if current == named:
                self._present(target, named, media_type)
        return not self.aboard

    def _whole(self, media_type: str) -> bool:
        return self.run.copy.multi_arch == "all" or (media_type in media.MANIFESTS and media_type not in media.INDEXES)

    async def _source_head(self) -> tuple[Digest | None, str]:
        read = Step(f"reading manifest of {self.source.name}", self.source.head, self.source.host)
        return await blamed("source", self.run.perform(read))

    async def _heads(self) -> tuple[Manifest, dict[Destination, Digest | None]]:
        """The source's manifest and, at the same time, what the destinations' names point to now."""
        found: list[Manifest] = []

        async def read() -> tuple[Digest | None, str]:
            self.top = self.top or await Reader(self.run, self.source).manifest(None)
            found.append(self.top)
            return None, ""

        targets = self.aboard
        _, *currents = await gather(read, *(partial(self._current_of, target) for target in targets))
        return found[0], {target: current for target, (current, _) in zip(targets, currents, strict=True)}

    async def _current_of(self, target: Destination) -> tuple[Digest | None, str]:
        """Never an error: when it cannot be learnt, the copy goes the long way and meets the error there."""
        if target not in self.currents:
            step = Step("reading what is there", target.current, destinations=(target.host,), once=True)
            try:
                self.currents[target] = await self.run.perform(step)
            except FastcopyError:
                self.currents[target] = None
        return self.currents[target], ""

    def _wanted(self, top: Manifest) -> Descriptor | None:
        """What a destination's name has to point to for everything to be there; None: that alone proves nothing."""
        options = self.run.copy
        if not top.is_index:
            return top.descriptor
        if options.platforms or options.multi_arch == "index-only":
            return None
        return top.descriptor if options.multi_arch == "all" else platforms.choose(top, wanted_platforms(options))

    async def _copy(self, top: Manifest, wanted: Descriptor | None) -> Descriptor:
        """Copy *top*, or what is *wanted* of it; what the destinations' name points to then."""
        if not top.is_index:
            return await self._single(Instance(top, top=True))
        if wanted and wanted.digest != top.digest:
            chosen = await Reader(self.run, self.source).manifest(wanted.digest)
            return await self._single(Instance(chosen, top=True, platform=str(wanted.platform or "")))
        return await self._list(top, top_level=True)

    async def _list(self, index: Manifest, *, top_level: bool, depth: int = 0) -> Descriptor:
        if depth > MAX_DEPTH:
            raise BadManifest(f"index {index.digest}: indexes are nested more than {MAX_DEPTH} deep", side="source")
        self.handled.append(index.digest)
        children = self._selected(index)
        self._crawling.more(len(children))
        self._crawling.one_less()
        self.run.emit(ListStarted(index.digest, len(children), len(index.children)))
        count = len(children)
        copies = await gather(*(partial(self._child, each, n, count, depth) for n, each in enumerate(children, 1)))
        pairs = list(zip(children, copies, strict=True))
        changed = {old.digest: new for old, new in pairs if new.digest != old.digest}
        listed = reshape.relisted(index, children, changed, self._accepts(), self.run.copy)
        self._changed(index, listed)
        await self._put(listed, "list", top_level=top_level)
        return listed.descriptor

    def _changed(self, old: Manifest, new: Manifest) -> None:
        if new.digest != old.digest:
            self.digest_map[old.digest] = new.digest

    def _selected(self, index: Manifest) -> tuple[Descriptor, ...]:
        if self.run.copy.multi_arch == "index-only":
            return ()
        wanted = self.run.copy.platforms
        return tuple(platforms.select(index, wanted)) if wanted else _once(index.children)

    async def _child(self, what: Descriptor, number: int, count: int, depth: int) -> Descriptor:
        manifest = await Reader(self.run, self.source).manifest(what.digest)
        if manifest.is_index:
            return await self._list(manifest, top_level=False, depth=depth + 1)
        return await self._single(Instance(manifest, False, str(what.platform or ""), number, count))

    async def _single(self, it: Instance) -> Descriptor:
        self.handled.append(it.manifest.digest)
        self.run.emit(ImageStarted(it.manifest.digest, it.platform, it.number, it.count))
        image = await self._as_given(it.manifest)
        plan = reshape.plan(image, self._accepts(), self.run.copy)
        self._crawling.one_less()
        written = await self._bring(image, plan)
        self._changed(it.manifest, written)
        await self._put(written, "manifest", top_level=it.top)
        self.run.emit(ImageDone(written.digest))
        return reshape.marked(written, it.manifest)

    async def _bring(self, image: Manifest, plan: reshape.Plan | None) -> Manifest:
        """Bring all blobs of *image*, in the form of *plan* if there is one; the manifest to be written."""
        if plan is None:
            await self._blobs(image)
            return image
        from fastcopy.transfer.reshaping import Reshaping

        return await Reshaping(self.run, self.source, image, plan).go(lambda: self.aboard, self._leave)

    async def _as_given(self, manifest: Manifest) -> Manifest:
        """*manifest* as the source can give it, and verbatim where the destinations have its layers already."""
        given = await blamed("source", self.source.as_given(manifest))
        if given is manifest or await self._have_all(manifest.layers):
            return manifest
        if reason := reshape.fixed(self._accepts(), self.run.copy):
            raise Unsupported(
                f'Copying this image would require changing layer representation, which we cannot do: "{reason}"'
            )
        return given

    async def _have_all(self, layers: tuple[Descriptor, ...]) -> bool:
        """Whether every destination on board has every one of *layers*."""
        asked = [(target, what) for target in self.aboard for what in layers]
        looks = [
            Step(f"looking for blob {what.digest}", partial(look, self.run, target, what, ""), "", (target.host,))
            for target, what in asked
        ]
        return bool(looks) and all(await gather(*(partial(self.run.perform, each) for each in looks)))

    async def _blobs(self, manifest: Manifest) -> None:
        await gather(*(partial(self._blob, manifest, each) for each in manifest.blobs()))

    async def _blob(self, manifest: Manifest, what: Descriptor) -> None:
        kind: BlobKind = "config" if manifest.config and what.digest == manifest.config.digest else "blob"
        targets = self.aboard
        failures = await ensure_blob(self.run, self.source, targets, what, kind)
        self._leave(failures)

    def _leave(self, failures: dict[Destination, FastcopyError]) -> None:
        """Take failed destinations off board; when none is left there is nothing more to do."""
        for target, failure in failures.items():
            self.results.setdefault(target, failure)
        if failures and not self.aboard:
            raise next(iter(failures.values()))

    async def _put(self, manifest: Manifest, kind: ManifestKind, *, top_level: bool) -> None:
        self.run.emit(ManifestWritten(manifest.digest, kind))
        await gather(*(partial(self._put_at, target, manifest, top_level) for target in self.aboard))

    async def _put_at(self, target: Destination, manifest: Manifest, top_level: bool) -> None:
        for denial in range(BLOB_DENIALS):
            try:
                await self.run.perform(self._put_step(target, manifest, top_level))
                return
            except PeerError as error:
                made = manifest.digest in self.digest_map.values()  # the source has not all of its blobs
                again = error.code == "MANIFEST_BLOB_UNKNOWN" and not manifest.is_index and not made
                if not again or denial == BLOB_DENIALS - 1:
                    self._leave({target: error})
                    return
                await self._ensure_again(target, manifest)
            except FastcopyError as error:
                self._leave({target: error})
                return

    def _put_step(self, target: Destination, manifest: Manifest, top_level: bool) -> Step[None]:
        async def put() -> None:
            written = target.put_manifest(manifest.raw, manifest.media_type, manifest.digest, top=top_level)
            await blamed("destination", written)

        return Step(f"writing manifest {manifest.digest}", put, destinations=(target.host,), due=True)

    async def _ensure_again(self, target: Destination, manifest: Manifest) -> None:
        """The registry misses a blob we believe is there: forget what we believe, look again."""
        for what in manifest.blobs():
            self.run.known.forget(target.host, target.place, what.digest)
        for what in manifest.blobs():
            self._leave(await ensure_blob(self.run, self.source, [target], what, "blob"))

    def _accepts(self) -> Accepts:
        """What the destinations on board take. Between registries nothing is compressed unasked: digests stay."""
        accepts = self.aboard[0].accepts
        if accepts.compression == "compress" and self.source.host and not self.run.copy.compression_format:
            return replace(accepts, compression="keep")
        return accepts

    async def _at(self, target: Destination, waiting: Awaitable[None]) -> None:
        try:
            await blamed("destination", waiting)
        except FastcopyError as error:
            self._leave({target: error})


def by_form(targets: Iterable[Destination]) -> list[list[Destination]]:
    """*targets* in groups that take the same forms of an image: what differs is copied apart."""
    groups: dict[object, list[Destination]] = {}
    for target in targets:
        form = (target.accepts.manifests, target.accepts.compression, target.accepts.pinned)
        groups.setdefault(form, []).append(target)
    return list(groups.values())


def _once(children: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    return tuple({child.digest: child for child in children}.values())
