"""What a schema 1 manifest does not say of its layers, and its successors must: their sizes and uncompressed digests.

A layer is read once to learn both, and again to be copied where that is needed; a run and its journal remember.
"""

from __future__ import annotations

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.schedule import Lane
from fastcopy.transfer.notes import Recoded
from fastcopy.transfer.recode import Layer, Recoding
from fastcopy.transfer.run import Run, Step
from fastcopy.transports.base import Source
from fastcopy.transports.nowhere import Nowhere

#: How `Notes` knows a layer as it is, beside the compressions it became.
_AS_IT_IS = ""


async def measured(run: Run, source: Source, what: Descriptor) -> Recoded:
    """The size and diff ID of layer *what* of *source*; raises what is the source's fault."""
    known = run.notes.recoded(what.digest, _AS_IT_IS, None)
    if known is None:
        recoding = Recoding(run, source, Nowhere(), Layer(what, "none", None))
        step = Step(f"measuring blob {what.digest}", recoding.go, source.host, lane=Lane.BULK, size=what.size)
        assert run.codecs is not None
        async with run.codecs:
            found = await run.perform(step)
        known = Recoded(what.digest, recoding.taken, found.diff_id)
        run.notes.became(what.digest, _AS_IT_IS, None, known)
    return known


def sized(what: Descriptor, facts: Recoded) -> Descriptor:
    """*what* with the size that was found."""
    return Descriptor(what.digest, facts.size, what.media_type)


def diff_ids(facts: list[Recoded]) -> list[Digest]:
    """The uncompressed digests, in order."""
    return [each.diff_id for each in facts]
