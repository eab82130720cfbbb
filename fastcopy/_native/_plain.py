"""The plain twin of the pump: the same loop over Python's sockets. Mirrors csrc/pump.c, ring.c and rate.c.

    fill (k threads) -> bytes of the ring -> digest in order -> N outlets          run() is its inline case

Law 1: the same answers as the native pump to the same ends; one test-suite runs on both.
Law 2: nothing here knows trio; calls come from worker threads.
Memory: slab * slabs bytes, allocated at construction.
"""

from __future__ import annotations

import select
import threading
import time
from typing import TYPE_CHECKING

from fastcopy._native._plain_link import Fault, Signal, pipe_safe
from fastcopy._native._plain_loop import DRAIN, FEED, RUN, Cycle
from fastcopy._native._plain_ring import Spans
from fastcopy._native._types import Counters, Report, Why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from fastcopy._native._plain_digest import Hasher
    from fastcopy._native._plain_ends import Inlet, Outlet

DEFAULT_SLAB = 256 << 10
MAX_OUTLETS = 64
# Less than this is not worth waking up for, unless less is wanted.
_WORTHWHILE = 16384


class Rate:
    """A token bucket that many pumps share; bytes per second, 0 for unlimited."""

    def __init__(self, bytes_per_second: int = 0, burst: int = 0) -> None:
        if bytes_per_second < 0 or burst < 0:
            raise ValueError("bytes_per_second and burst must not be negative")
        self._lock = threading.Lock()
        self._rate, self._chosen = bytes_per_second, burst
        self._tokens = float(self._burst())
        self._at = time.monotonic()

    def _burst(self) -> int:
        return self._chosen or max(self._rate // 10, 65536)

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._burst())
        self._at = now

    @property
    def bytes_per_second(self) -> int:
        """The limit; may be set at any time."""
        return self._rate

    @bytes_per_second.setter
    def bytes_per_second(self, value: int) -> None:
        if value < 0:
            raise ValueError("bytes_per_second must not be negative")
        with self._lock:
            self._refill()
            self._rate = value

    def take(self, want: int) -> tuple[int, float]:
        """Bytes allowed now, or 0 and the seconds to wait."""
        with self._lock:
            self._refill()
            least = min(want, _WORTHWHILE, self._burst())
            if not self._rate:
                return want, 0.0
            if self._tokens < least:
                return 0, (least - self._tokens) / self._rate
            got = min(int(self._tokens), want)
            self._tokens -= got
            return got, 0.0

    def _return(self, unused: int) -> None:
        with self._lock:
            self._tokens += unused if self._rate else 0


class Pump:
    """Moves one blob; the contract is in pump.pyi."""

    def __init__(
        self,
        outlets: Sequence[Outlet],
        length: int,
        *,
        hasher: Hasher | None = None,
        expected: bytes | None = None,
        slab: int = DEFAULT_SLAB,
        slabs: int = 1,
        start: int = 0,
        stall: float = 60.0,
        lag: float | None = None,
        rate: Rate | None = None,
    ) -> None:
        _check_sizes(length, slab, slabs, start)
        _check_limits(outlets, stall, lag)
        if expected is not None and (hasher is None or len(expected) != len(hasher.digest())):
            raise ValueError("expected needs a hasher and is as long as its digest")
        self._outlets = list(outlets)
        for outlet in self._outlets:
            outlet._attach()
        self._end: int | None = None if length == -1 else length
        self._hasher, self._expected = hasher, expected
        self._slab, self._cap, self._start = slab, slab * slabs, start
        self._stall, self._lag, self._rate = stall, lag, rate
        self._ring = memoryview(bytearray(slab * slabs))
        self._origin = self._filled = self._digested = self._base = 0
        self._verified = False
        self._broken: Why | None = None
        self._last_failed: int | None = None
        self._stop, self._data = Signal(), Signal()
        self._room = threading.Condition()
        self._cover, self._claims = Spans(), Spans()
        self._drain_sleeps = False
        self._readers = 0
        self._read = self._written = 0
        self._waits = [0, 0, 0]
        self._held: bytes | None = None
        self._busy = threading.Lock()

    def _begin(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("this Pump is already run, drained or fed by another thread")

    def run(self, inlet: Inlet) -> Report:
        """Read, digest and write on this thread until the blob has crossed or an end fails."""
        self._begin()
        try:
            inlet._begin()
            report = Cycle(self, RUN, inlet).go()
            inlet._busy = False
        finally:
            self._busy.release()
        return report

    def drain(self) -> Report:
        """Digest in order and write what `fill` calls have brought."""
        self._begin()
        try:
            return Cycle(self, DRAIN, None).go()
        finally:
            self._busy.release()

    def feed(self, data: Buffer) -> Report:
        """Digest and write *data*; ValueError when it is more than the stated length."""
        self._begin()
        try:
            with memoryview(data) as view:
                return self._feed(view.cast("B"))
        finally:
            self._busy.release()

    def _feed(self, view: memoryview) -> Report:
        if self._end is not None and len(view) > self._end - self._filled:
            raise ValueError("more data than the stated length")
        if self._end is not None or self._expected is None or not view:
            return self._push(view)
        if self._held is not None:
            report = self._push(memoryview(self._held))
            if report.why is not Why.DONE:
                return report
        report = self._push(view[:-1])
        self._held = bytes(view[-1:])
        return _with_read(report, len(view))

    def _push(self, view: memoryview) -> Report:
        """The caller's buffer stands in for the ring while it is passed on."""
        ring, cap = self._ring, self._cap
        if view:
            self._ring, self._cap, self._origin = view, len(view), self._filled
            self._filled += len(view)
            self._read += len(view)
        try:
            return _with_read(Cycle(self, FEED, None).go(), len(view))
        finally:
            self._ring, self._cap = ring, cap

    def finish(self) -> Report:
        """Nothing more comes: settle the digest and the ends of a fed body."""
        self._begin()
        try:
            held = self._held or b""
            self._held = None
            if self._end is None:
                self._end = self._filled + len(held)
            report = self._push(memoryview(held))
        finally:
            self._busy.release()
        if report.why is Why.DONE and self._digested < self._end:
            return Report(Why.SOURCE_LOST, 0, "the body is shorter than stated", 0, None, 0, 0, 0)
        return report

    def stop(self) -> None:
        """End run, fill and drain with STOPPED; any thread, idempotent, final."""
        self._stop.set()
        self._wake()

    def _wake(self) -> None:
        with self._room:
            self._room.notify_all()

    @property
    def position(self) -> int:
        """Blob offset up to which bytes were digested, in order; `start` included."""
        return self._start + self._digested

    def counters(self) -> Counters:
        """A snapshot; any thread."""
        return Counters(self._read, self._written, *self._waits)

    # The filler's side ---------------------------------------------------------------------------

    def fill(self, inlet: Inlet, first: int) -> Report:
        """Bring blob bytes [first, first + inlet.remaining) into the ring; ValueError when they overlap others."""
        inlet._begin()
        at = first - self._start
        try:
            self._claim(at, inlet.remaining)
            return self._fill(inlet, at)
        finally:
            inlet._busy = False

    def _claim(self, at: int, length: int) -> None:
        assert self._end is not None
        if at < 0 or at + length > self._end:
            raise ValueError("this range is outside of the blob")
        with self._room:
            taken = self._cover.touch(at, at + length) or self._claims.touch(at, at + length)
            if length and (at < self._digested or taken):
                raise ValueError("this range is filled already, or being filled")
            self._claims.insert(at, at + length)

    def _fill(self, inlet: Inlet, at: int) -> Report:
        began, waits, before = time.monotonic_ns(), [0, 0], inlet.remaining
        fault = Fault(Why.DONE, "")
        try:
            with pipe_safe():
                self._fill_loop(inlet, at, waits)
        except Fault as raised:
            fault = raised
        with self._room:
            self._claims.remove(at)
        work = time.monotonic_ns() - began - sum(waits)
        self._waits[1] += work
        read = before - inlet.remaining
        return Report(fault.why, read, fault.text, fault.err, None, waits[0], work, waits[1])

    def _fill_loop(self, inlet: Inlet, at: int, waits: list[int]) -> None:
        since: float | None = None
        while inlet.remaining:
            need = min(inlet.remaining, self._slab)
            before = time.monotonic_ns()
            self._wait_for_room(inlet, at, need)
            waits[1] += time.monotonic_ns() - before
            offset = (at - self._origin) % self._cap
            into = self._ring[offset : min(offset + need, self._cap)]
            got, pause, fault = self._read_some(inlet, into)
            if got:
                self._mark(at, got)
                at, since = at + got, None
            if fault:
                raise fault
            if not got:
                since = time.monotonic() if pause or since is None else since
                waits[0] += self._wait_for_source(inlet, since, pause)
        self._settle_inlet(inlet)

    def _settle_inlet(self, inlet: Inlet) -> None:
        """The body is complete: a peer that cannot take our last control frames is the owner's to discover."""
        since = time.monotonic()
        try:
            while not inlet._settle():
                self._wait_for_source(inlet, since, 0.0)
        except Fault as fault:
            if fault.why is Why.STOPPED:
                raise

    def _wait_for_room(self, inlet: Inlet, at: int, need: int) -> None:
        with self._room:
            while at + need > self._base + self._cap and not self._ended(inlet):
                self._room.wait(0.05)  # the tick only serves inlets that are stopped meanwhile
        if self._ended(inlet):
            raise Fault(Why.STOPPED, "stopped")

    def _ended(self, inlet: Inlet) -> bool:
        return self._stop.on or inlet._stop.on or self._broken is not None

    def _wait_for_source(self, inlet: Inlet, since: float, pause: float) -> int:
        left = pause or self._stall - (time.monotonic() - since)
        if left <= 0:
            raise Fault(Why.SOURCE_STALLED, "the source sent nothing in time")
        poll = select.poll()
        poll.register(self._stop.fd, select.POLLIN)
        poll.register(inlet._stop.fd, select.POLLIN)
        if not pause and (fd := inlet._fd()) is not None:
            poll.register(fd, inlet._want())
        before = time.monotonic_ns()
        self._count_reader(1)
        poll.poll(min(left, 60.0) * 1000 + 1)
        self._count_reader(-1)
        if self._stop.on or inlet._stop.on:
            raise Fault(Why.STOPPED, "stopped")
        slept = time.monotonic_ns() - before
        self._waits[0] += slept
        return slept

    def _count_reader(self, change: int) -> None:
        with self._room:
            self._readers += change

    def _mark(self, first: int, size: int) -> None:
        with self._room:
            self._cover.add(first, first + size)
            if self._drain_sleeps and self._cover.first() <= self._digested:
                self._drain_sleeps = False
                self._data.set()

    def _read_some(self, inlet: Inlet, into: memoryview) -> tuple[int, float, Fault | None]:
        """As much as is there: bytes, the rate limit's pause in seconds, what went wrong after them."""
        done, pause = 0, 0.0
        fault = None
        while done < len(into) and inlet.remaining:
            want = len(into) - done
            if self._rate:
                want, pause = self._rate.take(want)
            if not want:
                break
            try:
                got = inlet._read(into[done : done + want])
            except Fault as raised:
                got, fault = None, raised.bare()
            if self._rate:
                self._rate._return(want - (got or 0))
            done += got or 0
            if got is None or not inlet._fresh:
                break
        self._read += done
        return done, pause, fault


def _check_sizes(length: int, slab: int, slabs: int, start: int) -> None:
    if slab < 1 or slabs < 1 or start < 0 or length < -1:
        raise ValueError("slab and slabs must be positive, start and length not negative (length -1: unknown)")
    if length == -1 and slabs > 1:
        raise ValueError("a ring needs a known length")


def _check_limits(outlets: Sequence[Outlet], stall: float, lag: float | None) -> None:
    if not stall > 0 or (lag is not None and not lag > 0):
        raise ValueError("a time limit must be positive")
    if len(outlets) > MAX_OUTLETS:
        raise ValueError(f"at most {MAX_OUTLETS} outlets")


def _with_read(report: Report, read: int) -> Report:
    return Report(
        report.why,
        read,
        report.detail,
        report.errno,
        report.outlet,
        report.wait_in_ns,
        report.work_ns,
        report.wait_out_ns,
    )
