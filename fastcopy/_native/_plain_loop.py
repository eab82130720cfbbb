"""One event loop for run, drain and feed of the plain twin. Mirrors csrc/pump.c, step by step.

read -> digest -> write what can be written -> sleep only if nothing moved.
"""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING

from fastcopy._native._plain_link import Fault, pipe_safe
from fastcopy._native._types import Report, Why

if TYPE_CHECKING:
    from fastcopy._native._plain import Pump
    from fastcopy._native._plain_ends import Inlet, Outlet

RUN, DRAIN, FEED = range(3)
_LONGEST_SLEEP = 60.0


class Cycle:
    """One call of run, drain or feed."""

    def __init__(self, pump: Pump, mode: int, inlet: Inlet | None) -> None:
        self.pump, self.mode, self.inlet = pump, mode, inlet
        self.source: Fault | None = None  # told only after what came before it has been passed on
        self.since: float | None = None  # waiting for the source since
        self.pause = 0.0  # the rate limit's wait: neither work nor anybody's fault
        self.paused = self.wait_in = self.wait_out = self.read = 0
        self.moved = False

    def go(self) -> Report:
        """Run to the end of this call."""
        began = time.monotonic_ns()
        with pipe_safe():
            fault, outlet = self._refused() or self._loop()
            fault = self._settle_inlet(fault)
        pump = self.pump
        work = time.monotonic_ns() - began - self.wait_in - self.wait_out - self.paused
        pump._waits[1] += work
        if fault.why is Why.MISMATCH or outlet is not None:
            pump._broken = fault.why
            pump._wake()
        return Report(fault.why, self.read, fault.text, fault.err, outlet, self.wait_in, work, self.wait_out)

    def _settle_inlet(self, fault: Fault) -> Fault:
        if self.inlet and fault.why is Why.DONE:
            # The body has crossed; a stop in these last moments changes nothing.
            with contextlib.suppress(Fault):
                self.pump._settle_inlet(self.inlet)
        return fault

    def _refused(self) -> tuple[Fault, int | None] | None:
        """A pump that has failed for good stays so: its slab may hold what nobody will take."""
        if self.pump._broken is Why.MISMATCH:
            return _mismatch(), None
        return self._all_failed()

    def _all_failed(self) -> tuple[Fault, int | None] | None:
        pump = self.pump
        if not pump._outlets or any(outlet._fault is None for outlet in pump._outlets):
            return None
        assert pump._last_failed is not None
        fault = pump._outlets[pump._last_failed]._fault
        assert fault is not None
        return fault, pump._last_failed

    def _loop(self) -> tuple[Fault, int | None]:
        while True:
            self.moved = False
            if self.pump._stop.on or (self.inlet and self.inlet._stop.on):
                return Fault(Why.STOPPED, "stopped"), None
            self._read_step()
            if not self._digest_step():
                return _mismatch(), None
            self._write_step()
            end = self._over()
            if end:
                return end
            if not self.moved:
                self._wait_step()

    def _over(self) -> tuple[Fault, int | None] | None:
        pump = self.pump
        failed = self._all_failed()
        if failed:
            return failed
        if not self._flushed() or pump._digested < pump._filled:
            return None
        if (pump._digested == pump._end and pump._verified) or (self.mode == FEED and not self.source):
            return Fault(Why.DONE, ""), None
        if self.source:
            return self.source, None
        if self.mode == RUN and self.inlet and not self.inlet.remaining:
            return Fault(Why.SOURCE_LOST, "the source is shorter than the blob"), None
        return None

    # Source and digest ---------------------------------------------------------------------------

    def _can_read(self) -> bool:
        """With one slab: read when everything has passed."""
        pump = self.pump
        if self.mode != RUN or self.source or not self.inlet or not self.inlet.remaining:
            return False
        rest = _beyond(pump._end) - pump._filled
        room = pump._cap - (pump._filled - pump._base)
        least = pump._slab // 2 if pump._cap > pump._slab else pump._slab
        return rest > 0 and (room >= least or room >= rest)

    def _read_step(self) -> None:
        pump = self.pump
        if not self._can_read() or not self.inlet:
            return
        if pump._filled == pump._base:
            pump._origin = pump._filled
        upto = min(pump._base + pump._cap, _beyond(pump._end))
        got, self.pause, self.source = pump._read_some(self.inlet, self._piece(pump._filled, upto))
        if got:
            pump._filled += got
            self.read += got
            self.since = None
            self.moved = True

    def _piece(self, at: int, upto: int) -> memoryview:
        """Memory of blob positions [at, upto), as far as it is contiguous."""
        offset = (at - self.pump._origin) % self.pump._cap
        return self.pump._ring[offset : min(offset + upto - at, self.pump._cap)]

    def _digest_step(self) -> bool:
        """False when the whole disagrees with what was expected: its last piece then stays here."""
        pump = self.pump
        if self.mode == DRAIN:
            with pump._room:
                pump._filled = pump._cover.covered(pump._digested)
        while pump._digested < pump._filled:
            piece = self._piece(pump._digested, pump._filled)
            if self.mode == DRAIN:
                piece = piece[: pump._slab]
            if pump._hasher:
                pump._hasher.update(piece)
            pump._digested += len(piece)
            self.moved = True
            if self.mode == DRAIN:
                self.read += len(piece)
                self.since = None
                break
        return self._agree()

    def _agree(self) -> bool:
        pump = self.pump
        if pump._verified or pump._digested != pump._end:
            return True
        if pump._expected is not None and pump._hasher and pump._hasher.digest() != pump._expected:
            return False
        pump._verified = True
        return True

    # Outlets -------------------------------------------------------------------------------------

    def _at_end(self, outlet: Outlet) -> bool:
        return outlet._pos == self.pump._end

    def _pending(self, outlet: Outlet) -> bool:
        if outlet._fault:
            return False
        behind = outlet._pos < self.pump._digested or not outlet._clean
        return behind or (self._at_end(outlet) and not self.pump._verified)

    def _listening(self, outlet: Outlet) -> bool:
        lent = outlet._link is not None and not outlet._fault
        return lent and not (self._at_end(outlet) and outlet._clean)

    def _flushed(self) -> bool:
        return not any(self._pending(outlet) for outlet in self.pump._outlets)

    def _detach(self, index: int, fault: Fault) -> None:
        self.pump._outlets[index]._fault = fault.bare()
        self.pump._last_failed = index
        self.moved = True

    def _write_step(self) -> None:
        pump = self.pump
        for index, outlet in enumerate(pump._outlets):
            if outlet._fault or not (self._pending(outlet) or outlet._listen or self._at_end(outlet)):
                continue
            try:
                self._write_outlet(outlet)
            except Fault as fault:
                self._detach(index, fault)
        attached = [outlet._pos for outlet in pump._outlets if not outlet._fault]
        base = min([*attached, pump._digested])
        if base != pump._base:
            with pump._room:
                pump._base = base
                pump._room.notify_all()

    def _write_outlet(self, outlet: Outlet) -> None:
        pump, was_clean = self.pump, outlet._clean
        if self._listening(outlet) and (outlet._listen or outlet._unlooked >= pump._slab):
            self.moved |= outlet._listen
            outlet._hear()
        while outlet._pos < pump._digested and self._write_piece(outlet):
            pass
        outlet._clean = outlet._settle(self._at_end(outlet) and pump._verified)
        self.moved |= outlet._clean and not was_clean
        if outlet._pos == pump._digested:
            outlet._held = 0.0
        if not self._pending(outlet):
            outlet._since = None
        elif outlet._since is None:
            outlet._since = time.monotonic()

    def _write_piece(self, outlet: Outlet) -> bool:
        """Whether it is worth trying to write more."""
        piece = self._piece(outlet._pos, self.pump._digested)
        put = outlet._write(piece, outlet._pos + len(piece) == self.pump._end)
        if not put:
            return False
        outlet._pos += put
        outlet._unlooked += put
        outlet._since = None
        self.moved = True
        self.pump._written += put
        return put == len(piece) or outlet._h2 is not None or outlet._file is not None

    # Sleeping ------------------------------------------------------------------------------------

    def _laggard(self, outlet: Outlet) -> bool:
        """It keeps the others waiting: the ring is full and it has passed the least of it."""
        pump = self.pump
        if pump._lag is None or not self._pending(outlet) or pump._filled == pump._end:
            return False
        others = any(not other._fault and other._pos == pump._digested for other in pump._outlets)
        if pump._cap == pump._slab:
            return others
        full = pump._cap - (pump._filled - pump._base) < pump._slab
        return others and full and outlet._pos - pump._base < pump._slab

    def _allowance(self, now: float) -> float:
        """Detach what has used up its time; otherwise the seconds that sleeping may take."""
        pump, left = self.pump, _LONGEST_SLEEP
        for index, outlet in enumerate(pump._outlets):
            if not self._pending(outlet) or outlet._since is None:
                continue
            if now - outlet._since >= pump._stall:
                self._detach(index, Fault(Why.SINK_STALLED, "the destination took nothing in time"))
            elif pump._lag is not None and outlet._held >= pump._lag:
                self._detach(index, Fault(Why.SINK_STALLED, "the destination kept the others waiting"))
            else:
                left = min(left, outlet._since + pump._stall - now)
            if self._laggard(outlet) and pump._lag is not None:
                left = min(left, max(0.0, pump._lag - outlet._held))
        if self.since is not None and now - self.since >= pump._stall:
            self.source = Fault(Why.SOURCE_STALLED, "the source sent nothing in time")
        elif self.since is not None:
            left = min(left, self.since + pump._stall - now)
        return min(left, self.pause) if self.pause else left

    def _watch_source(self, now: float) -> None:
        """Whether the source is what we wait for. A drain blames it only while no filler reads."""
        pump = self.pump
        if self.mode == DRAIN:
            waits = pump._digested < _beyond(pump._end) and self._flushed()
        else:
            waits = self._can_read() and not self.pause
        if not waits:
            self.since = None
        elif self.since is None or (self.mode == DRAIN and pump._readers):
            self.since = now

    def _drain_may_sleep(self) -> bool:
        pump = self.pump
        with pump._room:
            pump._drain_sleeps = pump._cover.covered(pump._digested) == pump._digested
            return pump._drain_sleeps

    def _wait_step(self) -> None:
        now = time.monotonic()
        self._watch_source(now)
        left = self._allowance(now)
        stalled = self.source is not None and self.source.why is Why.SOURCE_STALLED
        if self.moved or stalled or (self.mode == DRAIN and not self._drain_may_sleep()):
            return
        if self._can_read() and self.inlet and self.inlet._fd() is None and not self.pause:
            return
        poll, watched = self._gather()
        before = time.monotonic_ns()
        ready = poll.poll(left * 1000 + 0.999)
        self._after_sleep(ready, watched, time.monotonic_ns() - before)

    def _gather(self) -> tuple[select.poll, dict[int, Outlet]]:
        pump, poll, watched = self.pump, select.poll(), {}
        poll.register(pump._stop.fd, select.POLLIN)
        if self.mode == DRAIN:
            poll.register(pump._data.fd, select.POLLIN)
        if self.inlet:
            poll.register(self.inlet._stop.fd, select.POLLIN)
            fd = self.inlet._fd()
            if fd is not None and self._can_read() and not self.pause:
                poll.register(fd, self.inlet._want())
        for outlet in pump._outlets:
            want = outlet._want() if outlet._link and self._pending(outlet) else 0
            want |= select.POLLIN if self._listening(outlet) else 0
            fd = outlet._fd()
            if want and fd is not None:
                poll.register(fd, want)
                watched[fd] = outlet
        return poll, watched

    def _after_sleep(self, ready: list[tuple[int, int]], watched: dict[int, Outlet], slept: int) -> None:
        pump = self.pump
        if self.pause:
            self.paused += slept
        elif self._flushed():
            self.wait_in += slept
            pump._waits[0] += slept
        else:
            self.wait_out += slept
            pump._waits[2] += slept
        self.pause = 0.0
        for outlet in pump._outlets:
            outlet._held += slept / 1e9 if self._laggard(outlet) else 0.0
        for fd, events in ready:
            if fd in watched and events & ~select.POLLOUT:
                watched[fd]._listen = True
        if self.mode == DRAIN and pump._data.on:
            pump._data.clear()


def _beyond(end: int | None) -> int:
    """The end, or more than any blob has."""
    return end if end is not None else 1 << 63


def _mismatch() -> Fault:
    return Fault(Why.MISMATCH, "the bytes do not have the expected digest")
