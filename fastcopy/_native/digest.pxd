# What pump.pyx may know of a Hasher: its C state and the functions on it.
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "csrc/sha.h" nogil:
    ctypedef struct fc_hash:
        int wide
        uint64_t length
    int fc_sha_load(const char *hashlib_file)
    void fc_sha_portable()
    void fc_hash_init(fc_hash *h, int wide)
    void fc_hash_update(void *h, const void *data, size_t n)
    void fc_hash_peek(const void *h, uint8_t *out)
    unsigned fc_hash_size(const fc_hash *h)
    unsigned fc_hash_block(const fc_hash *h)
    unsigned fc_hash_export(const fc_hash *h, uint8_t *words, uint8_t *tail)
    void fc_hash_restore(fc_hash *h, uint64_t length, const uint8_t *words, const uint8_t *tail)


cdef class Hasher:
    cdef fc_hash c
    cdef (void (*)(void *, const void *, size_t) noexcept nogil) updater(self)
    cdef (void (*)(const void *, uint8_t *) noexcept nogil) peeker(self)
