"""One image into the form that a plan says: layers recompressed or copied, config and manifest written anew.

Refuses to know why (`reshape`) and how manifests are put (`image`). What was made here is served to the destinations
from memory, by the same ladder as any other blob.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fastcopy import imageconfig, media
from fastcopy.convert import Converted, convert
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import FastcopyError
from fastcopy.events import BlobKind
from fastcopy.manifest import Manifest
from fastcopy.transfer.ensure import ensure_blob
from fastcopy.transfer.measure import diff_ids, measured, sized
from fastcopy.transfer.memory import MemorySource
from fastcopy.transfer.reading import Reader
from fastcopy.transfer.recode import Layer, recode
from fastcopy.transfer.reshape import Plan
from fastcopy.transfer.run import Run
from fastcopy.transfer.together import gather
from fastcopy.transports.base import Destination, Source

Aboard = Callable[[], Sequence[Destination]]
Leave = Callable[[dict[Destination, FastcopyError]], None]


@dataclass(frozen=True, slots=True)
class Reshaping:
    """One image on its way into another form."""

    run: Run
    source: Source
    image: Manifest
    plan: Plan

    async def go(self, aboard: Aboard, leave: Leave) -> Manifest:
        """Bring everything but the manifest to the destinations that are *aboard*; the manifest to put there.

        Destinations that fail are handed to *leave*. Raises what is the source's fault, and Unsupported or BadManifest
        when the image cannot take the form.
        """
        if self.image.kind == "schema1" and self.plan.media_type not in media.SCHEMA1_TYPES:
            return await self._from_schema1(aboard, leave)
        config = await Reader(self.run, self.source).config(self.image)
        self._converted(config, self._guessed(), aboard())  # what cannot be expressed fails before a byte moves
        layers = await self._layers(config, aboard, leave)
        made = self._converted(config, layers, aboard())
        await self._made_blobs(made, aboard, leave)
        return Manifest.parse(made.raw, made.media_type, made.digest)

    async def _from_schema1(self, aboard: Aboard, leave: Leave) -> Manifest:
        """Its successors name sizes and uncompressed digests, which have to be found first."""
        layers = self.image.layers
        tasks = {each.digest: partial(measured, self.run, self.source, each) for each in layers}
        facts = dict(zip(tasks, await gather(*tasks.values()), strict=True))
        found = [facts[each.digest] for each in layers]
        kept = {old.digest: await self._layer(sized(old, facts[old.digest]), to, None, aboard, leave)
                for old, to in dict(zip(layers, self.plan.layers, strict=True)).items()}  # fmt: skip
        made = convert(
            self.image,
            None,
            self.plan.media_type,
            layers=[kept[each.digest] for each in layers],
            diff_ids=diff_ids(found),
        )
        await self._made_blobs(made, aboard, leave)
        return Manifest.parse(made.raw, made.media_type, made.digest)

    def _converted(
        self, config: bytes | None, layers: Sequence[Descriptor], aboard: Sequence[Destination]
    ) -> Converted:
        given = layers if self.plan.recodes else None
        name, tag = _embedded(aboard[0]) if self.plan.media_type in media.SCHEMA1_TYPES else ("", "")
        return convert(self.image, config, self.plan.media_type, layers=given, name=name, tag=tag)

    def _guessed(self) -> list[Descriptor]:
        """The layers with the types that they will have, under their old digests."""
        pairs = zip(self.image.layers, self.plan.layers, strict=True)
        return [Layer(old, to, None).renamed(old.digest, old.size) if to else old for old, to in pairs]

    async def _layers(self, config: bytes | None, aboard: Aboard, leave: Leave) -> list[Descriptor]:
        diff_ids = self._diff_ids(config)
        tasks = {
            (old.digest, to): partial(self._layer, old, to, diff_id, aboard, leave)
            for old, to, diff_id in zip(self.image.layers, self.plan.layers, diff_ids, strict=True)
        }
        done = dict(zip(tasks, await gather(*tasks.values()), strict=True))
        return [
            Layer(old, to, None).renamed(new.digest, new.size, new.annotations) if to else old
            for old, to in zip(self.image.layers, self.plan.layers, strict=True)
            for new in [done[old.digest, to]]
        ]

    def _diff_ids(self, config: bytes | None) -> Sequence[Digest | None]:
        """What the config promises of each layer; nothing where it does not count as many as there are."""
        found = imageconfig.diff_ids(config) if config and self.image.is_image else ()
        return found if len(found) == len(self.image.layers) else [None] * len(self.image.layers)

    async def _layer(
        self, old: Descriptor, to: str, diff_id: Digest | None, aboard: Aboard, leave: Leave
    ) -> Descriptor:
        if not to:
            if old in self.image.foreign:
                return old
            leave(await ensure_blob(self.run, self.source, aboard(), old, "blob"))
            return old
        new, failures = await recode(self.run, self.source, aboard(), Layer(old, to, diff_id))
        leave(failures)
        assert new is not None, "a layer that nobody got has failed everywhere"
        return new

    async def _made_blobs(self, made: Converted, aboard: Aboard, leave: Leave) -> None:
        for digest, data in made.extra_blobs.items():
            await self._from_memory(Descriptor(digest, len(data)), data, "blob", aboard, leave)
        if made.config is None:
            return
        if made.config_changed and made.config_raw is not None:
            await self._from_memory(made.config, made.config_raw, "config", aboard, leave)
        else:
            leave(await ensure_blob(self.run, self.source, aboard(), made.config, "config"))

    async def _from_memory(self, what: Descriptor, data: bytes, kind: BlobKind, aboard: Aboard, leave: Leave) -> None:
        source = MemorySource({what.digest: data})
        leave(await ensure_blob(self.run, source, aboard(), what, kind))


def _embedded(target: Destination) -> tuple[str, str]:
    """The name and tag that a schema 1 manifest carries inside."""
    tag = target.name.rpartition("/")[2].partition(":")[2].partition("@")[0]
    return target.place if target.host else "", tag
