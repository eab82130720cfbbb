"""Reading manifests and configs of one source, in slots and with retries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from fastcopy import platforms
from fastcopy.descriptor import Digest, Platform
from fastcopy.errors import FastcopyError
from fastcopy.manifest import Manifest
from fastcopy.options import CopyOptions
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transports.base import RawManifest, Source

#: Indexes inside indexes are legal; cycles are impossible by digest, absurd depth is refused.
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads manifests and configs of one source, in slots and with retries."""

    run: Run
    source: Source

    async def manifest(self, digest: Digest | None) -> Manifest:
        """What the source's reference names (None), or the manifest with *digest*."""
        step = Step(f"reading manifest of {self.source.name}", partial(self._fetch, digest), source=self.source.host)
        try:
            raw = await self.run.perform(step)
            return Manifest.parse(raw.raw, raw.media_type, digest)
        except FastcopyError as error:
            if digest is None:
                error.message = f"initializing source {self.source.name}: {error.message}"
            raise error.blame("source") from None

    async def _fetch(self, digest: Digest | None) -> RawManifest:
        return await blamed("source", self.source.manifest(digest))

    async def instance(self, top: Manifest) -> Manifest:
        """*top*, or the instance of it that the options ask for."""
        depth = 0
        while top.is_index and depth <= MAX_DEPTH:
            chosen = platforms.choose(top, wanted_platforms(self.run.copy))
            top, depth = await self.manifest(chosen.digest), depth + 1
        return top

    async def config(self, manifest: Manifest) -> bytes | None:
        """The config blob, None for schema 1."""
        if manifest.config is None:
            return None
        read = partial(self.source.read_blob, manifest.config)
        return await self.run.perform(Step("reading config", read, source=self.source.host))


def wanted_platforms(options: CopyOptions) -> tuple[Platform, ...]:
    """The platforms that would do, best first."""
    return platforms.wanted(options.override_os, options.override_arch, options.override_variant)
