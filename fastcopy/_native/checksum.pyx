# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""CRC-64 of ISO 3309, reflected (Go's crc64.ISO): how tar-split knows the content of a file."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "csrc/crc64.h" nogil:
    uint64_t fc_crc64(uint64_t state, const uint8_t *data, size_t size)
    void fc_crc64_prepare()


fc_crc64_prepare()


def crc64(data not None, uint64_t state=0):
    """Continue from *state* (0 at first) over *data*, without the interpreter's lock from 4 KiB on."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if view.len >= 4096:
            with nogil:
                state = fc_crc64(state, <const uint8_t *>view.buf, <size_t>view.len)
        else:
            state = fc_crc64(state, <const uint8_t *>view.buf, <size_t>view.len)
    finally:
        PyBuffer_Release(&view)
    return state
