/* SHA-256 and SHA-512 whose state can be read and set (FIPS 180-4).
 *
 * The context is OpenSSL's SHA256_CTX / SHA512_CTX, whose layout has not changed since 0.9.8: with the functions
 * of the libcrypto the interpreter has loaded it runs at SHA-NI speed, with ours it runs anywhere.
 */
#ifndef FASTCOPY_SHA_H
#define FASTCOPY_SHA_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t h[8], low, high; /* message length in bits */
    uint8_t data[64];
    unsigned num, size;
} fc_sha256;

typedef struct {
    uint64_t h[8], low, high;
    uint8_t data[128];
    unsigned num, size;
} fc_sha512;

typedef struct fc_hash fc_hash;

typedef struct {
    int (*init)(void *), (*update)(void *, const void *, size_t), (*final)(uint8_t *, void *);
} fc_sha_ops;

struct fc_hash {
    const fc_sha_ops *ops;
    int wide; /* 0: sha256, 1: sha512 */
    uint64_t length;
    union {
        fc_sha256 narrow;
        fc_sha512 wide;
    } ctx;
};

int fc_sha_load(const char *hashlib_file); /* 1: OpenSSL's functions found, tried and in use */
void fc_sha_portable(void); /* hashers made from now on use the C kernels here */
void fc_hash_init(fc_hash *h, int wide);
void fc_hash_update(void *h, const void *data, size_t n);
void fc_hash_peek(const void *h, uint8_t *out); /* leaves the state as it is */
unsigned fc_hash_size(const fc_hash *h);
unsigned fc_hash_block(const fc_hash *h);
/* The chaining value, big-endian, and the bytes after the last whole block. */
unsigned fc_hash_export(const fc_hash *h, uint8_t *words, uint8_t *tail);
void fc_hash_restore(fc_hash *h, uint64_t length, const uint8_t *words, const uint8_t *tail);

#endif
