# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The pump as Python sees it: ends, rate, report. The loop itself is csrc/pump.c.

    Inlet --read--> [ slab | ring ] --digest--> --write--> Outlet, Outlet, ...

Law 1: an Inlet or Outlet borrows its socket or descriptor; it never closes one, and while it is in use nobody
       else touches it. A lent SSLSocket is used through OpenSSL itself (`TLS == "native"`) when every gate
       of `ssl_pointer` opens, through its own methods otherwise.
Law 2: run, fill, drain, feed, finish and read_into are called from worker threads and hold no interpreter lock.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint8_t, uint64_t
from posix.types cimport off_t

from fastcopy._native.digest cimport Hasher
from fastcopy._native.kernel cimport *

import os
import platform
import select
import ssl
import sys

from fastcopy._native._types import Counters, PumpError, Report, Why

# sizeof(PySSLSocket) on 64-bit CPython, by version: the layout `ssl_pointer` relies on. Read from the sources and
# tried with the interpreters of these versions.
KNOWN_SIZES = {(3, 11): (96,), (3, 12): (80,), (3, 13): (80, 88)}
DEFAULT_SLAB = 256 << 10

include "links.pxi"
include "ends.pxi"


cdef class Rate:
    """A token bucket that many pumps share."""

    cdef fc_rate c
    cdef uint64_t chosen_burst

    def __init__(self, bytes_per_second=0, burst=0):
        self.chosen_burst = size_of(burst, "burst")
        cdef uint64_t rate = size_of(bytes_per_second, "bytes_per_second")
        fc_rate_init(&self.c, rate, self.burst_for(rate))

    cdef uint64_t burst_for(self, uint64_t rate):
        # A tenth of a second, at least one slab's worth of small reads: smooth, and cheap to serve.
        return self.chosen_burst or max(rate // 10, <uint64_t>65536)

    @property
    def bytes_per_second(self):
        return self.c.rate

    @bytes_per_second.setter
    def bytes_per_second(self, value):
        cdef uint64_t rate = size_of(value, "bytes_per_second")
        fc_rate_set(&self.c, rate, self.burst_for(rate))

    def take(self, count):
        cdef uint64_t wait = 0
        cdef size_t got = fc_rate_take(&self.c, size_of(count, "count"), &wait)
        return got, wait / 1e9


cdef class Pump:
    """Moves one blob; see the stub for the contract."""

    cdef fc_pump c
    cdef fc_digester digester
    cdef bint ready
    cdef bint busy
    cdef list outlets
    cdef Hasher hasher
    cdef bytes expected
    cdef Rate rate
    cdef uint64_t start

    def __init__(self, outlets, length, *, Hasher hasher=None, bytes expected=None, slab=DEFAULT_SLAB, slabs=1,
                 start=0, double stall=60.0, lag=None, Rate rate=None):
        if self.ready:
            raise RuntimeError("a Pump is set up once")
        if slab < 1 or slabs < 1 or start < 0 or length < -1:
            raise ValueError("slab and slabs must be positive, start and length not negative (length -1: unknown)")
        if length == -1 and slabs > 1:
            raise ValueError("a ring needs a known length")
        self.outlets = list(outlets)
        self.rate = rate
        self.start = start
        self.hold(hasher, expected)
        cdef int err = fc_pump_init(&self.c, slab, slabs)
        self.ready = True
        if err:
            raise OSError(err, os.strerror(err))
        self.c.end = FC_UNKNOWN if length == -1 else length
        self.c.stall = nanoseconds(stall)
        self.c.lag = 0 if lag is None else nanoseconds(lag)
        self.c.digester = NULL if hasher is None else &self.digester
        self.c.expected = NULL if expected is None else <const uint8_t *><const char *>expected
        self.c.rate = NULL if rate is None else &rate.c
        self.take_outlets()

    cdef int hold(self, Hasher hasher, bytes expected) except -1:
        self.hasher = hasher
        self.expected = expected
        if hasher is not None:
            self.digester.update = hasher.updater()
            self.digester.peek = hasher.peeker()
            self.digester.state = &hasher.c
            self.digester.size = 64 if hasher.c.wide else 32
        if expected is not None and (hasher is None or len(expected) != self.digester.size):
            raise ValueError("expected needs a hasher and is as long as its digest")
        return 0

    cdef int take_outlets(self) except -1:
        cdef Outlet outlet
        if len(self.outlets) > FC_MAX_OUTLETS:
            raise ValueError(f"at most {FC_MAX_OUTLETS} outlets")
        self.c.outlets = <fc_outlet **>PyMem_Calloc(len(self.outlets) + 1, sizeof(fc_outlet *))
        if self.c.outlets == NULL:
            raise MemoryError
        for outlet in self.outlets:
            outlet.c.pos = outlet.c.since = outlet.c.held = outlet.c.unlooked = 0
            outlet.c.clean = 1
            self.c.outlets[self.c.count] = &outlet.c
            self.c.count += 1
        return 0

    def __dealloc__(self):
        if self.ready:
            fc_pump_free(&self.c)
            PyMem_Free(self.c.outlets)

    cdef int begin(self) except -1:
        if self.busy:
            raise RuntimeError("this Pump is already run, drained or fed by another thread")
        self.busy = True
        return 0

    def run(self, Inlet inlet not None):
        cdef fc_report rep
        self.begin()
        try:
            inlet.begin()
            with nogil:
                fc_pump_run(&self.c, &inlet.c, &rep)
            inlet.busy = False
        finally:
            self.busy = False
        return report(&rep)

    def fill(self, Inlet inlet not None, first):
        cdef fc_report rep
        cdef uint64_t at = size_of(first - self.start, "first")
        inlet.begin()
        try:
            self.claim(at, inlet.c.length - inlet.c.done)
            with nogil:
                fc_pump_fill(&self.c, &inlet.c, at, &rep)
        finally:
            inlet.busy = False
        return report(&rep)

    cdef int claim(self, uint64_t at, uint64_t length) except -1:
        cdef int bad = fc_pump_claim(&self.c, at, length)
        if bad == 1:
            raise ValueError("this range is filled already, or being filled")
        if bad == 2:
            raise ValueError("this range is outside of the blob")
        if bad:
            raise MemoryError
        return 0

    def drain(self):
        cdef fc_report rep
        self.begin()
        with nogil:
            fc_pump_run(&self.c, NULL, &rep)
        self.busy = False
        return report(&rep)

    def feed(self, data not None):
        cdef fc_report rep
        cdef Py_buffer view
        self.begin()
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                if self.c.end != FC_UNKNOWN and <uint64_t>view.len > self.c.end - self.c.filled:
                    raise ValueError("more data than the stated length")
                with nogil:
                    fc_pump_feed(&self.c, <const uint8_t *>view.buf, <size_t>view.len, &rep)
            finally:
                PyBuffer_Release(&view)
        finally:
            self.busy = False
        return report(&rep)

    def finish(self):
        cdef fc_report rep
        self.begin()
        with nogil:
            fc_pump_finish(&self.c, &rep)
        self.busy = False
        return report(&rep)

    def stop(self):
        fc_pump_stop(&self.c)

    @property
    def position(self):
        return self.start + self.c.digested

    def counters(self):
        return Counters(self.c.total_read, self.c.total_written, self.c.wait_in, self.c.work, self.c.wait_out)


cdef object report(fc_report *rep):
    return Report(Why(rep.why), rep.read, rep.text.decode("utf-8", "replace"), rep.err,
                  rep.outlet if rep.outlet >= 0 else None, rep.wait_in, rep.work, rep.wait_out)
