"""The ladder for one blob at its destinations: known, there already, mounted, uploaded.

Whoever holds the leader lock of a (registry, digest) brings the blob; everybody else who needs it there waits for the
lock, without a slot, and then finds it known or mounts it. So each digest is uploaded once per registry and run, and
a leader that fails or is cancelled is followed by the next in line.

Several destinations share one download: they are served in waves with at most one destination per registry, the
others of that registry mount in the next wave. A destination that fails leaves its wave; it does not stop the rest.
Whoever leads takes along the wants of other tasks for other registries (`wants`), so that the source is read once;
whom that does not serve leads next, with its own source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import trio

from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import Again, FastcopyError
from fastcopy.events import BlobDone, BlobKind, BlobStarted
from fastcopy.schedule import Lane
from fastcopy.transfer.arrival import Arrival, Outcomes
from fastcopy.transfer.carry import carry
from fastcopy.transfer.elsewhere import finished_elsewhere
from fastcopy.transfer.memory import MemorySource
from fastcopy.transfer.run import Run, Step, blamed
from fastcopy.transfer.together import gather
from fastcopy.transfer.wants import MOST_AT_ONCE, Want
from fastcopy.transports.base import Destination, Source

#: Below this many bytes a blob stays in the loop: the hand-over to a thread costs 137 us, the time in which one core
#: hashes 250 kB (design, micro-costs).
SMALL_BLOB = 256 * 1024


async def ensure_blob(
    run: Run, source: Source, targets: Sequence[Destination], what: Descriptor, kind: BlobKind
) -> dict[Destination, FastcopyError]:
    """Make sure *what* is complete at every one of *targets*; the failures, by destination."""
    run.emit(BlobStarted(what.digest, what.size, kind))
    run.meters.planned += max(what.size, 0)
    want = Want(source, targets, what)
    with run.wants.known(want):
        async with _leading(run, targets, what.digest):
            want.ready = True
            await run.wants.others_said(want)
            if await run.wants.lead(want):
                await _lead(run, want)
    run.meters.settled += max(what.size, 0)
    for arrival in want.outcomes.values():
        if isinstance(arrival, Arrival):
            run.meters.tally(arrival.how).add(what.size)
            run.emit(BlobDone(what.digest, what.size, arrival.how, kind, arrival.origin))
    return {target: failure for target, failure in want.outcomes.items() if isinstance(failure, FastcopyError)}


@asynccontextmanager
async def _leading(run: Run, targets: Iterable[Destination], digest: Digest) -> AsyncIterator[None]:
    """Hold the leader lock at every registry involved, taken in one order by everybody; at once where it is free."""
    with ExitStack() as stack:
        for host in sorted({target.host for target in targets}):
            lock = run.leader(host, digest)
            try:
                lock.acquire_nowait()
            except trio.WouldBlock:
                await lock.acquire()
            stack.callback(lock.release)
        yield


async def _lead(run: Run, want: Want) -> None:
    """Serve what is left of *want*, wave by wave; the first one, which downloads, has the others' wants aboard."""
    for number, wave in enumerate(waves(want.left)):
        with run.wants.company(want, most=0 if number else MOST_AT_ONCE - len(wave)) as company:
            outcomes = await _serve(run, want.source, wave, list(company), want.what)
            _note(run, outcomes, want.what)
            for target, outcome in outcomes.items():
                if target not in company:
                    want.outcomes[target] = outcome
                elif isinstance(outcome, Arrival):  # whoever failed in company tries by itself, with its own source
                    company[target].outcomes[target] = outcome
        refused = run.ledger.refused(want.what, outcomes, run.meters.extra)
        copied = any(isinstance(each, Arrival) and each.how == "copied" for each in outcomes.values())
        if copied and run.wants.fetched(want.what.digest):
            cause = "mount" if refused else "late"
            run.meters.extra(cause, "source", want.what.size)  # noqa: S610 - no query set


def waves(targets: Iterable[Destination]) -> Iterator[list[Destination]]:
    """Split *targets* so that no wave has two destinations of one registry."""
    rest = list(targets)
    while rest:
        wave = {target.host or target.place: target for target in reversed(rest)}
        yield list(wave.values())
        rest = [target for target in rest if target not in wave.values()]


def _note(run: Run, outcomes: Outcomes, what: Descriptor) -> None:
    for target, arrival in outcomes.items():
        if isinstance(arrival, Arrival):
            run.known.note(target.host, target.place, what.digest)
            run.notes.arrived(target.host, target.place, what.digest, what.size)


async def _serve(
    run: Run, source: Source, wave: Sequence[Destination], company: Sequence[Destination], what: Descriptor
) -> Outcomes:
    """One wave; who of it fails in company is tried again alone."""
    outcomes = await _attempt(run, source, [*wave, *company], what)
    run.ledger.book(what, outcomes, run.meters.extra)
    if len(outcomes) > 1:
        for outcome in outcomes.values():
            if isinstance(outcome, FastcopyError):
                outcome.let_go()
        shared = any(isinstance(each, Arrival) for each in outcomes.values())
        for target in wave:
            failure = outcomes[target]
            if isinstance(failure, FastcopyError) and failure.again is not Again.NEVER:
                again = await _attempt(run, source, [target], what)
                run.ledger.book(what, again, run.meters.extra, alone=shared)
                outcomes |= again
    return outcomes


async def _attempt(run: Run, source: Source, wave: Sequence[Destination], what: Descriptor) -> Outcomes:
    small = 0 <= what.size < SMALL_BLOB
    step = Step(
        f"copying blob {what.digest}",
        partial(_bring, run, source, wave, what),
        source.host,
        tuple(target.host for target in wave),
        Lane.SMALL if small else Lane.BULK,
        what.size,
        due=all(_is_due(run, source, target, what) for target in wave),
    )
    try:
        return await run.perform(step)
    except FastcopyError as error:
        return dict.fromkeys(wave, error)


def _is_due(run: Run, source: Source, target: Destination, what: Descriptor) -> bool:
    """Whether the blob only has to be mounted, or was made of blobs that have landed."""
    known = run.known.has(target.host, target.place, what.digest) or mount_origin(run, target, what)
    return bool(known) or isinstance(source, MemorySource)


async def _bring(run: Run, source: Source, wave: Sequence[Destination], what: Descriptor) -> Outcomes:
    """The ladder. Raises what concerns everybody (the source's faults, or a lone destination's)."""
    outcomes: Outcomes = {}
    for target in wave:
        await run.notes.recall(target.host, what.digest)
    origins = {target: _mount_origin(run, source, target, what) for target in wave}
    found = await gather(*(partial(_looked, run, target, what, origins[target]) for target in wave))
    for target, arrival in zip(wave, found, strict=True):
        if arrival is not None:
            outcomes[target] = arrival
    missing = [target for target in wave if target not in outcomes]
    if missing:
        async with run.drain.flight(due=isinstance(source, MemorySource)):
            outcomes |= await _moved(run, source, missing, what)
    for target in missing:
        if origins[target] and isinstance(outcomes[target], Arrival):
            outcomes[target] = Arrival("copied", refused=origins[target])
    return _alone(outcomes) if len(wave) == 1 else outcomes


async def _moved(run: Run, source: Source, targets: Sequence[Destination], what: Descriptor) -> Outcomes:
    if 0 <= what.size < SMALL_BLOB:
        return await _bring_small(run, source, targets, what)
    if len(targets) == 1:
        arrival = await finished_elsewhere(run, source, targets[0], what)
        if arrival is not None:
            return {targets[0]: arrival}
    return await carry(run, source, targets, what)


async def _looked(run: Run, target: Destination, what: Descriptor, origin: str) -> Arrival | FastcopyError | None:
    """`look`, with its failure as an answer: one destination's trouble is not the others'."""
    try:
        return await look(run, target, what, origin)
    except FastcopyError as error:
        return error


def _alone(outcomes: Outcomes) -> Outcomes:
    for outcome in outcomes.values():
        if isinstance(outcome, FastcopyError):
            raise outcome
    return outcomes


def _mount_origin(run: Run, source: Source, target: Destination, what: Descriptor) -> str:
    """A repository of the target's registry that is known to have the blob."""
    if not target.accepts.mounts:
        return ""
    known = mount_origin(run, target, what)
    if known or source.host != target.host or source.place == target.place:
        return known
    return source.place


def mount_origin(run: Run, target: Destination, what: Descriptor) -> str:
    """Another repository of the target's registry that has the blob, or was noted to have it; "" if none is known."""
    if not target.accepts.mounts:
        return ""
    known = run.known.elsewhere(target.host, target.place, what.digest)
    noted = (place for place in _noted(run, target.host, what) if place != target.place)
    return known or next(noted, "")


def _noted(run: Run, host: str, what: Descriptor) -> tuple[str, ...]:
    """Places of *host* that had the blob when somebody looked: in a former run, or for the plan of this one."""
    return (*run.notes.places(host, what.digest), *run.expected.places(host, what.digest))


def _not_there(run: Run, host: str, place: str, what: Descriptor) -> None:
    """Whoever noted it was wrong, or it has gone."""
    run.notes.lost(host, place, what.digest)
    run.expected.forget(host, place, what.digest)


async def look(run: Run, target: Destination, what: Descriptor, origin: str) -> Arrival | None:
    """Whether the blob is there, or can be mounted from *origin*; None: it has to be brought.

    What was noted is asked for first, and forgotten where it turns out wrong.
    """
    if run.known.has(target.host, target.place, what.digest):
        return Arrival("present")
    noted = target.place in _noted(run, target.host, what)
    if noted and await blamed("destination", target.has_blob(what)):
        return Arrival("present")
    if noted:
        _not_there(run, target.host, target.place, what)
    if origin:
        if await blamed("destination", target.mount(what, origin)):
            return Arrival("mounted", origin)
        run.known.forget(target.host, origin, what.digest)
        _not_there(run, target.host, origin, what)
    there = not noted and await blamed("destination", target.has_blob(what))
    return Arrival("present") if there else None


async def _bring_small(run: Run, source: Source, targets: Sequence[Destination], what: Descriptor) -> Outcomes:
    data = await blamed("source", source.read_blob(what))
    run.meters.took_small(source.host, "source", len(data))
    run.ledger.read(what.digest, len(data))

    async def write(target: Destination) -> Arrival | FastcopyError:
        try:
            await blamed("destination", target.write_blob(what, data))
        except FastcopyError as error:
            return error
        run.meters.took_small(target.host, "destination", len(data))
        run.ledger.sent(what.digest, target, len(data))
        return Arrival("copied")

    arrivals = await gather(*(partial(write, target) for target in targets))
    return dict(zip(targets, arrivals, strict=True))
