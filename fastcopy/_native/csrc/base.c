/* Growable bytes, events, the clock, plain links and the SIGPIPE guard. */
#include "fc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

int fc_fail(fc_fault *fault, int why, int err, const char *text) {
    fault->why = why;
    fault->err = err;
    snprintf(fault->text, sizeof fault->text, "%s", text ? text : "");
    return FC_FAIL;
}

int fc_bytes_add(fc_bytes *b, const void *data, size_t n) {
    if (b->len + n > b->cap) {
        size_t cap = (b->len + n) * 2 + 64;
        uint8_t *p = realloc(b->p, cap);
        if (!p) return FC_FAIL;
        b->p = p;
        b->cap = cap;
    }
    if (n) memcpy(b->p + b->len, data, n);
    b->len += n;
    return 0;
}

void fc_bytes_drop(fc_bytes *b, size_t n) {
    if (n < b->len) memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
}

void fc_bytes_free(fc_bytes *b) {
    free(b->p);
    memset(b, 0, sizeof *b);
}

int fc_event_open(fc_event *e) {
    e->set = 0;
#ifdef __linux__
    e->rd = e->wr = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return e->rd < 0 ? errno : 0;
#else
    int fds[2];
    if (pipe(fds)) return errno;
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    e->rd = fds[0];
    e->wr = fds[1];
    return 0;
#endif
}

void fc_event_raise(fc_event *e) {
    uint64_t one = 1;
    __atomic_store_n(&e->set, 1, __ATOMIC_SEQ_CST);
    if (e->wr >= 0 && write(e->wr, &one, sizeof one) < 0) {
        /* full: somebody raised it before, poll() sees it all the same */
    }
}

void fc_event_clear(fc_event *e) {
    uint64_t buf[8];
    __atomic_store_n(&e->set, 0, __ATOMIC_SEQ_CST);
    while (read(e->rd, buf, sizeof buf) == (ssize_t)sizeof buf) {
    }
}

void fc_event_close(fc_event *e) {
    if (e->rd >= 0) close(e->rd);
    if (e->wr >= 0 && e->wr != e->rd) close(e->wr);
    e->rd = e->wr = -1;
}

uint64_t fc_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void fc_link_init(fc_link *l, int fd) {
    memset(l, 0, sizeof *l);
    l->fd = fd;
    l->read_want = POLLIN;
    l->write_want = POLLOUT;
}

static ssize_t os_result(ssize_t n, fc_fault *fault) {
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return FC_AGAIN;
    return fc_fail(fault, 0, errno, strerror(errno));
}

/* The bytes after the wanted ones go to the spill: the next frame header costs no system call. */
static ssize_t read_spilling(fc_link *l, void *buf, size_t n, fc_fault *fault) {
    struct iovec iov[2] = {{buf, n}, {l->spill, FC_SPILL}};
    struct msghdr msg;
    memset(&msg, 0, sizeof msg);
    msg.msg_iov = iov;
    msg.msg_iovlen = 2;
    ssize_t got = os_result(recvmsg(l->fd, &msg, MSG_DONTWAIT), fault);
    if (got <= (ssize_t)n) return got;
    l->pre = l->spill;
    l->pre_len = (size_t)got - n;
    return (ssize_t)n;
}

ssize_t fc_link_read(fc_link *l, void *buf, size_t n, fc_fault *fault) {
    if (l->pre_len) {
        size_t take = n < l->pre_len ? n : l->pre_len;
        memcpy(buf, l->pre, take);
        l->pre += take;
        l->pre_len -= take;
        return (ssize_t)take;
    }
    if (l->ssl) return fc_tls_read(l, buf, n, fault);
    if (l->py) return l->py_io(l, buf, n, 0, fault);
    if (l->spilling) return read_spilling(l, buf, n, fault);
    return os_result(recv(l->fd, buf, n, MSG_DONTWAIT), fault);
}

ssize_t fc_link_write(fc_link *l, const void *buf, size_t n, fc_fault *fault) {
    if (l->ssl) return fc_tls_write(l, buf, n, fault);
    if (l->py) return l->py_io(l, (void *)buf, n, 1, fault);
    return os_result(send(l->fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL), fault);
}

void fc_pipe_begin(fc_pipe_guard *g) {
    struct sigaction now;
    sigset_t pipe_set, pending, old;
    g->active = 0;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_IGN) return;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    g->was_pending = sigismember(&pending, SIGPIPE);
    if (pthread_sigmask(SIG_BLOCK, &pipe_set, &old) || sizeof old > sizeof g->old) return;
    memcpy(g->old, &old, sizeof old);
    g->active = 1;
}

void fc_pipe_end(fc_pipe_guard *g) {
    sigset_t pipe_set, pending, old;
    int number;
    if (!g->active) return;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    if (!g->was_pending && sigismember(&pending, SIGPIPE)) sigwait(&pipe_set, &number);
    memcpy(&old, g->old, sizeof old);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}
