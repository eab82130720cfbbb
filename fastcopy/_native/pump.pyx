# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The pump as Python sees it: ends, rate, report. The loop itself is csrc/pump.c.

    Inlet --read--> [ slab | ring ] --digest--> --write--> Outlet, Outlet, ...

Law 1: an Inlet or Outlet borrows its socket or descriptor; it never closes one, and while it is in use nobody
       else touches it. A lent SSLSocket is used through OpenSSL itself (`TLS == "native"`) when every gate
       of `_ssl_pointer` opens, through its own methods otherwise.
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


cdef int _load_tls():
    if os.environ.get("FASTCOPY_TLS") == "sslsocket" or sys.implementation.name != "cpython":
        return 0
    if sys.version_info[:2] not in KNOWN_SIZES or sizeof(void *) != 8 or hasattr(sys, "gettotalrefcount"):
        return 0
    try:
        import _ssl
        path = _ssl.__file__
    except (ImportError, AttributeError):
        return 0
    return _ssl._SSLSocket.__basicsize__ in KNOWN_SIZES[sys.version_info[:2]] and fc_tls_load(path.encode())


cdef int tls_loaded = _load_tls()
TLS = "native" if tls_loaded else "sslsocket"


def force_sslsocket(bint on):
    """A switch for tests and benchmarks: use SSLSocket's own methods from now on, as FASTCOPY_TLS=sslsocket does."""
    global tls_loaded
    tls_loaded = 0 if on else _load_tls()


cdef void *ssl_pointer(object sslobj):
    """OpenSSL's object behind *sslobj*, or NULL: the field after the object header and one pointer."""
    import _ssl
    if not tls_loaded or type(sslobj) is not _ssl._SSLSocket:
        return NULL
    cdef void *found = (<void **><void *>sslobj)[3]
    return found if fc_tls_owns(found, <void *>sslobj) else NULL


cdef Py_ssize_t python_io(fc_link *l, void *buf, size_t n, int writing, fc_fault *fault) noexcept with gil:
    """The named fallback: the SSLSocket's own methods, with the interpreter's lock."""
    cdef object sock = <object>l.py
    cdef short want = select.POLLOUT if writing else select.POLLIN
    cdef Py_ssize_t done = FC_AGAIN
    try:
        view = PyMemoryView_FromMemory(<char *>buf, <Py_ssize_t>n, PyBUF_READ if writing else PyBUF_WRITE)
        done = sock.send(view) if writing else sock.recv_into(view)
    except ssl.SSLWantReadError:
        want = select.POLLIN
    except ssl.SSLWantWriteError:
        want = select.POLLOUT
    except (BlockingIOError, InterruptedError):
        pass
    except (OSError, ValueError) as error:
        text = (getattr(error, "strerror", None) or str(error)).encode("utf-8", "replace")
        return fc_fail(fault, 0, 0 if isinstance(error, ssl.SSLError) else getattr(error, "errno", 0) or 0, text)
    if writing:
        l.write_want = want
    else:
        l.read_want = want
    return done


cdef object attach(fc_link *l, object sock):
    """Point *l* at *sock*; returns what must be kept alive."""
    fc_link_init(l, sock.fileno())
    if l.fd < 0:
        raise ValueError("the socket is closed")
    if not isinstance(sock, ssl.SSLSocket):
        return sock
    if sock.gettimeout() != 0:
        raise ValueError("a lent SSLSocket must be non-blocking")
    sslobj = sock._sslobj
    if sslobj is None:
        raise ValueError("the SSLSocket has no TLS connection")
    l.ssl = ssl_pointer(sslobj)
    if l.ssl != NULL:
        fc_tls_prepare(l.ssl)
    else:
        l.py = <void *>sock
        l.py_io = <fc_py_io>python_io
    return sock, sslobj


cdef bytes text_of(fc_bytes *b):
    return (<char *>b.p)[:b.len] if b.len else b""


cdef bytes unread(fc_link *l, h2_state *h):
    """HTTP/2 bytes taken from the socket that belong to no finished frame."""
    cdef bytes part = b""
    if not h.in_data and h.frame.have:
        part = (<char *>h.frame.head)[:h.frame.have] + text_of(&h.frame.body)
    return part + ((<char *>l.pre)[:l.pre_len] if l.pre_len else b"")


cdef uint64_t nanoseconds(double seconds) except? 0:
    if not seconds > 0:
        raise ValueError("a time limit must be positive")
    return <uint64_t>min(seconds * 1e9, 9e18)


cdef uint64_t size_of(object value, str what) except? 0:
    if value < 0:
        raise ValueError(f"{what} must not be negative")
    return value


cdef class Inlet:
    """One end to read from; see the stub for the factories. One thread at a time."""

    cdef fc_inlet c
    cdef object keep
    cdef object data
    cdef Py_buffer view
    cdef bint viewing
    cdef bint busy

    def __cinit__(self):
        self.c.stop.rd = self.c.stop.wr = -1
        cdef int err = fc_event_open(&self.c.stop)
        if err:
            raise OSError(err, os.strerror(err))

    def __init__(self):
        raise TypeError("an Inlet is made by Inlet.socket, .file, .memory or .h2")

    def __dealloc__(self):
        fc_inlet_close(&self.c)
        if self.viewing:
            PyBuffer_Release(&self.view)

    cdef int hold(self, object data) except -1:
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)
        self.viewing = True
        self.c.prefix = <const uint8_t *>self.view.buf
        self.c.prefix_len = <size_t>self.view.len
        return 0

    cdef int begin(self) except -1:
        if self.busy:
            raise RuntimeError("this Inlet is in use by another thread")
        self.busy = True
        return 0

    @classmethod
    def socket(cls, sock, length, prefix=b""):
        cdef Inlet self = Inlet.__new__(Inlet)
        self.c.kind = FC_SOCKET
        self.keep = attach(&self.c.link, sock)
        self.c.length = size_of(length, "length")
        self.hold(prefix)
        if self.c.prefix_len > self.c.length:
            raise ValueError("prefix is longer than length")
        return self

    @classmethod
    def file(cls, int fd, length, offset=0):
        cdef Inlet self = Inlet.__new__(Inlet)
        self.c.kind = FC_FILE
        fc_link_init(&self.c.link, fd)
        self.c.length = size_of(length, "length")
        self.c.offset = <int64_t>size_of(offset, "offset")
        return self

    @classmethod
    def memory(cls, data):
        cdef Inlet self = Inlet.__new__(Inlet)
        self.c.kind = FC_MEMORY
        fc_link_init(&self.c.link, -1)
        self.hold(data)
        self.c.length = self.c.prefix_len
        return self

    @classmethod
    def h2(cls, sock, stream_id, length, *, prefix=b"", bytes frames=b"", stream_window, connection_window, max_frame):
        cdef Inlet self = Inlet.socket(sock, length, prefix)
        self.c.kind = FC_H2
        self.data = frames
        self.c.link.pre = <const uint8_t *><const char *>frames
        self.c.link.pre_len = <size_t>len(frames)
        self.c.link.spilling = self.c.link.ssl == NULL and self.c.link.py == NULL
        self.c.h2.id = stream_id
        self.c.h2.max_frame = max_frame
        self.c.h2.stream_credit = self.c.h2.stream_target = stream_window
        self.c.h2.connection_credit = self.c.h2.connection_target = connection_window
        return self

    def read_into(self, buffer not None, *, double stall=60.0):
        cdef Py_buffer view
        cdef fc_fault fault
        cdef Py_ssize_t got
        cdef uint64_t limit = nanoseconds(stall)
        self.begin()
        try:
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
            try:
                fault.why = 0
                with nogil:
                    got = fc_inlet_fetch(&self.c, <uint8_t *>view.buf, <size_t>view.len, limit, &fault)
            finally:
                PyBuffer_Release(&view)
        finally:
            self.busy = False
        if got < 0:
            raise PumpError(Why(fault.why), fault.text.decode("utf-8", "replace"), fault.err)
        return got

    def stop(self):
        fc_event_raise(&self.c.stop)

    @property
    def remaining(self):
        return self.c.length - self.c.done

    @property
    def replay(self):
        if self.c.kind != FC_H2:
            return b""
        return text_of(&self.c.h2.replay) + unread(&self.c.link, &self.c.h2)

    @property
    def consumed(self):
        return self.c.h2.consumed

    @property
    def granted(self):
        return self.c.h2.stream_granted, self.c.h2.connection_granted

    @property
    def ended(self):
        return bool(self.c.h2.ended)


cdef class Outlet:
    """One end to write to; see the stub for the factories. Belongs to one pump at a time."""

    cdef fc_outlet c
    cdef object keep
    cdef object data

    def __init__(self):
        raise TypeError("an Outlet is made by Outlet.socket, .file, .null or .h2")

    def __dealloc__(self):
        fc_outlet_close(&self.c)

    @classmethod
    def socket(cls, sock):
        cdef Outlet self = Outlet.__new__(Outlet)
        self.c.kind = FC_SOCKET
        self.keep = attach(&self.c.link, sock)
        return self

    @classmethod
    def file(cls, int fd, offset=0):
        cdef Outlet self = Outlet.__new__(Outlet)
        self.c.kind = FC_FILE
        fc_link_init(&self.c.link, fd)
        self.c.offset = <int64_t>size_of(offset, "offset")
        return self

    @classmethod
    def null(cls):
        cdef Outlet self = Outlet.__new__(Outlet)
        self.c.kind = FC_NULL
        return self

    @classmethod
    def h2(cls, sock, stream_id, *, stream_window, connection_window, max_frame, initial_window, bytes frames=b""):
        cdef Outlet self = Outlet.socket(sock)
        self.c.kind = FC_H2
        self.data = frames
        self.c.link.pre = <const uint8_t *><const char *>frames
        self.c.link.pre_len = <size_t>len(frames)
        self.c.link.spilling = self.c.link.ssl == NULL and self.c.link.py == NULL
        self.c.listen = self.c.link.pre_len > 0
        self.c.h2.id = stream_id
        self.c.h2.max_frame = max_frame
        self.c.h2.stream_window = stream_window
        self.c.h2.connection_window = connection_window
        self.c.h2.initial_window = initial_window
        return self

    @property
    def sent(self):
        return self.c.sent

    @property
    def answer(self):
        if self.c.kind == FC_H2 and self.c.answer.len:
            return text_of(&self.c.answer) + unread(&self.c.link, &self.c.h2)
        return text_of(&self.c.answer)

    @property
    def failed(self):
        return Why(self.c.failed) if self.c.failed else None

    @property
    def detail(self):
        return self.c.fault.text.decode("utf-8", "replace")

    @property
    def replay(self):
        if self.c.kind != FC_H2:
            return b""
        return text_of(&self.c.h2.replay) + (b"" if self.c.answer.len else unread(&self.c.link, &self.c.h2))

    @property
    def ended(self):
        return bool(self.c.h2.ended)

    @property
    def windows(self):
        return self.c.h2.stream_window, self.c.h2.connection_window


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
