"""A blob whose upload broke off in another repository of the same registry: finished there, then mounted.

Which repository leads a blob that several need is decided by who comes first, and may be another one in the next
process. Refuses to begin anything in a repository that nobody asked for: it only goes on.
"""

from __future__ import annotations

from fastcopy.descriptor import Descriptor
from fastcopy.errors import FastcopyError
from fastcopy.transfer import resume
from fastcopy.transfer.arrival import Arrival
from fastcopy.transfer.carry import carry
from fastcopy.transfer.run import Run, blamed
from fastcopy.transports.base import Destination, Source


async def finished_elsewhere(run: Run, source: Source, target: Destination, what: Descriptor) -> Arrival | None:
    """Finish an upload of *what* that is open in another repository and mount it; None: bring it as if there was none.

    Raises what `carry` raises, and the other place's failure: the upload may be gone on with in another attempt.
    """
    note = run.notes.open_elsewhere(target.host, target.place, what.digest) if target.accepts.mounts else None
    other = target.elsewhere(note.place) if note is not None else None
    if note is None or other is None or not await _is_open(run, other, what, note.location):
        return None
    outcome = (await carry(run, source, [other], what))[other]
    if isinstance(outcome, FastcopyError):
        raise outcome
    run.known.note(other.host, other.place, what.digest)
    run.notes.arrived(other.host, other.place, what.digest, what.size)
    mounted = await blamed("destination", target.mount(what, other.place))
    return Arrival("copied") if mounted else None


async def _is_open(run: Run, other: Destination, what: Descriptor, location: str) -> bool:
    upload = await blamed("destination", other.resume(what, location))
    if upload is None:
        resume.forget(run, [other], what)
        return False
    upload.close()
    return True
