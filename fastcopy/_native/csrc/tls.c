/* SSL_read and SSL_write on an object that CPython's ssl module made and verified.
 *
 * Law 1: no OpenSSL header, no linking: the functions come from the library that `_ssl` loaded, so the
 *        object and the code that touches it are of one version by construction.
 * Law 2: handshakes, certificates and shutdown stay with CPython; here only application data moves.
 */
#include "fc.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#ifndef RTLD_NOLOAD
#define RTLD_NOLOAD 0
#endif

/* From openssl/ssl.h; part of its stable interface since 0.9.8. */
enum { ERROR_SSL = 1, ERROR_WANT_READ = 2, ERROR_WANT_WRITE = 3, ERROR_SYSCALL = 5, ERROR_ZERO_RETURN = 6 };
enum { CTRL_MODE = 33, MODE_ENABLE_PARTIAL_WRITE = 1, MODE_ACCEPT_MOVING_WRITE_BUFFER = 2 };

static struct {
    int (*read)(void *, void *, int);
    int (*write)(void *, const void *, int);
    int (*get_error)(const void *, int);
    void (*clear_error)(void);
    unsigned long (*peek_error)(void);
    void (*error_string)(unsigned long, char *, size_t);
    void *(*get_ex_data)(const void *, int);
    long (*ctrl)(void *, int, long, void *);
} lib;

static int find(void *handle, const char *name, void *slot) {
    void *symbol = dlsym(handle, name);
    memcpy(slot, &symbol, sizeof symbol);
    return symbol != NULL;
}

int fc_tls_load(const char *ssl_file) {
    void *h = dlopen(ssl_file, RTLD_NOW | RTLD_NOLOAD);
    if (!h) return 0;
    return find(h, "SSL_read", &lib.read) && find(h, "SSL_write", &lib.write) &&
           find(h, "SSL_get_error", &lib.get_error) && find(h, "ERR_clear_error", &lib.clear_error) &&
           find(h, "ERR_peek_error", &lib.peek_error) && find(h, "ERR_error_string_n", &lib.error_string) &&
           find(h, "SSL_get_ex_data", &lib.get_ex_data) && find(h, "SSL_ctrl", &lib.ctrl);
}

int fc_tls_owns(void *ssl, void *python_object) {
    return ssl && lib.get_ex_data && lib.get_ex_data(ssl, 0) == python_object;
}

void fc_tls_prepare(void *ssl) {
    lib.ctrl(ssl, CTRL_MODE, MODE_ENABLE_PARTIAL_WRITE | MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
}

static ssize_t broken(int code, fc_fault *fault) {
    int err = errno;
    unsigned long queued = lib.peek_error();
    char text[120] = "the TLS connection broke off";
    if (code == ERROR_SYSCALL && err) snprintf(text, sizeof text, "%s", strerror(err));
    else if (queued) lib.error_string(queued, text, sizeof text);
    lib.clear_error();
    return fc_fail(fault, 0, code == ERROR_SYSCALL ? err : 0, text);
}

static ssize_t settle(fc_link *l, int result, short *want, fc_fault *fault) {
    int code;
    if (result > 0) return result;
    code = lib.get_error(l->ssl, result);
    if (code == ERROR_ZERO_RETURN) return 0;
    if (code == ERROR_SYSCALL && errno == EINTR) return FC_AGAIN;
    if (code != ERROR_WANT_READ && code != ERROR_WANT_WRITE) return broken(code, fault);
    *want = code == ERROR_WANT_READ ? POLLIN : POLLOUT;
    return FC_AGAIN;
}

ssize_t fc_tls_read(fc_link *l, void *buf, size_t n, fc_fault *fault) {
    lib.clear_error();
    errno = 0;
    return settle(l, lib.read(l->ssl, buf, n > INT_MAX ? INT_MAX : (int)n), &l->read_want, fault);
}

ssize_t fc_tls_write(fc_link *l, const void *buf, size_t n, fc_fault *fault) {
    ssize_t done;
    lib.clear_error();
    errno = 0;
    done = settle(l, lib.write(l->ssl, buf, n > INT_MAX ? INT_MAX : (int)n), &l->write_want, fault);
    return done == 0 ? fc_fail(fault, 0, 0, "the peer closed the TLS connection") : done;
}
