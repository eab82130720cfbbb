/* Writing ends: a socket body, a file range, a counter. HTTP/2 is in outlet_h2.c. */
#include "ends.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* An early answer is a status line and some text; what is beyond this stays in the socket. */
#define ANSWER_LIMIT (64u << 10)

static ssize_t write_file(fc_outlet *o, const uint8_t *data, size_t n, fc_fault *fault) {
    ssize_t put = pwrite(o->link.fd, data, n, (off_t)o->offset);
    if (put < 0 && errno == EINTR) return FC_AGAIN;
    if (put < 0) {
        int full = errno == ENOSPC || errno == EDQUOT;
        return fc_fail(fault, full ? FC_SINK_FULL : FC_SINK_LOST, errno, strerror(errno));
    }
    o->offset += put;
    return put;
}

/* A peer that refuses a body answers and closes: the answer says more than the broken pipe. */
static ssize_t write_socket(fc_outlet *o, const uint8_t *data, size_t n, fc_fault *fault) {
    ssize_t put = fc_link_write(&o->link, data, n, fault);
    fc_fault heard;
    if (put != FC_FAIL) return put;
    fault->why = FC_SINK_LOST;
    if (fc_outlet_listen(o, &heard) == FC_FAIL && heard.why == FC_ANSWERED) *fault = heard;
    return FC_FAIL;
}

ssize_t fc_outlet_write(fc_outlet *o, const uint8_t *data, size_t n, int fin, fc_fault *fault) {
    ssize_t put = (ssize_t)n;
    if (o->kind == FC_H2) put = fc_h2_outlet_write(o, data, n, fin, fault);
    else if (n == 0) put = 0;
    else if (o->kind == FC_SOCKET) put = write_socket(o, data, n, fault);
    else if (o->kind == FC_FILE) put = write_file(o, data, n, fault);
    if (put > 0) FC_ADD(o->sent, (uint64_t)put);
    return put;
}

int fc_outlet_settle(fc_outlet *o, int fin, fc_fault *fault) {
    return o->kind == FC_H2 ? fc_h2_outlet_settle(o, fin, fault) : 1;
}

static int hear(fc_outlet *o, fc_fault *fault) {
    uint8_t some[4096];
    ssize_t got = fc_link_read(&o->link, some, sizeof some, fault);
    if (got == FC_AGAIN) return 0;
    if (got == FC_FAIL) {
        fault->why = FC_SINK_LOST;
        return FC_FAIL;
    }
    if (got == 0) return fc_fail(fault, FC_SINK_LOST, 0, "the destination closed the connection");
    if (fc_bytes_add(&o->answer, some, (size_t)got)) return fc_fail(fault, FC_SINK_LOST, 0, "out of memory");
    return 1;
}

int fc_outlet_listen(fc_outlet *o, fc_fault *fault) {
    int heard = 1;
    o->listen = 0;
    o->unlooked = 0;
    if (o->kind == FC_H2) return fc_h2_outlet_listen(o, fault);
    if (o->kind != FC_SOCKET) return 0;
    while (heard == 1 && o->answer.len < ANSWER_LIMIT) heard = hear(o, fault);
    if (o->answer.len == 0) return heard < 0 ? FC_FAIL : 0;
    return fc_fail(fault, FC_ANSWERED, 0, "the destination answered before the end of the body");
}

int fc_outlet_pollable(const fc_outlet *o) {
    return o->kind == FC_SOCKET || o->kind == FC_H2;
}

/* With nothing in the way but the peer's window, only its frames can help. */
short fc_outlet_want(const fc_outlet *o) {
    const h2_state *h = &o->h2;
    if (o->kind != FC_H2) return o->link.write_want;
    if (h->tx.len || h->stage.len || h->open_rest) return o->link.write_want;
    return h->stream_window > 0 && h->connection_window > 0 ? o->link.write_want : 0;
}

void fc_outlet_close(fc_outlet *o) {
    fc_bytes_free(&o->answer);
    h2_free(&o->h2);
}
