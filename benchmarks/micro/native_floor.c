/* recv, SHA-256, send on one thread, 256 KiB at a time: what the pump is measured against. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <sys/socket.h>

#define SLAB (256 << 10)

static SSL *shake(SSL_CTX *ctx, int fd) {
    SSL *ssl = SSL_new(ctx);
    if (!ssl || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1) return NULL;
    return ssl;
}

static long get(SSL *ssl, int fd, uint8_t *buf, size_t n) {
    return ssl ? SSL_read(ssl, buf, (int)n) : recv(fd, buf, n, 0);
}

static int put_all(SSL *ssl, int fd, const uint8_t *buf, size_t n) {
    while (n) {
        long done = ssl ? SSL_write(ssl, buf, (int)n) : send(fd, buf, n, MSG_NOSIGNAL);
        if (done <= 0) return 1;
        buf += done;
        n -= (size_t)done;
    }
    return 0;
}

int floor_move(int in, int out, uint64_t size, const char *cafile, uint8_t *digest) {
    static uint8_t buf[SLAB];
    SSL *from = NULL, *to = NULL;
    SSL_CTX *ctx = NULL;
    SHA256_CTX sha;
    if (cafile) {
        ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (SSL_CTX_load_verify_locations(ctx, cafile, NULL) != 1) return 1;
        if (!(from = shake(ctx, in)) || !(to = shake(ctx, out))) return 2;
    }
    SHA256_Init(&sha);
    while (size) {
        size_t have = 0, want = size < SLAB ? (size_t)size : SLAB;
        do { /* as much as one slab of whole records, or one recv */
            long n = get(from, in, buf + have, want - have);
            if (n <= 0) return 3;
            have += (size_t)n;
        } while (from && have < want && SSL_pending(from));
        SHA256_Update(&sha, buf, have);
        if (put_all(to, out, buf, have)) return 4;
        size -= have;
    }
    SHA256_Final(digest, &sha);
    if (from) SSL_free(from);
    if (to) SSL_free(to);
    if (ctx) SSL_CTX_free(ctx);
    return 0;
}
