# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""sha256 and sha512 with a state that can be stored and continued.

    update -> [ chaining value | bytes after the last whole block ] -> digest
                     \\__ export / restore, see _state.py __/

Law 1: the functions are those of the libcrypto the interpreter already uses (SHA-NI), or the portable C ones;
       `SHA256` names which.
Law 2: a Hasher is used by one thread at a time; a pump that has borrowed it is that thread.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t

from fastcopy._native._state import Midstate, pack, unpack



def _load():
    try:
        import _hashlib
        path = _hashlib.__file__
    except (ImportError, AttributeError):
        return "portable"
    return "openssl" if fc_sha_load(path.encode()) else "portable"


SHA256 = _load()


def force_portable(bint on):
    """A switch for tests: hashers made from now on use the portable kernels, as where libcrypto is out of reach."""
    if on:
        fc_sha_portable()
    else:
        _load()


cdef class Hasher:
    """A sha256 or sha512 in progress; ValueError for any other algorithm."""

    def __init__(self, str algorithm="sha256"):
        if algorithm not in ("sha256", "sha512"):
            raise ValueError(f"unknown digest algorithm {algorithm!r}")
        fc_hash_init(&self.c, algorithm == "sha512")

    def __cinit__(self):
        fc_hash_init(&self.c, 0)

    @property
    def algorithm(self):
        return "sha512" if self.c.wide else "sha256"

    @property
    def length(self):
        return self.c.length

    def update(self, data not None):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len >= 4096:
                with nogil:
                    fc_hash_update(&self.c, view.buf, <size_t>view.len)
            elif view.len:
                fc_hash_update(&self.c, view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)

    def digest(self):
        cdef uint8_t out[64]
        fc_hash_peek(&self.c, out)
        return (<char *>out)[:fc_hash_size(&self.c)]

    def hexdigest(self):
        return self.digest().hex()

    def copy(self):
        cdef Hasher other = Hasher.__new__(Hasher)
        other.c = self.c
        return other

    def export(self):
        cdef uint8_t words[64]
        cdef uint8_t tail[128]
        cdef unsigned n = fc_hash_export(&self.c, words, tail)
        size = fc_hash_size(&self.c)
        return pack(Midstate(self.algorithm, self.c.length, (<char *>words)[:size], (<char *>tail)[:n]))

    @classmethod
    def restore(cls, bytes state not None):
        cdef Hasher self = cls.__new__(cls)
        algorithm, length, words, tail = unpack(state)
        fc_hash_init(&self.c, algorithm == "sha512")
        fc_hash_restore(&self.c, length, <const uint8_t *><const char *>words, <const uint8_t *><const char *>tail)
        return self

    def __repr__(self):
        return f"<Hasher {self.algorithm} after {self.c.length} bytes>"

    # pump.pyx hashes through these, so that only this extension carries the kernels.
    cdef (void (*)(void *, const void *, size_t) noexcept nogil) updater(self):
        return fc_hash_update

    cdef (void (*)(const void *, uint8_t *) noexcept nogil) peeker(self):
        return fc_hash_peek
