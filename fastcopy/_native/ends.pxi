# Included by pump.pyx: Inlet and Outlet, owners of the C ends and of what these borrow.


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
