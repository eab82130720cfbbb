/* What every kernel file shares: results, faults, growable bytes, events, the clock, one link.
 *
 * Law 1: nothing here or below knows Python; the one exception is a pair of function pointers in
 *        fc_link (a Python-held TLS socket), which the Cython layer fills in.
 * Law 2: every descriptor is used without blocking; only pump.c and fc_inlet_wait() ever sleep.
 */
#ifndef FASTCOPY_FC_H
#define FASTCOPY_FC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The same numbers as fastcopy._native._types.Why. */
enum {
    FC_DONE, FC_STOPPED, FC_SOURCE_LOST, FC_SOURCE_STALLED, FC_SINK_LOST, FC_SINK_STALLED,
    FC_ANSWERED, FC_MISMATCH, FC_FRAME, FC_SINK_FULL
};

/* Results of one attempt, beside a count of bytes. */
#define FC_AGAIN (-1)
#define FC_FAIL (-2)

typedef struct {
    int why;
    int err;
    char text[120];
} fc_fault;

int fc_fail(fc_fault *fault, int why, int err, const char *text); /* returns FC_FAIL */

typedef struct {
    uint8_t *p;
    size_t len, cap;
} fc_bytes;

int fc_bytes_add(fc_bytes *b, const void *data, size_t n); /* 0, or FC_FAIL when memory is out */
void fc_bytes_drop(fc_bytes *b, size_t n);                 /* forgets the first n bytes */
void fc_bytes_free(fc_bytes *b);

/* A flag that poll() can see: eventfd on Linux, a pipe elsewhere. */
typedef struct {
    int rd, wr;
    int set;
} fc_event;

int fc_event_open(fc_event *e); /* 0 or an errno */
void fc_event_raise(fc_event *e);
void fc_event_clear(fc_event *e);
void fc_event_close(fc_event *e);

uint64_t fc_now(void); /* monotonic nanoseconds */

#define FC_LOAD(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define FC_ADD(x, n) __atomic_fetch_add(&(x), (n), __ATOMIC_RELAXED)
#define FC_STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

/* One byte stream over a descriptor: plain, OpenSSL's own object, or a Python-held TLS socket. */
#define FC_SPILL 2048

typedef struct fc_link fc_link;
typedef ssize_t (*fc_py_io)(fc_link *l, void *buf, size_t n, int writing, fc_fault *fault);

struct fc_link {
    int fd;
    void *ssl;
    void *py;       /* SSLSocket, used through py_io with the interpreter's lock */
    fc_py_io py_io;
    short read_want, write_want; /* what poll() should wait for after FC_AGAIN */
    int spilling;                /* plain only: small reads take what follows along, see fc_link_read */
    const uint8_t *pre;          /* bytes of the stream that were read before the link was lent */
    size_t pre_len;
    uint8_t spill[FC_SPILL];
};

void fc_link_init(fc_link *l, int fd);
/* Bytes read (> 0), 0 at the end of the stream, FC_AGAIN or FC_FAIL (fault->err, fault->text). */
ssize_t fc_link_read(fc_link *l, void *buf, size_t n, fc_fault *fault);
ssize_t fc_link_write(fc_link *l, const void *buf, size_t n, fc_fault *fault);

/* tls.c: functions of the libssl that the interpreter has loaded; nothing is linked. */
int fc_tls_load(const char *ssl_file);            /* 1 when every function was found */
int fc_tls_owns(void *ssl, void *python_object);  /* SSL_get_ex_data(ssl, 0) == object */
void fc_tls_prepare(void *ssl);
ssize_t fc_tls_read(fc_link *l, void *buf, size_t n, fc_fault *fault);
ssize_t fc_tls_write(fc_link *l, const void *buf, size_t n, fc_fault *fault);

/* SIGPIPE: libssl writes with write(2). Nothing to do where the process ignores the signal. */
typedef struct {
    int active, was_pending;
    unsigned long old[16]; /* room for a sigset_t */
} fc_pipe_guard;

void fc_pipe_begin(fc_pipe_guard *g);
void fc_pipe_end(fc_pipe_guard *g);

#endif
